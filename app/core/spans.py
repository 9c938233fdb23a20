"""What detectors find in one text: spans of its folded form, in bytes.

Time is linear in the text: RE2 does not backtrack, a candidate that code is asked about is short, and
numbering plans are asked a bounded number of times.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from app.core.candidates import Validator
from app.core.contexts import CONTEXT_BYTES
from app.core.rules import Detector, Rules
from app.core.searched import Budget, SearchedText, Span, Taken

_LONG_CANDIDATE: Final = 64
"""A longer candidate that fails is not looked into: of what has no bound, the whole fails when no part would do."""

# Behind a hyphen a number goes on, and nothing begins.
_JOINT: Final = re.compile(rb"[^0-9A-Za-z\x80-\xff-]")

_WORD = re.compile(rb"\w")
_LETTERS_AND_DIGITS: Final = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_TWO_BYTE_LETTERS: Final = frozenset(range(0xC3, 0xD4))
"""How the letters of Latin, Greek and Cyrillic begin in UTF-8, in all of two bytes."""
_DIGITS: Final = frozenset(b"0123456789")
_BETWEEN: Final = frozenset(b" /")
_ROW = re.compile(rb"[0-9]+(?:[ /][0-9]+)*")
_SIGN = re.compile(rb"[^0-9A-Za-z]")


def find(data: bytes, detectors: Sequence[Detector], rules: Rules, *, is_number: bool, budget: Budget) -> list[Span]:
    """Return what some detectors of the rules find in folded text, in order and without overlap.

    Overlapping spans become one, named by the longest of them (of equals, by the earlier row). Nothing is found of what
    redaction left there before, and nothing within what is allowed as a whole.
    """
    text = SearchedText(data, budget)
    found: list[Span] = []
    """In order; a span may lie in another."""
    for detector in sorted(detectors, key=_is_after_others):
        if detector.numbers or not is_number:
            new = [*_of_detector(text, detector)]
            if new:
                # Of several rows that find the same, one does the work.
                found = sorted([*found, *new], key=by_place) if found else new
                text.taken = Taken(found)
    if found and rules.shields is not None:
        found = [*_not_within(found, [*rules.shields.all_in(data)])]
    if found and rules.marks is not None and b"[" in data:
        found = sorted(_outside(data, found, [*rules.marks.all_in(data)]), key=by_place)
    return merged(found)


def _of_detector(text: SearchedText, detector: Detector) -> Iterator[Span]:
    data, taken, validator = text.data, text.taken, detector.validate
    words = text.words(detector.context) if detector.context is not None else None
    # A row with a context knows more than one without: it may make the value longer.
    is_reading = validator is not None and validator.locate is not None and not validator.finds_many
    readings_of = detector.yields_to | {detector.name} if is_reading and words is None else detector.yields_to
    is_sure, starts, search = detector.is_sure, detector.starts, detector.pattern.search
    position = done = 0
    while position < len(data) and (match := search(data, position)) is not None:
        whole, (start, end) = match
        known_end, found_before = taken.around(start, end, readings_of)
        position = known_end or (end if end > start else max(end, whole[1]) + 1)
        if known_end or start == end or (words is not None and not words.announce(start, end)):
            continue
        if starts == "word" and _is_inside_word(data, whole[0]):
            position = _behind(_SIGN, data, start, end)
        elif starts == "number" and _is_inside_row(data, start, max(done, found_before)):
            # So are all the numbers of the row that come, but behind what is found already.
            position = _row_end(data, start, taken.end_behind(start, len(data)))
        elif is_sure:
            yield Span(start, end, detector)
        elif values := _values(text, detector, start, end, max(done, found_before)):
            for first, last in values:
                yield Span(first, last, detector)
            position = done = values[-1][1]
        elif values is not None and validator is not None and validator.restarts:
            # What was rejected may hold a true value: look again behind its first group.
            position = _behind(_JOINT, data, start, end)


def _is_inside_word(data: bytes, start: int) -> bool:
    """Whether a letter or digit stands right before; a word's end in RE2 knows those of ASCII only (`réf. 77`)."""
    if not start:
        return False
    return data[start - 1] in _LETTERS_AND_DIGITS or (start > 1 and data[start - 2] in _TWO_BYTE_LETTERS)


def _is_inside_row(data: bytes, start: int, done: int) -> bool:
    """Whether a number stands one blank or slash before, and is not found already; a bracket begins a new one."""
    return start - 2 >= done and data[start - 1] in _BETWEEN and data[start - 2] in _DIGITS and data[start] in _DIGITS


