"""The memory of callers' event ids: bounded in number and in time, apart by tenant."""

from __future__ import annotations

from app.core.recent import RecentIds


def test_an_id_is_new_once() -> None:
    """A retry with the same id is known; another id, and another tenant's, is not."""
    recent = RecentIds(max_ids=10, max_age_s=60)
    assert recent.add("a", "evt", 0.0)
    assert not recent.add("a", "evt", 1.0)
    assert recent.add("a", "evt2", 1.0)
    assert recent.add("b", "evt", 1.0)


def test_an_id_is_forgotten_when_it_is_old() -> None:
    """Counted from when it was first seen, which a repetition does not put off."""
    recent = RecentIds(max_ids=10, max_age_s=60)
    assert recent.add("a", "evt", 0.0)
    assert not recent.add("a", "evt", 59.9)
    assert recent.add("a", "evt", 60.0)
    assert not recent.add("a", "evt", 119.9)


def test_the_oldest_id_makes_room() -> None:
    """Callers cannot make the memory grow."""
    recent = RecentIds(max_ids=3, max_age_s=60)
    for number in range(4):
        assert recent.add("a", str(number), float(number))
    assert not recent.add("a", "1", 4.0)
    assert not recent.add("a", "3", 4.0)
    assert recent.add("a", "0", 4.0)


def test_an_id_whose_event_was_not_kept_is_new_again() -> None:
    """After a 503 the same request is no duplicate; an unknown id is nothing to forget."""
    recent = RecentIds(max_ids=10, max_age_s=60)
    recent.add("a", "evt", 0.0)
    recent.discard("a", "evt")
    recent.discard("a", "evt")
    recent.discard("b", "never")
    assert recent.add("a", "evt", 1.0)


def test_an_age_of_nothing_remembers_nothing() -> None:
    """EVENT_ID_MEMORY_S=0 switches it off."""
    recent = RecentIds(max_ids=10, max_age_s=0)
    assert recent.add("a", "evt", 5.0)
    assert recent.add("a", "evt", 5.0)
