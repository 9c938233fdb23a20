"""Requests as bytes on a wire, answers, and what every refusal has in common; no rules of single calls."""

from __future__ import annotations

import json
import re
import socket
import time
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPMessage, HTTPResponse
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tests.harness.service import RunningService

CANARY = "canary-marmot-quux"
"""Stands in what is refused. Nothing personal, so redaction leaves it: where it shows, a value was echoed."""

JSON = {"Content-Type": "application/json"}
NDJSON = {"Content-Type": "application/x-ndjson"}
PROBLEM = "application/problem+json"

TIMEOUT_S = 10.0
IDLE_S = 5.0  # well below KEEP_ALIVE_S; a connection that rested longer is opened anew
POLL_S = 0.05

MEMBERS = {"type", "title", "status", "detail"}
MORE_MEMBERS = {"errors", "rejected"}


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    @property
    def content_type(self) -> str:
        """The media type, without parameters."""
        return self.headers.get("Content-Type", "").partition(";")[0]

    @property
    def everything(self) -> bytes:
        """Head and body, to be searched."""
        return str(self.headers).encode() + self.body


class Caller:
    """One keep-alive connection to a service, and what can be asked of its answers."""

    def __init__(self, service: RunningService) -> None:
        self.service = service
        self._connection = HTTPConnection("127.0.0.1", service.port, timeout=TIMEOUT_S)
        self._used_s = 0.0

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def request(
        self, method: str, path: str, body: bytes | str | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send one request on the connection that is kept."""
        if time.monotonic() - self._used_s > IDLE_S:
            self._connection.close()
        data = body.encode() if isinstance(body, str) else body
        try:
            self._connection.request(method, path, data, dict(headers or {}))
            with closing(self._connection.getresponse()) as response:
                answer = Answer(response.status, response.headers, response.read())
        except BaseException:
            self._connection.close()
            raise
        self._used_s = time.monotonic()
        return answer

    def get(self, path: str) -> Answer:
        return self.request("GET", path)

    def post(self, path: str, value: Any) -> Answer:
        """Send a value as JSON, bytes as they are."""
        raw = value if isinstance(value, bytes) else json.dumps(value).encode()
        return self.request("POST", path, raw, JSON)

    def exchange(self, data: bytes, method: str = "GET") -> Answer:
        """Send bytes on a connection of their own and read one answer."""
        with socket.create_connection(("127.0.0.1", self.service.port), timeout=TIMEOUT_S) as connection:
            with suppress(BrokenPipeError, ConnectionResetError):  # refused before all of it was sent
                connection.sendall(data)
            return read_answer(connection, method)

    def exchange_all(self, data: bytes) -> bytes:
        """Send bytes on a connection of their own and return all that comes until the service closes it."""
        with socket.create_connection(("127.0.0.1", self.service.port), timeout=TIMEOUT_S) as connection:
            connection.sendall(data)
            received = bytearray()
            while piece := connection.recv(65536):
                received += piece
            return bytes(received)

    def assert_refused(self, answer: Answer, status: int, slug: str) -> Any:
        """Check all that a refusal has; return its members."""
        assert answer.status == status, f"{answer.status}, not {status}: {answer.body[:500]!r}"
        assert answer.content_type == PROBLEM
        members = answer.json
        assert set(members) - MORE_MEMBERS == MEMBERS
        assert members["type"] == f"/problems/{slug}"
        assert members["status"] == status
        assert members["title"]
        assert members["detail"]
        self.assert_silent(answer)
        page = self.get(members["type"])
        assert (page.status, page.content_type) == (200, "text/html")
        assert f"HTTP {status}" in page.body.decode()
        return members

    def assert_silent(self, answer: Answer) -> None:
        """Check that the canary stands neither in the answer nor in the service's own log."""
        assert CANARY.encode() not in answer.everything
        assert CANARY not in self.service.stderr()

    def lines(self, event_ids: Iterable[str], timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
        """Wait until the events stand in the embedded sink's files; return their lines by id."""
        wanted = set(event_ids)
        found: dict[str, Any] = {}

        def complete() -> bool:
            found.update(_lines(self.service, wanted - found.keys()))
            return len(found) == len(wanted)

        assert wait_until(complete, timeout_s), f"{len(wanted) - len(found)} of {len(wanted)} events did not arrive"
        return found


def read_answer(connection: socket.socket, method: str = "GET") -> Answer:
    """Read one answer from a socket."""
    with closing(HTTPResponse(connection, method=method)) as response:
        response.begin()
        return Answer(response.status, response.headers, response.read())


def head(method: str, target: str | bytes, *fields: str | bytes) -> bytes:
    """Return a request's head as bytes; nothing in it is checked or escaped."""
    start = method.encode() + b" " + _bytes(target) + b" HTTP/1.1"
    return b"\r\n".join([start, b"Host: localhost", *map(_bytes, fields), b"", b""])


def wait_until(predicate: Callable[[], bool], timeout_s: float) -> bool:
    """Ask again and again, for at most `timeout_s`; return the last answer."""
    deadline = time.monotonic() + timeout_s
    while not predicate():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


_EVENT_ID = re.compile(rb'\{"event_id":"([A-Za-z0-9_-]+)"')


def _lines(service: RunningService, event_ids: set[str]) -> dict[str, Any]:
    found = {}
    for path in sorted((service.data_dir / "logs").glob("*.ndjson")):
        whole, _, _ = path.read_bytes().rpartition(b"\n")  # what stands behind the last newline is being written
        for line in whole.split(b"\n"):
            named = _EVENT_ID.match(line)
            if named is not None and (event_id := named[1].decode()) in event_ids:
                found[event_id] = json.loads(line)
    return found
