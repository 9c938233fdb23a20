"""Fields whose names stand inside a text, as in JSON in a string: patterns made of the names in the table."""

from collections.abc import Sequence
from typing import Final

import re2

_BEFORE: Final = r"(?:[A-Za-z0-9_.-]*[_.-])?"
"""What may stand before a name's last words: `billing_` of `billing_email`."""

_BEFORE_HUMP: Final = r"[A-Za-z0-9_.-]*[a-z0-9]"
"""The same where a capital begins them: `billing` of `billingEmail`."""

_VALUE: Final = r"""\x22{1,2}([^\x22\n]+)\x22|\x27([^\x27\n]+)\x27|(\d[\d.]{%d,})\b"""
"""A value in quotes (those of CSV are doubled), or a number."""


def in_text(names: Sequence[Sequence[str]], suffixes: Sequence[Sequence[str]], least_digits: int) -> str:
    """Return the pattern (RE2) of a quoted name, a colon and a value, of which a group is the value.

    Names are lists of small words; `least_digits` is how many a number must have.
    """
    whole = [_joined(words) for words in names]
    last = [_joined(words) for words in suffixes]
    humps = [f"(?-i:{words[0][:1].upper()}){_joined([words[0][1:], *words[1:]])}" for words in suffixes]
    ends = [f"{_BEFORE}(?:{'|'.join(last)})", f"{_BEFORE_HUMP}(?:{'|'.join(humps)})"] if last else []
    value = _VALUE % max(0, least_digits - 1)
    return rf"(?i)[\x22\x27](?:{'|'.join([*whole, *ends])})s?[\x22\x27]{{1,2}}\s{{0,3}}:\s{{0,3}}(?:{value})"


def _joined(words: Sequence[str]) -> str:
    return "[_ .-]?".join(str(re2.escape(word)) for word in words)
