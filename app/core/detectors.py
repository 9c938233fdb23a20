"""The table of what redaction looks for, read from `config/detectors.toml` and tried before it is used.

A bad row is refused with its line and its fault: a detector that silently finds nothing is a leak.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

import re2

from app.core.candidates import Validator
from app.core.field_patterns import in_text
from app.core.folding import fold
from app.core.patterns import Pattern, options
from app.core.pseudonyms import Pseudonyms
from app.core.redaction import redact
from app.core.rules import Allowed, Detector, FieldRule, NameTable, Rules, names_of, words_of
from app.core.table import Row, RuleError, is_texts, parse, rows, slip
from app.core.validators import PHONE_REGIONS, validators
from app.core.walk import POLICY

__all__ = ["ACTIONS", "POLICY_ACTIONS", "RuleError", "load_rules"]

ACTIONS: Final = ("redact", "pseudonymise", "drop", "keep")
_STARTS: Final = ("", "word", "number")
POLICY_ACTIONS: Final = ("keep", "redact", "hash", "drop")

_KINDS: Final = ("settings", "detector", "deny", "allow", "field", "exempt", "policy")

# A text is searched as part of a longer one, so an anchor would make a pattern miss silently.
_ANCHOR = re.compile(r"(?<!\\)(?:\\\\)*(?:\\[AzZ]|[$]|(?<!\[)\^)")
_CLASS = re.compile(r"\[(?:\\.|[^\]\\])+\]")

# Texts in which a pattern that can match nothing shows itself.
_PROBES: Final = (b"", b"a", b" ", b"a b")

_DETECTOR_KEYS = frozenset(
    [
        "name",
        "why",
        "patterns",
        "validate",
        "context",
        "unless",
        "not_after",
        "not_before",
        "starts",
        "yields_to",
        "numbers",
        "action",
        "finds",
        "leaves",
    ]
)
_DENY_KEYS = frozenset(["name", "why", "words", "action"])
_ALLOW_KEYS = frozenset(["why", "values", "patterns", "spans", "detectors"])
_FIELD_KEYS = frozenset(["name", "why", "names", "suffixes", "action", "in_text", "least_digits", "check"])
_EXEMPT_KEYS = frozenset(["why", "names", "suffixes", "detectors"])
_POLICY_KEYS = frozenset(["why", "events", "fields", "action"])
_DEFAULT_REGIONS: Final = ("US", "GB")
_DENIED: Final = "denied"

# A word, or a part of a name that is one (`phone_number`, `string_to_md5`); a number may begin where it ends.
_AS_PART: Final = "(?i)(?:[^a-z]|^)(?:{})(?:[^a-z]|$)"

_CODE = re.compile(r"[A-Za-z]{2}")

_EVENT = re.compile(r"[a-z][a-z0-9_.-]{0,63}|\*")


def load_rules(text: str, pseudonyms: Pseudonyms | None = None, digests: Pseudonyms | None = None) -> Rules:
    """Compile the table, try each row's own examples, and return it; raise RuleError for a bad row.

    `pseudonyms` are what the action `pseudonymise` gives (None: it redacts), `digests` what the policy `hash` gives
    (None: those of `pseudonyms`; without either it redacts).
    """
    return replace(_compiled_table(text), pseudonyms=pseudonyms, digests=digests or pseudonyms, memory={})


@lru_cache(maxsize=2)
def _compiled_table(text: str) -> Rules:
    """The rules of a table; remembered, so that what a master process has compiled its workers are born with."""
    table = parse(text, _KINDS)
    checks = validators(_regions(table))
    allowed = _Allowances([*rows(table, "allow", text)])
    detectors: list[Detector] = []
    for row in rows(table, "detector", text):
        compiled = _detectors(row, checks, len(detectors))
        _try_examples(row, compiled)
        detectors += compiled
    for row in rows(table, "deny", text):
        detectors += _denied(row, len(detectors))
    for row in rows(table, "field", text):
        detectors += _in_text(row, checks, len(detectors))
    known = {row.keys.get("name", _DENIED) for kind in ("detector", "deny") for row in rows(table, kind, text)}
    for row in rows(table, "detector", text):
        unknown = sorted(set(row.texts("yields_to", "names")) - known)
        if unknown:
            raise row.fault(f"yields_to: a name{slip(unknown[0], known)} that no detector has")
    fields = _field_rules(rows(table, "field", text), allowed, checks)
    allowed.check(known | set(_names_in(table, "field")))
    exempt = _exemptions(rows(table, "exempt", text), known)
    compiled_all = tuple(replace(one, allowed=allowed.of(one.name)) for one in detectors)
    return replace(
        _compiled(compiled_all, fields, exempt),
        shields=allowed.spans,
        policies=_policies(rows(table, "policy", text)),
    )


def _regions(table: Mapping[str, Any]) -> Sequence[str]:
    settings = table.get("settings", {})
    if not isinstance(settings, dict) or set(settings) - {"phone_regions"}:
        raise RuleError(0, "[settings] takes phone_regions, a list of country codes, and nothing else")
    regions = settings.get("phone_regions", list(_DEFAULT_REGIONS))
    if not is_texts(regions):
        raise RuleError(0, "[settings] phone_regions: a list of country codes")
    unknown = sorted(set(regions) - PHONE_REGIONS)
    if unknown:
        code = repr(unknown[0]) if _CODE.fullmatch(unknown[0]) else f"number {regions.index(unknown[0]) + 1}"
        raise RuleError(0, f"[settings] phone_regions: {code} is no ISO 3166 code with a numbering plan")
    return list(regions)


def _names_in(table: Mapping[str, Any], kind: str) -> list[str]:
    """The names of all rows, those that are switched off included."""
    return [row["name"] for row in table.get(kind, [])]


def _detectors(row: Row, checks: Mapping[str, Validator], order: int) -> list[Detector]:
    row.check_keys(_DETECTOR_KEYS, required=("name", "why", "patterns"))
    action = row.choice("action", ACTIONS, "redact")
    validate = row.keys.get("validate")
    if validate is not None and (not isinstance(validate, str) or validate not in checks):
        raise row.fault(f"validate: unknown check{slip(str(validate), checks)}; there are {', '.join(sorted(checks))}")
    numbers = row.flag("numbers")
    yields_to = frozenset(row.some_texts("yields_to", "names of detectors"))
    starts = row.choice("starts", _STARTS, "") or None
    context = _words(row, "context", _AS_PART, is_part=True)
    unless = _words(row, "unless", _AS_PART, is_part=True)
    not_after = _words(row, "not_after", r"(?i)(?:{})[ :=\"'#.]{{0,8}}\z")
    not_before = _words(row, "not_before", r"(?i)[ -]?(?:{})")
    patterns = [_compile(pattern, row) for pattern in row.some_texts("patterns", "RE2 patterns")]
    if action == "keep":
        return []
    return [
        Detector(
            name=row.keys["name"],
            pattern=pattern,
            action=action,
            order=order + place,
            validate=checks[validate] if validate else None,
            context=context,
            unless=unless,
            not_after=not_after,
            not_before=not_before,
            starts=starts,
            yields_to=yields_to,
            numbers=numbers,
        )
        for place, pattern in enumerate(patterns)
    ]


def _compile(pattern: str, row: Row) -> Pattern:
    if _ANCHOR.search(_CLASS.sub("", pattern)):
        raise row.fault("patterns: no ^, $, \\A or \\z: texts are searched inside; use \\b")
    compiled = _re2(pattern, row)
    if any((match := compiled.search(text)) and match[0][0] == match[0][1] for text in _PROBES):
        raise row.fault("patterns: matches the empty text")
    return compiled


def _re2(pattern: str, row: Row) -> Pattern:
    """A pattern that a row has, compiled; what is wrong with it is the row's fault."""
    try:
        return Pattern(pattern)
    except re2.error as exc:
        raise row.fault(f"patterns: not RE2 syntax: {_message(exc)}") from exc


