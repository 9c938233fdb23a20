"""Redaction: nothing personal leaves, nothing else is touched.

Field names decide first; then all texts of a value are searched in one pass for which detectors
occur at all (re2.Set), and only those look for spans, text by text. Text is matched in a folded form
(NFKC, ASCII digits, no invisible characters); what is found is replaced there.

Time is linear in the size of the value.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
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


@dataclass(slots=True)
class _Text:
    """One text to search: a string value, a number's digits, or a dict key."""

    place: int
    path: Path
    text: str
    exempt: frozenset[str]
    is_number: bool = False
    is_key: bool = False


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a field's name says of its value."""

    rule: FieldRule | None
    exempt: frozenset[str]
    name_suspect: bool
    """Whether the name itself holds something that a pattern matches, so that it must be searched."""


_NO_PLAN = _Plan(None, frozenset(), name_suspect=False)


class _Edits:
    """What is to be changed, by path, in document order; nothing is changed until all is known."""

    def __init__(self) -> None:
        self.values: dict[Path, str] = {}
        self.dropped: set[Path] = set()
        self.keys: dict[Path, str] = {}
        """New names, by the path of the member that they name."""
        self.found: list[tuple[int, Path, str, str, int]] = []
        """(place in the document, path, detector, action, length)"""
        self.places = count()
        self.budget = Budget(0)
        """How often numbering plans may still be asked about this value."""


def redact(value: Any, rules: Rules) -> RedactedPayload:
    """Return `value` (any JSON value) with what the rules find replaced. The input is not changed.

    A detector that fails withholds the text it failed on: a fault never lets a raw value through.
    """
    texts: list[_Text] = []
    edits = _Edits()
    _collect(value, None, _NO_PLAN, rules, texts, edits)
    if texts:
        _search(texts, rules, edits)
    if not edits.found:
        return RedactedPayload(value, ())
    return _apply(value, edits)


def _collect(  # noqa: PLR0917 - one walk, and what it gathers
    value: Any, path: Path, plan: _Plan, rules: Rules, texts: list[_Text], edits: _Edits
) -> None:
    kind = type(value)
    if kind is str:
        texts.append(_Text(next(edits.places), path, value, plan.exempt))
    elif kind is dict:
        for key, member in value.items():
            below = (path, key)
            named = _plan(rules, key)
            if named.name_suspect:
                texts.append(_Text(next(edits.places), below, key, frozenset(), is_key=True))
            rule = named.rule
            if rule is None or member is None or member is True or member is False or member == "":
                _collect(member, below, named, rules, texts, edits)
            elif member != rule.replacement or rule.action == "drop":  # what was redacted before is not found again
                _replace_whole(member, below, rule, edits)
    elif kind is list:
        for index, item in enumerate(value):
            _collect(item, (path, index), plan, rules, texts, edits)
    elif (kind is int or kind is float) and abs(value) >= MIN_NUMBER and value == int(value):
        texts.append(_Text(next(edits.places), path, str(abs(int(value))), plan.exempt, is_number=True))


def _replace_whole(value: Any, path: Path, rule: FieldRule, edits: _Edits) -> None:
    if rule.action == "drop":
        edits.dropped.add(path)
    else:
        edits.values[path] = rule.replacement
    length = len(value) if isinstance(value, str) else len(str(value))
    edits.found.append((next(edits.places), path, rule.name, rule.action, length))


def _plan(rules: Rules, name: str) -> _Plan:
    plan = _remembered_plan if len(name) <= _LONG_NAME else _remembered_plan.__wrapped__
    return plan(_ByIdentity(rules), name)


@dataclass(frozen=True, slots=True, eq=False)
class _ByIdentity:
    """A key for the memory: the rules themselves hold compiled patterns and have no useful hash."""

    rules: Rules

    def __hash__(self) -> int:
        return id(self.rules)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and other.rules is self.rules


@lru_cache(maxsize=_MEMORY)
def _remembered_plan(key: _ByIdentity, name: str) -> _Plan:
    rules = key.rules
    return _Plan(
        rule=rules.fields.find(name),
        exempt=rules.exempt.find(name) or frozenset(),
        name_suspect=bool(_occurring(name, rules)),
    )


