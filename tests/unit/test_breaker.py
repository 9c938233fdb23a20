"""The circuit breaker: after some failures in a row nothing is tried for a while, and then one call is."""

from __future__ import annotations

from app.adapters.breaker import Breaker


def broken(failures: int = 3, open_s: float = 10.0, at_s: float = 100.0) -> Breaker:
    """A breaker that has just opened."""
    breaker = Breaker(failures, open_s)
    for _ in range(failures):
        assert breaker.allows(at_s)
        breaker.failed_at(at_s)
    return breaker


def test_it_opens_after_failures_in_a_row() -> None:
    """Not before, and not for failures with a success between them."""
    breaker = Breaker(3, 10.0)
    for _ in range(5):
        breaker.failed_at(100.0)
        breaker.failed_at(100.0)
        assert breaker.allows(100.0)
        breaker.succeeded()
    assert not broken().allows(100.0)


def test_it_stays_open_for_its_time() -> None:
    """And is half open afterwards."""
    breaker = broken(open_s=10.0, at_s=100.0)
    assert not breaker.allows(100.1)
    assert not breaker.allows(109.9)
    assert breaker.allows(110.0)


def test_half_open_lets_one_call_try() -> None:
    """The others wait for what it finds, but not for ever: if nothing is heard of it, another may try."""
    breaker = broken(open_s=10.0, at_s=100.0)
    assert [breaker.allows(110.0), breaker.allows(110.0), breaker.allows(119.9)] == [True, False, False]
    assert breaker.allows(120.0)


def test_a_success_closes_it() -> None:
    """Then it takes as many failures as at first."""
    breaker = broken()
    assert breaker.allows(110.0)
    breaker.succeeded()
    assert breaker.allows(110.0)
    breaker.failed_at(110.0)
    breaker.failed_at(110.0)
    assert breaker.allows(110.0)


def test_a_failed_try_opens_it_again() -> None:
    """From when it failed, and one failure is enough."""
    breaker = broken(open_s=10.0, at_s=100.0)
    assert breaker.allows(110.0)
    breaker.failed_at(112.0)
    assert not breaker.allows(121.9)
    assert breaker.allows(122.0)
