"""The walk over a JSON value: what names decide is edited at once, every other text is gathered to be searched."""

import re
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import orjson

from app.core.candidates import Validator
from app.core.edits import Edits, Path
from app.core.events import Finding
from app.core.folding import fold, fold_bytes, has_other_reading
from app.core.pseudonyms import is_digest, is_mark
from app.core.rules import FieldRule, PolicyTree, Rules, mark_of

MIN_NUMBER: Final = 10**11
"""The smallest JSON number a detector could mean: 12 digits, the shortest card."""

FAILED: Final = "failed"
"""The detector name under which a value stands that a fault, or a bound of ours, has made us withhold."""

POLICY: Final = "policy"
"""The detector name under which a value stands that a policy replaced."""

WITHHELD: Final = "[REDACTED]"

MAX_DEPTH: Final = 64
"""Containers within each other; the service's own JSON reader takes 32 (contract.md)."""

MAX_NODES: Final = 200_000
"""Members and items of a document; the largest event of the service has some 130,000."""

MAX_CHARACTERS: Final = 32 << 20
"""Of all texts of a document together; the service takes events of 256 KiB."""

_MEMORY: Final = 4096
"""Field names whose plan is remembered. Names repeat; callers cannot make the memory grow."""

_LONG_NAME: Final = 128
"""A longer name is no field that comes again, and is not remembered."""

_ALL: Final[frozenset[str]] = frozenset()
"""The exemptions of a text that every detector may search."""

_DIGEST: Final = {"digest", "length"}

_SENTENCE: Final = re.compile(r"[^\W\d_]{2}[:,;]?\s|\s\S{1,99}\s|\+\d[\d ()-]{6}")
"""A word with something behind it, two blanks, or a telephone number's `+`: no id, digest or time has one."""

_SCHEMA_TYPES: Final = frozenset(["string", "number", "integer", "boolean", "array", "object", "null"])
_SCHEMA: Final = frozenset(
    """$ref type description title format pattern minLength maxLength minimum maximum exclusiveMinimum exclusiveMaximum
    multipleOf minItems maxItems uniqueItems nullable readOnly writeOnly deprecated required strict""".split()  # noqa: SIM905
)
"""Members that say what a field takes and never hold a value of it (JSON Schema)."""

_COUNTED: Final = 7
"""From so many digits on a number under a plural is a value, and before a count (`{"emails": 12}`)."""


class TooMuchError(Exception):
    """The document passes a bound."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a field's name says of its value."""

    rule: FieldRule | None
    exempt: frozenset[str]
    name_suspect: bool
    """Whether the name itself holds something that a pattern matches, so that it must be searched."""
    is_plain: bool
    """Neither a rule nor a suspect name: what most fields are."""


class Origin(NamedTuple):
    """Where a text that is to be searched comes from, and which detectors leave it alone."""

    order: int
    """2n + 1 for the text n; what is found between it and the next one has 2n + 2."""
    path: Path
    exempt: frozenset[str]
    is_number: bool
    is_key: bool