def _search(texts: Sequence[_Text], rules: Rules, edits: _Edits) -> None:
    # A newline is no part of a word, so `\b` at a text's ends holds in the joined text too.
    joined = "\n".join([text.text for text in texts])
    if not _occurring(joined, rules):
        return
    edits.budget.left = MAX_ASKED_PER_KB * (len(joined) // _KB + 1)
    for text in texts:
        _search_text(text, rules, edits)


def _occurring(text: str, rules: Rules) -> list[Detector]:
    """The detectors whose pattern occurs anywhere; all of them where that cannot be asked."""
    if rules.any_of is None:
        return []
    try:
        places = rules.any_of.Match(fold(text).encode())  # None where nothing occurs
        return [rules.detectors[place] for place in sorted(places)] if places else []
    except Exception:  # noqa: BLE001 - fail closed: the slow way decides
        return list(rules.detectors)


def _search_text(text: _Text, rules: Rules, edits: _Edits) -> None:
    try:
        replaced = _redact_text(text, rules, edits)
    except Exception:  # noqa: BLE001 - fail closed: the whole text is withheld, and counted by the caller
        edits.found.append((text.place, text.path, FAILED, "redact", len(text.text)))
        replaced = _WITHHELD
    if replaced is None:
        return
    if text.is_key:
        edits.keys[text.path] = replaced
    else:
        edits.values[text.path] = replaced


def _redact_text(text: _Text, rules: Rules, edits: _Edits) -> str | None:
    """The text with what was found replaced, or None where nothing was.

    What stood glued to a value stands alone once it is replaced, so the result is searched again.
    """
    current: str | None = None
    for _ in range(_PASSES):
        searched = text.text if current is None else current
        wanted = [detector for detector in _occurring(searched, rules) if detector.name not in text.exempt]
        data = fold(searched).encode()
        spans = find(data, wanted, is_number=text.is_number, budget=edits.budget)
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
        edits.found.append((text.place, text.path, span.detector.name, span.detector.action, end - start))
    pieces.append(searched[position:])
    return "".join(pieces)


def _apply(value: Any, edits: _Edits) -> RedactedPayload:
    renamed: dict[Path, str] = {}
    changed = _rebuild(value, None, edits, renamed)
    places: dict[Path, Place] = {None: None}
    findings = tuple(
        Finding(_place(path, renamed, places), detector, action, length)
        for _, path, detector, action, length in sorted(edits.found, key=itemgetter(0))
    )
    return RedactedPayload(changed, findings)


def _place(path: Path, renamed: dict[Path, str], places: dict[Path, Place]) -> Place:
    """The place that a path leads to once its names are redacted; each is made once."""
    if path is None:
        return None
    if path not in places:
        places[path] = (_place(path[0], renamed, places), renamed.get(path, path[1]))
    return places[path]


def _rebuild(value: Any, path: Path, edits: _Edits, renamed: dict[Path, str]) -> Any:
    if path in edits.values:
        return edits.values[path]
    if type(value) is dict:
        members: dict[str, Any] = {}
        numbers: dict[str, int] = {}
        for key, member in value.items():
            below = (path, key)
            name = _unique(edits.keys.get(below, str(key)), members, numbers)
            if name != key:
                renamed[below] = name
            if below not in edits.dropped:
                members[name] = _rebuild(member, below, edits, renamed)
        return members
    if type(value) is list:
        return [
            _rebuild(item, (path, index), edits, renamed)
            for index, item in enumerate(value)
            if (path, index) not in edits.dropped
        ]
    return value


def _unique(name: str, taken: dict[str, Any], numbers: dict[str, int]) -> str:
    """Two keys that redact alike get `#2`, `#3` (contract.md, contradiction 8); `numbers` holds the next of each."""
    if name not in taken:
        return name
    number = numbers.get(name, 2)
    while f"{name}#{number}" in taken:
        number += 1
    numbers[name] = number + 1
    return f"{name}#{number}"
