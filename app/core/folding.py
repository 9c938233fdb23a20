"""The form that text is matched in, so that no spelling of a character hides a value.

Each character is folded by itself, so that what is found can be replaced in the text as it came: nothing
around it changes.
"""

import re
import unicodedata
from collections.abc import Sequence
from itertools import chain
from typing import Final, NamedTuple

from app.core import escapes

# Invisible, and not of the category Cf: joiners, fillers, variation selectors (Unicode, Default_Ignorable_Code_Point).
_IGNORABLE: Final = frozenset(
    chain(
        map(ord, "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0"),
        range(0x180B, 0x1810),
        range(0xFE00, 0xFE10),
        range(0xE0100, 0xE01F0),
    )
)

# The underscore first: a search for one byte is fast. Inside a token an underscore is a sign like any other.
_OPENING: Final = re.compile(rb"_(?<![^\s\x22\x27(*>]_)(?=[0-9A-Za-z+(])")
# One before a dot or a sign of base 64 that a token goes on behind closes nothing.
_CLOSING: Final = re.compile(rb"_(?<=[0-9A-Za-z]_)(?![0-9A-Za-z_\x80-\xff-]|[.~+/=][0-9A-Za-z_-])")

_SENTENCE_DASHES: Final = frozenset("\u2014\u2015\u2e3a\u2e3b")
"""Between parts of a sentence, with blanks or without; in a number nobody writes them."""

_OTHER_DASHES: Final = frozenset("\u2212\u2043\u02d7\u2500\u2501")
"""What people take for a dash, and Unicode has elsewhere: minus, a bullet, a modifier, lines."""

_IDEOGRAPHIC_FULL_STOP: Final = "\u3002"
"""A dot in a domain name (IDNA, UTS 46)."""


def fold(text: str) -> str:
    """Return the text with NFKC characters, ASCII digits, spaces and dashes, without what is invisible."""
    return text if text.isascii() else text.translate(_FOLDING)


def has_other_reading(text: str) -> bool:
    """Whether it matters that more than JSON's escapes are read: a sign that was written as others may end a value."""
    # Most texts have no such sign at all, and that is told at once: this is asked of every event.
    may_be = escapes.may_stand_in(text) and escapes.may_say_more(text)
    return may_be and escapes.read(text) != escapes.read(text, in_json=True)


def fold_bytes(text: str, *, in_json: bool = False) -> bytes:
    """Return the form that a text is searched in, in UTF-8: read as a person reads it, then folded.

    What is written as other signs (`core.escapes`) is the sign that it stands for, and the
    underscores round an _emphasis_ are no part of its words. Where nothing needs folding it takes a tenth of the time.
    `in_json`: only JSON's escapes are read. Raises UnicodeEncodeError for a lone surrogate.
    """
    if escapes.may_stand_in(text):
        text = escapes.read(text, in_json=in_json)
    return _without_emphasis(_folded_bytes(text))


class Together(NamedTuple):
    """Texts of one value in the form that they are searched in, a line each."""

    data: bytes
    sizes: list[int]
    """Of each text in `data`, in bytes."""
    others: list[int]
    """The places of those that have another reading."""


def fold_together(texts: Sequence[str]) -> Together:
    """Return `fold_bytes` of each text, joined: every event passes here, and of most one look at all texts is enough.

    A newline is part of no sign that is written as others, and of no emphasis.
    """
    joined = "\n".join(texts)
    is_written = escapes.may_stand_in(joined)
    if not is_written:
        if joined.isascii():
            return Together(_without_emphasis(joined.encode()), [*map(len, texts)], [])
        data = joined.encode()
        if _is_own_form(data):
            return Together(_without_emphasis(data), [len(text.encode()) for text in texts], [])
    parts = [fold_bytes(text) for text in texts]
    others = [place for place, text in enumerate(texts) if has_other_reading(text)] if is_written else []
    return Together(b"\n".join(parts), [*map(len, parts)], others)


def _without_emphasis(data: bytes) -> bytes:
    if b"_" not in data:
        return data
    data, opened = _OPENING.subn(b" ", data)
    return _CLOSING.sub(b" ", data) if opened else data