def _row_end(data: bytes, start: int, limit: int) -> int:
    """Where a row of numbers ends, or the limit in it."""
    row = _ROW.match(data, start, limit)
    return start + 1 if row is None else row.end()


def _values(text: SearchedText, detector: Detector, start: int, end: int, done: int) -> list[tuple[int, int]] | None:
    """Where in a candidate values stand; None: what stands around it says that there is none.

    What was found up to `done` does not count as what stands before.
    """
    validator = detector.validate
    readings = _checked(text, validator, start, end, done)
    if not readings:
        return []
    if not _is_in_place(detector, text.data, start, end):
        return None
    values = []
    for behind_start, behind_end in readings:
        first, last = start + behind_start, start + behind_end
        if _is_given_out(text, validator, first, last) and not _is_allowed(text, detector, first, last):
            values.append((first, _with_tail(validator, text.data, last)))
            if validator is None or not validator.finds_many:
                break
    return values


def _checked(
    text: SearchedText, validator: Validator | None, start: int, end: int, done: int
) -> Sequence[tuple[int, int]]:
    """What of the candidate its check lets through: values, or readings of one, of which the first good one holds.

    Places count from the candidate's start.
    """
    if validator is None:
        return ((0, end - start),)
    candidate = text.candidate(start, end, done)
    if validator.locate is None:
        return ((0, end - start),) if validator.check(candidate) else ()
    # Several rows ask the same of the same candidate, and a text that was redacted is searched again.
    known, question = text.budget.readings, (validator.locate, candidate)
    if question not in known:
        found = validator.locate(candidate)
        known[question] = tuple(found if candidate.text.isascii() else _in_bytes(candidate.text, found))
    return known[question]


def _in_bytes(text: str, places: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Places in a text as they are in its UTF-8."""
    for start, end in places:
        before = len(text[:start].encode())
        yield before, before + len(text[start:end].encode())


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


def _is_given_out(text: SearchedText, validator: Validator | None, start: int, end: int) -> bool:
    """What the numbering plans say, where there are questions left; else yes."""
    if validator is None or validator.ask is None:
        return True
    budget = text.budget
    question = validator.ask, text.candidate(start, end, 0)
    if question not in budget.answers:
        if budget.left <= 0:
            budget.unasked += 1
            return True
        budget.left -= validator.questions
        budget.answers[question] = validator.ask(question[1])
    return budget.answers[question]


def _is_allowed(text: SearchedText, detector: Detector, start: int, end: int) -> bool:
    if detector.allowed is None:
        return False
    question = detector.allowed, text.data[start:end]
    known = text.budget.allowed
    if question not in known:
        known[question] = detector.allowed(question[1].decode(errors="replace"))
    return known[question]


def _with_tail(validator: Validator | None, data: bytes, end: int) -> int:
    if validator is None or validator.tail is None:
        return end
    more = validator.tail.match(data, end)
    return end if more is None else more.end()


def _behind(sign: re.Pattern[bytes], data: bytes, start: int, end: int) -> int:
    """Where to look again in a candidate that was rejected: behind the first sign of a kind."""
    if end - start > _LONG_CANDIDATE:
        return end
    first = sign.search(data, start, end)
    return end if first is None else first.end()


def _not_within(found: Iterable[Span], shields: Sequence[tuple[int, int]]) -> Iterator[Span]:
    starts = [start for start, _ in shields]
    for span in found:
        place = bisect_right(starts, span.start) - 1
        if place < 0 or span.end > shields[place][1]:
            yield span


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


def _is_after_others(detector: Detector) -> bool:
    return bool(detector.yields_to)


def by_place(span: Span) -> tuple[int, int, int]:
    """Return what spans are in order by: of those that begin together the longest, then the earlier row, is first."""
    return span.start, -span.end, span.detector.order


def merged(found: Sequence[Span]) -> list[Span]:
    """Return the spans, which are in order, with those that overlap made one, named by the longest."""
    apart: list[Span] = []
    longest = reach = 0
    for span in found:
        length = span.end - span.start
        if span.start < reach:
            last = apart[-1]
            named = span if length > longest else last
            longest = max(longest, length)
            reach = max(reach, span.end)
            apart[-1] = Span(last.start, reach, named.detector, named.said)
        else:
            apart.append(span)
            longest, reach = length, span.end
    return apart
