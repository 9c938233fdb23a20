"""The table of what redaction looks for, read from `config/detectors.toml` and tried before it is used.

A bad row is refused with its line and its fault: a detector that silently finds nothing is a leak.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import re2

from app.core.redaction import redact
from app.core.rules import Detector, FieldRule, NameTable, Rules, words_of
from app.core.validators import PHONE_REGIONS, Validator, validators

ACTIONS: Final = ("redact", "drop", "keep")

_MAX_MEM_BYTES: Final = 64 << 20
"""RE2's budget for one automaton. It is filled lazily; re2.Set has no slow path to fall back to when
it runs out, it would answer "nothing found", so the budget is far above what the table needs."""

# A text is searched as part of a longer one, so an anchor would make a pattern miss silently.
_ANCHOR = re.compile(r"(?<!\\)(?:\\\\)*(?:\\[AzZ]|[$]|(?<!\[)\^)")
_CLASS = re.compile(r"\[(?:\\.|[^\]\\])+\]")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")

# Texts in which a pattern that can match nothing shows itself.
_PROBES: Final = (b"", b"a", b" ", b"a b")

_DETECTOR_KEYS = frozenset(
    ["name", "why", "patterns", "validate", "context", "not_after", "numbers", "action", "finds", "leaves"]
)
_FIELD_KEYS = frozenset(["name", "why", "names", "suffixes", "action"])
_EXEMPT_KEYS = frozenset(["why", "names", "suffixes", "detectors"])
_DEFAULT_REGIONS: Final = ("US", "GB")


class RuleError(Exception):
    """A row of the table is wrong; `line` is where it starts (0: the whole file)."""

    def __init__(self, line: int, fault: str) -> None:
        """`fault` says what is wrong and what would be right."""
        super().__init__(f"line {line}: {fault}" if line else fault)
        self.line = line
        self.fault = fault


def load_rules(text: str) -> Rules:
    """Compile the table, try each row's own examples, and return it; raise RuleError for a bad row."""
    table = _parse(text)
    checks = validators(_regions(table))
    detectors: list[Detector] = []
    for row, line in _numbered(table, "detector", text):
        compiled = _detectors(row, line, checks, len(detectors))
        _try_examples(row, line, compiled)
        detectors += compiled
    fields = _field_rules(_numbered(table, "field", text))
    exempt = _exemptions(_numbered(table, "exempt", text), _names_of(table))
    return Rules(tuple(detectors), _compile_set(detectors), fields, exempt)


def _parse(text: str) -> dict[str, Any]:
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise RuleError(0, f"not TOML: {exc}") from exc
    unknown = sorted(set(table) - {"settings", "detector", "field", "exempt"})
    if unknown:
        raise RuleError(0, f"unknown table {unknown[0]!r}; there are settings, detector, field and exempt")
    return table


def _regions(table: Mapping[str, Any]) -> Sequence[str]:
    settings = table.get("settings", {})
    if not isinstance(settings, dict) or set(settings) - {"phone_regions"}:
        raise RuleError(0, "[settings] takes phone_regions, a list of country codes, and nothing else")
    regions = settings.get("phone_regions", list(_DEFAULT_REGIONS))
    if not _is_texts(regions):
        raise RuleError(0, "[settings] phone_regions: a list of country codes")
    unknown = sorted(set(regions) - PHONE_REGIONS)
    if unknown:
        raise RuleError(0, f"[settings] phone_regions: {unknown[0]!r} is no ISO 3166 code with a numbering plan")
    return list(regions)


