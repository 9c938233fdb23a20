"""Checks by code of what a pattern found: the arithmetic that a regular expression cannot do.

Each takes the candidate with the characters around it and says whether it is what its row looks for.
Time is linear in the candidate's length.
"""

import ipaddress
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import phonenumbers


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a pattern found, with up to two characters on either side ("" at the text's ends)."""

    text: str
    before: str
    after: str

    @property
    def digits(self) -> str:
        """The ASCII digits of the candidate."""
        return _NOT_DIGIT.sub("", self.text)


@dataclass(frozen=True, slots=True)
class Validator:
    """A check, and how it is used."""

    check: Callable[[Candidate], bool]
    shrinks: bool = False
    """A candidate that fails is tried again without its last groups: what stands behind a value is no part of it."""
    ask: Callable[[Candidate], bool] | None = None
    """What `check` lets through is asked here too: numbering plans, a bounded number of times a kilobyte."""
    questions: int = 1
    """How many plans one `ask` asks, 30 us each."""


_NOT_DIGIT = re.compile("[^0-9]")

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
    ("3528", "3589", frozenset({16, 19})),  # JCB
    ("62", "62", frozenset({16, 17, 18, 19})),  # UnionPay
    ("50", "50", frozenset({12, 13, 14, 15, 16, 17, 18, 19})),  # Maestro
    ("56", "58", frozenset({12, 13, 14, 15, 16, 17, 18, 19})),
    ("6304", "6304", frozenset({12, 13, 14, 15, 16, 17, 18, 19})),
    ("67", "67", frozenset({12, 13, 14, 15, 16, 17, 18, 19})),
    ("2200", "2204", frozenset({16, 17, 18, 19})),  # Mir
)

_LUHN_DOUBLED: Final = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)

PHONE_REGIONS: Final = frozenset(phonenumbers.SUPPORTED_REGIONS)
"""ISO 3166 codes of the countries whose numbering plans are known."""

MIN_ENTROPY_BITS: Final = 3.0
"""Shannon bits a character: 32 random hex digits give about 3.6, English run together about 4 but without digits."""

_TELLING_GROUP: Final = 3
"""Hex digits that some group of an address has, and no hour, octet or step of a slice."""

_DATE = re.compile(r"(?:\d{1,2}[./-]\d{1,2}[./-](?:\d{4}|\d{2})|\d{4}[./-]\d{1,2}[./-]\d{1,2})(?![\d./-])")
_JOINTS: Final = "-."
"""What holds the parts of a longer number together: an order id, a dotted version."""

_NANP_GROUPS = re.compile(r"\d{3} \d{3}[ -]\d{4}")


def card(found: Candidate) -> bool:
    """Luhn's check digit and an issuer's prefix and length; Luhn alone passes one number in ten."""
    digits = found.digits
    return _issued(digits) and _luhn(digits) and not _touches_digit(found)


def ssn(found: Candidate) -> bool:
    """A US social security number that can have been issued (SSA POMS RM 10201.030)."""
    digits = found.digits
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    issued = area not in {"000", "666"} and area < "900" and group != "00" and serial != "0000"
    return issued and not _touches_digit(found)


def high_entropy(found: Candidate) -> bool:
    """Letters and digits that look drawn at random, and not a word, a number or a run of one sign."""
    text = found.text
    has_letter = any(sign.isalpha() for sign in text)
    return has_letter and has_digit(found) and _bits_per_sign(text) >= MIN_ENTROPY_BITS


def has_digit(found: Candidate) -> bool:
    """At least one digit: what tells a key from words joined by hyphens."""
    return any(sign.isdigit() for sign in found.text)


def ipv4(found: Candidate) -> bool:
    """Four octets that are an address, and not the middle of a longer dotted number."""
    return _is_ip(found.text, ipaddress.IPv4Address) and not _inside_longer_number(found, joints=".")


def ipv6(found: Candidate) -> bool:
    """An RFC 4291 address with a digit and a group of three signs; times and slices (`a[1::2]`) are not."""
    text = found.text
    longest_group = max(len(group) for group in text.split(":"))
    if not has_digit(found) or longest_group < _TELLING_GROUP:
        return False
    if found.before[-1:].isalnum() or found.after[:1].isalnum():
        return False
    return _is_ip(text, ipaddress.IPv6Address)


