"""Nanoseconds: unique within a worker, whatever is done to its clock."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from app.services import Stamps

SECOND_NS = 1_000_000_000


@given(st.lists(st.integers(-8 * 86_400, 8 * 86_400), max_size=200))
def test_none_is_given_twice(jumps_s: list[int]) -> None:
    """The clock stands, jumps, and comes to the same times again and again."""
    base_ns = 1_790_000_000 * SECOND_NS
    times = [base_ns + jump_s * SECOND_NS for jump_s in jumps_s]
    clock = iter([one for time_ns in times for one in (time_ns, time_ns, base_ns)])
    stamps = Stamps(lambda: next(clock))
    given_ns = [stamps() for _ in range(3 * len(times))]
    assert len(set(given_ns)) == len(given_ns)


def test_a_clock_that_drifts_back_a_little_is_not_followed() -> None:
    """Order holds through half a second; an hour back is a new truth."""
    base_ns = 1_790_000_000 * SECOND_NS
    steps_ns = (0, 0, -SECOND_NS // 2, -SECOND_NS // 3, 5_000)
    clock = iter([base_ns + step_ns for step_ns in (*steps_ns, -3600 * SECOND_NS)])
    stamps = Stamps(lambda: next(clock))
    given_ns = [stamps() for _ in range(5)]
    assert all(later > earlier for earlier, later in pairwise(given_ns))
    assert abs(stamps() - (base_ns - 3600 * SECOND_NS)) < 1_000
