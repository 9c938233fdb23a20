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
from app.core.validators import Validator, validators

ACTIONS: Final = ("redact", "drop", "keep")

_MAX_MEM_BYTES: Final = 64 << 20
"""RE2's budget for one automaton. It is filled lazily; re2.Set has no slow path to fall back to when
it runs out, it would answer "nothing found", so the budget is far above what the table needs."""

# A text is searched as part of a longer one, so an anchor would make a pattern miss silently.
_ANCHOR = re.compile(r"(?<!\\)(?:\\\\)*(?:\\[AzZ]|[$]|(?<!\[)\^)")
_CLASS = re.compile(r"\[(?:\\.|[^\]\\])+\]")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")

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
        super().__init__(f"line {line}: {fault}")
        self.line = line
        self.fault = fault


def load_rules(text: str) -> Rules:
    """Compile the table, try each row's own examples, and return it; raise RuleError for a bad row."""
    table = _parse(text)
    checks = validators(_regions(table))
    rows = _lines(text, "detector")
    detectors: list[Detector] = []
    for row, line in zip(_rows(table, "detector"), rows, strict=True):
        detectors += _detectors(row, line, checks, len(detectors))
    rules = Rules(
        detectors=tuple(detectors),
        any_of=_compile_set(detectors),
        fields=_field_rules(table, text),
        exempt=_exemptions(table, text, {detector.name for detector in detectors}),
    )
    _try_examples(table, rows, rules)
    return rules


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
    regions = settings.get("phone_regions", list(_DEFAULT_REGIONS))
    if set(settings) - {"phone_regions"} or not _is_texts(regions):
        raise RuleError(0, "[settings] takes phone_regions, a list of country codes")
    return [str(region) for region in regions]


def _rows(table: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    rows = table.get(kind, [])
    if not isinstance(rows, list):
        raise RuleError(0, f"write [[{kind}]], one for each row")
    return rows


def _lines(text: str, kind: str) -> list[int]:
    """The line at which each row of a kind starts, so that a fault can name it."""
    header = re.compile(rf"\s*\[\[\s*{kind}\s*\]\]")
    return [number for number, line in enumerate(text.splitlines(), 1) if header.match(line)]


def _detectors(row: Mapping[str, Any], line: int, checks: Mapping[str, Validator], order: int) -> list[Detector]:
    _check_keys(row, line, _DETECTOR_KEYS, required=("name", "why", "patterns"))
    action = _action(row, line)
    validate = row.get("validate")
    if validate is not None and validate not in checks:
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
    if compiled.search(b"") is not None:
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
    return re2.compile(r"(?i)\b(?:" + "|".join(re2.escape(word) for word in words) + r")\b", _options())


def _field_rules(table: Mapping[str, Any], text: str) -> NameTable[FieldRule]:
    names: dict[str, FieldRule] = {}
    suffixes: dict[str, FieldRule] = {}
    for row, line in zip(_rows(table, "field"), _lines(text, "field"), strict=True):
        _check_keys(row, line, _FIELD_KEYS, required=("name", "why"))
        action = _action(row, line)
        if action != "keep":
            rule = FieldRule(row["name"], action)
            names.update(dict.fromkeys(_names(row, "names", line), rule))
            suffixes.update(dict.fromkeys(_names(row, "suffixes", line), rule))
    return NameTable(names, suffixes)


def _exemptions(table: Mapping[str, Any], text: str, known: set[str]) -> NameTable[frozenset[str]]:
    names: dict[str, frozenset[str]] = {}
    suffixes: dict[str, frozenset[str]] = {}
    for row, line in zip(_rows(table, "exempt"), _lines(text, "exempt"), strict=True):
        _check_keys(row, line, _EXEMPT_KEYS, required=("why", "detectors"))
        if not _is_texts(row["detectors"]):
            raise RuleError(line, "detectors: a list of detector names")
        detectors = frozenset(row["detectors"]) & known
        names.update(dict.fromkeys(_names(row, "names", line), detectors))
        suffixes.update(dict.fromkeys(_names(row, "suffixes", line), detectors))
    return NameTable(names, suffixes)


def _try_examples(table: Mapping[str, Any], lines: Sequence[int], rules: Rules) -> None:
    """Each row's own examples: a row that misses what it was written for stops the start."""
    for row, line in zip(_rows(table, "detector"), lines, strict=True):
        if _action(row, line) == "keep":
            continue
        for key, wanted in (("finds", True), ("leaves", False)):
            examples = row.get(key, [])
            if not _is_texts(examples):
                raise RuleError(line, f"{key}: a list of texts")
            alone = _only(rules, row)
            for place, example in enumerate(examples):
                if bool(redact(example, alone).findings) is not wanted:
                    verb = "finds nothing in" if wanted else "finds something in"
                    raise RuleError(line, f"{row['name']} {verb} example {place + 1} of `{key}`")


def _only(rules: Rules, row: Mapping[str, Any]) -> Rules:
    own = [d for d in rules.detectors if d.name == row["name"] and d.pattern.pattern in row["patterns"]]
    return Rules(tuple(own), _compile_set(own), NameTable({}, {}), NameTable({}, {}))


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


def _names(row: Mapping[str, Any], key: str, line: int) -> list[str]:
    names = row.get(key, [])
    if not _is_texts(names):
        raise RuleError(line, f"{key}: a list of field names")
    return ["".join(words_of(name)) for name in names]


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _message(exc: Exception) -> str:
    reason = exc.args[0] if exc.args else "?"
    return reason.decode() if isinstance(reason, bytes) else str(reason)
