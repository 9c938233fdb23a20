"""Clients' connections: how answers leave, how long a read or write may wait, whose turn it is, and a quick stop."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Final, Self

import gevent
import gevent.socket

LAST_HEAD_S: Final = 1.0
"""How long a new connection may wait for its request on a worker that stops."""

_LONG_ANSWER_BYTES: Final = 64 * 1024
_HEAD_AND_BODY: Final = 2
"""A part as long as this, or a third part, sends what was gathered."""

_TURN_BYTES: Final = 1 << 20
"""How much is read without a wait before others have their turn, and the clock is looked at."""


class ClientSocket(gevent.socket.socket):  # type: ignore[misc]
    """A client's connection, by turns idle (until the next request's head is there) and busy with a request.

    What is written of one answer leaves at once, in one packet where it fits. A clock runs only while a read or a
    write has to wait: what is there already, as it mostly is, costs no timer. Past its limit it raises TimeoutError.
    """

    timeout: float | None  # gevent's: how long its next wait may take
    _answer: list[bytes]
    _connections: "Connections"
    _deadline_s: float | None
    _is_idle: bool
    _read_bytes: int
    has_served: bool

    @classmethod
    def take(cls, client: Any, connections: "Connections") -> Self:
        """Return the connection in the place of `client`, which is a shell afterwards."""
        family, kind, proto = client.family, client.type, client.proto
        taken = cls(family, kind, proto, fileno=client.detach())
        taken._answer = []
        taken._connections = connections
        taken._deadline_s = None
        taken._is_idle = True
        taken._read_bytes = 0
        taken.has_served = False
        return taken

    def begin_request(self) -> None:
        """The head is there. What is written from now on is gathered; the body's limit begins when it has to wait."""
        self._is_idle = False
        self._deadline_s = None
        self._read_bytes = 0

    def end_request(self) -> None:
        """Send what was written since. The next head's limit begins when it has to wait."""
        self._is_idle = True
        self._deadline_s = None
        self._read_bytes = 0
        self.has_served = True
        # Where the connection was ended meanwhile, there is nobody to send to.
        if self._answer and self.fileno() >= 0:
            self._send_all(self._gathered())

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Return what has come; wait for it within the head's or the body's limit."""
        self.timeout = 0.0
        try:
            data: bytes = super().recv(size, flags)
        except BlockingIOError:
            return self._recv_in_time(size, flags)
        finally:
            self.timeout = None
        self._read_bytes += len(data)
        if self._read_bytes >= _TURN_BYTES:
            # A body that always has more to read would keep everyone else waiting, and never meet its limit.
            self._read_bytes = 0
            self._left_s()
            take_turns()
        return data

    def send(self, data: Any, flags: int = 0, timeout: float | None = None) -> int:
        """Send at once and all of it (gunicorn's `100 Continue`), within the limit; gevent's own calls name theirs."""
        if timeout is not None:
            return int(super().send(data, flags, timeout=timeout))
        self._send_all(data, flags)
        return len(data)

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Gather within a request, unless it has become long; else send."""
        if self._is_idle:
            self._send_all(data, flags)
            return
        self._answer.append(bytes(data))
        if len(self._answer) > _HEAD_AND_BODY or len(data) >= _LONG_ANSWER_BYTES:
            self._send_all(self._gathered(), flags)

    def _gathered(self) -> bytes:
        data = b"".join(self._answer)
        self._answer.clear()
        return data

    def _send_all(self, data: Any, flags: int = 0) -> None:
        try:
            sent = super().send(data, flags, timeout=0.0)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self.timeout = self._connections.io_timeout_s
            try:
                super().sendall(memoryview(data)[sent:], flags)
            finally:
                self.timeout = None

    def _recv_in_time(self, size: int, flags: int) -> bytes:
        self.timeout = self._left_s()
        with self._connections.idle(self) if self._is_idle else nullcontext():
            data: bytes = super().recv(size, flags)
        return data

    def _left_s(self) -> float:
        """What is left of the head's or the body's limit, which begins now if it has not; raise when it is over."""
        now_s = time.monotonic()
        if self._deadline_s is None:
            limit_s = self._connections.head_limit_s(self) if self._is_idle else self._connections.io_timeout_s
            self._deadline_s = now_s + limit_s
        if self._deadline_s <= now_s:
            raise TimeoutError
        return self._deadline_s - now_s


class Connections:
    """A worker's connections: their limits, and those on which nothing is under way, for which no stop need wait.

    A worker that is told to stop goes on accepting for up to a second (gunicorn's loop); a connection that
    has not had its first request yet is given that long, one that was only kept open is ended at once.
    """

    def __init__(self) -> None:
        """None yet."""
        self.keep_alive_s = 15.0
        """How long a connection may be idle, and a head may take."""
        self.io_timeout_s = 10.0
        """How long a body may take, and one write: a client that does not read must not hold us."""
        self._idle: dict[ClientSocket, gevent.Greenlet] = {}
        self._closed = False

    def head_limit_s(self, connection: ClientSocket) -> float:
        """How long the next head may take on this connection."""
        if not self._closed:
            return self.keep_alive_s
        return 0.0 if connection.has_served else min(self.keep_alive_s, LAST_HEAD_S)

    @contextmanager
    def idle(self, connection: ClientSocket) -> Iterator[None]:
        """Say that a connection waits for a head in this block."""
        self._idle[connection] = gevent.getcurrent()
        try:
            yield
        finally:
            del self._idle[connection]

    def close(self) -> None:
        """End the connections that wait for another request, and soon those that wait for their first."""
        self._closed = True
        for connection, greenlet in list(self._idle.items()):
            if connection.has_served:
                greenlet.kill(block=False)
            else:
                gevent.spawn_later(LAST_HEAD_S, self._end_idle, connection)

    def _end_idle(self, connection: ClientSocket) -> None:
        greenlet = self._idle.get(connection)
        if greenlet is not None:
            greenlet.kill(block=False)


def take_turns() -> None:
    """Let whatever is ready run before what comes next here."""
    gevent.sleep(0)


def is_kill(exc: BaseException) -> bool:
    """Say whether an exception is a greenlet being ended, and no fault."""
    return isinstance(exc, gevent.GreenletExit)
