"""RE2, asked where it matches and for nothing else.

Linear in the text whatever the pattern (https://github.com/google/re2/wiki/WhyRE2), in UTF-8 as it is in memory.
"""

from collections.abc import Iterator
from typing import Any, Final

import re2

Span = tuple[int, int]
"""From byte to byte."""

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

    __slots__ = ("_match", "groups", "pattern")

    def __init__(self, pattern: str) -> None:
        """Compile a pattern; raises re2.error for what is not RE2's syntax."""
        compiled = re2.compile(pattern, options())
        self.pattern = pattern
        """The source, named as `re` names it."""
        self.groups: int = compiled.groups
        self._match = compiled._regexp.Match  # noqa: SLF001

    def search(self, data: bytes, position: int = 0) -> tuple[Span, Span] | None:
        """Return the first match from `position` (at most the length) on, and what is found in it; None: no match.

        Where there are groups, the first that takes part is what is found, and the rest only stands around it.
        """
        spans: list[Span] = self._match(_ANYWHERE, data, position, len(data))
        whole = spans[0]
        if whole[0] < 0:
            return None
        if self.groups:
            for span in spans[1:]:
                if span[0] >= 0:
                    return whole, span
        return whole, whole

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


def options() -> Any:
    """Return the options that all patterns, and sets of them, are compiled with."""
    made = re2.Options()
    made.max_mem = _MAX_MEM_BYTES
    made.log_errors = False
    return made