class Walk:
    """One walk over a value, and what it gathers; raises TooMuchError past a bound."""

    def __init__(self, rules: Rules) -> None:
        self.edits = Edits()
        self.texts: list[str] = []
        self.exempts: list[frozenset[str]] = []
        """For each of `texts`, the names of the detectors that leave it alone."""
        self._places: list[tuple[Path, bool, bool]] = []
        self._rules = rules
        self._plans: dict[str, _Plan] = rules.memory
        self._nodes = 0

    def origin(self, index: int) -> Origin:
        """Say where one of `texts` comes from."""
        path, is_number, is_key = self._places[index]
        return Origin(2 * index + 1, path, self.exempts[index], is_number, is_key)

    def take(self, value: Any, path: Path = None, exempt: frozenset[str] = _ALL, depth: int = 0) -> None:
        """Gather from a value that stands under `path`."""
        kind = type(value)
        if kind is str:
            self._add(value, path, exempt)
        elif kind is dict:
            self._enter(len(value), depth)
            plans = self._plans
            told = self._told(value) if "value" in value else None
            for key, member in value.items():
                plan = plans.get(key) or self._plan(key)
                if told is not None and key == "value":
                    self._take_told(member, (path, key), told, depth)
                elif not plan.is_plain:
                    self._take_member(key, member, path, plan, depth)
                elif type(member) is str:
                    self._add(member, (path, key), plan.exempt)
                else:
                    self.take(member, (path, key), plan.exempt, depth + 1)
        elif kind is list:
            self._enter(len(value), depth)
            for index, item in enumerate(value):
                self.take(item, (path, index), exempt, depth + 1)
        elif (kind is int or (kind is float and value.is_integer())) and abs(value) >= MIN_NUMBER:
            self._add(str(abs(int(value))), path, exempt, is_number=True)

    def _told(self, value: dict[str, Any]) -> _Plan | None:
        """What the name says that stands beside a value: `{"name": "Cookie", "value": "sid=1"}`."""
        for name in (value.get("name"), value.get("key")):
            if type(name) is str:
                plan = self._plans.get(name) or self._plan(name)
                if plan.rule is not None:
                    rule = replace(plan.rule, least_digits=max(plan.rule.least_digits, _COUNTED))
                    return replace(plan, rule=rule, name_suspect=False)
        return None

    def _take_told(self, value: Any, path: Path, plan: _Plan, depth: int) -> None:
        """The value that a name stands beside; OpenTelemetry has it one level down: `{"stringValue": "sid=1"}`."""
        if type(value) is dict and len(value) == 1:
            ((key, member),) = value.items()
            self._take_member(key, member, path, replace(plan, name_suspect=_is_suspect(key, self._rules)), depth + 1)
        elif path is not None:
            self._take_member(str(path[1]), value, path[0], plan, depth)

    def take_by_policy(
        self, value: Any, policy: PolicyTree, path: Path = None, exempt: frozenset[str] = _ALL, depth: int = 0
    ) -> None:
        """Gather from a value of whose fields policies say something."""
        kind = type(value)
        if kind is dict:
            self._enter(len(value), depth)
            for key, member in value.items():
                self._take_by_name(key, member, policy, path, depth)
        elif kind is list and "*" in policy:
            self._enter(len(value), depth)
            for index, item in enumerate(value):
                self._take_said(item, policy["*"], (path, index), exempt, depth)
        else:
            self.take(value, path, exempt, depth)

    def _take_by_name(self, key: str, member: Any, policy: PolicyTree, path: Path, depth: int) -> None:
        plan = self._plans.get(key) or self._plan(key)
        said = policy.get(key) or policy.get("*")
        if said is None or said == "redact" or (plan.rule is not None and not isinstance(said, str)):
            self._take_member(key, member, path, plan, depth)
            return
        if plan.name_suspect:
            self._add(key, (path, key), _ALL, is_key=True)
        self._take_said(member, said, (path, key), plan.exempt, depth)

    def _take_said(self, value: Any, said: PolicyTree | str, path: Path, exempt: frozenset[str], depth: int) -> None:
        if not isinstance(said, str):
            self.take_by_policy(value, said, path, exempt, depth + 1)
        elif said == "redact":
            self.take(value, path, exempt, depth + 1)
        else:
            self._apply_policy(said, value, path)

    def _enter(self, size: int, depth: int) -> None:
        self._nodes += size
        if depth > MAX_DEPTH or self._nodes > MAX_NODES:
            raise TooMuchError

    def _take_member(self, key: str, member: Any, path: Path, plan: _Plan, depth: int) -> None:
        below = (path, key)
        rule = plan.rule
        if plan.name_suspect:
            self._add(key, below, _ALL, is_key=True)
        if (
            rule is None
            or member is None
            or member is True
            or member is False
            or member == ""
            or _is_count(member, rule)
            or (rule.check is not None and not _passes(member, rule.check))
            or _is_schema(member)
        ):
            self.take(member, below, plan.exempt, depth + 1)
        elif rule.action == "drop":
            self.edits.drop(below)
            self._found_whole(member, below, rule.name, "drop")
        else:
            self._replace_whole(member, below, rule)

    def _replace_whole(self, member: Any, path: Path, rule: FieldRule) -> None:
        text = member if isinstance(member, str) else None
        if text is not None:
            if rule.allowed is not None and rule.allowed(fold(text)):
                return
            if text.startswith("[") and (text in (WITHHELD, mark_of(rule.name)) or is_mark(text, rule.name)):
                return  # what was redacted before, by whomever, is not found again
        replaced, action = replacement(rule.name, rule.action, as_text(member), self._rules)
        self.edits.replace(path, replaced)
        self._found_whole(member, path, rule.name, action)

    def _apply_policy(self, action: str, value: Any, path: Path) -> None:
        if action == "drop":
            self.edits.drop(path)
        elif action == "hash" and value is not None and not _is_digest(value):
            self.edits.replace(path, self._digest(value))
        else:
            return
        self._found_whole(value, path, POLICY, action)

    def _digest(self, value: Any) -> Any:
        text = as_text(value)
        if self._rules.digests is None:
            return mark_of(POLICY)
        return {"digest": self._rules.digests.digest(text), "length": len(text)}

    def _add(
        self, text: str, path: Path, exempt: frozenset[str], *, is_number: bool = False, is_key: bool = False
    ) -> None:
        self.texts.append(text)
        # A field for ids or times that holds a sentence holds no id.
        self.exempts.append(_ALL if "phone" in exempt and _SENTENCE.search(text) else exempt)
        # Every text of every event passes here, and few are looked at again: no Origin yet.
        self._places.append((path, is_number, is_key))

    def _found_whole(self, value: Any, path: Path, name: str, action: str) -> None:
        length = len(value) if isinstance(value, str) else len(str(value))
        self.edits.found(2 * len(self.texts), [Finding(path, name, action, length)])

    def _plan(self, name: str) -> _Plan:
        rules = self._rules
        rule, name_suspect = rules.fields.find(name), _is_suspect(name, rules)
        if rule is not None and rules.fields.is_plural(name):
            rule = replace(rule, least_digits=_COUNTED)
        # A name that may be redacted itself says nothing of its value: under its new name nothing would be exempt.
        exempt = _ALL if name_suspect else rules.exempt.find(name) or _ALL
        plan = _Plan(rule, exempt, name_suspect, is_plain=rule is None and not name_suspect)
        if len(name) <= _LONG_NAME:
            if len(self._plans) >= _MEMORY:
                self._plans.clear()
            self._plans[name] = plan
        return plan


