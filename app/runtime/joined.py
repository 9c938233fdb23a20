"""One call for what several greenlets ask at the same time."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from gevent.event import AsyncResult

K = TypeVar("K")
V = TypeVar("V")


class Joined(Generic[K, V]):
    """Makes one call of what several greenlets ask at the same time.

    While as many calls as may be are under way, questions gather; the next call asks all of them.
    """

    def __init__(self, ask: Callable[[Sequence[K]], Sequence[V]], *, calls: int, most: int) -> None:
        """`ask` takes up to `most` questions and gives an answer for each; `calls` may be under way at a time."""
        self._ask = ask
        self._free = calls
        self._most = most
        self._gathered: deque[_Question[K, V]] = deque()
        """Those who wait, and whose turn it is not. A turn to call is held by a greenlet, or free."""

    def __call__(self, key: K) -> V:
        """Return the answer, or raise what the call raised that asked for it."""
        mine: _Question[K, V] = _Question(key)
        if self._free:
            self._free -= 1
        else:
            self._gathered.append(mine)
            self._wait(mine)
            if mine.is_answered:
                return mine.answer()
        return self._lead(mine)

    def _wait(self, mine: "_Question[K, V]") -> None:
        """Wait until the question is answered, or it is this greenlet's turn to call."""
        try:
            mine.woken.get()
        except BaseException:
            # A limit in time, or the end of this greenlet: nobody waits for the answer any more.
            mine.is_gone = True
            if mine.has_turn:
                self._hand_over()
            elif mine in self._gathered:
                self._gathered.remove(mine)
            raise

    def _lead(self, mine: "_Question[K, V]") -> V:
        """Call for this greenlet's own question and what has gathered."""
        others = [self._gathered.popleft() for _ in range(min(len(self._gathered), self._most - 1))]
        try:
            answers = self._ask([mine.key, *(other.key for other in others)])
        except Exception as exc:
            for other in others:
                other.fail(exc)
            raise
        except BaseException:
            # This greenlet's own limit in time, or its end: those who still wait are asked for by another.
            self._gathered.extendleft(other for other in reversed(others) if not other.is_gone)
            raise
        else:
            for other, answer in zip(others, answers[1:], strict=True):
                other.give(answer)
            return answers[0]
        finally:
            self._hand_over()

    def _hand_over(self) -> None:
        """Give the turn to the one who has waited longest; with nobody waiting, to the next to come."""
        if self._gathered:
            self._gathered.popleft().take_turn()
        else:
            self._free += 1


class _Question(Generic[K, V]):
    """What a greenlet wants to know, and how it hears of it."""

    __slots__ = ("_answers", "_fault", "has_turn", "is_answered", "is_gone", "key", "woken")

    def __init__(self, key: K) -> None:
        self.key = key
        self.woken = AsyncResult()
        self.has_turn = False
        self.is_answered = False
        self.is_gone = False
        self._answers: list[V] = []
        self._fault: Exception | None = None

    def take_turn(self) -> None:
        self.has_turn = True
        self.woken.set()

    def give(self, answer: V) -> None:
        self._answers.append(answer)
        self.is_answered = True
        self.woken.set()

    def fail(self, fault: Exception) -> None:
        self._fault = fault
        self.is_answered = True
        self.woken.set()

    def answer(self) -> V:
        if self._fault is not None:
            raise self._fault
        return self._answers[0]
