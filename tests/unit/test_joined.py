"""Joined calls: everyone gets the answer to his own question, and nobody waits for one who is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gevent
import pytest
from gevent.lock import Semaphore

from app.runtime.joined import Joined

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Store:
    """Answers `k` with `value of k`, once it is let; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.permits = Semaphore(1000)
        self.fails_on: set[str] = set()
        self.on_answer: Callable[[], None] = lambda: None

    def let_all(self) -> None:
        for _ in range(1000):
            self.permits.release()

    def __call__(self, keys: Sequence[str]) -> Sequence[str]:
        self.asked.append(list(keys))
        gevent.sleep(0)
        self.permits.acquire(timeout=10)
        self.on_answer()
        if self.fails_on.intersection(keys):
            raise OSError("away")
        return [f"value of {key}" for key in keys]


def joined(store: Store, *, calls: int = 1, most: int = 100) -> Joined[str, str]:
    return Joined(store, calls=calls, most=most)


def test_one_question_is_one_call() -> None:
    """At once, and the next too."""
    store = Store()
    ask = joined(store)
    assert [ask("a"), ask("b")] == ["value of a", "value of b"]
    assert store.asked == [["a"], ["b"]]


def test_questions_that_come_meanwhile_are_the_next_call() -> None:
    """The first goes alone; all that gather behind it go together, in order."""
    store = Store()
    ask = joined(store)
    store.permits = Semaphore(0)
    asking = [gevent.spawn(ask, key) for key in "abcde"]
    gevent.sleep(0)
    assert store.asked == [["a"]]
    store.let_all()
    gevent.joinall(asking, timeout=5, raise_error=True)
    assert [one.value for one in asking] == [f"value of {key}" for key in "abcde"]
    assert store.asked == [["a"], ["b", "c", "d", "e"]]


@pytest.mark.parametrize(("calls", "most"), [(1, 1), (1, 3), (2, 1), (2, 4), (3, 100)])
def test_everyone_gets_his_own_answer(calls: int, most: int) -> None:
    """However many there are, however they fall into calls; and no call is larger than it may be."""
    store = Store()
    ask = joined(store, calls=calls, most=most)

    def client(number: int) -> None:
        for turn in range(20):
            key = f"{number}-{turn}"
            assert ask(key) == f"value of {key}"
            gevent.sleep(0)

    gevent.joinall([gevent.spawn(client, number) for number in range(30)], timeout=30, raise_error=True)
    asked = sorted(key for keys in store.asked for key in keys)
    assert asked == sorted(f"{number}-{turn}" for number in range(30) for turn in range(20))
    assert max(map(len, store.asked)) <= most


def test_no_more_calls_are_under_way_than_may_be() -> None:
    """The third waits for one of the two."""
    store = Store()
    ask = joined(store, calls=2)
    store.permits = Semaphore(0)
    asking = [gevent.spawn(ask, key) for key in "abc"]
    gevent.sleep(0.01)
    assert store.asked == [["a"], ["b"]]
    store.let_all()
    gevent.joinall(asking, timeout=5, raise_error=True)
    assert store.asked == [["a"], ["b"], ["c"]]


def test_a_call_that_fails_fails_for_all_in_it_and_for_nobody_else() -> None:
    """And the next call is made."""
    store = Store()
    ask = joined(store)
    store.permits = Semaphore(0)
    store.fails_on = {"c"}
    asking = [gevent.spawn(ask, key) for key in "abc"]
    gevent.sleep(0)
    store.let_all()
    gevent.joinall(asking, timeout=5)
    assert asking[0].value == "value of a"
    assert [type(one.exception) for one in asking[1:]] == [OSError, OSError]
    assert ask("d") == "value of d"


