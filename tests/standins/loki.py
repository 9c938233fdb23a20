"""A stand-in for Grafana Loki's push endpoint: Loki's push rules and Loki's words, and none of its storage.

What is decided here follows Loki's source (pkg/loghttp/push, pkg/distributor, pkg/ingester, pkg/validation)
and what a running Loki answered. Three habits of Loki that surprise clients are kept on purpose:

- a push that cannot be parsed (one bad label name is enough) is refused whole, while a refused stream or line
  leaves the others stored, with 400 for the push;
- "too far behind" and "active stream limit" are answered for the LAST stream of a push only: the same refusal
  in an earlier stream is silent, and the push answers 204;
- a tenant over its rate has nothing of the push stored, and hears 429.

Where the stand-in is stricter than Loki, the client would have a bug: it refuses label values that are not
strings, a value without a line, and a stream without labels (Loki 3 calls it "unknown_service" and takes it).

The upper half is free of sockets, threads and clocks; `LokiStandIn` below puts it behind HTTP.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import socket
import socketserver
import struct
import sys
import threading
import time
import zlib
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from email.message import Message

PUSH_PATH = "/loki/api/v1/push"
SINGLE_TENANT = "fake"  # Loki's name for the tenant of a push without X-Scope-OrgID
NS_PER_S = 1_000_000_000
POLL_S = 0.02  # how long a stop may take to be noticed by the accepting thread
STOP_TIMEOUT_S = 5.0  # a cut connection ends its handler at once; longer is a fault of the stand-in

# Loki discovers service_name from these labels when a stream has none (limits_config.discover_service_name).
SERVICE_NAME_LABELS = (
    *("service", "app", "application", "app_name", "name", "app_kubernetes_io_name", "container"),
    *("container_name", "k8s_container_name", "component", "workload", "job", "k8s_job_name"),
)

# Loki lists at most this many refused entries of a stream (ingester.max-ignored-stream-errors).
MAX_LISTED_ENTRIES = 10

LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
INTEGER = re.compile(r"-?[0-9]+")

# The JSON parser's words, as they stand in Loki's answers.
UNCLOSED_STRING = "Value is string, but can't find closing '\"' symbol"
UNCLOSED_OBJECT = "Value looks like object, but can't find closing '}' symbol"
UNCLOSED_ARRAY = "Value is array, but can't find closing ']' symbol"
NOT_A_NUMBER = "Value looks like Number/Boolean/None, but can't find its end: ',' or '}' symbol"
OVERFLOWED = "Value is number, but overflowed while parsing"
THIRD_MEMBER = "error reading entry: array must contains 2 values"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Loki's limits for a tenant; the values are Loki's defaults.

    `rate_bytes_per_s` None means no rate limit; the bucket starts full with `burst_bytes`. `retry_after_s`
    adds the header to a 429 for the rate (Loki sends none; gateways do).
    """

    max_age_s: int = 7 * 86_400
    max_ahead_s: int = 600
    max_behind_s: int = 3_600
    max_line_bytes: int = 262_144
    max_label_names: int = 15
    max_label_name_bytes: int = 1_024
    max_label_value_bytes: int = 2_048
    max_metadata_bytes: int = 65_536
    max_metadata_entries: int = 128
    max_streams: int = 5_000
    max_body_bytes: int = 100 * 1_048_576
    rate_bytes_per_s: float | None = None
    burst_bytes: int = 6 * 1_048_576
    retry_after_s: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored entry: `ns` since the epoch, `labels` of its stream, `metadata` its structured metadata."""

    tenant: str
    labels: dict[str, str]
    ns: int
    line: str
    metadata: dict[str, str]


@dataclass(frozen=True, slots=True)
class PushedStream:
    """One stream of a push as parsed: its labels, and (nanosecond, line, structured metadata) by entry."""

    labels: dict[str, str]
    values: list[tuple[int, str, dict[str, str]]]

    @property
    def text(self) -> str:
        """The stream as Loki writes it: names in order, values quoted."""
        pairs = sorted(self.labels.items())
        return "{" + ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in pairs) + "}"


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer: status, plain text (Loki ends it with a newline), extra headers."""

    status: int
    text: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


