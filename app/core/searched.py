"""One text that is searched, and what the rows that search it share."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from app.core.candidates import Candidate, Check, Locate
from app.core.columns import Columns
from app.core.contexts import Words
from app.core.patterns import Pattern
from app.core.rules import Allowed, Detector


class Span(NamedTuple):
    """What `detector` names: from byte to byte of what is searched, or from character to character of what came."""

    start: int
    end: int
    detector: Detector
    said: str = ""
    """The value as it was matched, where a pseudonym is made of it."""


@dataclass(slots=True)
class Budget:
    """What the search of all texts of one value shares: what was said of candidates, and what may be asked yet."""

    left: int
    """Questions to numbering plans."""
    unasked: int = 0
    """Numbers that no plan was asked about, since none was left."""
    answers: dict[tuple[Check, Candidate], bool] = field(default_factory=dict)
    """What was asked, and what plans said."""
    allowed: dict[tuple[Allowed, bytes], bool] = field(default_factory=dict)
    """What allow-lists said of values."""
    readings: dict[tuple[Locate, Candidate], tuple[tuple[int, int], ...]] = field(default_factory=dict)
    """What checks have said of candidates."""


class Taken:
    """Where earlier rows found something: a candidate inside one of their spans adds nothing to it."""

    __slots__ = ("_ends", "_outer", "_starts")

    def __init__(self, found: Sequence[Span]) -> None:
        """`found` is in order."""
        self._outer: list[Span] = []
        reach = 0
        for span in found:
            if span.end > reach:
                reach = span.end
                self._outer.append(span)
        self._starts = [span.start for span in self._outer]
        self._ends = [span.end for span in self._outer]

    def around(self, start: int, end: int, readings_of: frozenset[str]) -> tuple[int, int]:
        """Return where to go on behind a candidate that is found already (0: it is not), and what is found before it.

        What may be read as a shorter one of `readings_of`, and begins where one was found, is that and what follows it.
        """
        place = bisect_right(self._starts, start) - 1
        if place < 0:
            return 0, 0
        first, last, detector, _ = self._outer[place]
        if end <= last:
            return end, 0
        if last <= start:
            return 0, last
        return (last if start == first and detector.name in readings_of else 0), 0

    def end_behind(self, start: int, end: int) -> int:
        """Return where the next span ends that ends behind `start`; `end`: there is none."""
        place = bisect_right(self._ends, start)
        return self._ends[place] if place < len(self._ends) else end


class SearchedText:
    """One text, and what the rows that search it share."""

    __slots__ = ("_columns", "_plain", "_words", "budget", "data", "taken")

    def __init__(self, data: bytes, budget: Budget) -> None:
        self.data = data
        self.budget = budget
        self.taken = Taken([])
        """What earlier rows found."""
        self._plain = data.decode() if data.isascii() else None
        self._columns = Columns(data)
        self._words: dict[str, Words] = {}

    def candidate(self, start: int, end: int, done: int) -> Candidate:
        """Return what a pattern found, for code to check. What was found up to `done` does not stand before it."""
        before = max(done, start - 2)
        if self._plain is not None:
            return Candidate(self._plain[start:end], self._plain[before:start], self._plain[end : end + 2])
        data = self.data
        return Candidate(
            data[start:end].decode("utf-8", "replace"),
            data[before:start].decode("utf-8", "ignore"),
            data[end : end + 2].decode("utf-8", "ignore"),
        )

    def words(self, context: Pattern) -> Words:
        """Return the words of a context; rows share theirs, so a text is searched for them once."""
        source = context.pattern
        if source not in self._words:
            self._words[source] = Words(context, self.data, self._columns)
        return self._words[source]
