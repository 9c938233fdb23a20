"""Payment cards, bank accounts and US social security numbers: the arithmetic that tells them from other numbers."""

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from heapq import merge
from string import ascii_uppercase
from typing import Final

from app.core.candidates import Candidate

# ISO/IEC 7812 issuer ranges and the lengths they issue: (lowest prefix, highest prefix, lengths).
_ISSUERS: Final[tuple[tuple[str, str, frozenset[int]], ...]] = (
    ("4", "4", frozenset({13, 16, 19})),  # Visa
    ("51", "55", frozenset({16})),  # Mastercard
    ("2221", "2720", frozenset({16})),  # Mastercard, 2-series
    ("34", "34", frozenset({15})),  # American Express
    ("37", "37", frozenset({15})),
    ("300", "305", frozenset({14, 16, 19})),  # Diners Club
    ("36", "36", frozenset({14, 16, 19})),
    ("38", "39", frozenset({14, 16, 19})),
    ("6011", "6011", frozenset({16, 19})),  # Discover
    ("644", "659", frozenset({16, 19})),
    ("35", "35", frozenset({16, 19})),  # JCB: 3528 to 3589, and what test data has of its neighbours
    ("2131", "2131", frozenset({15})),  # JCB, of old
    ("1800", "1800", frozenset({15})),
    ("62", "62", frozenset({16, 17, 18, 19})),  # UnionPay
    ("81", "81", frozenset({16, 17, 18, 19})),
    ("50", "50", frozenset({12, 13, 14, 15, 16, 17, 18, 19})),  # Maestro
    ("56", "58", frozenset({12, 13, 14, 15, 16, 17, 18, 19})),
    ("60", "60", frozenset({16})),  # RuPay
    ("63", "63", frozenset({12, 13, 14, 15, 16, 17, 18, 19})),
    ("67", "67", frozenset({12, 13, 14, 15, 16, 17, 18, 19})),
    ("2200", "2204", frozenset({16, 17, 18, 19})),  # Mir
    ("9792", "9792", frozenset({16})),  # Troy
)

_BY_FIRST_DIGITS: Final = {
    str(first): [issuer for issuer in _ISSUERS if issuer[0][:2] <= str(first) <= issuer[1].ljust(2, "9")[:2]]
    for low, high, _ in _ISSUERS
    for first in range(int(low.ljust(2, "0")[:2]), int(high.ljust(2, "9")[:2]) + 1)
}
"""The issuers by what their numbers begin with: two digits tell most numbers from cards."""

_MIN_CARD: Final = 12
_MAX_CARD: Final = 19

_LAYOUTS: Final = frozenset(
    bytes(map(int, layout.split("-")))
    for layout in re.findall("[0-9-]+", "4-4-4-4 4-4-4-4-1 4-4-4-4-2 4-4-4-4-3 4-4-4-1 4-4-4-7 4-4-5 4-6-5 4-6-4 6-13")
)
"""How digits are grouped on cards."""

_OTHER_LAYOUTS: Final = frozenset({bytes((3, 7, 7))})
"""What others group so: orders of a large shop."""

_COUNTS: Final = sorted({len(layout) for layout in _LAYOUTS}, reverse=True)
_BARE: Final = range(_MIN_CARD, _MAX_CARD + 1)
_LONGER: Final = _MAX_CARD + 1
"""Stands for the size of any longer group."""

_LAID_OUT: Final = re.compile(b"(?=%s)" % b"|".join(map(re.escape, [*_LAYOUTS, *(bytes((size,)) for size in _BARE)])))
"""Where, in sizes of groups, those of a card begin; one byte a group."""

_LONGEST_ROW: Final = 3 * _MAX_CARD
"""Signs of a row of groups two signs apart that has no more digits than a card."""

_PAIR, _SMALL_GROUP = 2, 3

_LUHN_DOUBLED: Final = bytes.maketrans(b"0123456789", bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)))
_LUHN_PLAIN: Final = bytes.maketrans(b"0123456789", bytes(range(10)))

_DIGITS: Final = re.compile("[0-9]+")
_SIGNS: Final = re.compile("[A-Za-z0-9]")
_ROWS: Final = re.compile("[0-9]+(?:[ -][0-9]+)*")
_SEPARATORS: Final = re.compile("[^A-Za-z0-9]+")
_VALUES: Final = {ord(letter): str(int(letter, 36)) for letter in ascii_uppercase}

_LENGTHS: Final = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 "
    "ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 "
    "LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 "
    "PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 "
    "YE30"
)
IBAN_LENGTHS: Final[Mapping[str, int]] = {entry[:2]: int(entry[2:]) for entry in _LENGTHS.split()}
"""Characters of an IBAN by its country (SWIFT's registry of IBAN formats)."""

_MODULUS: Final = 97