def _rows(table: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    rows = table.get(kind, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise RuleError(0, f"write [[{kind}]], one for each row")
    return rows


def _numbered(table: Mapping[str, Any], kind: str, text: str) -> list[tuple[dict[str, Any], int]]:
    rows = _rows(table, kind)
    return list(zip(rows, _lines(text, kind, rows), strict=True))


def _names_of(table: Mapping[str, Any]) -> set[str]:
    """The names of all detectors, those that are switched off included."""
    return {row["name"] for row in _rows(table, "detector")}


def _lines(text: str, kind: str, rows: Sequence[object]) -> list[int]:
    """The line at which each row of a kind starts, so that a fault can name it; 0 where TOML hides it."""
    header = re.compile(rf"\s*\[\[\s*{kind}\s*\]\]")
    lines = [number for number, line in enumerate(text.splitlines(), 1) if header.match(line)]
    return lines if len(lines) == len(rows) else [0] * len(rows)


def _detectors(row: Mapping[str, Any], line: int, checks: Mapping[str, Validator], order: int) -> list[Detector]:
    _check_keys(row, line, _DETECTOR_KEYS, required=("name", "why", "patterns"))
    action = _action(row, line)
    validate = row.get("validate")
    if validate is not None and (not isinstance(validate, str) or validate not in checks):
        raise RuleError(line, f"validate: unknown check {validate!r}; there are {', '.join(sorted(checks))}")
    if not _is_texts(row["patterns"]) or not row["patterns"]:
        raise RuleError(line, "patterns: a list of RE2 patterns")
    if not isinstance(row.get("numbers", False), bool):
        raise RuleError(line, "numbers: true or false")
    if action == "keep":
        return []
    return [
        Detector(
            name=row["name"],
            pattern=_compile(pattern, line),
            action=action,
            order=order + place,
            validate=checks[validate] if validate else None,
            context=_word_pattern(row, "context", line),
            not_after=_word_pattern(row, "not_after", line),
            numbers=row.get("numbers", False),
        )
        for place, pattern in enumerate(row["patterns"])
    ]


def _compile(pattern: str, line: int) -> Any:
    if _ANCHOR.search(_CLASS.sub("", pattern)):
        raise RuleError(line, "patterns: no ^, $, \\A or \\z: texts are searched inside; use \\b")
    try:
        compiled = re2.compile(pattern, _options())
    except re2.error as exc:
        raise RuleError(line, f"patterns: not RE2 syntax: {_message(exc)}") from exc
    if any(match.start() == match.end() for text in _PROBES for match in compiled.finditer(text)):
        raise RuleError(line, "patterns: matches the empty text")
    return compiled


def _compile_set(detectors: Sequence[Detector]) -> Any:
    if not detectors:
        return None
    together = re2.Set.SearchSet(_options())
    for detector in detectors:
        together.Add(detector.pattern.pattern)
    together.Compile()
    return together


def _options() -> Any:
    options = re2.Options()
    options.max_mem = _MAX_MEM_BYTES
    options.log_errors = False
    return options


def _word_pattern(row: Mapping[str, Any], key: str, line: int) -> Any:
    words = row.get(key)
    if words is None:
        return None
    if not _is_texts(words) or not words:
        raise RuleError(line, f"{key}: a list of words")
    return re2.compile("(?i)(?:" + "|".join(map(_whole_word, words)) + ")", _options())


def _whole_word(word: str) -> str:
    """A word as a pattern; where it ends in a sign (`No.`) there is no word's end to ask for."""
    ahead = r"\b" if word[:1].isalnum() else ""
    behind = r"\b" if word[-1:].isalnum() else ""
    return ahead + str(re2.escape(word)) + behind


def _field_rules(rows: Sequence[tuple[dict[str, Any], int]]) -> NameTable[FieldRule]:
    names: dict[str, FieldRule] = {}
    suffixes: dict[str, FieldRule] = {}
    for row, line in rows:
        _check_keys(row, line, _FIELD_KEYS, required=("name", "why"))
        action = _action(row, line)
        exact, last = _names(row, line)
        if action != "keep":
            rule = FieldRule(row["name"], action)
            names.update(dict.fromkeys(exact, rule))
            suffixes.update(dict.fromkeys(last, rule))
    return NameTable(names, suffixes)


def _exemptions(rows: Sequence[tuple[dict[str, Any], int]], known: set[str]) -> NameTable[frozenset[str]]:
    names: dict[str, frozenset[str]] = {}
    suffixes: dict[str, frozenset[str]] = {}
    for row, line in rows:
        _check_keys(row, line, _EXEMPT_KEYS, required=("why", "detectors"))
        if not _is_texts(row["detectors"]):
            raise RuleError(line, "detectors: a list of detector names")
        unknown = sorted(set(row["detectors"]) - known)
        if unknown:
            raise RuleError(line, f"detectors: there is no detector {unknown[0]!r}")
        exact, last = _names(row, line)
        detectors = frozenset(row["detectors"])
        names.update(dict.fromkeys(exact, detectors))
        suffixes.update(dict.fromkeys(last, detectors))
    return NameTable(names, suffixes)


def _try_examples(row: Mapping[str, Any], line: int, own: Sequence[Detector]) -> None:
    """A row's own examples: one that misses what it was written for stops the start."""
    alone = Rules(tuple(own), _compile_set(own), NameTable({}, {}), NameTable({}, {}))
    for key, wanted in (("finds", True), ("leaves", False)):
        examples = row.get(key, [])
        if not _is_texts(examples):
            raise RuleError(line, f"{key}: a list of texts")
        for place, example in enumerate(examples if own else ()):
            if bool(redact(example, alone).findings) is not wanted:
                verb = "finds nothing in" if wanted else "finds something in"
                raise RuleError(line, f"{row['name']} {verb} example {place + 1} of `{key}`")


def _check_keys(row: Mapping[str, Any], line: int, known: frozenset[str], required: Sequence[str]) -> None:
    for key in required:
        if not row.get(key):
            raise RuleError(line, f"{key} is missing")
    unknown = sorted(set(row) - known)
    if unknown:
        raise RuleError(line, f"unknown key {unknown[0]!r}; there are {', '.join(sorted(known))}")
    if "name" in row and not (isinstance(row["name"], str) and _NAME.fullmatch(row["name"])):
        raise RuleError(line, "name: lower-case letters, digits and _, 32 at most")


def _action(row: Mapping[str, Any], line: int) -> str:
    action = row.get("action", "redact")
    if action not in ACTIONS:
        raise RuleError(line, f"action: one of {', '.join(ACTIONS)}")
    return str(action)


def _names(row: Mapping[str, Any], line: int) -> tuple[list[str], list[str]]:
    """The names and the suffixes of a row, each as its words run together."""
    found = []
    for key in ("names", "suffixes"):
        names = row.get(key, [])
        if not _is_texts(names):
            raise RuleError(line, f"{key}: a list of field names")
        found.append(["".join(words_of(name)) for name in names])
    if not any(found):
        raise RuleError(line, "names, suffixes: at least one field name")
    return found[0], found[1]


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _message(exc: Exception) -> str:
    reason = exc.args[0] if exc.args else "?"
    return reason.decode() if isinstance(reason, bytes) else str(reason)
