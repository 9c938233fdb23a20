"""Redaction: nothing personal leaves, nothing else is touched.

Field names and policies decide first (`core.walk`); then all other texts of a value are searched in one pass for
which detectors occur at all (re2.Set), and only these look for where, and only there for spans (`core.spans`).
Text is matched in a folded form (NFKC, ASCII digits, no invisible characters); what is found is replaced there.

Time is linear in the size of the value.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

from app.core.edits import Edits
from app.core.events import Finding, RedactedPayload
from app.core.folding import fold_bytes, fold_together, has_other_reading, original_spans
from app.core.rules import Detector, Rules
from app.core.searched import Budget, Span
from app.core.spans import by_place, find, merged
from app.core.walk import FAILED, MAX_CHARACTERS, WITHHELD, Origin, TooMuchError, Walk, replacement

MAX_ASKED_PER_KB: Final = 64
"""How often numbering plans may be asked; past it a candidate is redacted unasked (redaction.md, which has 32 of
30 us each; a question takes a third of that here)."""

MAX_ASKED: Final = 2048
"""How often they may be asked about one value, however large: 20 ms, in which a worker does nothing else."""

_KB: Final = 1024

_PASSES: Final = 4
"""How often a text is searched at most; one pass more than needed finds nothing and ends it."""

__all__ = ["FAILED", "redact"]


def redact(value: Any, rules: Rules, event: str | None = None) -> RedactedPayload:
    """Return `value` (any JSON value) with what the rules find replaced. The input is not changed.

    `event` is the type of event whose field policies hold. It never raises: a detector that fails withholds the text
    it failed on, and a value that passes a bound (`core.walk`), or that no walk gets through, is withheld whole.
    """
    try:
        return _redact(value, rules, event)
    except Exception:  # noqa: BLE001 - fail closed: a fault never lets a raw value through
        return RedactedPayload(WITHHELD, (Finding(None, FAILED, "redact", 0),))


def _redact(value: Any, rules: Rules, event: str | None) -> RedactedPayload:
    walk = Walk(rules)
    policy = rules.policy(event)
    if policy is None:
        walk.take(value)
    else:
        walk.take_by_policy(value, policy)
    suspects = _suspects(walk.texts, walk.exempts, rules)
    if not suspects:
        return walk.edits.apply(value, 0)
    size = sum(map(len, walk.texts)) + len(walk.texts)
    budget = Budget(min(MAX_ASKED, MAX_ASKED_PER_KB * (size // _KB + 1)))
    search = _Search(rules, walk.edits, budget)
    for index in sorted(suspects):
        search.text(walk.texts[index], walk.origin(index), suspects[index])
    return walk.edits.apply(value, budget.unasked)


def _suspects(texts: Sequence[str], exempts: Sequence[frozenset[str]], rules: Rules) -> dict[int, list[Detector]]:
    """By a text's index, the detectors whose pattern occurs in it, or from it into the next.

    Where that cannot be told, every text by every detector.
    """
    if sum(map(len, texts)) > MAX_CHARACTERS:
        raise TooMuchError
    if not rules.detectors:
        return {}
    try:
        return _occurring_in(texts, exempts, rules)
    except Exception:  # noqa: BLE001 - fail closed
        return {index: _not_exempt(rules.detectors, exempt) for index, exempt in enumerate(exempts)}


def _occurring_in(texts: Sequence[str], exempts: Sequence[frozenset[str]], rules: Rules) -> dict[int, list[Detector]]:
    # A newline is no part of a word, so `\b` at a text's ends holds in the joined text too.
    data, sizes, others = fold_together(texts)
    detectors = rules.occurring(data)
    if not detectors and not others:
        return {}
    starts = list(accumulate([size + 1 for size in sizes], initial=0))
    found: dict[int, list[Detector]] = {}
    for detector in detectors:
        for index in _indexes(detector, data, starts):
            if detector.name not in exempts[index]:
                found.setdefault(index, []).append(detector)
    for index in others:
        found.setdefault(index, [])
    return found


def _not_exempt(detectors: Sequence[Detector], exempt: frozenset[str]) -> list[Detector]:
    return [detector for detector in detectors if detector.name not in exempt]


def _indexes(detector: Detector, data: bytes, starts: Sequence[int]) -> Iterator[int]:
    """The texts that a detector's pattern touches. One match is enough to look at a text."""
    position = 0
    while position < len(data) and (match := detector.pattern.search(data, position)) is not None:
        start, end = match[0]
        behind = max(bisect_left(starts, end), bisect_right(starts, start))
        yield from range(bisect_right(starts, max(start, position)) - 1, behind)
        position = starts[behind]


