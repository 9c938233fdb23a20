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

    def __call__(self, key: K) -> V:
        """Return the answer, or raise what the call raised that asked for it."""
        mine: _Question[K, V] = _Question(key)
        self._gathered.append(mine)
        if not self._free:
            self._wait_for_turn(mine)
            if mine.is_answered:
                return mine.answer()
        else:
            self._free -= 1
        return self._lead(mine)

    def _wait_for_turn(self, mine: "_Question[K, V]") -> None:
        """Wait until the question is answered, or it is this greenlet's turn to ask."""
        try:
            mine.woken.get()
        except BaseException:
            # A limit in time, or the end of this greenlet: nobody waits for the answer any more.
            if mine in self._gathered:
                self._gathered.remove(mine)
            if mine.is_leader:
                self._hand_over()
            raise

    def _lead(self, mine: "_Question[K, V]") -> V:
        """Ask what has gathered, this greenlet's own question first."""
        self._gathered.remove(mine)
        asked = [mine, *(self._gathered.popleft() for _ in range(min(len(self._gathered), self._most - 1)))]
        try:
            answers = self._ask([one.key for one in asked])
        except Exception as exc:
            for other in asked[1:]:
                other.fail(exc)
            raise
        except BaseException:
            # This greenlet's own limit in time, or its end: the others ask again, within their own.
            self._gathered.extendleft(reversed(asked[1:]))
            raise
        else:
            for other, answer in zip(asked[1:], answers[1:], strict=True):
                other.give(answer)
            return answers[0]
        finally:
            self._hand_over()

    def _hand_over(self) -> None:
        """Let the one who has waited longest ask next; with nobody waiting, the next to come may."""
        if self._gathered:
            self._gathered[0].lead()
        else:
            self._free += 1


class _Question(Generic[K, V]):
    """What a greenlet wants to know, and how it hears of it."""

    __slots__ = ("_answers", "_fault", "is_answered", "is_leader", "key", "woken")

    def __init__(self, key: K) -> None:
        self.key = key
        self.woken = AsyncResult()
        self.is_leader = False
        self.is_answered = False
        self._answers: list[V] = []
        self._fault: Exception | None = None

    def lead(self) -> None:
        self.is_leader = True
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
