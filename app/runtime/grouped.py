"""One deal for what several greenlets bring while the last deal was under way: group commit."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import gevent
from gevent.event import Event

T = TypeVar("T")


class Grouped(Generic[T]):
    """Gathers what greenlets bring; one greenlet of its own deals with all of it at once, and again.

    It is nobody's request: when a caller is ended midway (its client has gone, its time is up) the deal goes on.
    """

    def __init__(self, deal: Callable[[Sequence[T]], None], *, wait_s: float | None = None) -> None:
        """`deal` may switch greenlets; what it raises, all who brought something to it raise.

        Nobody waits longer than `wait_s` after the first of those who share a deal has come: TimeoutError, and whether
        the item is dealt with later is not known.
        """
        self._deal = deal
        self._wait_s = wait_s
        self._gathering: _Group[T] = _Group()
        self._is_dealing = False

    def __call__(self, item: T) -> None:
        """Return when the item was dealt with."""
        group = self._gathering
        if not group.items and self._wait_s is not None:
            group.wait_at_most(self._wait_s)
        group.items.append(item)
        if not self._is_dealing:
            self._is_dealing = True
            gevent.spawn(self._run)
        group.done.wait()
        if group.fault is not None:
            raise group.fault

    def _run(self) -> None:
        try:
            while self._gathering.items:
                group, self._gathering = self._gathering, _Group()
                fault: Exception | None = RuntimeError("the deal was ended midway")
                try:
                    self._deal(group.items)
                    fault = None
                except Exception as exc:  # noqa: BLE001 - whatever it is, those who wait must hear of it
                    fault = exc
                finally:
                    group.end(fault)
        finally:
            self._is_dealing = bool(self._gathering.items)
            if self._is_dealing:
                gevent.spawn(self._run)


class _Group(Generic[T]):
    __slots__ = ("_timer", "done", "fault", "items")

    def __init__(self) -> None:
        self.items: list[T] = []
        self.done = Event()
        self.fault: Exception | None = TimeoutError()
        """What those hear who wait, when they are woken."""
        self._timer: Any = None

    def wait_at_most(self, wait_s: float) -> None:
        """Wake those who wait after that time. One timer for all: a timer costs as much as reading a small event."""
        self._timer = gevent.get_hub().loop.timer(wait_s)
        self._timer.start(self.done.set)

    def end(self, fault: Exception | None) -> None:
        """It is dealt with, or not: wake those who wait."""
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
        self.fault = fault
        self.done.set()