def _folded_bytes(text: str) -> bytes:
    data = text.encode()
    if text.isascii():
        return data
    # What is not ASCII, once each: most texts have a few such characters (quotes, accents), many times.
    rare = _not_ascii(data) - _PLAIN_SIGNS
    if not rare:
        return data
    if not _OTHER_SIGNS.issuperset(rare):
        _PLAIN_SIGNS.update([sign for sign in rare if _FOLDING[ord(sign)] == sign])
        rare -= _PLAIN_SIGNS
        _OTHER_SIGNS.update(rare)
    if len(rare) > _MANY_SIGNS:
        return text.translate(_FOLDING).encode()
    # What a character folds to folds to itself, so one after the other is the same as all at once.
    for sign in rare:
        text = text.replace(sign, _FOLDING[ord(sign)])
    return text.encode()


def original_spans(text: str, spans: Sequence[tuple[int, int]], *, in_json: bool = False) -> list[tuple[int, int]]:
    """Return where spans of the folded text's bytes stand in `text`, in characters; both in order, without overlap.

    A character that folds to several (a ligature) is taken whole, and what is invisible behind a span with it.
    One walk over the text, however many spans there are.
    """
    written = [*escapes.places(text, in_json=in_json)] if escapes.may_stand_in(text) else []
    if not written and text.isascii():
        return list(spans)
    if not written and _is_own_form(data := text.encode()):
        return _in_characters(data, spans)
    sizes = [*map(_SIZES.__getitem__, map(ord, text))]
    apart: set[int] = set()
    """Where a terminal's colours begin: they are no part of the value before them."""
    for start, end, said in written:
        # The first of its signs stands for all of it; the others are invisible.
        sizes[start:end] = [0] * (end - start)
        if said:
            sizes[start] = len(_folded_bytes(said))
        else:
            apart.add(start)
    found = []
    index = position = 0
    for start, end in spans:
        while index < len(sizes) and position + sizes[index] <= start:
            position += sizes[index]
            index += 1
        first = index
        while index < len(sizes) and (position < end or not (sizes[index] or index in apart)):
            position += sizes[index]
            index += 1
        found.append((first, index))
    return found


def _is_own_form(data: bytes) -> bool:
    """Whether every character was seen before, and is matched as it is."""
    return _PLAIN_SIGNS.issuperset(_not_ascii(data))


def _not_ascii(data: bytes) -> set[str]:
    return set(data.translate(None, _ASCII).decode())


def _in_characters(data: bytes, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans of bytes, in order, as characters; one that ends within a character has all of it."""
    found = []
    index = position = 0
    for start, end in spans:
        first = index + len(data[position:start].translate(None, _CONTINUATIONS))
        index = first + len(data[start:end].translate(None, _CONTINUATIONS))
        position = end
        found.append((first, index))
    return found


class _Folding(dict[int, str]):
    """What each character is matched as; made when a character is first seen."""

    def __missing__(self, code: int) -> str:
        folded = self[code] = _folded(code)
        return folded


def _folded(code: int) -> str:
    if code in _IGNORABLE:
        return ""
    return "".join(map(_plain, unicodedata.normalize("NFKC", chr(code))))


def _plain(sign: str) -> str:
    if sign == _IDEOGRAPHIC_FULL_STOP:
        return "."
    category = unicodedata.category(sign)
    if category == "Nd":
        return str(unicodedata.decimal(sign))
    if category == "Cf":
        return ""
    if sign in _SENTENCE_DASHES:
        return " "
    if category == "Pd" or sign in _OTHER_DASHES:
        return "-"
    return " " if category == "Zs" else sign


_FOLDING = _Folding()

_PLAIN_SIGNS: Final[set[str]] = set()
"""Characters seen that are matched as they are; Unicode bounds it."""
_OTHER_SIGNS: Final[set[str]] = set()
"""Characters seen that are matched as others."""

_MANY_SIGNS: Final = 8
"""From here on one walk over the text takes less time than so many replacements."""

_ASCII: Final = bytes(range(128))
_CONTINUATIONS: Final = bytes(range(0x80, 0xC0))
"""The bytes of UTF-8 that begin no character."""


class _Sizes(dict[int, int]):
    """How many bytes each character is folded to."""

    def __missing__(self, code: int) -> int:
        size = self[code] = len(_FOLDING[code].encode())
        return size


_SIZES = _Sizes()
