"""What detectors find in one text: spans of its folded form, in bytes.

Time is linear in the text: RE2 does not backtrack, a candidate that code is asked about is short, and
numbering plans are asked a bounded number of times a kilobyte.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from app.core.rules import Detector
from app.core.validators import Candidate, Validator

CONTEXT_BYTES: Final = 48
"""How far before a match its context words may stand: "within a few words" (redaction.md)."""

MAX_ASKED_PER_KB: Final = 32
"""How often numbering plans may be asked; past it a candidate is redacted unasked (redaction.md)."""

_LONG_CANDIDATE: Final = 256
"""A longer candidate that fails is not looked into: of what has no bound, the whole fails when no part would do."""


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes from `start` to `end` that `detector` names."""

    start: int
    end: int
    detector: Detector


@dataclass(slots=True)
class Budget:
    """How many questions to numbering plans are left; one for all texts of a value."""

    left: int


def find(data: bytes, detectors: Sequence[Detector], *, is_number: bool, budget: Budget) -> list[Span]:
    """Return what the detectors find in folded text, in order and without overlap.

    Overlapping spans become one, named by the longest of them (of equals, by the earlier row).
    """
    spans = [
        span
        for detector in detectors
        if detector.numbers or not is_number
        for span in _of_detector(data, detector, budget)
    ]
    return _merged(spans) if len(spans) > 1 else spans


def _of_detector(data: bytes, detector: Detector, budget: Budget) -> Iterator[Span]:
    position = 0
    while position < len(data) and (match := detector.pattern.search(data, position)) is not None:
        start, end = match.span()
        if start == end:
            position = end + 1
            continue
        fitting = _fitting_end(detector, data, start, end, budget)
        if fitting is not None:
            yield Span(start, fitting, detector)
            position = fitting
        elif detector.validate is not None and end - start <= _LONG_CANDIDATE:
            # A rejected candidate may hold a true one: look again behind its first group.
            position = _next_group(data, start, end)
        else:
            position = end


def _fitting_end(detector: Detector, data: bytes, start: int, end: int, budget: Budget) -> int | None:
    """Where the value that starts at `start` ends, or None where there is none."""
    ahead = data[max(0, start - CONTEXT_BYTES) : start]
    if detector.context is not None and detector.context.search(ahead) is None:
        return None
    if detector.not_after is not None and _ends_with_word(detector.not_after, ahead):
        return None
    if detector.validate is None:
        return end
    for stop in _stops(detector.validate, data, start, end):
        found = _candidate(data, start, stop)
        if not detector.validate.check(found):
            continue
        if detector.validate.ask is None or budget.left <= 0:
            return stop
        budget.left -= detector.validate.questions
        if detector.validate.ask(found):
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


def _ends_with_word(words: Any, ahead: bytes) -> bool:
    """Whether one of the words stands right before the match: "version 1.2.3.4", "v1.2.3.4"."""
    close = ahead.rstrip(b" :=\"'")
    return any(found.end() == len(close) for found in words.finditer(close))


def _next_group(data: bytes, start: int, end: int) -> int:
    for place in range(start, end):
        if not chr(data[place]).isalnum():
            return place + 1
    return end


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
