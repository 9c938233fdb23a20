"""Telephone numbers: what a shape says by itself, or beside a word; what plans say of it is `core.numbering`'s.

Plans know which numbers have been given out; people also write numbers that none knows (drama's, tests', mistyped
ones), so a shape that nothing else has, or a word that announces a number, is enough.
"""

import re
from collections.abc import Iterator, Sequence
from operator import sub
from string import ascii_uppercase
from typing import Final

from app.core.candidates import JOINTS, Candidate
from app.core.numbering import MOST_DIGITS, NORTH_AMERICA, country_code, may_be_given_out

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
_QUAD: Final = re.compile(r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)){3}")
_VERSION: Final = re.compile(r"\d+\.\d\.\d+(?:\.\d+)*|\d+\.\d+\.\d")
_FRACTION: Final = re.compile(r"[1-9]\d{0,4} ?/ ?\d{1,5}")
"""Scores, pages, registrations of so many: `2325 / 3045`."""
_COLUMNS: Final = re.compile(r"[1-9]\d{0,5}(?:\.\d{1,3})?(?: {2,}\d{1,6}(?:\.\d{1,3})?)+")
"""Numbers of a log, set out in columns: `12844  21123`."""
_ABROAD: Final = 10
"""A number that begins with 00 has the country's code and as many digits; a shorter one is filled up with zeros."""
_DECIMAL: Final = re.compile(r"\d+\.\d+")
_QUOTES: Final = re.compile(r"\d+\.\d{1,4} [+-]?\d+\.\d")
"""Prices of shares, and what they gained: `166.26 -2.89`."""
_MOST_SLASHES: Final = 2
_DECIMALS: Final = re.compile(r"\d+\.\d+(?:[ /-]+\d+\.\d+)*")
_UNCERTAIN: Final = re.compile(r"\d+\.\d+\(\d{1,3}")
"""A measured value with its uncertainty: `9.1129(6)`."""
_OTHERS: Final = (_QUAD, _VERSION, _DECIMALS, _FRACTION, _COLUMNS, _UNCERTAIN)
"""What no number is written as, whatever announces it."""
_JOINED: Final = frozenset("-/")
_JOINED_TO_DIGITS: Final = frozenset(":.,")
"""In front of 00, these say that it is the end of a time or a number, of which digits stand before them."""

_MOST_PAIRS: Final = 5
"""France's numbers have as many; more are drawn in a lottery."""
_PAIRS: Final = re.compile(r"\d\d(?:[ .\-/]\d\d)+")
_BLANKS_ALONE: Final = re.compile(r"[2-9]\d\d [2-9]\d\d \d{4}")
"""A row of measurements, unless the row ends with it."""
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
        or (found.before == "m=" and text.count(".") == 1 and " " not in text)  # as Go prints times: m=+44.207946095
        or (text[1] == " " and found.before.strip()[-1:].isdigit())
    ):
        return
    if text[0] == "0" and (_is_joined(found.before) or ("." in text and " " in text)):
        return
    plausible = 0
    for end in _ends(text, found.after):
        digits = _digits(text[:end]).removeprefix("00") if text[0] == "0" else _digits(text[:end])
        if text[0] == "0" and text[end : end + 1] in JOINTS and text[end + 1 : end + 2].isdigit():
            continue  # an order's number in groups
        if may_be_given_out(digits) and not (text[:end].isdigit() and digits[0] == "1"):
            # Ten digits behind 001 without a space are as well a number that zeros fill up.
            yield 0, end
            return
        if not plausible and text[0] == "+" and _is_plausible(digits):
            plausible = end
    if plausible:
        yield 0, plausible


def _is_joined(before: str) -> bool:
    return before[-1:] in _JOINED or (before[-1:] in _JOINED_TO_DIGITS and before[:1].isdigit())


def _is_plausible(digits: str) -> bool:
    code = country_code(digits)
    return bool(code) and int(code) != NORTH_AMERICA and _PLAIN_ENOUGH <= len(digits) <= MOST_DIGITS


def shape(found: Candidate) -> bool:
    """A shape that is enough by itself, unless it is part of a longer number."""
    before = found.before
    if (
        found.touches_digit
        or not found.digits.strip("0")
        or (before[-1:] in JOINTS and before[:1].isalnum() and len(before) > 1)
    ):
        return False
    return not (found.after[:1] in JOINTS and found.after[1:].isalnum() and found.after[:1] == "-")


def trunk(found: Candidate) -> Iterator[tuple[int, int]]:
    """A trunk 0 or a city code in brackets: 9 to 11 digits, no date, no list, no part of a longer number.

    Yields readings without the last groups too: what stands behind a number is no part of it.
    """
    return _dialled(found, 11)


