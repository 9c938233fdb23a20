"""RE2, asked where it matches and for nothing else.

Linear in the text whatever the pattern (https://github.com/google/re2/wiki/WhyRE2), in UTF-8 as it is in memory.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import re2

Span = tuple[int, int]
"""From byte to byte."""

Search = Callable[..., tuple[Span, Span] | None]

_MAX_MEM_BYTES: Final = 64 << 20
"""RE2's budget for one automaton. It is filled lazily; re2.Set has no slow path to fall back to when
it runs out, it would answer "nothing found", so the budget is far above what the table needs."""

_Anchor: Final = re2._re2.RE2.Anchor  # noqa: SLF001 - as `Pattern` says
_ANYWHERE: Final = _Anchor.UNANCHORED
_AT_START: Final = _Anchor.ANCHOR_START
_WHOLE: Final = _Anchor.ANCHOR_BOTH


class Pattern:
    """A compiled pattern.

    It asks what google-re2's own search() asks: the Match objects of that, and the generator they come from, take as
    long as the search itself, and a text full of values has thousands of them.
    """

    __slots__ = ("_match", "groups", "pattern", "search")

    def __init__(self, pattern: str) -> None:
        """Compile a pattern; raises re2.error for what is not RE2's syntax."""
        compiled = re2.compile(pattern, options())
        self.pattern = pattern
        """The source, named as `re` names it."""
        self.groups: int = compiled.groups
        self._match = compiled._regexp.Match  # noqa: SLF001
        self.search = _searcher(self._match, self.groups)
        """Returns the first match from a position (0, or at most the length) on, and what is found in it, or None.

        Where there are groups, the first that takes part is what is found, and the rest only stands around it.
        """

    def occurs_in(self, data: bytes) -> bool:
        """Whether it matches anywhere."""
        return bool(self._match(_ANYWHERE, data, 0, len(data))[0][0] >= 0)

    def stands_at(self, data: bytes, position: int) -> bool:
        """Whether a match begins at a position (at most the length)."""
        return bool(self._match(_AT_START, data, position, len(data))[0][0] >= 0)

    def is_whole(self, data: bytes) -> bool:
        """Whether it matches all of it."""
        return bool(self._match(_WHOLE, data, 0, len(data))[0][0] >= 0)

    def all_in(self, data: bytes) -> Iterator[Span]:
        """Yield all matches, in order and without overlap; none may be empty."""
        position = 0
        while position < len(data) and (match := self.search(data, position)) is not None:
            yield match[0]
            position = match[0][1]


def _searcher(match: Callable[..., list[Span]], groups: int) -> Search:
    """What `search` is: a function of its own for each pattern, for it is called thousands of times a text."""

    def search_whole(data: bytes, position: int = 0) -> tuple[Span, Span] | None:
        whole = match(_ANYWHERE, data, position, len(data))[0]
        return None if whole[0] < 0 else (whole, whole)

    def search_group(data: bytes, position: int = 0) -> tuple[Span, Span] | None:
        whole, found = match(_ANYWHERE, data, position, len(data))
        if found[0] >= 0:
            return whole, found
        return None if whole[0] < 0 else (whole, whole)

    def search_groups(data: bytes, position: int = 0) -> tuple[Span, Span] | None:
        spans = match(_ANYWHERE, data, position, len(data))
        for span in spans[1:]:
            if span[0] >= 0:
                return spans[0], span
        return None if spans[0][0] < 0 else (spans[0], spans[0])

    if not groups:
        return search_whole
    return search_group if groups == 1 else search_groups


def options() -> Any:
    """Return the options that all patterns, and sets of them, are compiled with."""
    made = re2.Options()
    made.max_mem = _MAX_MEM_BYTES
    made.log_errors = False
    return made
