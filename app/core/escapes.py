r"""Signs that are written as other signs: what a text says to who reads it, and not how it was sent.

JSON and code write `\n`, `\u0040`, `\x40`, addresses of the web `%40`, HTML `&#64;`, terminals a colour as `ESC[31m`.
However deep one is in another: `\\\"`, `%2540`, `&amp;quot;`. Time is linear in the text.
"""

import html
import re
from collections.abc import Iterator
from typing import Final

_COLOUR: Final = r"\[[0-9;?]{0,32}[A-Za-z]"

# A long vowel's sign and a middle dot, where people mean a dash.
_DASHES: Final = ("\u30fc", "\uff70", "\u30fb")
_DASH: Final = "|".join(rf"{sign}(?=\d)" for sign in _DASHES)

_PERCENT_SIGN: Final = "%[0-7][0-9a-fA-F]"
_PERCENT: Final = re.compile(_PERCENT_SIGN)

_WRITTEN: Final = re.compile(
    # Each way begins with one sign of its own: `re` then looks for these alone, which takes a twentieth of the time.
    # A run of backslashes is taken whole, whatever is behind it, so that none is looked at twice.
    rf"\\\\*(?:(?P<colour>(?:u001[bB]|x1[bB]|033|e){_COLOUR})"
    r"|(?P<pair>u[dD][89abAB][0-9a-fA-F]{2}\\+u[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|u(?P<four>[0-9a-fA-F]{4})|U(?P<eight>[0-9a-fA-F]{8})|x(?P<two>[0-9a-fA-F]{2})"
    r"|(?P<sign>[nrtbfva\"'/]|0(?![0-9])))?"
    # What is a letter or digit is never written so; `5%41` is five percent.
    r"|%(?:25)*(?P<percent>[2357][0-9a-fA-F]|[46]0|0[9aAdD])"
    r"|&(?:amp;)*(?P<reference>(?:\#[0-9]{2,6}|\#[xX][0-9a-fA-F]{2,5}|[a-zA-Z]{2,8});)"
    rf"|\x1b(?P<terminal>{_COLOUR})"
    rf"|{_DASH}"
)

_IN_JSON: Final = re.compile(r"\\\\*(?:u(?P<four>[0-9a-fA-F]{4})|(?P<sign>[nrt\"'/]))?")
"""What JSON in a string escapes, and nothing else."""

_OTHER: Final = re.compile(rf"\\(?:[xUbfvae0]|u001[bB]|u[dD][89abAB])|{_PERCENT_SIGN}|&[#a-zA-Z]|\x1b\[|{_DASH}")

_SIGNS: Final = {"n": "\n", "r": "\r", "t": "\t", "b": " ", "f": " ", "v": " ", "a": " ", "0": " "}
_MOST: Final = 0x10FFFF
_UNKNOWN: Final = "\ufffd"


def may_stand_in(text: str) -> bool:
    """Whether any sign may be written as another; mostly not, and it takes a hundredth of reading them."""
    if "\\" in text or "\x1b" in text or ("%" in text and _PERCENT.search(text)) or ("&" in text and ";" in text):
        return True
    # Three questions one by one: every event is asked, and a generator takes longer than they do.
    return not text.isascii() and ("\u30fc" in text or "\uff70" in text or "\u30fb" in text)


def may_say_more(text: str) -> bool:
    """Whether anything but JSON's escapes may be in it."""
    return _OTHER.search(text) is not None


def read(text: str, *, in_json: bool = False) -> str:
    """Return what a text says; `in_json`: if nothing but JSON's escapes was in it."""
    if in_json or not may_say_more(text):
        return _IN_JSON.sub(_said_in_json, text)
    return _WRITTEN.sub(_said, text)


def places(text: str, *, in_json: bool = False) -> Iterator[tuple[int, int, str]]:
    """Yield where a sign is written as others, from where to where, and which sign it is ("": none)."""
    for written in (_IN_JSON if in_json else _WRITTEN).finditer(text):
        said = _said(written)
        if said != written[0]:
            yield written.start(), written.end(), said


def _said_in_json(written: re.Match[str]) -> str:
    code, sign = written.groups()
    if sign is not None:
        return _SIGNS.get(sign, sign)
    return written[0] if code is None else _of_code(int(code, 16))


def _said(written: re.Match[str]) -> str:
    kind = written.lastgroup
    if kind == "sign":
        return _SIGNS.get(written[kind], written[kind])
    if kind is None:
        is_within = written[0] in _DASHES and written.string[max(0, written.start() - 1) : written.start()].isdigit()
        return "-" if is_within else written[0]
    if kind in ("colour", "terminal"):
        return ""
    value = written[kind]
    if kind == "reference":
        said = html.unescape(f"&{value}")
        return said if len(said) == 1 else written[0]
    if kind == "pair":
        return _of_pair(value)
    if kind == "percent":
        said = chr(int(value, 16))
        return written[0] if said.isalnum() else said
    return _of_code(int(value, 16))


def _of_pair(value: str) -> str:
    high, low = int(value[1:5], 16), int(value[-4:], 16)
    return chr(0x10000 + ((high - 0xD800) << 10) + low - 0xDC00)


def _of_code(code: int) -> str:
    # One half of a pair stands for nothing.
    return _UNKNOWN if 0xD800 <= code <= 0xDFFF or code > _MOST else chr(code)  # noqa: PLR2004 - the surrogates' block