def _compiled(
    detectors: tuple[Detector, ...], fields: NameTable[FieldRule], exempt: NameTable[frozenset[str]]
) -> Rules:
    """The rules with all patterns, and each context once, in one set, and what redaction itself leaves behind."""
    if not detectors:
        return Rules((), None, fields, exempt)
    together = re2.Set.SearchSet(options())
    for detector in detectors:
        together.Add(detector.pattern.pattern)
    contexts: dict[str, int] = {}
    for detector in detectors:
        if detector.context is not None and detector.context.pattern not in contexts:
            contexts[detector.context.pattern] = together.Add(detector.context.pattern)
    together.Compile()
    placed = tuple(
        replace(one, context_place=None if one.context is None else contexts[one.context.pattern]) for one in detectors
    )
    names = "|".join(sorted(name.upper() for name in {*names_of(detectors, fields), POLICY}))
    marks = Pattern(rf"\[REDACTED\]|\[REDACTED_(?:{names})\]|\[(?:{names}):[a-z0-9][a-z0-9_-]{{0,15}}:[0-9a-f]{{32}}\]")
    return Rules(placed, together, fields, exempt, marks)


def _words(row: Row, key: str, frame: str, *, is_part: bool = False) -> Pattern | None:
    """Words of a row as a pattern; `is_part`: also as a part of a name (`string_to_md5`)."""
    words = row.some_texts(key, "words")
    written = [str(re2.escape(fold(word))) if is_part else _whole_word(word) for word in words]
    return Pattern(frame.format("|".join(written))) if words else None