def test_one_who_goes_while_he_asks_for_others_leaves_them_to_ask_again() -> None:
    """Neither his end nor his limit in time is a fault of theirs."""
    store = Store()
    ask = joined(store)
    store.permits = Semaphore(0)
    asking = [gevent.spawn(ask, key) for key in "abcd"]
    gevent.sleep(0)
    store.permits.release()
    asking[0].join(5)
    gevent.sleep(0.01)
    assert store.asked[1:] == [["b", "c", "d"]]
    asking[1].kill()
    store.let_all()
    gevent.joinall(asking, timeout=5)
    assert [one.value for one in asking[2:]] == ["value of c", "value of d"]
    assert store.asked[2:] == [["c", "d"]]


@pytest.mark.parametrize("who", [0, 1, 2, 3], ids=["who asks", "who is next", "in the middle", "the last"])
def test_one_who_goes_leaves_the_others_their_answers(who: int) -> None:
    """Killed while the first call is under way: the rest is asked, and later questions too."""
    store = Store()
    ask = joined(store)
    store.permits = Semaphore(0)
    asking = [gevent.spawn(ask, key) for key in "abcd"]
    gevent.sleep(0)
    asking[who].kill(block=False)
    gevent.sleep(0)
    store.let_all()
    gevent.joinall(asking, timeout=5)
    for number, key in enumerate("abcd"):
        if number != who:
            assert asking[number].value == f"value of {key}"
    assert ask("later") == "value of later"


def test_one_who_is_called_to_ask_and_goes_at_that_moment_hands_on() -> None:
    """It has been told that it is its turn, and is killed before it runs again."""
    store = Store()
    ask = joined(store)
    store.permits = Semaphore(0)
    first, second, third = (gevent.spawn(ask, key) for key in "abc")
    gevent.sleep(0)
    # The first, when it has its answer, tells the second that it is its turn. The kill is in the loop's queue before.
    store.on_answer = lambda: second.kill(block=False)
    store.let_all()
    gevent.joinall([first, second, third], timeout=5)
    assert first.value == "value of a"
    assert third.value == "value of c"
    assert ask("later") == "value of later"


def test_no_turn_to_call_is_lost() -> None:
    """After a storm of questions, of which some are given up, as many calls may be under way as before."""
    store = Store()
    ask = joined(store, calls=2, most=3)

    def client(number: int) -> None:
        for turn in range(50):
            try:
                with gevent.Timeout(0.0002 * (1 + (number + turn) % 7), TimeoutError("too long")):
                    assert ask(f"{number}-{turn}") == f"value of {number}-{turn}"
            except TimeoutError:
                gevent.sleep(0)

    gevent.joinall([gevent.spawn(client, number) for number in range(40)], timeout=60, raise_error=True)
    store.asked.clear()
    store.permits = Semaphore(0)
    asking = [gevent.spawn(ask, key) for key in "abc"]
    gevent.sleep(0.05)
    assert store.asked == [["a"], ["b"]]
    store.let_all()
    gevent.joinall(asking, timeout=5, raise_error=True)


def test_one_who_has_gone_is_given_no_turn() -> None:
    """He was asked for, gave up, and then the one who asked for him gave up too."""
    store = Store()
    ask = joined(store)
    store.permits = Semaphore(0)
    asking = [gevent.spawn(ask, key) for key in "abc"]
    gevent.sleep(0.01)
    store.permits.release()
    asking[0].join(5)
    gevent.sleep(0.01)
    assert store.asked[1:] == [["b", "c"]]
    asking[2].kill()
    asking[1].kill()
    store.let_all()
    with gevent.Timeout(5):
        assert ask("later") == "value of later"


def test_a_limit_in_time_ends_the_wait_and_not_the_others() -> None:
    """Who waits no longer is not asked for."""
    store = Store()
    ask = joined(store)
    store.permits = Semaphore(0)
    first = gevent.spawn(ask, "a")
    gevent.sleep(0)

    def impatient() -> str:
        with gevent.Timeout(0.02, TimeoutError("too long")):
            return ask("b")

    second = gevent.spawn(impatient)
    second.join(5)
    assert isinstance(second.exception, TimeoutError)
    store.let_all()
    first.join(5)
    assert first.value == "value of a"
    assert ask("c") == "value of c"
    assert store.asked == [["a"], ["c"]]
