"""Group commit: everyone's item is dealt with once, and nobody is told so before it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gevent
import pytest
from gevent.event import Event
from gevent.hub import get_hub

from app.runtime.grouped import Grouped
from app.runtime.one_thread import OneThread

if TYPE_CHECKING:
    from collections.abc import Sequence


class Deals:
    """Takes its time, once it is let; remembers what was dealt with, and raises what it is told to."""

    def __init__(self) -> None:
        self.begun: list[list[str]] = []
        self.done: list[str] = []
        self.gate = Event()
        self.gate.set()
        self.raising: dict[str, BaseException] = {}

    def __call__(self, items: Sequence[str]) -> None:
        items = list(items)
        self.begun.append(items)
        gevent.sleep(0)
        assert self.gate.wait(10)
        for item in items:
            if item in self.raising:
                raise self.raising[item]
        self.done += items


def test_one_is_dealt_with_at_once() -> None:
    """And the next."""
    deals = Deals()
    bring = Grouped(deals)
    bring("a")
    assert deals.done == ["a"]
    bring("b")
    assert deals.begun == [["a"], ["b"]]


def test_those_who_come_meanwhile_are_one_deal() -> None:
    """In the order in which they came; each waits for his own."""
    deals = Deals()
    bring = Grouped(deals)
    deals.gate.clear()
    callers = [gevent.spawn(bring, item) for item in "abcde"]
    gevent.sleep(0.01)
    late = [gevent.spawn(bring, item) for item in "fg"]
    gevent.sleep(0.01)
    assert not any(one.dead for one in (*callers, *late))
    deals.gate.set()
    gevent.joinall([*callers, *late], timeout=5, raise_error=True)
    assert [item for items in deals.begun for item in items] == list("abcdefg")
    assert len(deals.begun) == 2


def test_nothing_is_dealt_with_twice_or_left_out() -> None:
    """Thirty callers, twenty times each, with deals that take turns."""
    deals = Deals()
    bring = Grouped(deals)

    def client(number: int) -> None:
        for turn in range(20):
            item = f"{number}-{turn}"
            bring(item)
            assert item in deals.done
            gevent.sleep(0)

    gevent.joinall([gevent.spawn(client, number) for number in range(30)], timeout=30, raise_error=True)
    assert sorted(deals.done) == sorted(f"{number}-{turn}" for number in range(30) for turn in range(20))


def test_a_fault_is_for_all_in_the_deal_and_for_nobody_else() -> None:
    """Those who gathered meanwhile are dealt with, and later ones too."""
    deals = Deals()
    bring = Grouped(deals)
    deals.raising["b"] = OSError("full")
    deals.gate.clear()
    first = gevent.spawn(bring, "a")
    gevent.sleep(0.01)
    second = [gevent.spawn(bring, item) for item in "bc"]
    gevent.sleep(0.01)
    deals.gate.set()
    gevent.joinall([first, *second], timeout=5)
    assert first.successful()
    assert [type(one.exception) for one in second] == [OSError, OSError]
    bring("d")
    assert deals.done == ["a", "d"]


@pytest.mark.parametrize(
    "end",
    [gevent.GreenletExit(), SystemExit(1), KeyboardInterrupt(), gevent.Timeout(1)],
    ids=lambda end: type(end).__name__,
)
def test_whatever_ends_a_deal_nobody_is_told_that_it_was_done(end: BaseException) -> None:
    """A signal's SystemExit may come up in the midst of a write: those who wait must not be answered 200."""
    deals = Deals()
    bring = Grouped(deals)
    deals.raising["a"] = end
    deals.gate.clear()
    callers = [gevent.spawn(bring, item) for item in "ab"]
    gevent.sleep(0.01)
    late = gevent.spawn(bring, "c")
    hub = get_hub()
    # The hub would end this process for it; here it is only to be seen what the callers hear.
    system_error, hub.SYSTEM_ERROR = hub.SYSTEM_ERROR, ()
    not_error, hub.NOT_ERROR = hub.NOT_ERROR, (BaseException,)
    try:
        deals.gate.set()
        gevent.joinall([*callers, late], timeout=2)
    finally:
        hub.SYSTEM_ERROR, hub.NOT_ERROR = system_error, not_error
    told = [item for item, one in zip("abc", [*callers, late], strict=True) if one.dead and one.exception is None]
    gevent.killall([*callers, late])
    assert [item for item in told if item not in deals.done] == []
    assert late.dead


@pytest.mark.parametrize("who", [0, 1, 2, 3, 4])
def test_a_caller_who_is_ended_midway_takes_nobody_with_him(who: int) -> None:
    """His item may be dealt with or not, once; the others' are, and they hear of it."""
    deals = Deals()
    bring = Grouped(deals)
    deals.gate.clear()
    callers = [gevent.spawn(bring, item) for item in "abcde"]
    gevent.sleep(0.01)
    callers[who].kill()
    deals.gate.set()
    gevent.joinall(callers, timeout=5)
    others = [item for number, item in enumerate("abcde") if number != who]
    assert all(one.successful() for one in callers)
    assert [item for item in deals.done if item in others] == others
    assert len(set(deals.done)) == len(deals.done)
    bring("later")
    assert deals.done[-1] == "later"


def test_a_caller_whose_time_is_up_leaves_his_item_behind() -> None:
    """A time limit on a request does not stop the write that it waits for, nor the next."""
    deals = Deals()
    bring = Grouped(deals)
    deals.gate.clear()
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
        bring("a")
    other = gevent.spawn(bring, "b")
    gevent.sleep(0.01)
    deals.gate.set()
    other.get(timeout=5)
    assert deals.done == ["a", "b"]


def test_deals_on_a_thread() -> None:
    """As commits are: one after the other, while greenlets run, and what the thread raises is heard."""
    on_thread = OneThread()
    written: list[str] = []

    def write(items: Sequence[str]) -> None:
        def call() -> None:
            if "bad" in items:
                raise OSError("bad")
            written.extend(items)

        on_thread(call)

    bring = Grouped(write)
    callers = [gevent.spawn(bring, f"{number}") for number in range(200)]
    gevent.joinall(callers, timeout=20, raise_error=True)
    assert written == [f"{number}" for number in range(200)]
    with pytest.raises(OSError, match="bad"):
        bring("bad")
    bring("good")
    assert written[-1] == "good"


def test_nobody_waits_for_ever() -> None:
    """A disk that hangs: the caller hears of it, the deal goes on, and the next ones are dealt with."""
    deals = Deals()
    bring = Grouped(deals, wait_s=0.05)
    deals.gate.clear()
    with pytest.raises(TimeoutError):
        bring("a")
    deals.gate.set()
    bring("b")
    assert deals.done == ["a", "b"]


def test_those_who_wait_together_are_let_go_together() -> None:
    """Whoever joins a group that waits already waits no longer than it; the deals before and behind are their own."""
    deals = Deals()
    bring = Grouped(deals, wait_s=0.2)
    deals.gate.clear()
    first = gevent.spawn(bring, "a")
    gevent.sleep(0.1)
    others = [gevent.spawn(bring, item) for item in "bc"]
    gevent.sleep(0.15)
    assert [type(one.exception) for one in (first, *others)] == [TimeoutError, type(None), type(None)]
    deals.gate.set()
    gevent.joinall(others, timeout=5, raise_error=True)
    assert deals.done == ["a", "b", "c"]
