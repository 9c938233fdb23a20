"""Redaction: nothing personal leaves, nothing else is touched.

Field names decide first; then all texts of a value are searched in one pass for which detectors
occur at all (re2.Set), and only those look for spans, text by text. Text is matched in a folded form
(NFKC, ASCII digits, no invisible characters); what is found is replaced there.

Time is linear in the size of the value: RE2 has no backtracking, and code is asked about a bounded
number of candidates a kilobyte.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from app.core.events import Finding, RedactedPayload
from app.core.rules import Detector, FieldRule, Rules
from app.core.validators import Candidate

CONTEXT_BYTES: Final = 48
"""How far before a match its context words may stand: "within a few words" (redaction.md)."""

MAX_CANDIDATES_PER_KB: Final = 32
"""Candidates that code is asked about; past it a candidate is redacted unasked (redaction.md)."""

MIN_NUMBER: Final = 10**11
"""The smallest JSON number a detector could mean: 12 digits, the shortest card."""

FAILED = "failed"
"""The detector name under which a value stands that a fault in a detector has made us withhold."""

_WITHHELD: Final = "[REDACTED]"
_KB: Final = 1024
_MEMORY: Final = 4096
"""Field names whose plan is remembered. Names repeat; callers cannot make the memory grow."""

Path = tuple["Path", str | int] | None
"""The way to a container, innermost step first: (its parent's path, key or index)."""


@dataclass(slots=True)
class _Text:
    """One text to search: a string value, a number's digits, or a dict key."""

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


@dataclass(frozen=True, slots=True)
class _Span:
    start: int
    end: int
    detector: Detector


class _Edits:
    """What is to be changed, by path, in document order; nothing is changed until all is known."""

    def __init__(self) -> None:
        self.values: dict[Path, str] = {}
        self.dropped: set[Path] = set()
        self.keys: dict[Path, str] = {}
        """New names, by the path of the member that they name."""
        self.found: list[tuple[Path, str, str, int]] = []
        """(path, detector, action, length)"""


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
        texts.append(_Text(path, value, plan.exempt))
    elif kind is dict:
        for key, member in value.items():
            below = (path, key)
            named = _plan(rules, key)
            if named.name_suspect:
                texts.append(_Text(below, key, frozenset(), is_key=True))
            if named.rule is None or member is None or member is True or member is False or member == "":
                _collect(member, below, named, rules, texts, edits)
            else:
                _replace_whole(member, below, named.rule, edits)
    elif kind is list:
        for index, item in enumerate(value):
            _collect(item, (path, index), plan, rules, texts, edits)
    elif (kind is int or kind is float) and abs(value) >= MIN_NUMBER and value == int(value):
        texts.append(_Text(path, str(abs(int(value))), plan.exempt, is_number=True))


def _replace_whole(value: Any, path: Path, rule: FieldRule, edits: _Edits) -> None:
    if rule.action == "drop":
        edits.dropped.add(path)
    else:
        edits.values[path] = rule.replacement
    length = len(value) if isinstance(value, str) else len(str(value))
    edits.found.append((path, rule.name, rule.action, length))


def _plan(rules: Rules, name: str) -> _Plan:
    return _remembered_plan(_ByIdentity(rules), name)


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
    if not _occurring("\n".join([text.text for text in texts]), rules):
        return
    before = len(edits.found)
    for text in texts:
        detectors = _occurring(text.text, rules)
        if detectors:
            _search_text(text, detectors, edits)
    if before and len(edits.found) > before:
        # Field rules were noted on the way down; put all findings back into document order.
        order = {text.path: place for place, text in enumerate(texts)}
        edits.found.sort(key=lambda found: order.get(found[0], len(order)))


def _occurring(text: str, rules: Rules) -> list[Detector]:
    """The detectors whose pattern occurs anywhere; all of them where that cannot be asked."""
    if rules.any_of is None:
        return []
    try:
        places = rules.any_of.Match(_fold(text).encode())  # None where nothing occurs
        return [rules.detectors[place] for place in sorted(places)] if places else []
    except Exception:  # noqa: BLE001 - fail closed: the slow way decides
        return list(rules.detectors)


def _search_text(text: _Text, detectors: Sequence[Detector], edits: _Edits) -> None:
    try:
        folded = _fold(text.text)
        data = folded.encode()
        spans = list(_spans(data, text, detectors))
        if not spans:
            return
        replaced = _replace(data, spans, text, edits)
    except Exception:  # noqa: BLE001 - fail closed: the whole text is withheld, and counted by the caller
        edits.found.append((text.path, FAILED, "redact", len(text.text)))
        replaced = _WITHHELD
    if text.is_key:
        edits.keys[text.path] = replaced
    else:
        edits.values[text.path] = replaced


def _spans(data: bytes, text: _Text, detectors: Sequence[Detector]) -> Iterator[_Span]:
    budget = MAX_CANDIDATES_PER_KB * (len(data) // _KB + 1)
    for detector in detectors:
        if detector.name in text.exempt or (text.is_number and not detector.numbers):
            continue
        position = 0
        while (match := detector.pattern.search(data, position)) is not None:
            start, end = match.span()
            if budget > 0 and not _holds(detector, data, start, end):
                budget -= 1
                # A rejected candidate may hold a true one: look again behind its first group.
                position = _next_group(data, start, end) if detector.validate else end
                continue
            yield _Span(start, end, detector)
            position = end


def _holds(detector: Detector, data: bytes, start: int, end: int) -> bool:
    ahead = data[max(0, start - CONTEXT_BYTES) : start]
    if detector.context is not None and detector.context.search(ahead) is None:
        return False
    if detector.not_after is not None and _ends_with_word(detector.not_after, ahead):
        return False
    if detector.validate is None:
        return True
    found = Candidate(
        text=data[start:end].decode(),
        before=ahead[-2:].decode(errors="ignore"),
        after=data[end : end + 2].decode(errors="ignore"),
    )
    return detector.validate(found)


def _ends_with_word(words: Any, ahead: bytes) -> bool:
    """Whether one of the words stands right before the match: "version 1.2.3.4", "v1.2.3.4"."""
    close = ahead.rstrip(b" :=\"'")
    return any(found.end() == len(close) for found in words.finditer(close))


def _next_group(data: bytes, start: int, end: int) -> int:
    for place in range(start, end):
        if not chr(data[place]).isalnum():
            return place + 1
    return end


def _replace(data: bytes, spans: list[_Span], text: _Text, edits: _Edits) -> str:
    pieces: list[str] = []
    position = 0
    for start, end, detector in _merged(spans):
        pieces += (data[position:start].decode(), detector.replacement)
        position = end
        edits.found.append((text.path, detector.name, detector.action, len(data[start:end].decode())))
    pieces.append(data[position:].decode())
    return "".join(pieces)


def _merged(spans: list[_Span]) -> list[tuple[int, int, Detector]]:
    """Overlapping spans become one, named by the longest of them (of equals, by the earlier row)."""
    merged: list[tuple[int, int, Detector]] = []
    longest = 0
    for span in sorted(spans, key=lambda s: (s.start, -s.end, s.detector.order)):
        length = span.end - span.start
        if merged and span.start < merged[-1][1]:
            start, end, named = merged[-1]
            if length > longest:
                named, longest = span.detector, length
            merged[-1] = (start, max(end, span.end), named)
        else:
            merged.append((span.start, span.end, span.detector))
            longest = length
    return merged


def _apply(value: Any, edits: _Edits) -> RedactedPayload:
    renamed: dict[Path, str] = {}
    changed = _rebuild(value, None, edits, renamed)
    findings = tuple(
        Finding(_pointer(path, renamed), detector, action, _field(path, renamed), length)
        for path, detector, action, length in edits.found
    )
    return RedactedPayload(changed, findings)


def _rebuild(value: Any, path: Path, edits: _Edits, renamed: dict[Path, str]) -> Any:
    if path in edits.values:
        return edits.values[path]
    if type(value) is dict:
        members: dict[str, Any] = {}
        for key, member in value.items():
            below = (path, key)
            name = _unique(edits.keys.get(below, str(key)), members)
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


def _unique(name: str, taken: dict[str, Any]) -> str:
    """Two keys that redact alike get `#2`, `#3` (contract.md, contradiction 8)."""
    if name not in taken:
        return name
    number = 2
    while f"{name}#{number}" in taken:
        number += 1
    return f"{name}#{number}"


def _pointer(path: Path, renamed: dict[Path, str]) -> str:
    steps: list[str] = []
    while path is not None:
        step = renamed.get(path, path[1])
        steps.append(str(step).replace("~", "~0").replace("/", "~1"))
        path = path[0]
    return "".join(f"/{step}" for step in reversed(steps))


def _field(path: Path, renamed: dict[Path, str]) -> str | None:
    while path is not None:
        if isinstance(path[1], str):
            return renamed.get(path, path[1])
        path = path[0]
    return None


def _fold(text: str) -> str:
    """The form that text is matched in, so that no spelling of a character hides a value."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFKC", text).translate(_FOLDING)


class _Folding(dict[int, int | None]):
    """ASCII for every decimal digit, and nothing for format characters (soft hyphen, zero width, bidi)."""

    def __missing__(self, code: int) -> int | None:
        sign = chr(code)
        category = unicodedata.category(sign)
        folded: int | None = code
        if category == "Nd":
            folded = ord("0") + unicodedata.decimal(sign)
        elif category == "Cf":
            folded = None
        self[code] = folded
        return folded


_FOLDING = _Folding()