class RefusedError(Exception):
    """The whole push is refused before any entry is looked at."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.reply = Reply(status, text)


class _MalformedError(ValueError):
    """The JSON is not a push; the message is the parser's own complaint."""


def rfc3339(ns: int) -> str:
    """Go's time.RFC3339 in UTC: whole seconds."""
    return f"{datetime.fromtimestamp(ns // NS_PER_S, UTC):%Y-%m-%dT%H:%M:%SZ}"


def go_time(ns: int) -> str:
    """Go's Time.String() in UTC: nanoseconds without trailing zeros."""
    seconds, fraction = divmod(ns, NS_PER_S)
    digits = f".{fraction:09d}".rstrip("0") if fraction else ""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}{digits} +0000 UTC"


def decode_body(body: bytes, headers: Mapping[str, str] | Message, max_bytes: int) -> bytes:
    """Return the JSON bytes of a push's `body`; raise `RefusedError` for a wrong type, encoding or size."""
    if len(body) > max_bytes:
        raise RefusedError(413, f"request body too large: {len(body)} bytes, limit: {max_bytes} bytes")
    media_type = (headers.get("Content-Type") or "").partition(";")[0].strip().lower()
    if media_type != "application/json":  # Loki takes anything else for snappy-compressed protobuf
        raise RefusedError(400, "snappy: corrupt input" if media_type else "mime: no media type")
    encoding = headers.get("Content-Encoding") or ""
    if encoding not in {"", "gzip"}:
        raise RefusedError(400, f'Content-Encoding "{encoding}" not supported')
    if encoding == "gzip":
        try:
            body = gzip.decompress(body)
        except EOFError:
            raise RefusedError(400, "unexpected EOF") from None
        except (OSError, zlib.error):
            raise RefusedError(400, "gzip: invalid header") from None
    if len(body) > max_bytes:
        raise RefusedError(413, f"request body too large: {len(body)} bytes, limit: {max_bytes} bytes")
    return body


def parse_push(raw: bytes, *, third_member: bool = True) -> list[PushedStream]:
    """Parse a JSON push; raise `RefusedError` with Loki's words, which echo some of the body, if it is none.

    `third_member` False is Loki before 2.9, which knows no structured metadata.
    """
    try:
        document = _checked(json.loads(raw), dict, "readObjectStart: expect { or n")
        streams = _checked(document.get("streams") or [], list, "decode slice: expect [ or n")
        parsed = [_parse_stream(stream, third_member=third_member) for stream in streams]
    except (ValueError, RecursionError) as exc:
        reason = str(exc) if isinstance(exc, _MalformedError) else "ReadMapCB: expect }"
        near, wider = (raw[-size:].decode("utf-8", "replace") for size in (20, 110))
        raise RefusedError(
            400,
            "loghttp.PushRequest.Streams: []loghttp.LogProtoStream: unmarshalerDecoder: "
            f"{reason}, error found in #10 byte of ...|{near}|..., bigger context ...|{wider}|...",
        ) from None
    for stream in parsed:
        _refuse_bad_label_name(stream)
    return parsed


def _checked(value: Any, kind: type[T], complaint: str) -> T:
    if not isinstance(value, kind):
        raise _MalformedError(complaint)
    return value


def _text(value: Any) -> str:
    text = _checked(value, str, UNCLOSED_STRING)
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        raise _MalformedError(UNCLOSED_STRING) from None
    return text


def _texts(value: Any) -> dict[str, str]:
    pairs = _checked(value, dict, UNCLOSED_OBJECT)
    return {_text(name): _text(text) for name, text in pairs.items()}


def _parse_stream(stream: Any, *, third_member: bool) -> PushedStream:
    members = _checked(stream, dict, UNCLOSED_OBJECT)
    values = _checked(members.get("values") or [], list, UNCLOSED_ARRAY)
    # An empty label is no label: Loki drops it before it makes the stream.
    labels = {name: value for name, value in _texts(members.get("stream") or {}).items() if value}
    return PushedStream(labels, [_parse_value(value, third_member=third_member) for value in values])


