"""The spool in memory: bounded, first in first out within a stream. A SIGKILL loses what waits in it."""

from collections import deque
from collections.abc import Sequence
from zlib import crc32

from app.core.events import Labels, Redacted
from app.errors import DrainingError, SpoolFullError


class MemoryLane:
    """The events of the streams that fall to this lane, oldest first, with when each was appended."""

    def __init__(self) -> None:
        """Empty."""
        self._waiting: deque[tuple[float, Redacted]] = deque()
        self.queued_bytes = 0

    @property
    def queued_events(self) -> int:
        """Events that wait."""
        return len(self._waiting)

    @property
    def oldest_s(self) -> float:
        """When the oldest was appended (monotonic seconds), or 0."""
        return self._waiting[0][0] if self._waiting else 0.0

    def append(self, entry: Redacted, now_s: float) -> None:
        """Put an event behind the others."""
        self._waiting.append((now_s, entry))
        self.queued_bytes += entry.size_bytes

    def peek(self, max_bytes: int, max_events: int) -> Sequence[Redacted]:
        """Return the oldest events within both bounds, at least one where any waits."""
        batch: list[Redacted] = []
        size = 0
        for _, entry in self._waiting:
            size += entry.size_bytes
            if batch and (size > max_bytes or len(batch) >= max_events):
                break
            batch.append(entry)
        return batch

    def ack(self, count: int) -> None:
        """Forget the oldest `count`."""
        for _ in range(count):
            _, entry = self._waiting.popleft()
            self.queued_bytes -= entry.size_bytes


class MemorySpool:
    """Lanes that share one bound in bytes."""

    def __init__(self, *, max_bytes: int, lanes: int) -> None:
        """`lanes` are shipped side by side; a stream always takes the same one."""
        self._max_bytes = max_bytes
        self._lanes = [MemoryLane() for _ in range(lanes)]
        self._closed = False

    def append(self, entries: Sequence[Redacted], now_s: float) -> None:
        """Keep all or none; raise SpoolFullError, or DrainingError once closed."""
        if self._closed:
            raise DrainingError
        size = sum(entry.size_bytes for entry in entries)
        if size + sum(lane.queued_bytes for lane in self._lanes) > self._max_bytes:
            raise SpoolFullError
        for entry in entries:
            self._lane_of(entry.labels).append(entry, now_s)

    def lanes(self) -> Sequence[MemoryLane]:
        """Return the lanes."""
        return self._lanes

    def close(self) -> None:
        """Take nothing more; what waits can still be peeked at and acknowledged."""
        self._closed = True

    @property
    def is_full(self) -> bool:
        """Whether not even a small event fits."""
        return sum(lane.queued_bytes for lane in self._lanes) + _SMALL_EVENT_BYTES > self._max_bytes

    def _lane_of(self, labels: Labels) -> MemoryLane:
        # crc32, not hash(): the same stream takes the same lane in every process and after a restart.
        return self._lanes[crc32(repr(labels).encode()) % len(self._lanes)]


_SMALL_EVENT_BYTES = 1024
