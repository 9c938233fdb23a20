"""When a batch is due, and where a batch is cut."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.core.events import Redacted


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """A batch is shipped when it is this large or its oldest event is this old."""

    max_bytes: int
    max_events: int
    max_age_s: float

    def wait_s(self, *, queued_bytes: int, queued_events: int, oldest_s: float, now_s: float) -> float:
        """Return the seconds until the queue's head is due; 0 when it is due now. Times are monotonic."""
        if queued_bytes >= self.max_bytes or queued_events >= self.max_events:
            return 0.0
        return max(0.0, oldest_s + self.max_age_s - now_s)


def halves(batch: Sequence[Redacted]) -> tuple[Sequence[Redacted], Sequence[Redacted]]:
    """Cut a batch of two or more in two, in order: how a refused entry is found, and a 413 obeyed."""
    middle = len(batch) // 2
    return batch[:middle], batch[middle:]