def replacement(name: str, action: str, value: str, rules: Rules) -> tuple[str, str]:
    """Return what stands in a value's place, and what was done: without a key there are no pseudonyms."""
    if action == "drop":
        return "", action
    if action == "pseudonymise" and rules.pseudonyms is not None:
        return rules.pseudonyms.mark(name, value), action
    return mark_of(name), "redact"


def as_text(value: Any) -> str:
    """Return a text as it is, and any other JSON value as JSON with its names in order."""
    return value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _is_count(value: Any, rule: FieldRule) -> bool:
    """A truth value, or a number with fewer digits than the rule asks for."""
    is_number = isinstance(value, int | float)
    return isinstance(value, bool) or (is_number and sum(map(str.isdigit, str(value))) < rule.least_digits)


def _passes(value: Any, check: Validator) -> bool:
    return isinstance(value, str | int) and check.holds_for(fold(str(value)))


def _is_digest(value: Any) -> bool:
    """Whether it is what `hash` leaves: it is not hashed again."""
    return (
        isinstance(value, dict)
        and set(value) == _DIGEST
        and type(value["length"]) is int
        and isinstance(value["digest"], str)
        and is_digest(value["digest"])
    )


def _is_schema(value: Any) -> bool:
    """Whether it says what a field takes, as tools' parameters do (JSON Schema), and has no value in it."""
    if not isinstance(value, dict) or not _SCHEMA.issuperset(value):
        return False
    kinds = value.get("type")
    listed = kinds if isinstance(kinds, list) else [kinds]
    return all(isinstance(kind, str) and kind in _SCHEMA_TYPES for kind in listed) or (
        str(value.get("$ref")).startswith("#/") and "type" not in value
    )


def _is_suspect(name: str, rules: Rules) -> bool:
    try:
        return has_other_reading(name) or bool(rules.occurring(fold_bytes(name)))
    except Exception:  # noqa: BLE001 - fail closed: what cannot be told is searched
        return True
