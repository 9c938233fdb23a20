"""What redaction changes in a JSON value: gathered first, then applied to a copy, with the places of what was found."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from app.core.events import Finding, Place, RedactedPayload

Path = Place
"""A place in the value as it came in; `Place` alone is one after redaction."""

_SAME: Final = object()


class _Change:
    """What becomes of one value, of its name, and of what is below it."""

    __slots__ = ("below", "is_dropped", "is_reshaped", "name", "replacement")

    def __init__(self) -> None:
        self.replacement: Any = _SAME
        self.name: str | None = None
        self.is_dropped = False
        self.below: dict[str | int, _Change] = {}
        self.is_reshaped = False
        """Whether a member loses its place or its name, so that the container is built anew."""


class _Found(NamedTuple):
    order: int
    """Place in the document."""
    findings: Sequence[Finding]
    """Their place is the one in the value as it came."""


@dataclass(slots=True)
class Edits:
    """What is to be changed; nothing is changed until all is known."""

    _root: _Change = field(default_factory=_Change)
    _found: list[_Found] = field(default_factory=list)

    def replace(self, path: Path, value: Any) -> None:
        """Put another value in a value's place."""
        self._at(path).replacement = value

    def rename(self, path: Path, name: str) -> None:
        """Give a member another name."""
        self._at(path).name = name
        self._above(path).is_reshaped = True

    def drop(self, path: Path) -> None:
        """Take a member out of its object."""
        self._at(path).is_dropped = True
        self._above(path).is_reshaped = True

    def found(self, order: int, findings: Sequence[Finding]) -> None:
        """Note what was found at one place; `order` is the place's in the document."""
        self._found.append(_Found(order, findings))

    def apply(self, value: Any, unasked: int) -> RedactedPayload:
        """Return the value as changed; what is not changed is shared with the value as it came."""
        if not self._found:
            return RedactedPayload(value, ())
        renamed: dict[Path, str] = {}
        changed = _rebuilt(value, None, self._root, renamed)
        self._found.sort(key=_order_of)
        findings = [finding for found in self._found for finding in found.findings]
        if renamed:
            places: dict[Path, Place] = {None: None}
            findings = [found._replace(place=_place(found.place, renamed, places)) for found in findings]
        return RedactedPayload(changed, tuple(findings), unasked)

    def _at(self, path: Path) -> _Change:
        if path is None:
            return self._root
        below = self._at(path[0]).below
        change = below.get(path[1])
        if change is None:
            change = below[path[1]] = _Change()
        return change

    def _above(self, path: Path) -> _Change:
        return self._at(path[0] if path is not None else None)


def _order_of(found: _Found) -> int:
    return found.order


def _place(path: Path, renamed: dict[Path, str], places: dict[Path, Place]) -> Place:
    """The place that a path leads to once its names are redacted; each is made once."""
    if path is None:
        return None
    if path not in places:
        places[path] = (_place(path[0], renamed, places), renamed.get(path, path[1]))
    return places[path]


def _rebuilt(value: Any, path: Path, change: _Change, renamed: dict[Path, str]) -> Any:
    """The value with what is below it changed; what is not changed is shared with the value as it came."""
    if change.replacement is not _SAME:
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
    return change.replacement is not _SAME or bool(change.below)


def _unique(name: str, taken: dict[str, Any], numbers: dict[str, int]) -> str:
    """Two keys that redact alike get `#2`, `#3` (contract.md, contradiction 8); `numbers` holds the next of each."""
    if name not in taken:
        return name
    number = numbers.get(name, 2)
    while f"{name}#{number}" in taken:
        number += 1
    numbers[name] = number + 1
    return f"{name}#{number}"
