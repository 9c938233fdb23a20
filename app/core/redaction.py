"""Redaction: nothing personal leaves, nothing else is touched.

Field names decide first; then all texts of a value that the same detectors are to search are searched in one
pass for which of those occur at all (re2.Set), and only these look for where, and only there for spans.
Text is matched in a folded form (NFKC, ASCII digits, no invisible characters); what is found is replaced there.

Time is linear in the size of the value.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, count
from operator import itemgetter
from typing import Any, Final

from app.core.events import Finding, Place, RedactedPayload
from app.core.folding import fold, original_spans
from app.core.rules import Detector, FieldRule, Rules
from app.core.spans import MAX_ASKED_PER_KB, Budget, Span, find

MIN_NUMBER: Final = 10**11
"""The smallest JSON number a detector could mean: 12 digits, the shortest card."""

FAILED = "failed"
"""The detector name under which a value stands that a fault in a detector has made us withhold."""

_KB: Final = 1024

_PASSES: Final = 4
"""How often a text is searched at most; one pass more than needed finds nothing and ends it."""

_WITHHELD: Final = "[REDACTED]"
_MEMORY: Final = 4096
"""Field names whose plan is remembered. Names repeat; callers cannot make the memory grow."""

_LONG_NAME: Final = 128
"""A longer name is no field that comes again, and is not remembered."""

Path = Place
"""A place in the value as it came in; `Place` alone is one after redaction."""

_ALL: Final[frozenset[str]] = frozenset()
"""The exemptions of a text that every detector may search."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a field's name says of its value."""

    rule: FieldRule | None
    exempt: frozenset[str]
    name_suspect: bool
    """Whether the name itself holds something that a pattern matches, so that it must be searched."""
    is_plain: bool
    """Neither a rule nor a suspect name: what most fields are."""


@dataclass(frozen=True, slots=True)
class _Text:
    """One text in which something may be: a string value, a number's digits, or a dict key."""

    order: int
    path: Path
    text: str
    exempt: frozenset[str]
    is_number: bool
    is_key: bool


@dataclass(slots=True)
class _Group:
    """The texts that the same detectors leave alone, and where each comes from: (order, path, is_number, is_key)."""

    texts: list[str] = field(default_factory=list)
    origins: list[tuple[int, Path, bool, bool]] = field(default_factory=list)


class _Change:
    """What becomes of one value, of its name, and of what is below it."""

    __slots__ = ("below", "is_dropped", "is_reshaped", "name", "replacement")

    def __init__(self) -> None:
        self.replacement: str | None = None
        self.name: str | None = None
        self.is_dropped = False
        self.below: dict[str | int, _Change] = {}
        self.is_reshaped = False
        """Whether a member loses its place or its name, so that the container is built anew."""


class _Edits:
    """What is to be changed; nothing is changed until all is known."""

    def __init__(self) -> None:
        self.root = _Change()
        self.found: list[tuple[int, Path, str, str, int]] = []
        """(order in the document, path, detector, action, length)"""
        self.budget = Budget(0)
        """How often numbering plans may still be asked about this value."""

    def replace(self, path: Path, text: str) -> None:
        self._at(path).replacement = text

    def rename(self, path: Path, name: str) -> None:
        self._at(path).name = name
        self._above(path).is_reshaped = True

    def drop(self, path: Path) -> None:
        self._at(path).is_dropped = True
        self._above(path).is_reshaped = True

    def _at(self, path: Path) -> _Change:
        if path is None:
            return self.root
        below = self._at(path[0]).below
        change = below.get(path[1])
        if change is None:
            change = below[path[1]] = _Change()
        return change

    def _above(self, path: Path) -> _Change:
        return self._at(path[0] if path is not None else None)


