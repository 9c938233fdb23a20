"""One keep-alive connection to the service, its timings and its retries; nothing here knows what a row is."""

import http.client
import json
import ssl
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

# For connecting and for each wait on the socket. Far above any promised answer (a degraded `get` takes
# 250 ms), so that running into it is a finding.
TIMEOUT_S = 10.0
# A refusal that names its Retry-After is tried again so often; a service that is only restarting or full
# for a moment is back by then.
MAX_RETRIES = 5
# A longer wait than this is no hiccup: the refusal stands, or one rate limit could hold a run for hours.
MAX_RETRY_AFTER_S = 30.0
# For a Retry-After in its date form (RFC 9110, section 10.2.3), which this service does not send.
DEFAULT_RETRY_AFTER_S = 1.0
# So many calls in a row without any answer on one connection, and the service counts as gone.
MAX_SILENT_CALLS = 3
# `Answer.status` where no answer came: no HTTP status is 0.
NO_ANSWER = 0

RETRIED_STATUSES = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
JSON_HEADERS: Mapping[str, str] = {"Content-Type": "application/json"}


class UnreachableError(Exception):
    """The service does not answer (any more); the message says where, and what the last call met."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where the service listens; `prefix` is the path before `/log`, without a slash at its end."""

    scheme: str
    host: str
    port: int
    prefix: str

    def __str__(self) -> str:
        """Give the address as a URL, IPv6 hosts in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.prefix}"

    def connect(self) -> http.client.HTTPConnection:
        """Make a connection that opens with its first request."""
        if self.scheme == "https":
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(self.host, self.port, timeout=TIMEOUT_S, context=context)
        return http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT_S)


def parse_target(url: str) -> Target:
    """Take an `http://` or `https://` address apart.

    Raises ValueError, never naming the address (it may hold a password), for anything else.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("takes an address such as http://127.0.0.1:8114")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("takes an address without user, query or fragment; a key goes into --api-key")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return Target(parts.scheme, parts.hostname, port, parts.path.rstrip("/"))


@dataclass(frozen=True, slots=True)
class Answer:
    """What one call came to.

    status: the HTTP status, or NO_ANSWER. body: the JSON object of the answer; {} where it is anything else.
    ttfb_ms: from before the request was written to the answer's status line and headers. latency_ms: to the
    end of its body. Both are of the last try alone, with connecting where that try had to, without the waits
    that Retry-After asked for.
    """

    status: int
    body: Mapping[str, Any]
    ttfb_ms: float
    latency_ms: float

    @property
    def is_ok(self) -> bool:
        """Whether the service did what was asked."""
        return self.status == HTTPStatus.OK


@dataclass(slots=True)
class Meter:
    """What one connection, used by one thread, has seen.

    latencies_ms: by call ("POST /log"), one figure for each answered try. errors: final failures by status
    ("503"), or by "timeout", "connection" and "200 not a JSON object". retries: tries that a Retry-After
    led to. reconnects: idle connections that the service had closed.
    """

    latencies_ms: dict[str, list[float]] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)
    retries: int = 0
    reconnects: int = 0

    def add(self, call: str, latency_ms: float) -> None:
        """Note one answered try."""
        self.latencies_ms.setdefault(call, []).append(latency_ms)


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    body: bytes | None
    headers: Mapping[str, str]

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


