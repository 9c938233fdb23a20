"""What detectors find in one text: spans of its folded form, in bytes.

Time is linear in the text: RE2 does not backtrack, a candidate that code is asked about is short, and
numbering plans are asked a bounded number of times.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from app.core.candidates import Candidate, Validator
from app.core.rules import Detector

CONTEXT_BYTES: Final = 48
"""How far before a match its context words may stand: "within a few words" (redaction.md)."""

CONTEXT_BEHIND_BYTES: Final = 24
"""How far behind it: "0151 496 0123 is my number"."""

_LONG_CANDIDATE: Final = 256
"""A longer candidate that fails is not looked into: of what has no bound, the whole fails when no part would do."""

# Where what a word announces ends: another sentence or paragraph, or what is counted ("mobile users: 778862"). One dot
# may be an abbreviation's ("Tel. ").
_BREAK: Final = re.compile(
    rb"(?i)(?:[a-z)\]]{2}|\d)(?<!\bno)(?<!\bnr)(?<!\bnum)(?<!\btel)(?<!\bmob)(?<!\bsec)[.!?;]\s|\n\s*\n|\b(?:users?|sold|sent|traffic|app|version|job|count|sample|visits|models?|order)\b"
)

_FEW_DIGITS: Final = 6
"""With fewer between a word and a number, the word announces those: "mobile traffic: 82 % of 2324821"."""

# What stands in a value's place, also where the text is cut: `[REDACTED_PHONE]` announces no telephone number.
_MARKS: Final = re.compile(rb"\[?[A-Z]*_?[A-Z0-9_]*(?:\]|:[a-z0-9_-]+:[0-9a-f]{4,32}\])|\[REDACTED_[A-Z0-9_]*")

_WORD = re.compile(rb"\w")


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes from `start` to `end` that `detector` names."""

    start: int
    end: int
    detector: Detector


@dataclass(slots=True)
class Budget:
    """How many questions to numbering plans are left for all texts of a value, and how often none was."""

    left: int
    unasked: int = 0


def find(data: bytes, detectors: Sequence[Detector], marks: Any, *, is_number: bool, budget: Budget) -> list[Span]:
    """Return what the detectors find in folded text, in order and without overlap.

    Overlapping spans become one, named by the longest of them (of equals, by the earlier row). `marks` recognises
    what redaction left there before: nothing of it is found.
    """
    spans = [
        span
        for detector in detectors
        if detector.numbers or not is_number
        for span in _of_detector(data, detector, budget)
    ]
    if spans and marks is not None and b"[" in data:
        spans = list(_outside(data, spans, [match.span() for match in marks.finditer(data)]))
    return _merged(spans) if len(spans) > 1 else spans


def _of_detector(data: bytes, detector: Detector, budget: Budget) -> Iterator[Span]:
    position = 0
    while position < len(data) and (match := detector.pattern.search(data, position)) is not None:
        start, end = _found(match)
        if start == end:
            position = max(end, match.end()) + 1
            continue
        position = end
        for first, last in _fitting(detector, data, start, end, budget):
            yield Span(first, last, detector)
            position = last
        if position == end and detector.validate is not None and end - start <= _LONG_CANDIDATE:
            # What was rejected may hold a true value: look again behind its first group.
            position = _next_group(data, start, end) if detector.validate.restarts else end


def _found(match: Any) -> tuple[int, int]:
    """The span of the first group that takes part, or of the whole match where the pattern has no group."""
    for group in range(1, match.re.groups + 1):
        span: tuple[int, int] = match.span(group)
        if span[0] >= 0:
            return span
    whole: tuple[int, int] = match.span()
    return whole


def _fitting(detector: Detector, data: bytes, start: int, end: int, budget: Budget) -> Iterable[tuple[int, int]]:
    """What of the candidate is what the detector is after."""
    ahead = data[max(0, start - CONTEXT_BYTES) : start]
    if detector.context is not None and not _has_context(detector.context, ahead, data[end:]):
        return
    if detector.unless is not None and detector.unless.search(ahead) is not None:
        return
    if detector.not_after is not None and detector.not_after.search(ahead) is not None:
        return
    if detector.not_before is not None and detector.not_before.match(data, end) is not None:
        return
    allowed, tail = detector.allowed, detector.validate.tail if detector.validate is not None else None
    for first, last in _values(detector.validate, data, start, end, budget):
        if allowed is None or not allowed(data[first:last].decode(errors="replace")):
            more = tail.match(data, last) if tail is not None else None
            yield first, last if more is None else more.end()


def _values(
    validator: Validator | None, data: bytes, start: int, end: int, budget: Budget
) -> Iterable[tuple[int, int]]:
    if validator is None:
        yield start, end
    elif validator.locate is not None:
        for first, last in validator.locate(_candidate(data, start, end)):
            yield start + first, start + last
    else:
        stop = _fitting_end(validator, data, start, end, budget)
        if stop is not None:
            yield start, stop


def _fitting_end(validator: Validator, data: bytes, start: int, end: int, budget: Budget) -> int | None:
    """Where the value that starts at `start` ends, or None where there is none."""
    for stop in _stops(validator, data, start, end):
        found = _candidate(data, start, stop)
        if not validator.check(found):
            continue
        if validator.ask is None:
            return stop
        if budget.left <= 0:
            budget.unasked += 1
            return stop
        budget.left -= validator.questions
        if validator.ask(found):
            return stop
    return None


def _stops(validator: Validator, data: bytes, start: int, end: int) -> Iterator[int]:
    """The candidate's end, then (for what shrinks) the end of each earlier group: what follows must not hide it."""
    yield end
    if validator.shrinks:
        for place in range(end - 1, start, -1):
            if chr(data[place - 1]).isalnum() and not chr(data[place]).isalnum():
                yield place


def _candidate(data: bytes, start: int, end: int) -> Candidate:
    return Candidate(
        text=data[start:end].decode(errors="replace"),
        before=data[max(0, start - 2) : start].decode(errors="ignore"),
        after=data[end : end + 2].decode(errors="ignore"),
    )


def _has_context(words: Any, ahead: bytes, behind: bytes) -> bool:
    """Whether one of the words announces the match, in the same sentence, or names it right behind."""
    ahead, behind = _MARKS.sub(b"", ahead), _MARKS.sub(b"", behind[:CONTEXT_BEHIND_BYTES])
    last = None
    for last in words.finditer(ahead):  # noqa: B007 - the last one is the closest
        pass
    if last is not None and _BREAK.search(ahead, last.end() - 1) is None:
        digits = sum(48 <= sign <= 57 for sign in ahead[last.end() :])  # noqa: PLR2004 - "0" to "9"
        return not 0 < digits < _FEW_DIGITS
    after = words.search(behind)
    return after is not None and _BREAK.search(behind, 0, after.start() + 1) is None


def _next_group(data: bytes, start: int, end: int) -> int:
    for place in range(start, end):
        if not chr(data[place]).isalnum():
            return place + 1
    return end


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


def _merged(spans: list[Span]) -> list[Span]:
    merged: list[Span] = []
    longest = 0
    for span in sorted(spans, key=lambda s: (s.start, -s.end, s.detector.order)):
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