class _Walk:
    """One walk over a value, and what it gathers: the texts to search, and what names alone decide."""

    def __init__(self, rules: Rules) -> None:
        self.edits = _Edits()
        self.groups: dict[frozenset[str], _Group] = {}
        self._rules = rules
        self._plans: dict[str, _Plan] = rules.memory
        self._order = count()

    def take(self, value: Any, path: Path, exempt: frozenset[str]) -> None:
        """Gather from a value that stands under `path`."""
        kind = type(value)
        if kind is str:
            self._add(value, path, exempt)
        elif kind is dict:
            plans = self._plans
            for key, member in value.items():
                plan = plans.get(key) or self._plan(key)
                if not plan.is_plain:
                    self._take_member(key, member, path, plan)
                elif type(member) is str:
                    self._add(member, (path, key), plan.exempt)
                else:
                    self.take(member, (path, key), plan.exempt)
        elif kind is list:
            for index, item in enumerate(value):
                self.take(item, (path, index), exempt)
        elif (kind is int or kind is float) and abs(value) >= MIN_NUMBER and value == int(value):
            self._add(str(abs(int(value))), path, exempt, is_number=True)

    def _take_member(self, key: str, member: Any, path: Path, plan: _Plan) -> None:
        below = (path, key)
        rule = plan.rule
        if plan.name_suspect:
            self._add(key, below, _ALL, is_key=True)
        if rule is None or member is None or member is True or member is False or member == "":
            self.take(member, below, plan.exempt)
        elif rule.action == "drop":
            self.edits.drop(below)
            self._found_whole(member, below, rule)
        elif member != rule.replacement:  # what was redacted before is not found again
            self.edits.replace(below, rule.replacement)
            self._found_whole(member, below, rule)

    def _add(
        self, text: str, path: Path, exempt: frozenset[str], *, is_number: bool = False, is_key: bool = False
    ) -> None:
        group = self.groups.get(exempt)
        if group is None:
            group = self.groups[exempt] = _Group()
        group.texts.append(text)
        group.origins.append((next(self._order), path, is_number, is_key))

    def _found_whole(self, value: Any, path: Path, rule: FieldRule) -> None:
        length = len(value) if isinstance(value, str) else len(str(value))
        self.edits.found.append((next(self._order), path, rule.name, rule.action, length))

    def _plan(self, name: str) -> _Plan:
        rules = self._rules
        rule, name_suspect = rules.fields.find(name), bool(_occurring(name, rules))
        plan = _Plan(rule, rules.exempt.find(name) or _ALL, name_suspect, is_plain=rule is None and not name_suspect)
        if len(name) <= _LONG_NAME:
            if len(self._plans) >= _MEMORY:
                self._plans.clear()
            self._plans[name] = plan
        return plan


