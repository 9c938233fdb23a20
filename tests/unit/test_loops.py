"""Loops: callers are slowed down while it is crowded, for a while and no longer."""

from __future__ import annotations

import gevent

from app.runtime.loops import Runtime


def test_where_there_is_room_nobody_waits() -> None:
    """Asked once; no greenlet is switched."""
    others: list[str] = []
    gevent.spawn(others.append, "ran")
    Runtime().ease(lambda: False)
    assert others == []


def test_a_crowd_is_waited_for_while_it_drains() -> None:
    """What drains it runs meanwhile."""
    crowd = list(range(3))

    def drain() -> None:
        while crowd:
            crowd.pop()
            gevent.sleep(0)

    draining = gevent.spawn(drain)
    Runtime().ease(lambda: bool(crowd))
    assert not crowd
    draining.join(1)


def test_a_crowd_that_does_not_drain_is_not_waited_for_long() -> None:
    """It is a courtesy and no lock: the caller has been promised an answer."""
    asked: list[bool] = []

    def always() -> bool:
        asked.append(True)
        return True

    with gevent.Timeout(5):
        Runtime().ease(always)
    assert 1 < len(asked) <= 100