class Client:
    """A connection for one thread: sends, measures, and tries again where that is safe.

    Everything that is sent through it may be sent twice: look-ups and dry runs change nothing, a `set` puts
    the same value, and an event carries its own id. api_key: sent as `Authorization: Bearer`, None sends
    none. stop: set by whoever ends the run; it cuts waits short.
    """

    def __init__(self, target: Target, api_key: str | None, stop: threading.Event) -> None:
        self.meter = Meter()
        self._target = target
        self._authorization = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        self._stop = stop
        self._connection = target.connect()
        self._silent_calls = 0

    def close(self) -> None:
        """Close the connection; another call would open it again."""
        self._connection.close()

    def probe(self) -> None:
        """Ask `/healthz`: whatever is answered, there is a service. Raises UnreachableError otherwise."""
        request = _Request("GET", f"{self._target.prefix}/healthz", None, self._authorization)
        try:
            self._try_once(request)
        except (OSError, http.client.HTTPException) as exc:
            self.close()
            raise UnreachableError(f"no service at {self._target}: {_words(exc)}") from exc

    def post(self, path: str, value: Any) -> Answer:
        """Post a JSON value; see `post_body`."""
        return self.post_body(path, encode(value), JSON_HEADERS)

    def post_body(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Post a body as it is, and give the final answer; a failure is counted in `meter.errors`.

        Raises UnreachableError after MAX_SILENT_CALLS calls in a row that nothing answered.
        """
        request = _Request("POST", self._target.prefix + path, body, {**headers, **self._authorization})
        started_s = time.perf_counter()
        try:
            answer = self._send(request)
        except (OSError, http.client.HTTPException) as exc:
            self.close()
            self._note_silence(request, exc)
            waited_ms = _ms_since(started_s)
            return Answer(NO_ANSWER, {}, waited_ms, waited_ms)
        self._silent_calls = 0
        if not answer.is_ok:
            self.meter.errors[str(answer.status)] += 1
        elif not answer.body:
            self.meter.errors["200 not a JSON object"] += 1
        return answer

    def _send(self, request: _Request) -> Answer:
        for _ in range(MAX_RETRIES):
            answer, retry_after_s = self._try(request)
            if retry_after_s is None or self._stop.wait(retry_after_s):
                return answer
            self.meter.retries += 1
        return self._try(request)[0]

    def _try(self, request: _Request) -> tuple[Answer, float | None]:
        was_open = self._connection.sock is not None
        try:
            return self._try_once(request)
        except ConnectionError:
            self.close()
            # On a connection that had been idle this only says that the service was tired of waiting.
            if not was_open:
                raise
        self.meter.reconnects += 1
        return self._try_once(request)

    def _try_once(self, request: _Request) -> tuple[Answer, float | None]:
        started_s = time.perf_counter()
        self._connection.request(request.method, request.path, request.body, dict(request.headers))
        response = self._connection.getresponse()
        ttfb_ms = _ms_since(started_s)
        body = response.read()
        latency_ms = _ms_since(started_s)
        self.meter.add(request.name, latency_ms)
        answer = Answer(response.status, _parse_object(body), ttfb_ms, latency_ms)
        return answer, retry_after_s(response.status, response.getheader("Retry-After"))

    def _note_silence(self, request: _Request, exc: Exception) -> None:
        self.meter.errors["timeout" if isinstance(exc, TimeoutError) else "connection"] += 1
        self._silent_calls += 1
        if self._silent_calls >= MAX_SILENT_CALLS:
            raise UnreachableError(
                f"the service at {self._target} stopped answering: {_words(exc)} ({request.name})"
            ) from exc


def encode(value: Any) -> bytes:
    """Encode a JSON value as compact UTF-8 without a line break, so that it can stand in NDJSON."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def retry_after_s(status: int, header: str | None) -> float | None:
    """Tell how long to wait before another try, in seconds; None where the answer is final."""
    if status not in RETRIED_STATUSES or header is None:
        return None
    text = header.strip()
    wait_s = float(text) if text.isascii() and text.isdigit() else DEFAULT_RETRY_AFTER_S
    return wait_s if wait_s <= MAX_RETRY_AFTER_S else None


def _parse_object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _ms_since(started_s: float) -> float:
    return (time.perf_counter() - started_s) * 1000.0


def _words(exc: Exception) -> str:
    # The operating system's own words, or the kind of error; never the text of an answer, which
    # http.client puts into some of its messages.
    if isinstance(exc, TimeoutError):
        return f"no answer within {TIMEOUT_S:g} s"
    return (isinstance(exc, OSError) and exc.strerror) or type(exc).__name__
