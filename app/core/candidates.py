"""What a pattern found, and how code is asked about it."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

_NOT_DIGIT = re.compile("[^0-9]")


class Candidate(NamedTuple):
    """What a pattern found, with up to two characters on either side ("" at the text's ends)."""

    text: str
    before: str
    after: str

    @property
    def digits(self) -> str:
        """The ASCII digits of the candidate."""
        return _NOT_DIGIT.sub("", self.text)

    @property
    def touches_digit(self) -> bool:
        """Whether a digit stands at either side."""
        return self.before[-1:].isdigit() or self.after[:1].isdigit()

    def is_inside_longer(self, joints: str) -> bool:
        """Whether a digit stands at either side, at once or beyond one joint: `1.2.3.4` in `1.2.3.4.5`."""
        _, before, after = self
        return (
            before[-1:].isdigit()
            or after[:1].isdigit()
            or (len(before) > 1 and before[1] in joints and before[0].isdigit())
            or (len(after) > 1 and after[0] in joints and after[1].isdigit())
        )


Check = Callable[[Candidate], bool]
"""Says whether a candidate is a value; a pure function of it."""

Locate = Callable[[Candidate], Iterator[tuple[int, int]]]
"""Says where in a candidate (ASCII) values may stand; a pure function of it."""


@dataclass(frozen=True, slots=True)
class Validator:
    """A check, and how it is used."""

    check: Check = bool
    ask: Check | None = None
    """What `check` or `locate` lets through is asked here too: numbering plans, a bounded number of times a KB."""
    questions: int = 1
    """How many of them one `ask` counts as."""
    locate: Locate | None = None
    """Instead of `check`."""
    finds_many: bool = False
    """Whether `locate` yields values, in order and without overlap; else readings of one value, the best one first."""
    tail: re.Pattern[bytes] | None = None
    """What, right behind a value, is part of it though it decides nothing: a number's extension."""
    restarts: bool = True
    """Whether a candidate that fails may hold a value that starts at a later group."""

    def holds_for(self, value: str) -> bool:
        """Whether a value that stands by itself passes, as if between quotes; no plan is asked."""
        found = Candidate(value, '"', '"')
        return self.check(found) if self.locate is None else any(True for _ in self.locate(found))


JOINTS = "-."
"""What holds the parts of a longer number together: an order id, a dotted version."""