def _whole_word(word: str) -> str:
    """A word as a pattern; at a sign (`No.`), or a letter that RE2 knows no word by, no word's end is asked for."""
    plain = fold(word)
    ahead = r"\b" if plain[:1].isascii() and plain[:1].isalnum() else ""
    behind = r"\b" if plain[-1:].isascii() and plain[-1:].isalnum() else ""
    return ahead + str(re2.escape(plain)) + behind


def _denied(row: Row, order: int) -> list[Detector]:
    row.check_keys(_DENY_KEYS, required=("why", "words"))
    action = row.choice("action", ACTIONS, "redact")
    words = row.some_texts("words", "words")
    if not all(fold(word).strip() for word in words):
        raise row.fault("words: none may be empty")
    pattern = Pattern("(?i)(?:" + "|".join(map(_whole_word, words)) + ")")
    name = row.keys.get("name", _DENIED)
    return [] if action == "keep" else [Detector(name=name, pattern=pattern, action=action, order=order)]


def _in_text(row: Row, checks: Mapping[str, Validator], order: int) -> list[Detector]:
    """What finds a field inside a text, where the row says by which check."""
    row.check_keys(_FIELD_KEYS, required=("name", "why"))
    action = row.choice("action", ACTIONS, "redact")
    check = row.choice("in_text", ["", *checks], "")
    if not check or action == "keep":
        return []
    names, suffixes = ([words_of(name) for name in row.texts(key, "field names")] for key in ("names", "suffixes"))
    pattern = Pattern(in_text(names, suffixes, _least_digits(row)))
    validate = replace(checks[check], restarts=False)
    name = row.keys["name"]
    return [Detector(name, pattern, action, order, validate=validate)]


def _least_digits(row: Row) -> int:
    given = row.keys.get("least_digits", 0)
    if not isinstance(given, int) or isinstance(given, bool) or given < 0:
        raise row.fault("least_digits: a whole number")
    return given


class _Allowances:
    """The allow-list: what each detector or field leaves alone."""

    def __init__(self, listed: Sequence[Row]) -> None:
        self._rows = listed
        self._values: dict[str | None, set[str]] = {}
        self._patterns: dict[str | None, list[str]] = {}
        self._spans: list[str] = []
        for row in listed:
            row.check_keys(_ALLOW_KEYS, required=("why",))
            values = [fold(value).casefold() for value in row.some_texts("values", "values")]
            patterns = [self._pattern(pattern, row) for pattern in row.some_texts("patterns", "RE2 patterns")]
            spans = [self._pattern(pattern, row) for pattern in row.some_texts("spans", "RE2 patterns")]
            if not values and not patterns and not spans:
                raise row.fault("values, patterns, spans: at least one")
            if spans and (values or patterns or row.keys.get("detectors")):
                raise row.fault("spans: a row of their own, for all detectors")
            self._spans += spans
            named: list[str | None] = [*row.some_texts("detectors", "detector or field names")]
            for name in named or [None]:
                self._values.setdefault(name, set()).update(values)
                self._patterns.setdefault(name, []).extend(patterns)

    def check(self, known: set[str]) -> None:
        """Refuse a row that speaks of a detector or field that there is not."""
        for row in self._rows:
            unknown = sorted(set(row.texts("detectors", "names")) - known)
            if unknown:
                raise row.fault(f"detectors: a name{slip(unknown[0], known)} that no detector or field has")

    @property
    def spans(self) -> Pattern | None:
        """The stretches of text in which nothing is found."""
        return Pattern("|".join(self._spans)) if self._spans else None

    def of(self, name: str) -> Allowed | None:
        """Return what a detector or field leaves alone, or None."""
        values = self._values.get(None, set()) | self._values.get(name, set())
        patterns = (*self._patterns.get(None, ()), *self._patterns.get(name, ()))
        together = Pattern(f"(?i)(?:{'|'.join(patterns)})") if patterns else None
        return Allowed(frozenset(values), together) if values or patterns else None

    def _pattern(self, pattern: str, row: Row) -> str:
        _re2(f"(?i){pattern}", row)
        return f"(?:{pattern})"