@dataclass(frozen=True, slots=True)
class _Search:
    """What the search of one value's texts goes by and writes to."""

    rules: Rules
    edits: Edits
    budget: Budget

    def text(self, text: str, origin: Origin, detectors: Sequence[Detector]) -> None:
        """Search one text, and note what becomes of it."""
        try:
            replaced = self._redacted(text, origin, detectors)
        except Exception:  # noqa: BLE001 - fail closed: the whole text is withheld, and counted by the caller
            replaced = self._withheld(text, origin)
        if replaced is None:
            return
        if origin.is_key:
            self.edits.rename(origin.path, replaced)
        else:
            self.edits.replace(origin.path, replaced)

    def _redacted(self, text: str, origin: Origin, detectors: Sequence[Detector]) -> str | None:
        """The text with what was found replaced, or None where nothing was.

        What stood glued to a value stands alone once it is replaced, so the result is searched again.
        """
        current: str | None = None
        for _ in range(_PASSES):
            searched = text if current is None else current
            values = self._values(searched, origin, detectors if current is None else None)
            if not values:
                return current
            current = self._replaced(searched, values, origin)
        # It does not come to rest: what is left may still be something.
        return self._withheld(text, origin)

    def _withheld(self, text: str, origin: Origin) -> str:
        self.edits.found(origin.order, [Finding(origin.path, FAILED, "redact", len(text))])
        return WITHHELD

    def _values(self, text: str, origin: Origin, detectors: Sequence[Detector] | None) -> list[Span]:
        """What stands in a text, in order and without overlap; in both of its readings, where it has two."""
        values = self._read(text, origin, detectors, in_json=False)
        if not has_other_reading(text):
            return values
        return merged(sorted([*values, *self._read(text, origin, None, in_json=True)], key=by_place))

    def _read(self, text: str, origin: Origin, detectors: Sequence[Detector] | None, *, in_json: bool) -> list[Span]:
        data = fold_bytes(text, in_json=in_json)
        if detectors is None:
            detectors = _not_exempt(self.rules.occurring(data), origin.exempt)
        spans = find(data, detectors, self.rules, is_number=origin.is_number, budget=self.budget)
        if not spans:
            return []
        places = original_spans(text, [(span.start, span.end) for span in spans], in_json=in_json)
        return [
            Span(first, last, detector, _said(data, start, end, detector))
            for (start, end, detector, _), (first, last) in zip(spans, places, strict=True)
        ]

    def _replaced(self, searched: str, values: Sequence[Span], origin: Origin) -> str:
        pieces: list[str] = []
        findings: list[Finding] = []
        position = 0
        for value in values:
            detector = value.detector
            replaced, action = replacement(detector.name, detector.action, value.said, self.rules)
            pieces += (searched[position : value.start], replaced)
            position = value.end
            findings.append(Finding(origin.path, detector.name, action, value.end - value.start))
        self.edits.found(origin.order, findings)
        pieces.append(searched[position:])
        return "".join(pieces)


def _said(data: bytes, start: int, end: int, detector: Detector) -> str:
    """The value, where a pseudonym is made of it: however a value is written, it has one."""
    return data[start:end].decode(errors="replace") if detector.action == "pseudonymise" else ""
