"""The form that text is matched in, so that no spelling of a character hides a value.

Each character is folded by itself, so that what is found can be replaced in the text as it came: nothing
around it changes.
"""

import unicodedata
from itertools import chain
from typing import Final

# Invisible, and not of the category Cf: joiners, fillers, variation selectors (Unicode, Default_Ignorable_Code_Point).
_IGNORABLE: Final = frozenset(
    chain(
        map(ord, "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0"),
        range(0x180B, 0x1810),
        range(0xFE00, 0xFE10),
        range(0xE0100, 0xE01F0),
    )
)

_IDEOGRAPHIC_FULL_STOP: Final = 0x3002
"""A dot in a domain name (IDNA, UTS 46)."""


def fold(text: str) -> str:
    """Return the text with NFKC characters, ASCII digits, spaces and dashes, without what is invisible."""
    return text if text.isascii() else text.translate(_FOLDING)


def original_span(text: str, start: int, end: int) -> tuple[int, int]:
    """Return where bytes `start` to `end` of the folded text stand in `text`, in characters.

    A character that folds to several (a ligature) is taken whole, and what is invisible behind the span with it.
    """
    if text.isascii():
        return start, end
    position = 0
    first = last = None
    for index, sign in enumerate(text):
        size = len(fold(sign).encode())
        if first is None and position + size > start:
            first = index
        if last is not None and size:
            break
        position += size
        if position >= end:
            last = index + 1
    return (len(text) if first is None else first), (len(text) if last is None else last)


class _Folding(dict[int, str]):
    """What each character is matched as; made when a character is first seen."""

    def __missing__(self, code: int) -> str:
        folded = self[code] = _folded(code)
        return folded


def _folded(code: int) -> str:
    if code in _IGNORABLE:
        return ""
    if code == _IDEOGRAPHIC_FULL_STOP:
        return "."
    return "".join(map(_plain, unicodedata.normalize("NFKC", chr(code))))


def _plain(sign: str) -> str:
    category = unicodedata.category(sign)
    if category == "Nd":
        return str(unicodedata.decimal(sign))
    if category == "Cf":
        return ""
    if category == "Pd":
        return "-"
    return " " if category == "Zs" else sign


_FOLDING = _Folding()
