"""A counting sink: Loki's push call in a process of its own, as cheap as can be, that counts what arrived.

A push is answered 204 at once and its body kept as it came; bodies are unpacked and their entries counted when
`GET /counts` asks, which is after the load. `GET /arrivals` asks when pushes came, and unpacks nothing.
Run as `python -m tests.bench.sink`; the port is its first line.
"""

from __future__ import annotations

import argparse
import asyncio
import time
import zlib
from collections import deque
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable

PENDING_MAX_BYTES = 64 * 1024 * 1024
"""Bodies kept for later; past it they are unpacked on arrival, so that memory stays bounded."""

HEAD_MAX_BYTES = 64 * 1024
GZIP = zlib.MAX_WBITS | 16
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Counts(NamedTuple):
    """What has arrived since the start."""

    pushes: int = 0
    entries: int = 0
    bytes: int = 0
    """Of the bodies, as they came."""
    unreadable: int = 0
    """Pushes that are no JSON of Loki's; their entries are not counted."""
    distinct: int = 0
    """Entries that differ in nanosecond or line; 0 unless asked for."""


class Arrivals(NamedTuple):
    """When pushes came, on the system's monotonic clock; 0 before the first."""

    pushes: int = 0
    first_s: float = 0.0
    last_s: float = 0.0


class Tally:
    """Counts pushes; unpacks them later. Nothing of sockets here."""

    def __init__(
        self,
        lose: int = 0,
        pending_max_bytes: int = PENDING_MAX_BYTES,
        *,
        distinct: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """The push number `lose` (from 1; 0: none) is forgotten, to see whether somebody notices."""
        self._lose = lose
        self._pending_max_bytes = pending_max_bytes
        self._pending: deque[bytes] = deque()
        self._pending_bytes = 0
        self._seen: set[int] | None = set() if distinct else None
        self._clock = clock
        self.arrivals = Arrivals()
        self.counts = Counts()

    def push(self, body: bytes) -> None:
        """Keep a push's body, and unpack the oldest where too many are kept."""
        now_s = self._clock()
        self.arrivals = Arrivals(self.arrivals.pushes + 1, self.arrivals.first_s or now_s, now_s)
        if self.arrivals.pushes == self._lose:
            return
        self._pending.append(body)
        self._pending_bytes += len(body)
        while self._pending_bytes > self._pending_max_bytes:
            self.unpack_one()

    @property
    def is_behind(self) -> bool:
        """Whether bodies wait to be unpacked."""
        return bool(self._pending)

    def unpack_one(self) -> None:
        """Count the entries of the oldest body kept."""
        body = self._pending.popleft()
        self._pending_bytes -= len(body)
        pushes, entries, size_bytes, unreadable, _ = self.counts
        found = entries_of(body)
        if self._seen is not None:
            # Of many: their hashes (64 bits) are kept, not they.
            self._seen.update(hash((value[0], value[1])) for value in found or ())
        self.counts = Counts(
            pushes + 1,
            entries + len(found or ()),
            size_bytes + len(body),
            unreadable + (1 if found is None else 0),
            len(self._seen or ()),
        )


def entries_of(body: bytes) -> list[Any] | None:
    """Return the entries of a push, gzipped or not, each as it stands; None when it cannot be read."""
    try:
        raw = zlib.decompress(body, GZIP) if body[:2] == b"\x1f\x8b" else body
        return list(chain.from_iterable(stream["values"] for stream in orjson.loads(raw)["streams"]))
    except (zlib.error, ValueError, KeyError, TypeError):
        return None


class Connection(asyncio.Protocol):
    """One kept connection: requests one after another, each with a Content-Length or without a body."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._buffer = bytearray()
        self._need = 0  # bytes of the buffer before which no request is whole
        self._transport: asyncio.Transport | None = None
        self._asking: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where answers go."""
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole."""
        self._buffer += data
        while len(self._buffer) >= self._need and (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            length = body_length(bytes(self._buffer[:end]))
            if length is None:
                self._refuse()
                return
            whole = end + 4 + length
            if len(self._buffer) < whole:
                self._need = whole
                return
            target = bytes(self._buffer[:end].partition(b"\r\n")[0])
            body = bytes(self._buffer[end + 4 : whole])
            del self._buffer[:whole]
            self._need = 0
            self._answer(target, body)
        if not self._need and len(self._buffer) > HEAD_MAX_BYTES:
            self._refuse()

    def _answer(self, target: bytes, body: bytes) -> None:
        if target.startswith(b"POST /loki/api/v1/push "):
            self._tally.push(body)
            self._write(NO_CONTENT)
        elif target.startswith(b"GET /ready "):
            self._write(_ok(b"ready\n"))
        elif target.startswith(b"GET /counts "):
            self._asking = asyncio.get_running_loop().create_task(self._count())
        elif target.startswith(b"GET /arrivals "):
            self._write(_ok(orjson.dumps(self._tally.arrivals._asdict())))
        else:
            self._write(NOT_FOUND)

    async def _count(self) -> None:
        """Unpack what is kept, with room for pushes in between, and answer with the counts."""
        while self._tally.is_behind:
            self._tally.unpack_one()
            await asyncio.sleep(0)
        self._write(_ok(orjson.dumps(self._tally.counts._asdict())))

    def _refuse(self) -> None:
        self._write(BAD_REQUEST)
        if self._transport is not None:
            self._transport.close()

    def _write(self, answer: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(answer)


def body_length(head: bytes) -> int | None:
    """Return the Content-Length of a request's head, 0 without one; None when the head cannot be understood."""
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"transfer-encoding":
            return None
        if name.lower() == b"content-length":
            if not value.strip().isdigit():
                return None
            length = int(value)
    return length


def _ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


async def serve(tally: Tally, port: int) -> None:
    """Serve on a port of 127.0.0.1 (0: a free one) until the process is ended."""
    server = await asyncio.get_running_loop().create_server(lambda: Connection(tally), "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - who started us reads it
    await server.serve_forever()


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(prog="python -m tests.bench.sink", description=__doc__)
    _add = _parser.add_argument
    _add("--port", type=int, default=0, help="where to listen (default: a free port)")
    _add("--lose", type=int, default=0, metavar="N", help="answer the Nth push and do not count it")
    _add("--pending-bytes", type=int, default=PENDING_MAX_BYTES, help="bodies kept, to be unpacked after the load")
    _add("--distinct", action="store_true", help="count different entries too")
    _asked = _parser.parse_args()
    asyncio.run(serve(Tally(_asked.lose, _asked.pending_bytes, distinct=_asked.distinct), _asked.port))