def redact(value: Any, rules: Rules) -> RedactedPayload:
    """Return `value` (any JSON value) with what the rules find replaced. The input is not changed.

    A detector that fails withholds the text it failed on: a fault never lets a raw value through.
    """
    walk = _Walk(rules)
    walk.take(value, None, _ALL)
    edits = walk.edits
    suspects: list[tuple[_Text, list[Detector]]] = []
    for exempt, group in walk.groups.items():
        for index, detectors in _candidates_or_all(group.texts, exempt, rules).items():
            order, path, is_number, is_key = group.origins[index]
            suspects.append((_Text(order, path, group.texts[index], exempt, is_number, is_key), detectors))
    if suspects:
        size = sum(len(text) + 1 for group in walk.groups.values() for text in group.texts)
        edits.budget.left = MAX_ASKED_PER_KB * (size // _KB + 1)
        for text, detectors in sorted(suspects, key=_order_of):
            _search_text(text, detectors, rules, edits)
    if not edits.found:
        return RedactedPayload(value, ())
    return _apply(value, edits)


def _order_of(suspect: tuple[_Text, list[Detector]]) -> int:
    return suspect[0].order


def _candidates_or_all(texts: Sequence[str], exempt: frozenset[str], rules: Rules) -> dict[int, list[Detector]]:
    """`_candidates`; where they cannot be told, every text by every detector."""
    try:
        return _candidates(texts, exempt, rules)
    except Exception:  # noqa: BLE001 - fail closed
        return dict.fromkeys(range(len(texts)), _wanted(range(len(rules.detectors)), exempt, rules))


def _candidates(texts: Sequence[str], exempt: frozenset[str], rules: Rules) -> dict[int, list[Detector]]:
    """By a text's index, the detectors whose pattern occurs in it, or from it into the next."""
    if rules.any_of is None:
        return {}
    # A newline is no part of a word, so `\b` at a text's ends holds in the joined text too.
    joined = "\n".join(texts)
    if joined.isascii():
        sizes, data = list(map(len, texts)), joined.encode()
    else:
        folded = [fold(text).encode() for text in texts]
        sizes, data = list(map(len, folded)), b"\n".join(folded)
    places = rules.any_of.Match(data)  # None where nothing occurs
    wanted = _wanted(places, exempt, rules) if places else []
    if not wanted or len(texts) == 1:
        return {0: wanted} if wanted else {}
    found: dict[int, list[Detector]] = {}
    starts = list(accumulate([size + 1 for size in sizes], initial=0))
    for detector in wanted:
        for index in _indexes(detector, data, starts):
            found.setdefault(index, []).append(detector)
    return found


def _indexes(detector: Detector, data: bytes, starts: Sequence[int]) -> Iterator[int]:
    """The texts that a detector's pattern touches. One match is enough to look at a text."""
    position = 0
    while position < len(data) and (match := detector.pattern.search(data, position)) is not None:
        start, end = match.span()
        behind = max(bisect_left(starts, end), bisect_right(starts, start))
        yield from range(bisect_right(starts, max(start, position)) - 1, behind)
        position = starts[behind]


def _wanted(places: Any, exempt: frozenset[str], rules: Rules) -> list[Detector]:
    """The detectors at these places of the table, in its order, but those that leave the text alone."""
    detectors = [rules.detectors[place] for place in sorted(places)]
    return [detector for detector in detectors if detector.name not in exempt] if exempt else detectors


def _occurring(text: str, rules: Rules) -> list[Detector]:
    """The detectors whose pattern occurs anywhere; all of them where that cannot be asked."""
    if rules.any_of is None:
        return []
    try:
        return _wanted(rules.any_of.Match(fold(text).encode()) or (), _ALL, rules)
    except Exception:  # noqa: BLE001 - fail closed: the slow way decides
        return list(rules.detectors)


def _search_text(text: _Text, detectors: Sequence[Detector], rules: Rules, edits: _Edits) -> None:
    try:
        replaced = _redact_text(text, detectors, rules, edits)
    except Exception:  # noqa: BLE001 - fail closed: the whole text is withheld, and counted by the caller
        edits.found.append((text.order, text.path, FAILED, "redact", len(text.text)))
        replaced = _WITHHELD
    if replaced is None:
        return
    if text.is_key:
        edits.rename(text.path, replaced)
    else:
        edits.replace(text.path, replaced)


def _redact_text(text: _Text, detectors: Sequence[Detector], rules: Rules, edits: _Edits) -> str | None:
    """The text with what was found replaced, or None where nothing was.

    What stood glued to a value stands alone once it is replaced, so the result is searched again.
    """
    current: str | None = None
    for _ in range(_PASSES):
        searched = text.text
        if current is not None:
            searched = current
            detectors = [detector for detector in _occurring(current, rules) if detector.name not in text.exempt]
        data = fold(searched).encode()
        spans = find(data, detectors, is_number=text.is_number, budget=edits.budget)
        if not spans:
            break
        current = _replace(searched, spans, text, edits)
    return current


def _replace(searched: str, spans: Sequence[Span], text: _Text, edits: _Edits) -> str:
    pieces: list[str] = []
    position = 0
    places = original_spans(searched, [(span.start, span.end) for span in spans])
    for span, (start, end) in zip(spans, places, strict=True):
        pieces += (searched[position:start], span.detector.replacement)
        position = end
        edits.found.append((text.order, text.path, span.detector.name, span.detector.action, end - start))
    pieces.append(searched[position:])
    return "".join(pieces)


def _apply(value: Any, edits: _Edits) -> RedactedPayload:
    renamed: dict[Path, str] = {}
    changed = _rebuilt(value, None, edits.root, renamed)
    places: dict[Path, Place] = {None: None}
    findings = tuple(
        [
            Finding(_place(path, renamed, places) if renamed else path, detector, action, length)
            for _, path, detector, action, length in sorted(edits.found, key=itemgetter(0))
        ]
    )
    return RedactedPayload(changed, findings)


def _place(path: Path, renamed: dict[Path, str], places: dict[Path, Place]) -> Place:
    """The place that a path leads to once its names are redacted; each is made once."""
    if path is None:
        return None
    if path not in places:
        places[path] = (_place(path[0], renamed, places), renamed.get(path, path[1]))
    return places[path]


def _rebuilt(value: Any, path: Path, change: _Change, renamed: dict[Path, str]) -> Any:
    """The value with what is below it changed; what is not changed is shared with the value as it came."""
    if change.replacement is not None:
        return change.replacement
    if not change.is_reshaped:
        copied = value.copy()
        for step, below in change.below.items():
            copied[step] = _rebuilt(value[step], (path, step), below, renamed)
        return copied
    return _renamed_members(value, path, change, renamed)


def _renamed_members(value: dict[str, Any], path: Path, change: _Change, renamed: dict[Path, str]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    numbers: dict[str, int] = {}
    for key, member in value.items():
        below = change.below.get(key)
        name = _unique(key if below is None or below.name is None else below.name, members, numbers)
        if name != key:
            renamed[path, key] = name
        if below is None:
            members[name] = member
        elif not below.is_dropped:
            members[name] = _rebuilt(member, (path, key), below, renamed) if _has_more(below) else member
    return members


def _has_more(change: _Change) -> bool:
    """Whether the value itself changes, and not only its name."""
    return change.replacement is not None or bool(change.below)


def _unique(name: str, taken: dict[str, Any], numbers: dict[str, int]) -> str:
    """Two keys that redact alike get `#2`, `#3` (contract.md, contradiction 8); `numbers` holds the next of each."""
    if name not in taken:
        return name
    number = numbers.get(name, 2)
    while f"{name}#{number}" in taken:
        number += 1
    numbers[name] = number + 1
    return f"{name}#{number}"
