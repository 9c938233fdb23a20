"""Times as callers write them (RFC 3339, or epoch seconds or milliseconds) and as we write them (RFC 3339, Z)."""

import re
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any, Final

NANOSECONDS: Final = 1_000_000_000

_LATEST_EPOCH: Final = 1e14
"""The year 5138 in milliseconds. A larger number is micro- or nanoseconds, which the contract does not take."""

_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ]([01]\d|2[0-3]):([0-5]\d):([0-5]\d|60)(?:\.\d{1,9})?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)


def is_time(value: Any) -> bool:
    """Say whether `value` is an RFC 3339 string, or epoch seconds or milliseconds."""
    if isinstance(value, str):
        found = _RFC3339.fullmatch(value)
        return found is not None and _is_date(found[1])
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value < _LATEST_EPOCH


def rfc3339(seconds: float) -> str:
    """Return epoch `seconds` as RFC 3339 UTC to the second, rounded down: `2025-09-03T10:30:00Z`."""
    return _to_the_second(int(seconds)) + "Z"


def rfc3339_ns(nanoseconds: int) -> str:
    """Return epoch `nanoseconds` as RFC 3339 UTC with all nine digits."""
    seconds, rest = divmod(nanoseconds, NANOSECONDS)
    return f"{_to_the_second(seconds)}.{rest:09d}Z"


@lru_cache(maxsize=64)
def _to_the_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
