"""Numbering plans: they say what libphonenumber's own parser says of a number as it is dialled in a country."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import phonenumbers
import pytest

from app.core import numbering
from app.core.candidates import Candidate

if TYPE_CHECKING:
    from collections.abc import Iterator

SHIPPED = ("US", "GB", "DE", "FR", "IN", "AU")
DRAWS = 400
"""Numbers a country: a third of them its own examples, a third those with a digit changed, a third drawn."""

APART: dict[str, int] = {"IL": 100}
"""Where more than a few may differ: behind 012 to 019 the parser reads a call from Israel to another country."""

FEW = 3


def says(digits: str, region: str) -> bool:
    """What the library's parser, and then its tables, say."""
    try:
        return phonenumbers.is_valid_number_for_region(phonenumbers.parse(digits, region), region)
    except phonenumbers.NumberParseException:
        return False


def drawn(region: str) -> Iterator[str]:
    """Digits as they are dialled in a country, given out and not."""
    chance = random.Random(region)
    tables = phonenumbers.PhoneMetadata.metadata_for_region(region)
    kinds = phonenumbers.supported_types_for_region(region)
    examples = [phonenumbers.example_number_for_type(region, kind) for kind in sorted(kinds)]
    own = [phonenumbers.national_significant_number(example) for example in examples if example is not None]
    for place in range(DRAWS):
        digits = chance.choice(["0", "", tables.national_prefix or ""]) + chance.choice(own)
        if place % 3 == 1:
            at = chance.randrange(len(digits))
            digits = digits[:at] + chance.choice("0123456789") + digits[at + 1 :]
        elif place % 3 == 2:
            digits = "0" + "".join(chance.choices("0123456789", k=chance.randint(7, 11)))
        if 5 <= len(digits) <= 12:
            yield digits


def asked(text: str, *regions: str) -> bool:
    return numbering.known_in(regions)(Candidate(text, "", ""))


@pytest.mark.parametrize("region", sorted(numbering.REGIONS))
def test_a_plan_says_what_the_library_says(region: str) -> None:
    numbers = [*drawn(region)]
    apart = [digits for digits in numbers if asked(digits, region) is not says(digits, region)]
    assert len(numbers) > DRAWS / 4
    assert len(apart) <= (0 if region in SHIPPED else APART.get(region, FEW)), apart


@pytest.mark.parametrize("region", SHIPPED)
def test_the_draws_are_of_both_kinds(region: str) -> None:
    said = [says(digits, region) for digits in drawn(region)]
    assert min(said.count(True), said.count(False)) > DRAWS / 10


@pytest.mark.parametrize(
    ("text", "regions", "known"),
    [
        ("(020) 7946-0958", ["GB"], True),
        ("020 7946 0958", ["DE", "GB"], True),
        ("020 7946 0958", ["US"], False),
        ("020 7946 0958", [], False),
        ("212 555-0123", ["US"], True),
        ("212 555 0123", ["GB"], True),  # grouped as North America's are, so its plan is asked
        ("112 555 0123", ["US", "GB"], False),
        ("0", ["US", "GB"], False),
    ],
)
def test_some_country_of_those_named_must_know_it(text: str, regions: list[str], *, known: bool) -> None:
    assert asked(text, *regions) is known


@pytest.mark.parametrize(
    ("digits", "code", "may_be"),
    [
        ("442079460958", "44", True),
        ("4402079460958", "44", True),
        ("49301234567", "49", True),
        ("15551234567", "1", True),
        ("155512345678", "1", False),
        ("999123456", "", False),
        ("44", "44", False),
        ("", "", False),
        ("4420794609581234", "44", False),
    ],
)
def test_a_country_says_how_long_its_numbers_are(digits: str, code: str, *, may_be: bool) -> None:
    assert (numbering.country_code(digits), numbering.may_be_given_out(digits)) == (code, may_be)
