"""Batching: when a batch is due, and where it is cut."""

from __future__ import annotations

import pytest

from app.core.batching import BatchLimits, halves
from app.core.events import Redacted

LIMITS = BatchLimits(max_bytes=1000, max_events=10, max_age_s=1.0)


@pytest.mark.parametrize(
    ("queued_bytes", "queued_events", "now_s", "wait_s"),
    [
        (1, 1, 100.0, 1.0),
        (1, 1, 100.25, 0.75),
        (1, 1, 101.0, 0.0),
        (1, 1, 500.0, 0.0),
        (999, 9, 100.0, 1.0),
        (1000, 1, 100.0, 0.0),
        (5000, 1, 100.0, 0.0),
        (1, 10, 100.0, 0.0),
        (1, 11, 100.0, 0.0),
    ],
)
def test_a_batch_is_due_when_it_is_large_or_old_enough(
    queued_bytes: int, queued_events: int, now_s: float, wait_s: float
) -> None:
    """Bytes, events and age: the first bound that is reached decides, and a wait is never negative."""
    assert LIMITS.wait_s(queued_bytes=queued_bytes, queued_events=queued_events, oldest_s=100.0, now_s=now_s) == wait_s


def test_without_an_age_everything_is_due_at_once() -> None:
    """BATCH_MAX_AGE_S=0 ships each event as it comes."""
    limits = BatchLimits(max_bytes=1000, max_events=10, max_age_s=0.0)
    assert limits.wait_s(queued_bytes=1, queued_events=1, oldest_s=100.0, now_s=100.0) == 0.0


def _entry(number: int) -> Redacted:
    return Redacted((), number, b"{}", b'{"event_id":"evt_%d"}' % number)


@pytest.mark.parametrize("size", range(2, 12))
def test_halves_are_in_order_and_neither_is_empty(size: int) -> None:
    """Cut again and again, a batch comes down to single events."""
    batch = [_entry(number) for number in range(size)]
    first, second = halves(batch)
    assert [*first, *second] == batch
    assert 0 <= len(second) - len(first) <= 1
    assert first
