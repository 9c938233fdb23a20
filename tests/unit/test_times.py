"""Times: which ones a caller may send, and how we write ours."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.times import is_time, rfc3339, rfc3339_ns


@pytest.mark.parametrize(
    "value",
    [
        "2025-09-03T10:30:00Z",
        "2025-09-03t10:30:00z",
        "2025-09-03 10:30:00Z",
        "2025-09-03T10:30:00.1Z",
        "2025-09-03T10:30:00.123456789Z",
        "2025-09-03T10:30:00+02:00",
        "2025-09-03T10:30:00-23:59",
        "2016-12-31T23:59:60Z",
        "2024-02-29T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        0,
        1756895400,
        1756895400.25,
        1756895400000,
        99_999_999_999_999,
    ],
)
def test_what_is_a_time(value: object) -> None:
    """RFC 3339 with an offset, epoch seconds, epoch milliseconds."""
    assert is_time(value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "now",
        "2025-09-03",
        "2025-09-03T10:30Z",
        "2025-09-03T10:30:00",
        "2025-09-03T10:30:00+0200",
        "2025-09-03T10:30:00+24:00",
        "2025-09-03T10:30:00.Z",
        "2025-09-03T10:30:00.1234567890Z",
        "2025-09-03T24:00:00Z",
        "2025-09-03T10:60:00Z",
        "2025-09-03T10:30:61Z",
        "2025-13-03T10:30:00Z",
        "2025-02-29T10:30:00Z",
        "2025-00-10T10:30:00Z",
        "0000-01-01T00:00:00Z",
        " 2025-09-03T10:30:00Z",
        "2025-09-03T10:30:00Z\n",
        "2025-9-3T10:30:00Z",
        "\u0662025-09-03T10:30:00Z",
        "1756895400",
        -1,
        -0.5,
        1e14,
        1756895400000000,
        1756895400000000000,
        float("nan"),
        float("inf"),
        True,
        False,
        None,
        [],
        {},
    ],
)
def test_what_is_no_time(value: Any) -> None:
    """No offset, no such day, micro- and nanoseconds, and whatever is neither text nor number."""
    assert not is_time(value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1756895400, "2025-09-03T10:30:00Z"),
        (1756895400.999, "2025-09-03T10:30:00Z"),
        (1709164800.0, "2024-02-29T00:00:00Z"),
    ],
)
def test_seconds_are_written_in_utc_and_rounded_down(seconds: float, text: str) -> None:
    """To the second, with Z."""
    assert rfc3339(seconds) == text


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000000000Z"),
        (1, "1970-01-01T00:00:00.000000001Z"),
        (1756895400_123456789, "2025-09-03T10:30:00.123456789Z"),
        (1756895399_999999999, "2025-09-03T10:29:59.999999999Z"),
    ],
)
def test_nanoseconds_are_written_with_all_nine_digits(nanoseconds: int, text: str) -> None:
    """No digit is lost to a float."""
    assert rfc3339_ns(nanoseconds) == text


@given(st.integers(0, 4_102_444_800_000_000_000))
def test_what_we_write_is_a_time_and_sorts_as_text(nanoseconds: int) -> None:
    """Two stamps in order are two texts in order."""
    assert is_time(rfc3339_ns(nanoseconds))
    assert rfc3339_ns(nanoseconds) < rfc3339_ns(nanoseconds + 1)