def _parse_value(value: Any, *, third_member: bool) -> tuple[int, str, dict[str, str]]:
    members = _checked(value, list, UNCLOSED_ARRAY)
    if len(members) not in {2, 3}:
        raise _MalformedError(UNCLOSED_ARRAY)
    if len(members) == 3 and not third_member:
        raise _MalformedError(THIRD_MEMBER)
    digits = _text(members[0])
    if not INTEGER.fullmatch(digits):
        raise _MalformedError(NOT_A_NUMBER)
    ns = int(digits)
    if not -(2**63) <= ns < 2**63:
        raise _MalformedError(OVERFLOWED)
    return ns, _text(members[1]), _texts(members[2]) if len(members) == 3 else {}


def _refuse_bad_label_name(stream: PushedStream) -> None:
    for name in stream.labels:
        if LABEL_NAME.fullmatch(name):
            continue
        good = LABEL_NAME.match(name)
        offset = good.end() if good else 0
        column = stream.text.index(f"{name}=") + offset + 1
        raise RefusedError(
            400,
            f"couldn't parse labels: 1:{column}: parse error: "
            f"unexpected character inside braces: '{(name + '=')[offset]}'",
        )


@dataclass(slots=True)
class _KeptStream:
    newest_ns: int | None = None
    last: tuple[int, str] | None = None
    seen: set[tuple[int, str]] = field(default_factory=set)


@dataclass(slots=True)
class _Tenant:
    tokens: float
    refilled_ns: int
    streams: dict[str, _KeptStream] = field(default_factory=dict)


