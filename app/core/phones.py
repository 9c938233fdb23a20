"""Telephone numbers: what a shape says by itself, and what a country's numbering plan (libphonenumber) says of it.

Plans know which numbers have been given out; people also write numbers that none knows (drama's, tests', mistyped
ones), so a shape that nothing else has, or a word that announces a number, is enough.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from operator import sub
from string import ascii_uppercase
from typing import Final

import phonenumbers

from app.core.candidates import JOINTS, Candidate

REGIONS: Final = frozenset(phonenumbers.SUPPORTED_REGIONS)
"""ISO 3166 codes of the countries whose numbering plans are known."""

_FEW, _MANY = 7, 15
"""Digits of a number with its country code (E.164)."""

_LOCAL: Final = 6
"""The fewest digits of a number that is announced by a word: a local one."""

_PLAIN_ENOUGH: Final = 9
"""From here on, digits behind a + and a country's code are a number even if that country has none so long."""

_TRUNK: Final = re.compile(r"\(0\)")
_GROUP: Final = re.compile(r"\d+")
EXTENSION: Final = re.compile(rb"(?i)[ ,;]{0,2}\(?(?:x|ext|extension|#|durchwahl|poste)[. :]{0,2}\d{1,6}\b\)?")
"""What may stand behind a number, and is no part of what a plan knows."""

_DATE: Final = re.compile(
    r"(?:\d{1,2}[./-]\d{1,2}[./-](?:\d{4}|\d{2})|\d{4}[./-]\d{1,2}[./-]\d{1,2})(?![\d./-])"
    r"|\d{4}[./-](?:0\d|1[0-2])[./-][0-3]\d\D|(?:0[1-9]|1[0-2])/(?:19|20)\d\d(?!\d)"
    r"|(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?!\d)"
)
_YEARS: Final = re.compile(r"(?:1[5-9]|20)\d\d ?[-/] ?(?:1[5-9]|20)?\d\d")
_QUAD: Final = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")
_VERSION: Final = re.compile(r"\d+\.\d\.\d+(?:\.\d+)*")
_DECIMALS: Final = re.compile(r"\d+\.\d+(?:[ /-]+\d+\.\d+)*")
_NANP_GROUPS: Final = re.compile(r"\d{3} \d{3}[ -]\d{4}")
_JOINED: Final = frozenset(":.,-/")
"""In front of 00, these say that it is the end of a time or a number."""

_PAIRS: Final = re.compile(r"\d\d(?:[ .\-/]\d\d)+")
_CAPITALS: Final = frozenset(ascii_uppercase)
"""One of them before a number, glued or with a hyphen, makes an id of it: `ORD-8928248`."""

_CURRENCIES: Final = frozenset("$€£¥")
_IN_ORDER: Final = "01234567890123456789"
"""Digits as they come are an alphabet, not a number, unless a word announces one."""
_LIST: Final = 3
"""From so many groups on, numbers that follow each other evenly (01 02 03 04 05) are counted, not dialled."""


def international(found: Candidate) -> Iterator[tuple[int, int]]:
    """A number behind a + or 00: the longest that its country's plan may have, else a plausible length."""
    text = found.text
    if (
        (found.before[-1:] or " ").isalnum()
        or _is_decimal(text)
        or (text[1] == " " and found.before.strip()[-1:].isdigit())
    ):
        return
    if text[0] == "0" and (found.before[-1:] in _JOINED or ("." in text and " " in text)):
        return
    plausible = 0
    for end in _ends(text, found.after):
        digits = _digits(text[:end]).removeprefix("00") if text[0] == "0" else _digits(text[:end])
        if text[0] == "0" and text[end : end + 1] in JOINTS and text[end + 1 : end + 2].isdigit():
            continue  # an order's number in groups
        if _may_be_given_out(digits) and not (text[:end].isdigit() and digits[0] == "1"):
            # Ten digits behind 001 without a space are as well a number that zeros fill up.
            yield 0, end
            return
        if not plausible and text[0] == "+" and _PLAIN_ENOUGH <= len(digits) <= _MANY and _country_code(digits):
            plausible = end
    if plausible:
        yield 0, plausible


def shape(found: Candidate) -> bool:
    """A shape that is enough by itself, unless it is part of a longer number."""
    before = found.before
    if found.touches_digit or (before[-1:] in JOINTS and before[:1].isalnum() and len(before) > 1):
        return False
    return not (found.after[:1] in JOINTS and found.after[1:].isalnum() and found.after[:1] == "-")


