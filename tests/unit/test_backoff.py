"""Backoff: exponential with full jitter, between half a second and five minutes."""

from __future__ import annotations

import pytest

from app.core.backoff import BASE_S, CEILING_S, delay_s


@pytest.mark.parametrize(
    ("attempt", "bound_s"),
    [
        *((1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (9, 128.0), (10, 256.0), (11, 300.0), (12, 300.0), (10**9, 300.0)),
        *((0, 0.5), (-1, 0.5)),
    ],
)
def test_the_bound_doubles_up_to_five_minutes(attempt: int, bound_s: float) -> None:
    """Full jitter picks a point between nothing and the bound."""
    assert delay_s(attempt, 0.0) == 0.0
    assert delay_s(attempt, 0.5) == bound_s / 2
    assert delay_s(attempt, 0.999_999) == pytest.approx(bound_s, rel=1e-5)
    assert delay_s(attempt, 0.999_999) < bound_s


def test_the_bounds_are_those_of_the_design() -> None:
    """0.5 s to 5 min (delivery.md, "The shipper")."""
    assert (BASE_S, CEILING_S) == (0.5, 300.0)
