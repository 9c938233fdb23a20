"""Numbering plans: which telephone numbers a country has given out (libphonenumber's tables).

The tables' own patterns are asked, a microsecond a plan; libphonenumber's parser, thirty times that, also reads
letters, extensions and addresses, which no candidate has.
"""

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final

import phonenumbers

from app.core.candidates import Candidate

REGIONS: Final = frozenset(phonenumbers.SUPPORTED_REGIONS)
"""ISO 3166 codes of the countries whose numbering plans are known."""

MOST_DIGITS: Final = 15
"""Of a number with its country code (E.164)."""

NORTH_AMERICA: Final = 1
"""The country code of the US, Canada and the Caribbean, whose numbers have ten digits; seven are dialled at home."""

_TRUNK: Final = "0"

_FEWEST: Final = 6
"""Digits behind a country code; shorter ones are dialled at home alone."""

_KINDS: Final = (
    "fixed_line",
    "mobile",
    "toll_free",
    "premium_rate",
    "shared_cost",
    "voip",
    "personal_number",
    "pager",
    "uan",
    "voicemail",
)
"""What a number may be that somebody can have; libphonenumber names its tables so."""

_NANP_GROUPS: Final = re.compile(r"\d{3} \d{3}[ -]\d{4}")

PLANS_A_QUESTION: Final = 32
"""So many plans take as long as one question may: 10 us, a third of what the parser takes for one plan."""


def known_in(regions: Sequence[str]) -> Callable[[Candidate], bool]:
    """Return the question whether a number is one of `regions` (ISO 3166-1 alpha-2), as it is dialled there."""
    plans = Plans(regions)
    # Ten digits grouped 3-3-4 are North American; most other plans write a trunk 0 in front.
    grouped = Plans(["US", *(region for region in regions if not _plan(region).has_trunk)])

    def ask(found: Candidate) -> bool:
        asked = grouped if _NANP_GROUPS.fullmatch(found.text) else plans
        return asked.have(found.digits)

    return ask


def country_code(digits: str) -> str:
    """Return the country code that digits begin with; "": none."""
    codes = phonenumbers.COUNTRY_CODE_TO_REGION_CODE
    return next((digits[:size] for size in (1, 2, 3) if digits[:size] and int(digits[:size]) in codes), "")


def may_be_given_out(digits: str) -> bool:
    """Whether a country code is followed by as many digits as that country's numbers have."""
    code = country_code(digits)
    if not code or len(digits) > MOST_DIGITS:
        return False
    rest, lengths = digits[len(code) :], _lengths(int(code))
    if len(rest) in lengths:
        return True
    return rest[:1] == "0" and rest[1:2] != "0" and len(rest) - 1 in lengths  # +44 (0)20 7946 0958


class Plan:
    """One country's plan."""

    def __init__(self, region: str) -> None:
        tables: Any = phonenumbers.PhoneMetadata.metadata_for_region(region)
        kinds = [getattr(tables, kind) for kind in _KINDS]
        patterns = dict.fromkeys(kind.national_number_pattern for kind in kinds if kind is not None)
        patterns.pop(None, None)
        general = tables.general_desc.national_number_pattern
        self.given_out = rf"(?=(?:{general})\Z)(?:{'|'.join(patterns)})"
        """What a number matches, behind the trunk prefix, if it can have been given out."""
        self.prefix: str | None = tables.national_prefix_for_parsing
        self.has_trunk = tables.national_prefix is not None
        """Whether a prefix, mostly 0, is dialled before a number at home."""
        self._rule: str = tables.national_prefix_transform_rule or ""
        self._given_out = re.compile(self.given_out)
        self._prefix = re.compile(self.prefix or r"\b\B")

    def has(self, digits: str) -> bool:
        """Whether digits, as they are or behind the trunk prefix, are a number that can have been given out."""
        if self._given_out.fullmatch(digits):
            return True
        prefix = self._prefix.match(digits)
        if prefix is None:
            return False
        # The rule puts parts of the prefix (an area's code) back in front, in another order.
        kept = prefix.expand(self._rule) if self._rule and prefix.lastindex else ""
        return self._given_out.fullmatch(kept + digits[prefix.end() :]) is not None


class Plans:
    """Several countries' plans, of which most have the prefix 0 and are asked at once."""

    def __init__(self, regions: Sequence[str]) -> None:
        plans = [_plan(region) for region in regions]
        plain = [plan for plan in plans if plan.prefix in (None, _TRUNK)]
        self._as_dialled = _any_of(plain)
        self._behind_trunk = _any_of([plan for plan in plain if plan.prefix == _TRUNK])
        self._others = [plan for plan in plans if plan.prefix not in (None, _TRUNK)]

    def have(self, digits: str) -> bool:
        """Whether one of them has a number."""
        if self._as_dialled.fullmatch(digits):
            return True
        if digits[:1] == _TRUNK and self._behind_trunk.fullmatch(digits, 1):
            return True
        return any(plan.has(digits) for plan in self._others)


def _any_of(plans: Sequence[Plan]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{plan.given_out})" for plan in plans) or r"\b\B")


_plan = cache(Plan)
"""The plan of a region; made when it is first asked."""


@cache
def _lengths(code: int) -> frozenset[int]:
    """How many digits the numbers behind a country code have (libphonenumber's "possible lengths")."""
    if code == NORTH_AMERICA:
        return frozenset((10,))
    found: set[int] = set()
    for region in phonenumbers.COUNTRY_CODE_TO_REGION_CODE[code]:
        plan = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(code, region)
        if plan is not None and plan.general_desc is not None:
            found.update(plan.general_desc.possible_length)
    return frozenset(size for size in found if size >= _FEWEST)
