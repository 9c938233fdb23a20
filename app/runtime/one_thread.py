"""Blocking calls (a sync to disk) on a thread, while other greenlets run."""

from collections.abc import Callable
from typing import Any

from gevent.threadpool import ThreadPool


class OneThread:
    """Runs calls one after the other on a thread of its own.

    gevent's own pool is shared with name look-ups, which can hang. One thread: what is appended to a file need
    then not be guarded against itself.
    """

    def __init__(self) -> None:
        """The thread starts with the first call."""
        self._pool: ThreadPool | None = None

    def __call__(self, call: Callable[[], Any]) -> Any:
        """Return what the call returns, or raise what it raises."""
        if self._pool is None:
            self._pool = ThreadPool(1)
        result, fault = self._pool.apply(_outcome, (call,))
        if fault is not None:
            raise fault
        return result


def _outcome(call: Callable[[], Any]) -> tuple[Any, Exception | None]:
    """Return what the call came to: gevent prints the stack of what a thread's call raises."""
    try:
        return call(), None
    except Exception as exc:  # noqa: BLE001 - it is raised again where it was asked for
        return None, exc