def cards(found: Candidate) -> Iterator[tuple[int, int]]:
    """Luhn's check digit and an issuer's prefix and length; Luhn alone passes one number in ten.

    The candidate is a whole run of digits. Yields whole groups of them: those of a layout that cards bear wherever
    they stand, any other grouping only if it is a whole row (groups a blank or a hyphen apart).
    """
    text = found.text
    groups = [match.span() for match in _DIGITS.finditer(text)]
    sizes = bytes([min(end - start, _LONGER) for start, end in groups])
    # A group that a letter touches is part of an id, or of a digest.
    first = 1 if _SIGNS.match(found.before[-1:]) else 0
    last = len(groups) - (1 if _SIGNS.match(found.after[:1]) else 0)
    rows = _oddly_grouped(found, groups, sizes) if last - first == len(groups) else {}
    sizes = sizes[:last]
    for place in _places(sizes, rows, first):
        if place >= first:
            count = rows.get(place, 0)
            start = groups[place][0]
            if not count and text[start : start + 2] in _BY_FIRST_DIGITS:
                count = _card_groups(text, groups, sizes, place)
            if count:
                yield groups[place][0], groups[place + count - 1][1]
            first = place + (count or 1)


def _places(sizes: bytes, rows: Mapping[int, int], first: int) -> Iterator[int]:
    """The groups that a card may begin with, in order: of an oddly grouped row, or of a layout."""
    laid_out = (match.start() for match in _LAID_OUT.finditer(sizes, first))
    return merge(rows, laid_out) if rows else laid_out


def card_told(found: Candidate) -> Iterator[tuple[int, int]]:
    """The same behind a word that says so, in any grouping: people mistype blanks."""
    ends = [match.end() for match in _DIGITS.finditer(found.text)]
    for end in reversed(ends):
        digits = "".join(_DIGITS.findall(found.text[:end]))
        if _MIN_CARD <= len(digits) <= _MAX_CARD and _is_card(digits) and not found.touches_digit:
            yield 0, end


def iban(found: Candidate) -> Iterator[tuple[int, int]]:
    """As many signs as the country's accounts have, and ISO 7064's remainder (ISO 13616), in any case and grouping."""
    text = found.text
    length = IBAN_LENGTHS.get(text[:2].upper(), 0)
    if not length or (account := _signs(length).match(text)) is None:
        return
    end = account.end()
    if (text[end : end + 1] or found.after[:1]).isalnum():
        return
    signs = _SEPARATORS.sub("", account[0]).upper()
    if int((signs[4:] + signs[:4]).translate(_VALUES)) % _MODULUS == 1:
        yield 0, end


def ssn(found: Candidate) -> bool:
    """A US social security number that can have been issued (SSA POMS RM 10201.030)."""
    return _is_issued_ssn(found.digits) and not found.is_inside_longer("-. " if " " in found.text else "-.")


def ssn_told(found: Candidate) -> bool:
    """The same behind a word that says so: digits a blank away are another number."""
    return _is_issued_ssn(found.digits) and not found.is_inside_longer("-.")


@cache
def _signs(length: int) -> re.Pattern[str]:
    """So many letters and digits, whatever stands between them."""
    return re.compile(f"(?:[A-Za-z0-9][^A-Za-z0-9]*){{{length - 1}}}[A-Za-z0-9]")


def _is_issued_ssn(digits: str) -> bool:
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    return area not in {"000", "666"} and area < "900" and group != "00" and serial != "0000"


def _card_groups(text: str, groups: Sequence[tuple[int, int]], sizes: bytes, first: int) -> int:
    """How many groups the longest card number has that starts at a group; 0: none does."""
    size, start = sizes[first], groups[first][0]
    if size >= _MIN_CARD:
        is_fraction = first == 1 and text[start - 1 : start] == "."
        return int(not is_fraction and _is_card(text[start : start + size]))
    for count in _COUNTS:
        if first + count > len(sizes) or sizes[first : first + count] not in _LAYOUTS:
            continue
        if _is_card("".join([text[begin:end] for begin, end in groups[first : first + count]])):
            return count
    return 0


def _oddly_grouped(found: Candidate, groups: Sequence[tuple[int, int]], sizes: bytes) -> dict[int, int]:
    """Rows that are one card number each, by their first group: how many groups they have.

    They are in pairs, or in groups of three and more (the last may be shorter).
    """
    rows = {}
    around = found.before + found.text + found.after
    for row in _ROWS.finditer(found.text):
        if not _MIN_CARD <= row.end() - row.start() <= _LONGEST_ROW:
            continue
        first = bisect_left(groups, (row.start(),))
        count = len(_DIGITS.findall(row[0]))
        own = sizes[first : first + count]
        if _MIN_CARD <= sum(own) <= _MAX_CARD and own not in _OTHER_LAYOUTS and _is_evenly_grouped(own):
            start = len(found.before) + row.start()
            end = len(found.before) + row.end()
            alone = Candidate(row[0], around[max(0, start - 2) : start], around[end : end + 2])
            if not alone.is_inside_longer(" -.") and _is_card(alone.digits):
                rows[first] = count
    return rows


def _is_evenly_grouped(sizes: bytes) -> bool:
    return min(sizes[:-1], default=_SMALL_GROUP) >= _SMALL_GROUP or set(sizes[:-1]) == {_PAIR}


def _is_card(digits: str) -> bool:
    return _is_issued(digits) and _has_luhn(digits)


def _is_issued(digits: str) -> bool:
    issuers = _BY_FIRST_DIGITS.get(digits[:2], ())
    return any(low <= digits[: len(low)] <= high and len(digits) in lengths for low, high, lengths in issuers)


def _has_luhn(digits: str) -> bool:
    data = digits.encode()
    return (sum(data[::-2].translate(_LUHN_PLAIN)) + sum(data[-2::-2].translate(_LUHN_DOUBLED))) % 10 == 0