class PushRules:
    """What Loki does with a parsed push; `entries` is all that it has stored, in order of arrival.

    `version` is "major.minor"; `allow_structured_metadata` None means that version's default (on from 3.0).
    """

    def __init__(self, version: str, limits: Limits, *, allow_structured_metadata: bool | None) -> None:
        major, minor = version.split(".")[:2]
        self.version = (int(major), int(minor))
        self.limits = limits
        self.metadata_allowed = (
            self.version >= (3, 0) if allow_structured_metadata is None else allow_structured_metadata
        )
        self.entries: list[Entry] = []
        self._tenants: dict[str, _Tenant] = {}

    def push(self, name: str, streams: list[PushedStream], now_ns: int) -> Reply:
        """Store what is acceptable for the tenant `name`; return Loki's answer to the push."""
        if not streams and self.version >= (3, 0):
            return Reply(422, "error at least one valid stream is required for ingestion")
        tenant = self._tenants.setdefault(name, _Tenant(self.limits.burst_bytes, now_ns))
        complaints: Counter[str] = Counter()
        valid = [self._valid_part(stream, complaints, now_ns) for stream in streams if stream.values]
        valid = [stream for stream in valid if stream.values]
        refused = self._rate_refusal(name, tenant, valid, now_ns)
        if refused is None:
            for stream in valid:  # the last stream's verdict is the push's: so it is in Loki's ingester
                refused = self._ingest(name, tenant, stream)
        if refused is None and complaints:
            refused = Reply(400, _grouped(complaints))
        return refused or Reply(204)

    def _valid_part(self, stream: PushedStream, complaints: Counter[str], now_ns: int) -> PushedStream:
        """Return `stream` with the values that pass, none if its labels do not; count the reasons."""
        if not stream.labels:
            complaints["error at least one label pair is required per stream"] += 1
            return PushedStream({}, [])
        if "service_name" not in stream.labels and self.version >= (3, 0):
            found = (stream.labels[name] for name in SERVICE_NAME_LABELS if name in stream.labels)
            service = next(found, "unknown_service")
            stream = PushedStream({**stream.labels, "service_name": service}, stream.values)
        text = stream.text
        complaint = self._label_complaint(stream.labels, text)
        if complaint:
            complaints[complaint] += 1
            return PushedStream(stream.labels, [])
        passed = []
        for value in stream.values:
            complaint = self._value_complaint(value, text, now_ns)
            if complaint:
                complaints[complaint] += 1
            else:
                passed.append(value)
        return PushedStream(stream.labels, passed)

    def _label_complaint(self, labels: dict[str, str], text: str) -> str | None:
        limits = self.limits
        count = len(labels.keys() - {"service_name"})  # Loki may have added it, so it does not count it
        if count > limits.max_label_names:
            return f"entry for stream '{text}' has {count} label names; limit {limits.max_label_names}"
        for name, value in sorted(labels.items()):
            if len(name.encode()) > limits.max_label_name_bytes:
                return f"stream '{text}' has label name too long: '{name}'"
            if len(value.encode()) > limits.max_label_value_bytes:
                return f"stream '{text}' has label value too long: '{value}'"
        return None

    def _value_complaint(self, value: tuple[int, str, dict[str, str]], text: str, now_ns: int) -> str | None:
        ns, line, metadata = value
        limits = self.limits
        oldest_ns = now_ns - limits.max_age_s * NS_PER_S
        if ns < oldest_ns:
            return (
                f"entry for stream '{text}' has timestamp too old: {rfc3339(ns)}, "
                f"oldest acceptable timestamp is: {rfc3339(oldest_ns)}"
            )
        if ns > now_ns + limits.max_ahead_s * NS_PER_S:
            return f"entry for stream '{text}' has timestamp too new: {rfc3339(ns)}"
        size = len(line.encode())
        if size > limits.max_line_bytes:
            maximum = "max" if self.version >= (3, 0) else "Max"  # the capital went within the 3.x series
            return (
                f"{maximum} entry size '{limits.max_line_bytes}' bytes exceeded for stream '{text}' "
                f"while adding an entry with length '{size}' bytes"
            )
        return self._metadata_complaint(metadata, text) if metadata else None

    def _metadata_complaint(self, metadata: dict[str, str], text: str) -> str | None:
        limits = self.limits
        if not self.metadata_allowed:
            return (
                f"stream '{text}' includes structured metadata, but this feature is disallowed. Please see "
                "`limits_config.allow_structured_metadata` or contact your Loki administrator to enable it."
            )
        size = _metadata_bytes(metadata)
        if size > limits.max_metadata_bytes:
            return (
                f"stream '{text}' has structured metadata too large: '{size}' bytes, "
                f"limit: '{limits.max_metadata_bytes}' bytes. Please see "
                "`limits_config.max_structured_metadata_size` or contact your Loki administrator "
                "to increase it."
            )
        if len(metadata) > limits.max_metadata_entries:
            return (
                f"stream '{text}' has too many structured metadata labels: '{len(metadata)}', "
                f"limit: '{limits.max_metadata_entries}'. Please see "
                "`limits_config.max_structured_metadata_entries_count` or contact your Loki administrator "
                "to increase it."
            )
        return None

    def _rate_refusal(self, name: str, tenant: _Tenant, valid: list[PushedStream], now_ns: int) -> Reply | None:
        rate = self.limits.rate_bytes_per_s
        values = [value for stream in valid for value in stream.values]
        if rate is None or not values:
            return None
        size = sum(len(line.encode()) + _metadata_bytes(metadata) for _, line, metadata in values)
        gained = (now_ns - tenant.refilled_ns) / NS_PER_S * rate
        tenant.tokens = min(self.limits.burst_bytes, tenant.tokens + gained)
        tenant.refilled_ns = now_ns
        if size <= tenant.tokens:
            tenant.tokens -= size
            return None
        retry_after_s = self.limits.retry_after_s
        return Reply(
            429,
            f"Ingestion rate limit exceeded for user {name} (limit: {int(rate)} bytes/sec) while attempting "
            f"to ingest '{len(values)}' lines totaling '{size}' bytes, reduce log volume or contact your "
            "Loki administrator to see if the limit can be increased",
            {} if retry_after_s is None else {"Retry-After": str(retry_after_s)},
        )

    def _ingest(self, name: str, tenant: _Tenant, stream: PushedStream) -> Reply | None:
        """Store the stream's values; return the refusal of those that came too late, or of the stream."""
        text = stream.text
        kept = tenant.streams.get(text)
        if kept is None:
            if len(tenant.streams) >= self.limits.max_streams:
                return Reply(
                    429,
                    f"Maximum active stream limit exceeded when trying to create stream {text}, reduce the "
                    "number of active streams (reduce labels or reduce label values), or contact your Loki "
                    f"administrator to see if the limit can be increased, user: '{name}'",
                )
            kept = tenant.streams[text] = _KeptStream()
        late = []
        for ns, line, metadata in stream.values:
            if (ns, line) == kept.last:
                continue
            oldest_ns = ns if kept.newest_ns is None else kept.newest_ns - self.limits.max_behind_s * NS_PER_S
            if ns < oldest_ns:
                late.append((ns, oldest_ns))
                continue
            kept.last = (ns, line)
            kept.newest_ns = ns if kept.newest_ns is None else max(ns, kept.newest_ns)
            if kept.last not in kept.seen:
                kept.seen.add(kept.last)
                self.entries.append(Entry(name, dict(stream.labels), ns, line, metadata))
        return _too_far_behind(late, len(stream.values), name, text) if late else None


