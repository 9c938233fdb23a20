"""Clients' connections: how answers leave, whose turn it is, and who need not be waited for at a stop."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, Self

import gevent
import gevent.socket

LAST_HEAD_S: Final = 1.0
"""How long a new connection may wait for its request on a worker that stops."""

_HAS_SERVED: Final = "has_served"
"""The mark of a connection's greenlet that has had a request."""

_LONG_ANSWER_BYTES: Final = 64 * 1024
"""What is gathered of an answer at most."""


class ClientSocket(gevent.socket.socket):  # type: ignore[misc]
    """A client's connection. What is written of one answer leaves at once, in one packet where it fits.

    Reads have no limit here: a head's is the wait for it, a body's is its reader's.
    """

    __slots__ = ("_answer", "_timeout_s")

    _answer: list[bytes] | None
    _timeout_s: float

    @classmethod
    def take(cls, client: Any, timeout_s: float) -> Self:
        """Return the socket in the place of `client`, which is a shell afterwards; `timeout_s` bounds a write."""
        family, kind, proto = client.family, client.type, client.proto
        taken = cls(family, kind, proto, fileno=client.detach())
        taken.setblocking(True)  # noqa: FBT003 - as gunicorn does: no limit
        taken._answer = None
        taken._timeout_s = timeout_s
        return taken

    @contextmanager
    def one_answer(self) -> Iterator[None]:
        """Gather what is written in this block, and send it at its end."""
        self._answer = []
        try:
            yield
        finally:
            parts, self._answer = self._answer, None
            # Where the connection was ended within, there is nobody to send to.
            if parts and self.fileno() >= 0:
                self.sendall(b"".join(parts))

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send or gather; gathered parts that have become long are sent."""
        parts = self._answer
        if parts is not None:
            parts.append(bytes(data))
            if sum(map(len, parts)) < _LONG_ANSWER_BYTES:
                return
            data = b"".join(parts)
            parts.clear()
        try:
            sent = self.send(data, flags, timeout=0.0)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self.settimeout(self._timeout_s)
            try:
                super().sendall(memoryview(data)[sent:], flags)
            finally:
                self.settimeout(None)


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
