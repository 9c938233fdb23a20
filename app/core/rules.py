"""What redaction goes by: detectors, field names, exemptions, lists, policies (read by `core.detectors`)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, Generic, TypeVar, Union

from app.core.candidates import Validator
from app.core.folding import fold
from app.core.patterns import Pattern
from app.core.pseudonyms import Pseudonyms

T = TypeVar("T")

_MARK: Final = "[REDACTED_"
_REDACTED = re.compile(r"\[REDACTED_[A-Z0-9_]+\]")

_SUFFIX_WORDS: Final = 6
"""The most words that a suffix of the table may have, so that a long name costs no more than a short one."""

_NUMBERED = re.compile(r"[A-Za-z]_?[0-9]{1,3}$")
"""`phone2` is a `phone`; `pass@1` is a measure."""

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_a-zA-Z]+")

PolicyTree = Mapping[str, Union["PolicyTree", str]]
"""What an event type's policies say of its payload: by a member's name (`*`: any member or item) an action, or what
they say of what is below it."""


@dataclass(frozen=True, slots=True, eq=False)
class Allowed:
    """What a detector or field leaves alone though it looks like what it is after."""

    values: frozenset[str]
    """Folded and in lower case."""
    pattern: Pattern | None
    """It must match the whole value."""

    def __call__(self, value: str) -> bool:
        """Whether the list has the value; `value` is folded."""
        plain = value.casefold()
        return plain in self.values or (self.pattern is not None and self.pattern.is_whole(plain.encode()))


@dataclass(frozen=True, slots=True)
class Detector:
    """One pattern of a row: what it is called and how it decides."""

    name: str
    pattern: Pattern
    action: str
    order: int
    """Place in the table; of two findings alike, the earlier row names it."""
    validate: Validator | None = None
    context: Pattern | None = None
    """The words of which one must stand close before, or right behind; None: none need stand."""
    context_place: int | None = None
    """The context's place in `Rules.any_of`."""
    unless: Pattern | None = None
    """The words of which none may stand close before."""
    not_after: Pattern | None = None
    """What must not match what stands before, up to the match."""
    not_before: Pattern | None = None
    """What must not match what stands right behind."""
    starts: str | None = None
    """`word`: no letter or digit may stand right before; `number`: no digit with a blank or slash behind it."""
    yields_to: frozenset[str] = frozenset()
    """Names of rows that are asked first: what begins where one of them was found is that, and what follows it."""
    numbers: bool = False
    allowed: Allowed | None = None

    @property
    def is_sure(self) -> bool:
        """Whether whatever the pattern matches is found: nothing else is asked."""
        asked = (self.validate, self.context, self.unless, self.not_after, self.not_before, self.allowed)
        return all(one is None for one in asked)


@dataclass(frozen=True, slots=True)
class FieldRule:
    """A field name whose value is replaced whole."""

    name: str
    action: str
    allowed: Allowed | None = None
    least_digits: int = 0
    """A number with fewer is a count, and stays: `{"mobile": 4711}` of visits."""
    check: Validator | None = None
    """What a text or a whole number must pass to be replaced, and nothing else is; None: whatever stands there is."""


@dataclass(frozen=True, slots=True)
class NameTable(Generic[T]):
    """Field names, and last words of field names, with what they stand for."""

    names: Mapping[str, T]
    suffixes: Mapping[str, T]

    def find(self, name: str) -> T | None:
        """Return the entry for a field name, however it is written and numbered, or None."""
        return self._entry(name)[0]

    def is_plural(self, name: str) -> bool:
        """Whether a name has an entry only without its last `s`."""
        return self._entry(name)[1]

    def _entry(self, name: str) -> tuple[T | None, bool]:
        words = words_of(name)
        found = self._of(words)
        if found[0] is None and len(words) > 1 and _NUMBERED.search(name):
            return self._by_suffix(words[:-1])
        return found

    def _of(self, words: list[str]) -> tuple[T | None, bool]:
        whole = "".join(words)
        for key in (whole, whole.removesuffix("s")):
            if key in self.names:
                return self.names[key], key != whole
        return self._by_suffix(words)

    def _by_suffix(self, words: list[str]) -> tuple[T | None, bool]:
        for start in range(max(0, len(words) - _SUFFIX_WORDS), len(words)):
            tail = "".join(words[start:])
            for key in (tail, tail.removesuffix("s")):
                if key in self.suffixes:
                    return self.suffixes[key], key != tail
        return None, False


@dataclass(frozen=True, slots=True)
class Rules:
    """The whole table, compiled."""

    detectors: tuple[Detector, ...]
    any_of: Any = field(repr=False)
    """re2.Set over all patterns and, behind them, all contexts: one pass says which of them occur at all. None: each
    is looked for by itself, which for a few takes less than compiling a set."""
    fields: NameTable[FieldRule]
    exempt: NameTable[frozenset[str]]
    marks: Pattern | None = field(default=None, repr=False)
    """What redaction leaves in a value's place: no detector looks into it."""
    shields: Pattern | None = field(default=None, repr=False)
    """Stretches of text in which nothing is found."""
    policies: Mapping[str, PolicyTree] = field(default_factory=dict)
    """By event type; `*` is for those that are not listed."""
    pseudonyms: Pseudonyms | None = field(default=None, repr=False)
    """None: what asks for a pseudonym is redacted."""
    digests: Pseudonyms | None = field(default=None, repr=False)
    """What makes the digests of the policy `hash`; None: what asks for one is redacted."""
    memory: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """What `core.walk` has made of field names with this table; it keeps it small."""

    @property
    def names(self) -> frozenset[str]:
        """The names that a finding can bear."""
        return names_of(self.detectors, self.fields)

    def occurring(self, data: bytes) -> list[Detector]:
        """Return the detectors whose pattern, and context, occurs anywhere in folded text, in the table's order."""
        if self.any_of is None:
            return list(self.detectors)
        try:
            places = self.any_of.Match(data)
        except Exception:  # noqa: BLE001 - fail closed: the slow way decides
            return list(self.detectors)
        if not places:  # None where nothing occurs
            return []
        there, detectors = set(places), self.detectors
        occurring = [detectors[place] for place in sorted(there) if place < len(detectors)]
        return [one for one in occurring if one.context_place is None or one.context_place in there]

    def policy(self, event: str | None) -> PolicyTree | None:
        """Return what is said of an event type's fields, or None where nothing is."""
        if not self.policies or event is None:
            return None
        return self.policies.get(event) or self.policies.get("*")


@cache
def mark_of(name: str) -> str:
    """Return what stands in a value's place; names are the table's own, and few."""
    return f"{_MARK}{name.upper()}]"


def names_of(detectors: tuple[Detector, ...], fields: NameTable[FieldRule]) -> frozenset[str]:
    """Return the names that findings of these rows can bear."""
    rows = (*fields.names.values(), *fields.suffixes.values())
    return frozenset([row.name for row in detectors] + [row.name for row in rows])


def words_of(name: str) -> list[str]:
    """Return the words of a field's name, small: `userId`, `user-id` and `USER_ID` are `user`, `id`."""
    # What was redacted in a name was a value: "[REDACTED_EMAIL]" is no field for e-mail addresses.
    return [word.lower() for word in _WORDS.findall(_REDACTED.sub(" redacted ", fold(name)))]
