"""The corpus's nouns: a text with marks, and a sample with spans. No randomness and no redaction here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

Step = str | int
"""A name or an index on the way from a document's root to a value."""


@dataclass(frozen=True)
class Drawn:
    """A value as somebody wrote it."""

    text: str
    variant: str
    """What kind of writing it is (`spaced`, `wrong grouping`, `github`): misses are listed by it."""
    start: int = 0
    """The first character that must go; what stands before it is only the way in (`Bearer `)."""
    end: int | None = None
    """One past the last character that must go; None: the text's end."""


@dataclass(frozen=True)
class Mark:
    """A labelled run of characters in a text."""

    start: int
    end: int
    entity: str
    variant: str


@dataclass(frozen=True)
class Marked:
    """A text and what is labelled in it, in order and apart from each other."""

    text: str
    marks: tuple[Mark, ...] = ()

    def map(self, change: Callable[[str], str]) -> Marked:
        """Return the text changed run by run (an escape, a quoting), with the marks where their values went."""
        parts: list[str] = []
        marks: list[Mark] = []
        size = at = 0
        for mark in self.marks:
            for start, end in ((at, mark.start), (mark.start, mark.end)):
                parts.append(change(self.text[start:end]))
                size += len(parts[-1])
            marks.append(replace(mark, start=size - len(parts[-1]), end=size))
            at = mark.end
        parts.append(change(self.text[at:]))
        return Marked("".join(parts), tuple(marks))

    def between(self, before: str, after: str = "") -> Marked:
        """Return the text with something before and after it."""
        shift = len(before)
        marks = tuple(replace(mark, start=mark.start + shift, end=mark.end + shift) for mark in self.marks)
        return Marked(before + self.text + after, marks)


@dataclass(frozen=True)
class Span:
    """Where something personal stands in a sample."""

    path: tuple[Step, ...]
    start: int
    end: int
    """Characters of the value's own text (of `str(value)` for a number, of the name if `in_name`)."""
    entity: str
    variant: str
    in_name: bool = False
    """The last step of the path is itself what must go."""


@dataclass(frozen=True)
class Sample:
    """One JSON value that somebody might send, and all that is personal in it. No spans: a clean one."""

    value: Any
    spans: tuple[Span, ...]
    template: str
    """File and number of the template, such as `email:12`."""
    carrier: str
    """What the text was put into, such as `tool call`."""


def leaf(value: Any, path: tuple[Step, ...]) -> Any:
    """Return what stands at a path."""
    for step in path:
        value = value[step]
    return value


def spans_at(path: tuple[Step, ...], marked: Marked) -> tuple[Span, ...]:
    """Return a marked text's labels as spans of the value at `path`."""
    return tuple(Span(path, mark.start, mark.end, mark.entity, mark.variant) for mark in marked.marks)