def phone_shape(found: Candidate) -> bool:
    """A shape that is enough by itself, unless it is the later part of a longer number."""
    before = found.before
    return not _touches_digit(found) and not (before[-1:] in _JOINTS and before[:1].isdigit() and len(before) > 1)


def phone_digits(found: Candidate) -> bool:
    """7 to 15 digits (E.164's bounds) that are not written as a date."""
    return _is_e164_long(found.digits) and _DATE.match(found.text) is None and not _touches_digit(found)


def phone_international(found: Candidate) -> bool:
    """What may be an E.164 number: its digits, and none behind them; the + parts it from what stands before."""
    return _is_e164_long(found.digits) and not found.after[:1].isdigit()


def is_possible_anywhere(found: Candidate) -> bool:
    """A number behind a + whose country code exists and whose length that country uses."""
    try:
        number = phonenumbers.parse(found.text, None)
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.is_possible_number(number)


def phone_national(found: Candidate) -> bool:
    """What may be a national number: 9 to 12 digits, no date, and no row of decimal numbers."""
    few, many = 9, 12
    if not few <= len(found.digits) <= many or ("." in found.text and " " in found.text):
        return False
    return _DATE.match(found.text) is None and not _inside_longer_number(found)


def is_valid_in(regions: Sequence[str]) -> Callable[[Candidate], bool]:
    """Return the question to the numbering plans of `regions` (ISO 3166-1 alpha-2)."""

    def ask(found: Candidate) -> bool:
        # Ten digits grouped 3-3-4 are North American; other plans write a trunk 0 in front.
        asked = ["US"] if _NANP_GROUPS.fullmatch(found.text) else regions
        return any(_is_valid(found.text, region) for region in asked)

    return ask


def validators(phone_regions: Sequence[str]) -> Mapping[str, Validator]:
    """Return every validator by the name that `config/detectors.toml` uses."""
    return {
        "card": Validator(card, shrinks=True),
        "has_digit": Validator(has_digit),
        "high_entropy": Validator(high_entropy),
        "ipv4": Validator(ipv4),
        "ipv6": Validator(ipv6, shrinks=True),
        "phone_digits": Validator(phone_digits, shrinks=True),
        "phone_international": Validator(phone_international, shrinks=True, ask=is_possible_anywhere),
        "phone_national": Validator(
            phone_national, shrinks=True, ask=is_valid_in(phone_regions), questions=len(phone_regions)
        ),
        "phone_shape": Validator(phone_shape),
        "ssn": Validator(ssn),
    }


def _is_e164_long(digits: str) -> bool:
    few, many = 7, 15
    return few <= len(digits) <= many


def _issued(digits: str) -> bool:
    return any(low <= digits[: len(low)] <= high and len(digits) in lengths for low, high, lengths in _ISSUERS)


def _luhn(digits: str) -> bool:
    total = 0
    for place, sign in enumerate(reversed(digits)):
        value = ord(sign) - ord("0")
        total += _LUHN_DOUBLED[value] if place % 2 else value
    return total % 10 == 0


def _bits_per_sign(text: str) -> float:
    size = len(text)
    return -sum(n / size * math.log2(n / size) for n in Counter(text).values())


def _is_ip(text: str, kind: Callable[[str], object]) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True


def _is_valid(text: str, region: str) -> bool:
    try:
        return phonenumbers.is_valid_number_for_region(phonenumbers.parse(text, region), region)
    except phonenumbers.NumberParseException:
        return False


def _touches_digit(found: Candidate) -> bool:
    return found.before[-1:].isdigit() or found.after[:1].isdigit()


def _inside_longer_number(found: Candidate, joints: str = _JOINTS) -> bool:
    """A digit at either side, or behind one joint: `1.2.3.4` in `1.2.3.4.5`, the middle of an order id."""
    before, after = found.before, found.after
    return (
        _touches_digit(found)
        or (before[-1:] in joints and before[:1].isdigit() and len(before) > 1)
        or (after[:1] in joints and after[1:].isdigit())
    )