def _metadata_bytes(metadata: dict[str, str]) -> int:
    return sum(len(name.encode()) + len(value.encode()) for name, value in metadata.items())


def _grouped(complaints: Counter[str]) -> str:
    """Loki's GroupedErrors: equal texts once, with their number when there is more than one complaint."""
    if complaints.total() == 1:
        return next(iter(complaints))
    return "; ".join(f"{count} errors like: {text}" for text, count in complaints.items())


def _too_far_behind(late: list[tuple[int, int]], total: int, tenant: str, text: str) -> Reply:
    listed = "".join(
        f"entry with timestamp {go_time(ns)} ignored, reason: 'entry too far behind, entry timestamp is: "
        f"{rfc3339(ns)}, oldest acceptable timestamp is: {rfc3339(oldest_ns)}',\n"
        for ns, oldest_ns in late[:MAX_LISTED_ENTRIES]
    )
    ignored = f"total ignored: {len(late)} out of {total} for stream: {text}"
    return Reply(400, f"{listed}user '{tenant}', {ignored}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong with one push.

    `hang_s` waits first. Then, with `status`, that is the answer (with `text` and `headers`); with `reset`,
    the connection is reset (RST) in place of an answer; in both cases the entries are stored only if `store`
    is True. With neither, the push is handled as usual, only late.
    """

    status: int | None = None
    text: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    hang_s: float = 0.0
    reset: bool = False
    store: bool = False


NO_FAULT = Fault()


@dataclass(frozen=True, slots=True)
class Push:
    """One push that arrived.

    `status` and `text` are what was answered (None: the connection was reset), `body_bytes` the size on the
    wire, `entries` the number of entries that it held, `stored` how many of them were new, `streams` its
    streams as Loki writes them. `began_s` and `ended_s` are of time.monotonic.
    """

    tenant: str
    status: int | None
    text: str
    headers: dict[str, str]
    body_bytes: int
    entries: int
    stored: int
    streams: tuple[str, ...]
    began_s: float
    ended_s: float


class LokiStandIn:
    """Loki's push API on a port of 127.0.0.1, with faults to order; any thread may call any method.

    `version` is "major.minor" (2.8 refuses structured metadata as malformed, 2.9 has it disallowed, 3.0
    stores it; `allow_structured_metadata` overrides). `require_tenant` answers 401 without X-Scope-OrgID,
    `bearer` answers 401 without that token. `clock` gives nanoseconds since the epoch. `limits`,
    `require_tenant`, `bearer`, `clock` and `script` may be set anew while it runs; `script` sees a push's
    headers and raw body when no injected fault is waiting, and returns what goes wrong with it, or None.
    """

    def __init__(
        self,
        *,
        version: str = "3.0",
        limits: Limits | None = None,
        allow_structured_metadata: bool | None = None,
        require_tenant: bool = False,
        bearer: str | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.require_tenant = require_tenant
        self.bearer = bearer
        self.clock = clock
        self.script: Callable[[Mapping[str, str], bytes], Fault | None] | None = None
        self._rules = PushRules(version, limits or Limits(), allow_structured_metadata=allow_structured_metadata)
        self._changed = threading.Condition()  # guards all that follows
        self._faults: deque[tuple[Fault, int | None]] = deque()
        self._pushes: list[Push] = []
        self._arrivals = 0
        self._release = 0  # counts what sets hanging pushes free
        self._port = 0
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    # Life

    def start(self) -> Self:
        """Listen: on a free port the first time, on the same port after `stop()`; what was stored stays."""
        if self._server is None:
            self._server = _Server(self._port, self)
            self._port = self._server.server_address[1]
            self._thread = threading.Thread(
                target=self._server.serve_forever, args=(POLL_S,), name="loki-stand-in", daemon=True
            )
            self._thread.start()
        return self

    def stop(self) -> None:
        """Close the port, cut every connection, drop the pushes that hang; nothing is stored afterwards."""
        with self._changed:
            server, thread = self._server, self._thread
            self._server = self._thread = None
            self._release += 1
            self._changed.notify_all()
        if server is None or thread is None:
            return
        server.shutdown()
        thread.join(STOP_TIMEOUT_S)
        server.server_close()
        server.cut_connections(STOP_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The port; 0 before the first start."""
        return self._port

    @property
    def url(self) -> str:
        """The base URL, for LOKI_URL."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def limits(self) -> Limits:
        """The limits of every tenant."""
        return self._rules.limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        with self._changed:
            self._rules.limits = limits

    # Faults

    def inject(self, fault: Fault, *, times: int | None = 1) -> None:
        """Let `fault` befall the next `times` pushes, in order of injection; None: all, till cleared."""
        with self._changed:
            self._faults.append((fault, times))

    def clear_faults(self) -> None:
        """Forget all injected faults and the script; pushes that hang go on at once."""
        with self._changed:
            self._faults.clear()
            self.script = None
            self._release += 1
            self._changed.notify_all()

    # Inspection

    def entries(self) -> list[Entry]:
        """Return all that is stored, in order of arrival."""
        with self._changed:
            return list(self._rules.entries)

    def lines(self) -> list[Any]:
        """Return the stored lines, each parsed as JSON."""
        return [json.loads(entry.line) for entry in self.entries()]

    @property
    def pushes(self) -> list[Push]:
        """All pushes that have been answered or reset, in that order."""
        with self._changed:
            return list(self._pushes)

    @property
    def arrivals(self) -> int:
        """How many pushes have arrived, those that hang included."""
        with self._changed:
            return self._arrivals

    def wait_for(self, count: int, timeout_s: float = 10.0) -> list[Entry]:
        """Return the stored entries once there are `count`; raise TimeoutError with what is there instead."""
        try:
            self.wait_until(lambda: len(self._rules.entries) >= count, timeout_s)
        except TimeoutError:
            answers = Counter(push.status for push in self.pushes)
            text = f"{len(self.entries())} of {count} entries after {timeout_s} s; answered: {answers}"
            raise TimeoutError(text) from None
        return self.entries()

    def wait_until(self, predicate: Callable[[], bool], timeout_s: float = 10.0) -> None:
        """Wait for `predicate`, which is asked after each arrival and each answer; raise TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(predicate, timeout_s):
                raise TimeoutError(f"not so after {timeout_s} s and {self._arrivals} pushes")

    # What the HTTP handler calls

    def handle_push(self, headers: Message, body: bytes) -> Reply | None:
        """Take a push; return the answer, or None to reset the connection."""
        began_s = time.monotonic()
        tenant = headers.get("X-Scope-OrgID") or SINGLE_TENANT
        with self._changed:
            self._arrivals += 1
            self._changed.notify_all()
            release = self._release
        fault = self._next_fault(headers, body)
        with self._changed:
            self._changed.wait_for(lambda: self._release != release or self._server is None, fault.hang_s)
        streams, refusal = self._read(headers, body)
        with self._changed:
            if self._server is None:
                return None
            before = len(self._rules.entries)
            reply = refusal or Reply(204)
            planned = fault.reset or fault.status is not None
            if refusal is None and (fault.store or not planned):
                reply = self._rules.push(tenant, streams, self.clock())
            if fault.status is not None:
                reply = Reply(fault.status, fault.text, fault.headers)
            self._pushes.append(
                Push(
                    tenant=tenant,
                    status=None if fault.reset else reply.status,
                    text="" if fault.reset else reply.text,
                    headers=dict(headers.items()),
                    body_bytes=len(body),
                    entries=sum(len(stream.values) for stream in streams),
                    stored=len(self._rules.entries) - before,
                    streams=tuple(stream.text for stream in streams),
                    began_s=began_s,
                    ended_s=time.monotonic(),
                )
            )
            self._changed.notify_all()
        return None if fault.reset else reply

    def _next_fault(self, headers: Message, body: bytes) -> Fault:
        with self._changed:
            if self._faults:
                fault, times = self._faults.popleft()
                if times is None or times > 1:
                    self._faults.appendleft((fault, None if times is None else times - 1))
                return fault
            script = self.script
        return (script and script(dict(headers.items()), body)) or NO_FAULT

    def _read(self, headers: Message, body: bytes) -> tuple[list[PushedStream], Reply | None]:
        """Return the push's streams, and the refusal if the push is not even looked at."""
        if self.bearer is not None and headers.get("Authorization") != f"Bearer {self.bearer}":
            return [], Reply(401, "Unauthorized")
        if self.require_tenant and not headers.get("X-Scope-OrgID"):
            return [], Reply(401, "no org id")
        try:
            raw = decode_body(body, headers, self._rules.limits.max_body_bytes)
            return parse_push(raw, third_member=self._rules.version >= (2, 9)), None
        except RefusedError as exc:
            return [], exc.reply


class _Server(ThreadingHTTPServer):
    """Threads by connection; knows its open connections, so that they can be cut."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, stand_in: LokiStandIn) -> None:
        self.stand_in = stand_in
        self._connections: set[socket.socket] = set()
        self._closed = threading.Condition()
        super().__init__(("127.0.0.1", port), _Handler)

    def server_bind(self) -> None:
        """Bind without the look-up of the host's name that http.server makes."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start the connection's thread."""
        with self._closed:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection that has ended."""
        super().shutdown_request(request)
        with self._closed:
            self._connections.discard(request)
            self._closed.notify_all()

    def cut_connections(self, timeout_s: float) -> None:
        """Shut every connection and wait until its thread has let go of it."""
        with self._closed:
            for connection in self._connections:
                _shut(connection)
            if not self._closed.wait_for(lambda: not self._connections, timeout_s):
                raise TimeoutError(f"{len(self._connections)} connections are still open after {timeout_s} s")

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report errors, except that a client has gone."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # the other side was quicker
        return


class _Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 with keep-alive: GET /ready and POST /loki/api/v1/push."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        """Answer /ready."""
        self._answer(Reply(200, "ready") if self.path == "/ready" else Reply(404, "404 page not found"))

    def do_POST(self) -> None:
        """Take a push."""
        length = self.headers.get("Content-Length")
        if length is None:
            self.close_connection = True
            self._answer(Reply(411, "the stand-in needs a Content-Length"))
            return
        body = self.rfile.read(int(length))
        if len(body) < int(length):  # the client went away
            self.close_connection = True
        elif self.path != PUSH_PATH:
            self._answer(Reply(404, "404 page not found"))
        else:
            reply = self.server.stand_in.handle_push(self.headers, body)
            if reply is None:
                self._reset()
            else:
                self._answer(reply)

    def _answer(self, reply: Reply) -> None:
        has_body = reply.text and reply.status != HTTPStatus.NO_CONTENT
        body = f"{reply.text}\n".encode() if has_body else b""
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _reset(self) -> None:
        """Close with RST: lingering for zero seconds, past the buffers that hold the socket open."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Keep quiet: `LokiStandIn.pushes` is the log."""
