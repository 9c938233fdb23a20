"""Greenlets: the only module that imports gevent. Loops, a way to stop them, and limits in time."""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import gevent
from gevent import monkey
from gevent.event import Event
from gevent.pool import Pool
from gevent.threadpool import ThreadPool

T = TypeVar("T")

Step = Callable[[float, bool], float | None]
"""Does one piece of work: (monotonic now, stopping) -> seconds until there may be more, None when done for good."""

LONGEST_NAP_S: Final = 0.2
"""How late a loop may see that there is work: a fifth of the age at which a batch is due."""

LAST_HEAD_S: Final = 1.0
"""How long a new connection may wait for its request on a worker that stops."""

_BREATH_S: Final = 0.002

_HAS_SERVED: Final = "has_served"
"""The mark of a connection's greenlet that has had a request."""

_FAULT_PAUSE_S: Final = 1.0
_OFFLOAD_THREADS: Final = 1
"""One: what is offloaded (appending to a file) need then not guard itself against itself."""

_log = logging.getLogger("telemetry_cache.runtime")


def plain_poll() -> Any:
    """Return the kernel's own select.poll, for asking without waiting; waiting on it would stop the whole worker."""
    return monkey.get_original("select", "poll")()


def plain_lock() -> AbstractContextManager[object]:
    """Return a lock of the interpreter's own: for what never switches greenlets while it is held.

    gevent's stand-in for `threading.Lock` is a Python function each way; this one is taken in 30 ns. A greenlet
    that switched away with it in hand would stop the whole worker.
    """
    lock: AbstractContextManager[object] = monkey.get_original("_thread", "allocate_lock")()
    return lock


class Runtime:
    """Runs steps again and again, one greenlet each, until it is closed."""

    def __init__(self) -> None:
        """Nothing runs before `start`."""
        self._pool = Pool()
        self._stopping = Event()
        self._threads: ThreadPool | None = None

    def start(self, steps: Sequence[Step]) -> None:
        """Give each step a greenlet of its own."""
        for step in steps:
            self._pool.spawn(self._loop, step)

    def close(self, deadline_s: float) -> bool:
        """Tell the steps to finish; wait at most `deadline_s`; say whether all of them did."""
        self._stopping.set()
        done = self._pool.join(timeout=deadline_s)
        if not done:
            self._pool.kill(timeout=1.0)
        return bool(done)

    def breathe(self) -> None:
        """Let the others run: for long work between whose parts nothing is half done."""
        # Not sleep(0): a request needs several turns of the loop from its connection to its answer.
        gevent.sleep(_BREATH_S)

    def offload(self, call: Callable[[], T]) -> T:
        """Run a blocking call (a sync to disk) on a thread, and let other greenlets run meanwhile.

        The threads are our own: gevent's pool is shared with name look-ups, which can hang.
        """
        if self._threads is None:
            self._threads = ThreadPool(_OFFLOAD_THREADS)
        result: T = self._threads.apply(call)
        return result

    def _loop(self, step: Step) -> None:
        while True:
            try:
                wait_s = step(time.monotonic(), self._stopping.is_set())
            except Exception:  # noqa: BLE001 - a loop that dies would stop delivery for good
                _log.exception("a background step failed")
                wait_s = None if self._stopping.is_set() else _FAULT_PAUSE_S
            if wait_s is None:
                return
            if wait_s > 0:
                self._stopping.wait(min(wait_s, LONGEST_NAP_S))
            else:
                gevent.sleep(0)


class TimeLimit(AbstractContextManager["TimeLimit"]):
    """Raises `error` when its block takes longer than `seconds`.

    Inside the block the limit shows itself as a BaseException, so that a library which handles
    `Exception` neither swallows it nor takes its connection for a sound one.
    """

    def __init__(self, seconds: float, error: Exception) -> None:
        """The clock starts when the block is entered."""
        self._timeout = gevent.Timeout(seconds)
        self._error = error

    def __enter__(self) -> Self:
        """Start the clock."""
        self._timeout.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the clock; turn our own limit into `error`."""
        self._timeout.close()
        if exc is self._timeout:
            raise self._error from None


class IdleConnections:
    """The connections on which nothing is under way, so that a stop need not wait for them.

    A worker that is told to stop goes on accepting for up to a second (gunicorn's loop); a connection that
    has not had its first request yet is given that long, one that was only kept open is ended at once.
    """

    def __init__(self) -> None:
        """None yet."""
        self._waiting: set[gevent.Greenlet] = set()
        self._closed = False

    def wait(self, seconds: float) -> "_Waiting":
        """Return a block that waits at most `seconds` for a request's head."""
        return _Waiting(self, gevent.getcurrent(), min(seconds, LAST_HEAD_S) if self._closed else seconds)

    def close(self) -> None:
        """End the connections that wait for another request, and soon those that wait for their first."""
        self._closed = True
        for greenlet in list(self._waiting):
            if getattr(greenlet, _HAS_SERVED, False):
                greenlet.kill(block=False)
            else:
                gevent.spawn_later(LAST_HEAD_S, self._end_idle, greenlet)

    def began(self, greenlet: gevent.Greenlet) -> None:
        """Note that a connection waits."""
        self._waiting.add(greenlet)

    def ended(self, greenlet: gevent.Greenlet) -> None:
        """Note that its wait is over."""
        self._waiting.discard(greenlet)
        setattr(greenlet, _HAS_SERVED, True)

    def _end_idle(self, greenlet: gevent.Greenlet) -> None:
        if greenlet in self._waiting:
            greenlet.kill(block=False)


class _Waiting:
    def __init__(self, connections: IdleConnections, greenlet: gevent.Greenlet, seconds: float) -> None:
        self._connections = connections
        self._greenlet = greenlet
        self._timeout = gevent.Timeout(seconds, exception=False)

    def __enter__(self) -> None:
        self._connections.began(self._greenlet)
        self._timeout.start()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._timeout.close()
        self._connections.ended(self._greenlet)
        return exc is self._timeout


def take_turns() -> None:
    """Let whatever is ready run before what comes next here."""
    gevent.sleep(0)


def is_kill(exc: BaseException) -> bool:
    """Say whether an exception is a greenlet being ended, and no fault."""
    return isinstance(exc, gevent.GreenletExit)
