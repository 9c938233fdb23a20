"""Checks by code of what a pattern found, by the names that `config/detectors.toml` uses.

Time is linear in the candidate's length.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from operator import sub
from typing import Final

from app.core import account_numbers, net_addresses, numbering, phones
from app.core.candidates import Candidate, Validator
from app.core.secret_checks import SECRET_CHECKS, told_password_located, without_parameters

PHONE_REGIONS: Final = numbering.REGIONS

MIN_ENTROPY_BITS: Final = 3.0
"""Shannon bits a character: 32 random hex digits give about 3.6, English run together about 4 but without digits."""

_DIGEST_LENGTHS: Final = frozenset({40, 56, 64, 96, 128})
"""Hex digits of SHA-1, and of SHA-2 and SHA-3: git's commits, images, checksums."""

_MD5SUM: Final = frozenset({"  ", " *"})
"""What `md5sum` writes between a digest and a file's name."""

_SENTENCE: Final = "._-"
_STAMP = re.compile(r"\d{8}[Tt]\d{6}")
_FIELD_DIGITS: Final = 3
_SHORTEST_SESSION: Final = 4
_SHORTEST_NUMBER: Final = 5
_FEWEST_DIGITS: Final = 4
_SHORTEST_DRAWN: Final = 16

_DATE = re.compile(r"\d{1,2}([./-])\d{1,2}\1\d{2,4}|\d{4}([./-])\d{1,2}\2\d{1,2}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_HEX = re.compile(r"(?:0[xX])?[0-9a-fA-F]+")
_WORDLIKE = re.compile(r"[A-Z]?[a-z]{3,}|[A-Z]{4,}")

_STEPS: Final = frozenset({-1, 0, 1})
_STEPS_SHARE: Final = 0.5
"""Of what is drawn at random a fifth or less."""

_WORDS_SHARE: Final = 0.7
_DIGITS_SHARE: Final = 0.1
"""Of a long identifier most is words and little is digits; of what is drawn at random neither."""


def has_digit(found: Candidate) -> bool:
    """At least one digit: what tells a key from words joined by hyphens."""
    return any(sign.isdigit() for sign in found.text)


def no_uuid(found: Candidate) -> bool:
    """What `uid` is of a user, and not of an object."""
    return _UUID.fullmatch(found.text) is None


def digit_no_uuid(found: Candidate) -> bool:
    """The same in a text, where a word may stand for any value."""
    return has_digit(found) and no_uuid(found)


def told_id(found: Candidate) -> Iterator[tuple[int, int]]:
    """An id behind its name, without the sentence's end behind it; `string user_id = 1;` numbers a field."""
    text = found.text
    if _STAMP.match(text):
        return  # of a calendar's event
    if not (len(text) <= _FIELD_DIGITS and text.isdigit() and found.before == "= " and found.after[:1] == ";"):
        yield 0, len(text.rstrip(_SENTENCE))


def told_session(found: Candidate) -> Iterator[tuple[int, int]]:
    """The same of a session, which no count is: four signs and more."""
    end = len(found.text.rstrip(_SENTENCE))
    if end >= _SHORTEST_SESSION:
        yield 0, end


def told_number(found: Candidate) -> bool:
    """A number behind its name, and no year, date, count or version: five digits, or a letter and four."""
    digits = len(found.digits)
    if _DATE.fullmatch(found.text):
        return False
    return digits >= _SHORTEST_NUMBER or (digits >= _FEWEST_DIGITS and found.text[:1].isalpha())


def drawn_token(found: Candidate) -> bool:
    """What stands alone under a name that ends in token or key, drawn at random and too long for a word."""
    text = found.text
    return len(text) >= _SHORTEST_DRAWN and " " not in text and _is_random(found)


def high_entropy(found: Candidate) -> bool:
    """Letters and digits that look drawn at random: no word, no number, no run of one sign, nothing in hex."""
    return _HEX.fullmatch(found.text) is None and _is_random(found)


def hex_key(found: Candidate) -> bool:
    """Hex digits as a key has them; as many as a digest has are a digest, and so is what names a file behind it."""
    if found.after in _MD5SUM:
        return False
    return _is_random(found) and len(_hex_digits(found)) not in _DIGEST_LENGTHS


def hex_digest(found: Candidate) -> bool:
    """As many hex digits as a digest has: a key only where a word says so."""
    return _is_random(found) and len(_hex_digits(found)) in _DIGEST_LENGTHS


def mixed_case(found: Candidate) -> bool:
    """Small and capital letters and digits mixed, as in base 58: no word, no number, no hex."""
    text = found.text
    return not text.islower() and not text.isupper() and _HEX.fullmatch(text) is None and _is_random(found)


def validators(phone_regions: Sequence[str]) -> Mapping[str, Validator]:
    """Return every validator by the name that `config/detectors.toml` uses."""
    return {
        "card": Validator(locate=account_numbers.cards, finds_many=True, restarts=False),
        "card_told": Validator(locate=account_numbers.card_told),
        "email_told": Validator(net_addresses.email_told),
        "email": Validator(locate=net_addresses.email),
        "digit_no_uuid": Validator(digit_no_uuid),
        "drawn_token": Validator(drawn_token),
        "has_digit": Validator(has_digit, restarts=False),
        "hex_digest": Validator(hex_digest),
        "hex_key": Validator(hex_key),
        "high_entropy": Validator(high_entropy),
        "iban": Validator(locate=account_numbers.iban),
        "ipv4": Validator(net_addresses.ipv4, restarts=False),
        "ipv4_ported": Validator(net_addresses.ipv4_ported, restarts=False),
        "ipv6": Validator(locate=net_addresses.ipv6, restarts=False),
        "mac": Validator(net_addresses.mac, restarts=False),
        "mixed_case": Validator(mixed_case),
        "no_uuid": Validator(no_uuid),
        "phone_alone": Validator(locate=phones.alone, tail=phones.EXTENSION),
        "phone_announced": Validator(locate=phones.announced, tail=phones.EXTENSION),
        "phone_international": Validator(locate=phones.international, restarts=False, tail=phones.EXTENSION),
        "phone_national": Validator(
            locate=phones.national,
            ask=numbering.known_in(phone_regions),
            questions=1 + len(phone_regions) // numbering.PLANS_A_QUESTION,
            tail=phones.EXTENSION,
        ),
        "phone_shape": Validator(phones.shape, tail=phones.EXTENSION),
        "phone_trunk": Validator(locate=phones.trunk, tail=phones.EXTENSION),
        "ssn": Validator(account_numbers.ssn),
        "ssn_told": Validator(account_numbers.ssn_told),
        "told_id": Validator(locate=told_id, restarts=False),
        "told_number": Validator(told_number, restarts=False),
        "told_password": Validator(locate=told_password_located, restarts=False),
        "told_session": Validator(locate=told_session, restarts=False),
        **{name: Validator(locate=without_parameters(check)) for name, check in SECRET_CHECKS.items()},
    }


def _is_random(found: Candidate) -> bool:
    text = found.text
    has_letter = any(sign.isalpha() for sign in text)
    return (
        has_letter
        and has_digit(found)
        and _bits_per_sign(text) >= MIN_ENTROPY_BITS
        and not _is_wordy(text)
        and not _counts_up(text)
    )


def _counts_up(text: str) -> bool:
    """Whether most signs are the one before or the next to it: `112233445566`, `abcdef`."""
    codes = [*map(ord, text)]
    steps = sum(map(_STEPS.__contains__, map(sub, codes[1:], codes)))
    return steps > _STEPS_SHARE * len(text)


def _is_wordy(text: str) -> bool:
    words = sum(len(word) for word in _WORDLIKE.findall(text))
    digits = sum(map(str.isdigit, text))
    return words > _WORDS_SHARE * len(text) and digits < _DIGITS_SHARE * len(text)


def _hex_digits(found: Candidate) -> str:
    return found.text.lower().removeprefix("0x")


def _bits_per_sign(text: str) -> float:
    size = len(text)
    return math.log2(size) - sum(n * math.log2(n) for n in Counter(text).values() if n > 1) / size
