"""What redaction goes by: detectors, field names, exemptions. `core.detectors` reads them from a table."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from app.core.folding import fold
from app.core.validators import Validator

T = TypeVar("T")

MARK: Final = "[REDACTED_"
"""How what was redacted begins."""

_REDACTED = re.compile(r"\[REDACTED_[A-Z0-9_]+\]")

_SUFFIX_WORDS: Final = 6
"""The most words that a suffix of the table may have, so that a long name costs no more than a short one."""

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_a-zA-Z]+")


@dataclass(frozen=True, slots=True)
class Detector:
    """One row: what it is called and how it decides."""

    name: str
    pattern: Any
    action: str
    order: int
    """Place in the table; of two findings alike, the earlier row names it."""
    validate: Validator | None
    context: Any
    """A compiled pattern of the words that must stand before, or None."""
    not_after: Any
    numbers: bool

    @property
    def replacement(self) -> str:
        """What a finding reads as afterwards: `[REDACTED_EMAIL]`, or nothing for `drop`."""
        return "" if self.action == "drop" else f"{MARK}{self.name.upper()}]"


@dataclass(frozen=True, slots=True)
class FieldRule:
    """A field name whose value is replaced whole."""

    name: str
    action: str

    @property
    def replacement(self) -> str:
        """What stands in the value's place."""
        return f"{MARK}{self.name.upper()}]"


@dataclass(frozen=True, slots=True)
class NameTable(Generic[T]):
    """Field names, and last words of field names, with what they stand for."""

    names: Mapping[str, T]
    suffixes: Mapping[str, T]

    def find(self, name: str) -> T | None:
        """Return the entry for a field name, however it is written, or None."""
        words = words_of(name)
        whole = "".join(words)
        for key in (whole, whole.removesuffix("s")):
            if key in self.names:
                return self.names[key]
        for start in range(max(0, len(words) - _SUFFIX_WORDS), len(words)):
            tail = "".join(words[start:])
            for key in (tail, tail.removesuffix("s")):
                if key in self.suffixes:
                    return self.suffixes[key]
        return None


@dataclass(frozen=True, slots=True)
class Rules:
    """The whole table, compiled."""

    detectors: tuple[Detector, ...]
    any_of: Any = field(repr=False)
    """re2.Set over all patterns: one pass says which of them occur at all."""
    fields: NameTable[FieldRule]
    exempt: NameTable[frozenset[str]]
    memory: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """What `core.redaction` has made of field names with this table; it keeps it small."""

    @property
    def names(self) -> frozenset[str]:
        """The names that a finding can bear."""
        fields = (*self.fields.names.values(), *self.fields.suffixes.values())
        return frozenset([row.name for row in self.detectors] + [row.name for row in fields])


def words_of(name: str) -> list[str]:
    """Return the words of a field's name, small: `userId`, `user-id` and `USER_ID` are `user`, `id`."""
    # What was redacted in a name was a value: "[REDACTED_EMAIL]" is no field for e-mail addresses.
    return [word.lower() for word in _WORDS.findall(_REDACTED.sub(" redacted ", fold(name)))]
