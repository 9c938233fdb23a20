"""What a sink says of a batch, and so what the shipper must do. Every sink answers in these words."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Delivered:
    """The whole batch is stored: forget it."""

    result: ClassVar[str] = "delivered"


@dataclass(frozen=True, slots=True)
class Retry:
    """Nobody's fault, or the operator's: keep the batch and try again later.

    `reason` is a word for a metric and for `/readyz`; `after_s` is the sink's own wish, if it has one.
    """

    reason: str
    after_s: float | None = None
    of_stream: bool = False
    """Whether only this stream is concerned: the others go on."""

    @property
    def result(self) -> str:
        """The word for the metric of pushes."""
        return self.reason


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The batch is too large as a whole: send it in halves; one event alone is a dead letter."""

    result: ClassVar[str] = "too_large"


@dataclass(frozen=True, slots=True)
class Refused:
    """Some entries were refused for a reason of their own and the others stored: find them by halving."""

    reason: str
    detail: str
    """The sink's words, for the dead letter; to be redacted and cut before it is kept."""

    result: ClassVar[str] = "entries_refused"


Verdict = Delivered | Retry | TooLarge | Refused