def national(found: Candidate) -> Iterator[tuple[int, int]]:
    """The same for those that a plan is asked about: the longest (German mobiles) have 12 digits."""
    return _dialled(found, 12)


def alone(found: Candidate) -> Iterator[tuple[int, int]]:
    """A number in one country's grouping behind which no other one stands."""
    after = found.after
    if not (after[:1] in " /" and after[1:].isdigit()):
        # The whole candidate is the first reading, if it is one at all.
        first = next(_dialled(found, 12), None)
        if first is not None and first[1] == len(found.text):
            yield first


def _dialled(found: Candidate, many: int) -> Iterator[tuple[int, int]]:
    few = 9
    text, before, _ = found
    if (before[-1:] == "-" and before[:1].isalnum()) or _DATE.match(text) is not None:
        return
    if _is_in_time(found) or (before[-1:] == "," and _DECIMAL.fullmatch(text)):
        return  # a position of a satellite's receiver: `N,02624.00915,E`
    for end, groups in _readings(text):
        digits = "".join(groups)
        if len(digits) < few:
            return
        if len(digits) <= many and digits[:3] != "000" and digits not in _IN_ORDER and not _counts_up(groups):
            reading = _reading(found, end)
            if not reading.is_inside_longer(JOINTS) and not _is_other(reading, groups):
                yield 0, end


def _is_other(reading: Candidate, groups: Sequence[str]) -> bool:
    """Whether it is a decimal in a row of numbers, pairs that go on as a list, or ends with the next city code."""
    text, _, after = reading
    if ("." in text and " " in text and "/" not in text) or (len(groups) > _MOST_PAIRS and _PAIRS.fullmatch(text)):
        return True
    # Behind other groups a number is what comes next.
    if after[:1] not in " /" or not after[1:].isdigit():
        return False
    if after[0] == " " and _BLANKS_ALONE.fullmatch(text):
        return True
    return (after[0] == "/" and "/" in text and groups[-1][0] == "0") or _PAIRS.fullmatch(text) is not None


def announced(found: Candidate) -> Iterator[tuple[int, int]]:
    """What stands beside a word for telephones: 6 to 15 digits that are not written as something else."""
    before = found.before
    is_id = before[-1:] in _CAPITALS or (before[-1:] == "-" and before[:1] in _CAPITALS)
    if _is_price(found) or (is_id and before) or _is_in_time(found):
        return
    if any(form.match(found.text) for form in (_DATE, _YEARS)) or found.text.count("/") > _MOST_SLASHES:
        return
    after = found.after
    if after[:1].isascii() and after[:1].isalpha() and after[:1] not in "xX" and after[:2].lower() != "ex":
        return  # `0270463B-D917`; an extension may be glued
    digits = found.digits
    is_filled_up = digits[:3] == "000" or (digits[:2] == "00" and len(digits) < _ABROAD)
    if before == "0x" or is_filled_up or _QUOTES.match(found.text):
        return
    for end, groups in _readings(found.text):
        reading = _reading(found, end)
        if (
            _LOCAL <= sum(map(len, groups)) <= MOST_DIGITS
            and not reading.is_inside_longer(JOINTS)
            and not any(form.fullmatch(reading.text) for form in _OTHERS)
        ):
            yield 0, end


def _readings(text: str) -> Iterator[tuple[int, Sequence[str]]]:
    """The ends of a candidate and of its groups, the last first, and the groups that stand before each."""
    groups = _GROUP.findall(text)
    yield len(text), groups
    ends = [group.end() for group in _GROUP.finditer(text)]
    for count in range(len(ends), 0, -1):
        if ends[count - 1] < len(text):
            yield ends[count - 1], groups[:count]


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


def _is_decimal(text: str) -> bool:
    """Whether it is a decimal number with its sign: `+48.8566`; `+1.5558675309` is how registries write a number."""
    whole, dot, part = text[1:].partition(".")
    few = 9
    return bool(dot) and whole.isdigit() and part.isdigit() and len(part) < few


def _counts_up(groups: Sequence[str]) -> bool:
    if len(groups) < _LIST:
        return False
    first, second, third = map(int, groups[:_LIST])
    if second - first != third - second:
        return False
    numbers = [*map(int, groups)]
    return len({*map(sub, numbers[1:], numbers)}) == 1


def _is_in_time(found: Candidate) -> bool:
    """Whether it goes on behind a time's colon, or a device's: `08:01 6946286`."""
    return found.before[-1:] == ":" and found.before[:1].isdigit()


def _is_price(found: Candidate) -> bool:
    """An amount: behind a currency, or with cents behind a comma."""
    return not _CURRENCIES.isdisjoint(found.before) or (found.after[:1] == "," and found.after[1:].isdigit())