def trunk(found: Candidate) -> Iterator[tuple[int, int]]:
    """A trunk 0 or a city code in brackets: 9 to 11 digits, no date, no list, no part of a longer number.

    Yields readings without the last groups too: what stands behind a number is no part of it.
    """
    few, many = 9, 11
    text, before = found.text, found.before
    if (before[-1:] == "-" and before[:1].isalnum()) or _DATE.match(text) is not None:
        return
    if before[-1:] in " /" and before[:1].isdigit() and len(before) > 1 and text[0] != "(":
        return
    for end, digits in _readings(text):
        if not few <= digits <= many:
            continue
        reading = _reading(found, end)
        if reading.is_inside_longer(JOINTS) or (
            "." in reading.text and " " in reading.text and "/" not in reading.text
        ):
            continue
        # Behind pairs another number makes a list of them; behind other groups it is what comes next.
        if reading.after[:1] in " /" and reading.after[1:].isdigit() and _PAIRS.fullmatch(reading.text):
            continue
        if reading.digits not in _IN_ORDER and not _counts_up(reading.text):
            yield 0, end


def announced(found: Candidate) -> Iterator[tuple[int, int]]:
    """What stands beside a word for telephones: 6 to 15 digits that are not written as something else."""
    before = found.before
    is_id = before[-1:] in _CAPITALS or (before[-1:] == "-" and before[:1] in _CAPITALS)
    if _is_price(found) or (is_id and before) or (before[-1:] == ":" and before[:1].isdigit()):
        return
    if any(form.match(found.text) for form in (_DATE, _YEARS)):
        return
    for end, digits in _readings(found.text):
        reading = _reading(found, end)
        if (
            _LOCAL <= digits <= _MANY
            and not reading.is_inside_longer(JOINTS)
            and not any(form.fullmatch(reading.text) for form in (_QUAD, _VERSION, _DECIMALS))
        ):
            yield 0, end


def known_in(regions: Sequence[str]) -> Callable[[Candidate], bool]:
    """Return the question to the numbering plans of `regions` (ISO 3166-1 alpha-2)."""

    def ask(found: Candidate) -> bool:
        # Ten digits grouped 3-3-4 are North American; other plans write a trunk 0 in front.
        asked = ["US"] if _NANP_GROUPS.fullmatch(found.text) else regions
        return any(_is_valid(found.text, region) for region in asked)

    return ask


def _readings(text: str) -> list[tuple[int, int]]:
    """The ends of a candidate's groups, the last first, and how many digits stand before each."""
    readings, digits = [], 0
    for group in _GROUP.finditer(text):
        digits += group.end() - group.start()
        readings.append((group.end(), digits))
    if text and not text[-1].isdigit():
        readings.append((len(text), digits))
    return readings[::-1]


def _reading(found: Candidate, end: int) -> Candidate:
    """The candidate without what stands behind `end`."""
    text = found.text
    return found if end == len(text) else Candidate(text[:end], found.before, (text[end : end + 2] + found.after)[:2])


def _ends(text: str, after: str) -> Iterator[int]:
    """The ends of a candidate's groups, the last first; none that cuts a number in two."""
    groups = list(_GROUP.finditer(text))
    if after[:1].isdigit():
        groups.pop()
    for group in reversed(groups):
        end = group.end()
        yield end + 1 if text[end : end + 1] == ")" and "(" in text[:end] else end


def _digits(text: str) -> str:
    return "".join(_GROUP.findall(_TRUNK.sub("", text)))


def _may_be_given_out(digits: str) -> bool:
    """Whether a country code is followed by as many digits as that country's numbers have."""
    code = _country_code(digits)
    if not code or len(digits) > _MANY:
        return False
    rest, lengths = digits[len(code) :], _lengths(int(code))
    return len(rest) in lengths or (rest[:1] == "0" and len(rest) - 1 in lengths)


def _country_code(digits: str) -> str:
    codes = phonenumbers.COUNTRY_CODE_TO_REGION_CODE
    return next((digits[:size] for size in (1, 2, 3) if digits[:size] and int(digits[:size]) in codes), "")


@cache
def _lengths(code: int) -> frozenset[int]:
    """How many digits the numbers behind a country code have (libphonenumber's "possible lengths")."""
    found: set[int] = set()
    for region in phonenumbers.COUNTRY_CODE_TO_REGION_CODE[code]:
        plan = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(code, region)
        if plan is not None and plan.general_desc is not None:
            found.update(plan.general_desc.possible_length)
    return frozenset(size for size in found if size >= _LOCAL)


def _is_decimal(text: str) -> bool:
    """Whether it is a decimal number with its sign: `+48.8566`; `+1.5558675309` is how registries write a number."""
    whole, dot, part = text[1:].partition(".")
    few = 9
    return bool(dot) and whole.isdigit() and part.isdigit() and len(part) < few


def _counts_up(text: str) -> bool:
    numbers = [*map(int, _GROUP.findall(text))]
    return len(numbers) >= _LIST and len({*map(sub, numbers[1:], numbers)}) == 1


def _is_price(found: Candidate) -> bool:
    """An amount: behind a currency, or with cents behind a comma."""
    return not _CURRENCIES.isdisjoint(found.before) or (found.after[:1] == "," and found.after[1:].isdigit())


def _is_valid(text: str, region: str) -> bool:
    try:
        return phonenumbers.is_valid_number_for_region(phonenumbers.parse(text, region), region)
    except phonenumbers.NumberParseException:
        return False