def _field_rules(listed: Sequence[Row], allowed: _Allowances, checks: Mapping[str, Validator]) -> NameTable[FieldRule]:
    names: dict[str, FieldRule] = {}
    suffixes: dict[str, FieldRule] = {}
    for row in listed:
        row.check_keys(_FIELD_KEYS, required=("name", "why"))
        action = row.choice("action", ACTIONS, "redact")
        exact, last = _names(row)
        if action != "keep":
            check = checks.get(row.choice("check", ["", *checks], ""))
            rule = FieldRule(row.keys["name"], action, allowed.of(row.keys["name"]), _least_digits(row), check)
            names.update(dict.fromkeys(exact, rule))
            suffixes.update(dict.fromkeys(last, rule))
    return NameTable(names, suffixes)


def _exemptions(listed: Sequence[Row], known: set[str]) -> NameTable[frozenset[str]]:
    names: dict[str, frozenset[str]] = {}
    suffixes: dict[str, frozenset[str]] = {}
    for row in listed:
        row.check_keys(_EXEMPT_KEYS, required=("why", "detectors"))
        detectors = frozenset(row.texts("detectors", "detector names"))
        unknown = sorted(detectors - known)
        if unknown:
            raise row.fault(f"detectors: a name{slip(unknown[0], known)} that no detector has")
        exact, last = _names(row)
        names.update(dict.fromkeys(exact, detectors))
        suffixes.update(dict.fromkeys(last, detectors))
    return NameTable(names, suffixes)


def _names(row: Row) -> tuple[list[str], list[str]]:
    """The names and the suffixes of a row, each as its words run together."""
    found = [["".join(words_of(name)) for name in row.texts(key, "field names")] for key in ("names", "suffixes")]
    if not any(found):
        raise row.fault("names, suffixes: at least one field name")
    return found[0], found[1]


def _policies(listed: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """By event type a tree of field names. What is said of an event type holds instead of what is said of `*`."""
    said: dict[str, dict[tuple[str, ...], str]] = {}
    for row in listed:
        row.check_keys(_POLICY_KEYS, required=("why", "events", "fields", "action"))
        action = row.choice("action", POLICY_ACTIONS, "")
        for event in row.texts("events", "event types, or *"):
            if not _EVENT.fullmatch(event):
                raise row.fault("events: event types, as /log takes them, or *")
            for place, written in enumerate(row.texts("fields", "paths, such as response.text"), 1):
                path = tuple(written.split("."))
                if not all(path):
                    raise row.fault("fields: paths, such as response.text; * stands for any name or item")
                if action == "drop" and path[-1] == "*":
                    raise row.fault("fields: what is dropped has a name; * is any name or item")
                if said.setdefault(event, {}).setdefault(path, action) != action:
                    raise row.fault(f"fields: path {place} already has another policy for {event}")
    everywhere = said.get("*", {})
    return {event: _tree({**everywhere, **paths}) for event, paths in said.items()}


def _tree(paths: Mapping[tuple[str, ...], str]) -> dict[str, Any]:
    """Paths as a tree; where one path goes on behind another's end, the shorter one decides."""
    tree: dict[str, Any] = {}
    for path in sorted(paths, key=len):
        node: Any = tree
        for step in path[:-1]:
            node = node.setdefault(step, {}) if isinstance(node, dict) else node
        if isinstance(node, dict):
            node.setdefault(path[-1], paths[path])
    return tree


def _try_examples(row: Row, own: Sequence[Detector]) -> None:
    """A row's own examples: one that misses what it was written for stops the start."""
    alone = Rules(tuple(own), None, NameTable({}, {}), NameTable({}, {}))
    for key, wanted in (("finds", True), ("leaves", False)):
        examples = row.texts(key, "texts")
        for place, example in enumerate(examples if own else ()):
            if bool(redact(example, alone).findings) is not wanted:
                verb = "finds nothing in" if wanted else "finds something in"
                raise row.fault(f"{row.keys['name']} {verb} example {place + 1} of `{key}`")


def _message(exc: Exception) -> str:
    """What RE2 says is wrong, without the piece of the pattern that it quotes behind a colon."""
    reason = exc.args[0] if exc.args else "?"
    return (reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)).partition(": ")[0]
