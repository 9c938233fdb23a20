"""What detectors find in one text: spans of its folded form, in bytes.

Time is linear in the text: RE2 does not backtrack, a candidate that code is asked about is short, and
numbering plans are asked a bounded number of times.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

from app.core.candidates import Candidate, Validator
from app.core.patterns import Pattern
from app.core.rules import Detector

CONTEXT_BYTES: Final = 48
"""How far before a match its context words may stand: "within a few words" (redaction.md)."""

CONTEXT_BEHIND_BYTES: Final = 24
"""How far behind it: "0151 496 0123 is my number"."""

# Right before a value this says that the value is what was announced: "SSN on the 1099 is 271348515".
_SAYS_SO: Final = re.compile(rb"(?i)\b(?:is|was|are) ?\Z")

_LONG_CANDIDATE: Final = 64
"""A longer candidate that fails is not looked into: of what has no bound, the whole fails when no part would do."""

_NOT_DIGITS: Final = re.compile(rb"[^0-9]+")

# Behind a hyphen a number goes on, and nothing begins.
_JOINT: Final = re.compile(rb"[^0-9A-Za-z\x80-\xff-]")

# Where what a word announces ends: another sentence or paragraph, or what is counted ("mobile users: 778862"). One dot
# may be an abbreviation's ("Tel. ").
_BREAK: Final = re.compile(
    rb"(?i)(?:[a-z)\]]{2}|\d)(?<!\bno)(?<!\bnr)(?<!\bnum)(?<!\btel)(?<!\bmob)(?<!\bkom)(?<!\bsoc)(?<!\bsec)[.!?;]\s|\n\s*\n|\b(?:users?|sold|sent|traffic|app|version|job|count|sample|visits|models?|order)\b"
)

_FEW_DIGITS: Final = 6
"""With fewer between a word and a number, the word announces those: "mobile traffic: 82 % of 2324821"."""

# What stands in a value's place: `[REDACTED_PHONE]` announces no telephone number.
_MARKS: Final = re.compile(rb"\[(?:REDACTED[A-Z0-9_]{0,40}|[A-Z][A-Z0-9_]{0,31}:[a-z0-9_-]{1,16}:[0-9a-f]{4,32})\]")

_WORD = re.compile(rb"\w")


class Span(NamedTuple):
    """Bytes from `start` to `end` that `detector` names."""

    start: int
    end: int
    detector: Detector


@dataclass(slots=True)
class Budget:
    """How many questions to numbering plans are left for all texts of a value, and how often none was."""

    left: int
    unasked: int = 0


def find(
    data: bytes, detectors: Sequence[Detector], marks: Pattern | None, *, is_number: bool, budget: Budget
) -> list[Span]:
    """Return what the detectors find in folded text, in order and without overlap.

    Overlapping spans become one, named by the longest of them (of equals, by the earlier row). `marks` recognises
    what redaction left there before: nothing of it is found.
    """
    known: dict[str, _Words] = {}
    spans: list[Span] = []
    taken = _Taken(spans)
    for detector in detectors:
        if detector.numbers or not is_number:
            found = [*_of_detector(data, detector, budget, _context_words(data, detector, known), taken)]
            if found:
                # Of several rows that find the same, one does the work.
                spans += found
                taken = _Taken(spans)
    if spans and marks is not None and b"[" in data:
        spans = list(_outside(data, spans, [*marks.all_in(data)]))
    return _merged(spans) if len(spans) > 1 else spans


class _Taken:
    """Where earlier rows found something: a candidate inside one of their spans adds nothing to it."""

    __slots__ = ("_outer", "_starts")

    def __init__(self, spans: list[Span]) -> None:
        self._outer: list[Span] = []
        for span in sorted(spans, key=_by_place) if len(spans) > 1 else spans:
            if not self._outer or span.end > self._outer[-1].end:
                self._outer.append(span)
        self._starts = [span.start for span in self._outer]

    def end_of(self, start: int, end: int, readings_of: str | None) -> int:
        """Where to go on behind a candidate that is found already; 0: it is not.

        What may be read as a shorter `readings_of`, and begins where one was found, is that one and what follows it.
        """
        place = bisect_right(self._starts, start) - 1
        if place < 0:
            return 0
        span = self._outer[place]
        if end <= span.end:
            return end
        return span.end if start == span.start and readings_of == span.detector.name else 0


@dataclass(frozen=True, slots=True)
class _Words:
    """Where the words of a context stand in a text, in order; of two side by side the second may be missing."""

    starts: list[int]
    ends: list[int]


def _context_words(data: bytes, detector: Detector, known: dict[str, _Words]) -> _Words | None:
    """The words of a detector's context, or None for a detector that needs none.

    Rows share their words, so a text is searched for them once. What redaction left there announces nothing.
    """
    if detector.context is None:
        return None
    source = detector.context.pattern
    if source not in known:
        searched = _MARKS.sub(_blanked, data) if b"[" in data else data
        spans = [*detector.context.all_in(searched)]
        known[source] = _Words([start for start, _ in spans], [end for _, end in spans])
    return known[source]


def _blanked(mark: re.Match[bytes]) -> bytes:
    return b"[" + b" " * (len(mark[0]) - 1)


def _of_detector(
    data: bytes, detector: Detector, budget: Budget, words: _Words | None, taken: _Taken
) -> Iterator[Span]:
    position = done = 0
    validator = detector.validate
    # A row with a context knows more than one without: it may make the value longer.
    is_reading = validator is not None and validator.locate is not None and not validator.finds_many
    readings_of = detector.name if is_reading and detector.context is None else None
    while position < len(data) and (match := detector.pattern.search(data, position)) is not None:
        whole, (start, end) = match
        if start == end:
            position = max(end, whole[1]) + 1
            continue
        position = end
        known_end = taken.end_of(start, end, readings_of)
        if known_end:
            position = known_end
            continue
        if words is not None and not _is_announced(words, data, start, end):
            continue
        is_out_of_place = False
        for behind_start, behind_end in _checked(validator, data, start, end, done):
            first, last = start + behind_start, start + behind_end
            if not _is_in_place(detector, data, start, end):
                is_out_of_place = True
                break
            if not _is_given_out(validator, data, first, last, budget) or _is_allowed(detector, data, first, last):
                continue
            done = position = last if validator is None or validator.tail is None else _with_tail(validator, data, last)
            yield Span(first, done, detector)
            if validator is None or not validator.finds_many:
                break
        if done < position == end and validator is not None and validator.restarts and not is_out_of_place:
            # What was rejected may hold a true value: look again behind its first group.
            position = _next_group(data, start, end)


def _checked(validator: Validator | None, data: bytes, start: int, end: int, done: int) -> Iterable[tuple[int, int]]:
    """What of the candidate its check lets through: values, or readings of one, of which the first good one holds.

    Places count from the candidate's start. What was found up to `done` does not count as what stands before.
    """
    if validator is None:
        return ((0, end - start),)
    candidate = _candidate(data, start, end, done)
    if validator.locate is not None:
        return validator.locate(candidate)
    return ((0, end - start),) if validator.check(candidate) else ()


def _is_in_place(detector: Detector, data: bytes, start: int, end: int) -> bool:
    """Whether the words around a candidate, but those of a context, say that it is what the detector is after."""
    if detector.not_before is not None and detector.not_before.stands_at(data, end):
        return False
    if detector.unless is None and detector.not_after is None:
        return True
    ahead = data[max(0, start - CONTEXT_BYTES) : start]
    return not (
        (detector.unless is not None and detector.unless.occurs_in(ahead))
        or (detector.not_after is not None and detector.not_after.occurs_in(ahead))
    )


def _is_given_out(validator: Validator | None, data: bytes, start: int, end: int, budget: Budget) -> bool:
    """What the numbering plans say, where there are questions left; else yes."""
    if validator is None or validator.ask is None:
        return True
    if budget.left <= 0:
        budget.unasked += 1
        return True
    budget.left -= validator.questions
    return validator.ask(_candidate(data, start, end, 0))


def _is_allowed(detector: Detector, data: bytes, start: int, end: int) -> bool:
    return detector.allowed is not None and detector.allowed(data[start:end].decode(errors="replace"))


def _with_tail(validator: Validator, data: bytes, end: int) -> int:
    more = validator.tail.match(data, end) if validator.tail is not None else None
    return end if more is None else more.end()


def _candidate(data: bytes, start: int, end: int, done: int) -> Candidate:
    return Candidate(
        data[start:end].decode("utf-8", "replace"),
        data[max(done, start - 2) : start].decode("utf-8", "ignore"),
        data[end : end + 2].decode("utf-8", "ignore"),
    )


def _is_announced(words: _Words, data: bytes, start: int, end: int) -> bool:
    """Whether one of the words announces what stands at a span, in the same sentence, or names it right behind.

    A word's match has the sign before and behind it too.
    """
    last = bisect_right(words.ends, start + 1) - 1
    if last >= 0 and words.starts[last] >= start - CONTEXT_BYTES - 1:
        word_end = min(words.ends[last], start)
        if _BREAK.search(data, word_end - 1, start) is None:
            between = data[word_end:start]
            digits = len(_NOT_DIGITS.sub(b"", between))
            return not 0 < digits < _FEW_DIGITS or _SAYS_SO.search(between) is not None
    after = bisect_left(words.starts, end - 1)
    if after == len(words.starts) or words.ends[after] > end + CONTEXT_BEHIND_BYTES + 1:
        return False
    return _BREAK.search(data, end, words.starts[after] + 1) is None


def _next_group(data: bytes, start: int, end: int) -> int:
    if end - start > _LONG_CANDIDATE:
        return end
    joint = _JOINT.search(data, start, end)
    return end if joint is None else joint.end()


def _outside(data: bytes, spans: Iterable[Span], marks: Sequence[tuple[int, int]]) -> Iterator[Span]:
    """The spans without the marks (in order): what stands glued to a mark is found, the mark is not."""
    ends = [end for _, end in marks]
    for span in spans:
        start = span.start
        for first, last in islice(marks, bisect_right(ends, start), None):
            if first >= span.end:
                break
            if _WORD.search(data, start, first):
                yield Span(start, first, span.detector)
            start = last
        if start == span.start or _WORD.search(data, start, span.end):
            yield Span(start, span.end, span.detector)


def _by_place(span: Span) -> tuple[int, int, int]:
    return span.start, -span.end, span.detector.order


def _merged(spans: list[Span]) -> list[Span]:
    merged: list[Span] = []
    longest = 0
    for span in sorted(spans, key=_by_place):
        length = span.end - span.start
        if merged and span.start < merged[-1].end:
            last = merged[-1]
            named = span.detector if length > longest else last.detector
            longest = max(longest, length)
            merged[-1] = Span(last.start, max(last.end, span.end), named)
        else:
            merged.append(span)
            longest = length
    return merged
