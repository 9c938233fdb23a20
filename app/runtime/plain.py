"""What gevent has replaced, for those few places where its stand-ins cost more than they give."""

from contextlib import AbstractContextManager
from typing import Any

from gevent import monkey


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
