"""Every refusal of the contract: its status, its form, and that no refused value comes back or is logged."""

from __future__ import annotations

import gzip
import json
import socket
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.wire import CANARY, JSON, NDJSON, PROBLEM, Answer, Caller, head, read_answer, wait_until
from tests.harness.service import REPOSITORY, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.conftest import StartService

KIB = 1024
MIB = 1024 * KIB
EVENT_BYTES = 256 * KIB
BATCH_BYTES = 5 * MIB
VALUE_BYTES = MIB

GOOD_EVENT: dict[str, Any] = {"event": "good", "payload": {}}
GOOD_CALL: dict[str, Any] = {"tool": "generate_response", "args": {"model": "llama2"}}

POSTS = {
    "/log": GOOD_EVENT,
    "/log/batch": [GOOD_EVENT],
    "/redact": {},
    "/cache/get": {"key": "k"},
    "/cache/set": {"key": "k", "data": {}, "ttl": 1},
    "/cache/key": GOOD_CALL,
    "/pseudonyms": {"detector": "user_id", "value": CANARY},
}
WITHOUT_KEYS = {"/pseudonyms": 409}
"""What a service without keys for pseudonyms answers to a good request; all others are 200."""
BODYLESS = ("/cache/get?key=k", "/metrics", "/healthz", "/readyz", "/openapi.json", "/docs/", "/problems/invalid")


NOTHING = object()


@dataclass(frozen=True)
class Refusal:
    """One request and what must come of it; `named` is a field that `errors` must speak of."""

    name: str
    path: str
    body: Any  # a value, bytes as they are sent, or NOTHING
    status: int
    slug: str
    named: str = ""
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)
    method: str = "POST"

    @property
    def raw(self) -> bytes | None:
        if self.body is NOTHING:
            return None
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


def by_name(refusals: list[Refusal]) -> Any:
    """Parametrize a test with refusals."""
    return pytest.mark.parametrize(
        "refusal", refusals, ids=[f"{refusal.method} {refusal.path[:30]} {refusal.name}" for refusal in refusals]
    )


def refuse(caller: Caller, refusal: Refusal) -> Any:
    answer = caller.request(refusal.method, refusal.path, refusal.raw, refusal.headers)
    members = caller.assert_refused(answer, refusal.status, refusal.slug)
    if refusal.named:
        assert refusal.named in members["errors"]
    return members


# 400: not JSON. tests/contract/json_cases.py holds the corners; here each kind meets each call.

NOT_JSON = {
    "empty": b"",
    "blank": b" \r\n\t",
    "text": CANARY.encode(),
    "half": b'{"a": "%s"' % CANARY.encode(),
    "utf-8": b'{"a": "%s\xff"}' % CANARY.encode(),
    "surrogate": b'{"a": "%s\\ud800"}' % CANARY.encode(),
    "nan": b'{"a": ["%s", NaN]}' % CANARY.encode(),
    "infinity": b'{"a": ["%s", -Infinity]}' % CANARY.encode(),
    "too large a float": b'{"a": ["%s", 1e999]}' % CANARY.encode(),
    "too large an integer": b'{"a": ["%s", 9223372036854775808]}' % CANARY.encode(),
    "duplicate key": b'{"a": "%s", "a": 1}' % CANARY.encode(),
    "too deep": b'["%s",' % CANARY.encode() + b"[" * 32 + b"]" * 33,
    "byte order mark": b'\xef\xbb\xbf{"a": "%s"}' % CANARY.encode(),
}


@by_name(
    [
        Refusal(name, path, body, 400, "not-json")
        for path in POSTS
        for name, body in NOT_JSON.items()
        if (path, name) != ("/log/batch", "too deep")  # each item of a batch is judged by itself
    ]
)
def test_not_json(caller: Caller, refusal: Refusal):
    """A body that is not JSON, or not JSON that everybody reads alike, is 400 on every call that takes one."""
    refuse(caller, refusal)


@by_name(
    [
        Refusal(f"{name} {place}", "/log/batch", body, 400, "not-json")
        for name, value in (
            ("nan", b"NaN"),
            ("infinity", b"1e999"),
            ("integer", b"9223372036854775808"),
            ("surrogate", b'"\\ud800"'),
            ("duplicate", b'{"a":1,"a":"%s"}' % CANARY.encode()),
        )
        for place, body in (
            ("itself", value),
            ("as events", b'{"events": %s}' % value),
            ("beside events", b'{"events": [{"event":"a","payload":{}}], "more": %s}' % value),
        )
    ]
)
def test_batch_is_not_json_around_its_events(caller: Caller, refusal: Refusal):
    """What stands outside of the events belongs to no event: the whole body is not JSON."""
    refuse(caller, refusal)


GZIPPED = gzip.compress(json.dumps([GOOD_EVENT]).encode(), mtime=0)


@by_name(
    [
        Refusal(name, "/log/batch", body, 400, "not-json", headers={**JSON, "Content-Encoding": "gzip"})
        for name, body in {
            "not gzip": CANARY.encode(),
            "plain JSON": b'[{"event":"%s","payload":{}}]' % CANARY.encode(),
            "empty": b"",
            "magic only": GZIPPED[:2],
            "header only": GZIPPED[:10],
            "half": GZIPPED[: len(GZIPPED) // 2],
            "without checksum": GZIPPED[:-8],
            "half a checksum": GZIPPED[:-2],
            "wrong checksum": GZIPPED[:-8] + bytes(4) + GZIPPED[-4:],
            "wrong length": GZIPPED[:-4] + bytes(4),
            "more behind it": GZIPPED + CANARY.encode(),
            "half a second member": GZIPPED + GZIPPED[:12],
            "of nothing": gzip.compress(b"", mtime=0),
            "of no JSON": gzip.compress(CANARY.encode(), mtime=0),
        }.items()
    ]
)
def test_bad_gzip(caller: Caller, refusal: Refusal):
    """A body that is not the gzip that its header says is 400, wherever it breaks."""
    refuse(caller, refusal)


MALFORMED = {
    "no version": b"GET /healthz\r\nHost: x\r\n\r\n",
    "version 2": b"GET /healthz HTTP/2.0\r\nHost: x\r\n\r\n",
    "version of letters": b"GET /healthz HTTP/a.b\r\nHost: x\r\n\r\n",
    "two spaces": b"GET  /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "lower-case method": b"get /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "a path without a slash": b"GET healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "TLS": b"\x16\x03\x01\x00\xa5\x01\x00\r\n\r\n",
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "NUL in the path": b"GET /%s\x00 HTTP/1.1\r\nHost: x\r\n\r\n" % CANARY.encode(),
    "bytes in the path": head("GET", b"/%s\xff" % CANARY.encode()),
    "a bad address": head("GET", b"http://[%s/healthz" % CANARY.encode()),
    "a field without a name": head("GET", "/healthz", f": {CANARY}"),
    "a field without a colon": head("GET", "/healthz", CANARY),
    "a space in a name": head("GET", "/healthz", f"X {CANARY}: 1"),
    "a folded field": head("GET", "/healthz", "X-Note: a", f" {CANARY}"),
    "NUL in a field": head("GET", "/healthz", f"X-Note: {CANARY}\0"),
    "two hosts": head("GET", "/healthz", f"Host: {CANARY}"),
    "two content types": head("POST", "/log", "Content-Type: application/json", f"Content-Type: {CANARY}"),
    "another expectation": head("POST", "/log", f"Expect: {CANARY}"),
    "two schemes": head("GET", "/healthz", "X-Forwarded-Proto: https", "X-Forwarded-Ssl: off"),
    "a length of letters": head("POST", "/log", f"Content-Length: {CANARY}"),
    "a negative length": head("POST", "/log", "Content-Length: -1"),
    "a signed length": head("POST", "/log", "Content-Length: +1"),
    "a length with a fraction": head("POST", "/log", "Content-Length: 1.0"),
    "a length in hex": head("POST", "/log", "Content-Length: 0x10"),
    "a length of other digits": head("POST", "/log", "Content-Length: ²"),
    "no length at all": head("POST", "/log", "Content-Length:"),
    "two lengths": head("POST", "/log", "Content-Length: 1", "Content-Length: 2"),
    "a list of lengths": head("POST", "/log", "Content-Length: 5, 5"),
    "a length of 5,000 digits": head("POST", "/log", "Content-Length: " + "9" * 5000),
}


def test_a_header_changes_no_path(caller: Caller):
    """SCRIPT_NAME and PATH_INFO are a server's words to its application, not a client's."""
    for name, value in (("SCRIPT_NAME", "/heal"), ("PATH_INFO", "/metrics")):
        answer = caller.exchange(head("GET", "/healthz", f"{name}: {value}"))
        assert (answer.status, answer.json) == (200, {"status": "ok"})


@pytest.mark.parametrize("request_bytes", MALFORMED.values(), ids=MALFORMED)
def test_malformed_http(caller: Caller, request_bytes: bytes):
    """What is not HTTP is 400 and a problem, although the application never sees it."""
    caller.assert_refused(caller.exchange(request_bytes), 400, "bad-request")


@by_name(
    [
        Refusal(name, f"{path}?key={CANARY}{key}", NOTHING, 400, "bad-request", headers={}, method=method)
        for method, path in (("GET", "/cache/get"), ("DELETE", "/cache"))
        for name, key in (("not UTF-8", "%ff"), ("cut off", "%e2%82"), ("overlong", "%c0%af"), ("half", "%ed%a0%80"))
    ]
)
def test_query_is_not_utf_8(caller: Caller, refusal: Refusal):
    """A key whose bytes are not UTF-8 is refused: with replacement signs, two keys would become one."""
    refuse(caller, refusal)


# 404 and 405


UNKNOWN_PATHS = (
    "/",
    "/logs",
    "/Log",
    "/log/",
    "/log/batch/",
    "/cache/",
    "/cache/getter",
    "/healthz/",
    "/problems/",
    f"/{CANARY}",
    f"/%00{CANARY}",
    f"/log%2fbatch%2f{CANARY}",
    f"/static/{CANARY}",
    f"/?{CANARY}",
    "/..%2f..%2fetc%2fpasswd",
    "/.git/config",
    "/favicon.ico",
    "/server-status",
)
UNKNOWN_PAGES = (
    "/problems/nothing",
    f"/problems/{CANARY}",
    f"/docs/{CANARY}",
    f"/docs/..%2f..%2f{CANARY}",
    f"/docs/%00{CANARY}",
    "/docs/" + "a" * 5000,
)
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "BREW")


@pytest.mark.parametrize("path", UNKNOWN_PATHS)
def test_not_found(caller: Caller, path: str):
    """A path that no call has is 404, whatever the method and however it is spelt."""
    for method in (*METHODS, "OPTIONS"):
        caller.assert_refused(caller.request(method, path), 404, "not-found")


@pytest.mark.parametrize("path", UNKNOWN_PAGES, ids=[path[:30] for path in UNKNOWN_PAGES])
def test_no_such_page(caller: Caller, path: str):
    """A page that is not there is 404; the shape of its path is known, so other methods are 405."""
    caller.assert_refused(caller.get(path), 404, "not-found")
    for method in METHODS[1:]:
        caller.assert_refused(caller.request(method, path), 405, "method-not-allowed")


@pytest.mark.parametrize("path", ["//docs//", "//evil.example/docs//index.css", "/docs//index.css", "//problems"])
def test_redirects_stay_here(caller: Caller, path: str):
    """Where a path is put right by a redirect, it leads to this service whatever Host says, and has no page."""
    answer = caller.exchange(b"GET " + path.encode() + b" HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
    assert answer.status in {200, 301, 302, 303, 307, 308, 404}
    assert "evil.example" not in answer.headers.get("Location", "")
    assert b"evil.example" not in answer.body


ALLOWED = {
    "/log": {"POST"},
    "/log/batch": {"POST"},
    "/redact": {"POST"},
    "/cache/get": {"GET", "HEAD", "POST"},
    "/cache/set": {"POST"},
    "/cache/key": {"POST"},
    "/cache": {"DELETE"},
    "/pseudonyms": {"POST"},
    "/metrics": {"GET", "HEAD"},
    "/kpis": {"GET", "HEAD"},
    "/healthz": {"GET", "HEAD"},
    "/readyz": {"GET", "HEAD"},
    "/openapi.json": {"GET", "HEAD"},
    "/docs": {"GET", "HEAD"},
    "/problems": {"GET", "HEAD"},
    "/problems/invalid": {"GET", "HEAD"},
}


@pytest.mark.parametrize(
    ("path", "method"),
    [(path, method) for path, allowed in ALLOWED.items() for method in METHODS if method not in allowed],
)
def test_method_not_allowed(caller: Caller, path: str, method: str):
    """A method that a path does not take is 405, and Allow lists those that it takes."""
    answer = caller.request(method, f"{path}?{CANARY}")
    caller.assert_refused(answer, 405, "method-not-allowed")
    assert set(answer.headers["Allow"].split(", ")) == {*ALLOWED[path], "OPTIONS"}


@pytest.mark.parametrize("path", ["/nothing", "/log", "/cache/get?key=", "/problems/nothing"])
def test_head_is_refused_without_a_body(caller: Caller, path: str):
    """A refused HEAD has the head of a problem and no body, and the connection stays in step."""
    answer = caller.request("HEAD", path)
    assert answer.status in {404, 405, 422}
    assert (answer.content_type, answer.body) == (PROBLEM, b"")
    assert caller.get("/healthz").status == 200


# 411, 501: framing

CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n"


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("body", ["good", "empty", "large", "none"])
def test_chunked_body(caller: Caller, path: str, body: str):
    """A chunked body is 411 on every call that takes a body, and the connection stays in step."""
    raw = json.dumps(POSTS[path]).encode()
    chunked = {
        "good": CHUNKED % (len(raw), raw),
        "empty": b"0\r\n\r\n",
        "large": CHUNKED % (40_000, CANARY.encode() * (40_000 // len(CANARY)) + b"." * (40_000 % len(CANARY))),
        "none": b"",
    }[body]
    request_bytes = head("POST", path, "Content-Type: application/json", "Transfer-Encoding: chunked") + chunked
    caller.assert_refused(caller.exchange(request_bytes, "POST"), 411, "length-required")


@pytest.mark.parametrize("path", BODYLESS)
def test_calls_without_a_body_need_no_length(caller: Caller, path: str):
    """A GET needs no length; with Transfer-Encoding it has a body, and is 411 like any other."""
    assert caller.exchange(head("GET", path)).status == 200
    answer = caller.exchange(head("GET", path, "Transfer-Encoding: chunked") + b"0\r\n\r\n")
    caller.assert_refused(answer, 411, "length-required")


ODD_CODINGS = {
    "unknown": ((501,), CANARY),
    "identity": ((400, 501), "identity"),
    "gzip alone": ((400, 501), "gzip"),
    "gzip, chunked": ((411, 501), "gzip, chunked"),
    "chunked, gzip": ((400, 501), "chunked, gzip"),
    "chunked twice": ((400, 501), "chunked, chunked"),
    "chunked with a parameter": ((400, 501), f"chunked;{CANARY}"),
    "chunked in capitals": ((411,), "CHUNKED"),
    "chunked in quotes": ((400, 501), '"chunked"'),
    "chunked with a vertical tab": ((400, 501), "\x0bchunked"),
    "chunked with a no-break space": ((400, 501), "chunked\xa0"),
    "nothing": ((400, 501), ""),
    "a comma": ((400, 501), ","),
}


@pytest.mark.parametrize(("statuses", "coding"), ODD_CODINGS.values(), ids=ODD_CODINGS)
def test_odd_transfer_codings(caller: Caller, statuses: tuple[int, ...], coding: str):
    """A transfer coding that is not understood is a problem of the framing, and never read as a body."""
    fields = ["Content-Type: application/json", f"Transfer-Encoding: {coding}"]
    answer = caller.exchange(head("POST", "/log", *fields) + CHUNKED % (len(CANARY), CANARY.encode()), "POST")
    slugs = {400: "bad-request", 411: "length-required", 501: "not-implemented"}
    assert answer.status in statuses
    caller.assert_refused(answer, answer.status, slugs[answer.status])


def test_length_and_transfer_encoding(caller: Caller):
    """Both framings at once are refused: two readers would see two bodies."""
    fields = ["Content-Type: application/json", "Transfer-Encoding: chunked", "Content-Length: 5"]
    answer = caller.exchange(head("POST", "/log", *fields) + b"0\r\n\r\n", "POST")
    caller.assert_refused(answer, 400, "bad-request")


HIDDEN = head("DELETE", f"/{CANARY}")
TYPED = "Content-Type: application/json"
UNREAD_BODIES = {
    "411": head("POST", "/log", TYPED, "Transfer-Encoding: chunked") + CHUNKED % (len(HIDDEN), HIDDEN),
    "413": head("POST", "/log", TYPED, f"Content-Length: {EVENT_BYTES + 1}") + HIDDEN.ljust(EVENT_BYTES + 1, b"\n"),
    "415": head("POST", "/log", "Content-Type: text/plain", f"Content-Length: {len(HIDDEN)}") + HIDDEN,
    "404": head("POST", "/nothing", f"Content-Length: {len(HIDDEN)}") + HIDDEN,
    "405": head("PUT", "/log", f"Content-Length: {len(HIDDEN)}") + HIDDEN,
    "200": head("GET", "/healthz", f"Content-Length: {len(HIDDEN)}") + HIDDEN,
}


@pytest.mark.parametrize("status", UNREAD_BODIES)
def test_an_unread_body_is_no_request(caller: Caller, status: str):
    """A refused body that looks like a request is passed over; the request behind it is answered."""
    behind = head("GET", "/healthz", "Connection: close")
    received = caller.exchange_all(UNREAD_BODIES[status] + behind)
    starts = [part[:3].decode() for part in received.split(b"HTTP/1.1 ")[1:]]
    assert starts == [status, "200"]


# 413


def event_of(size: int) -> bytes:
    """Return an event of so many bytes."""
    start, end = b'{"event":"large","payload":{"text":"' + CANARY.encode(), b'"}}'
    return start + b"x" * (size - len(start) - len(end)) + end


GROWING = b'{"event":"large","payload":{"text":"%s%s"}}' % (CANARY.encode(), b" user1" * 30_000)


@by_name(
    [
        Refusal("an event", "/log", event_of(EVENT_BYTES + 1), 413, "too-large"),
        Refusal("a line that grows", "/log", GROWING, 413, "too-large"),
        Refusal("a line that has no room for its frame", "/log", event_of(EVENT_BYTES), 413, "too-large"),
        Refusal("a value to redact", "/redact", event_of(EVENT_BYTES + 1), 413, "too-large"),
        Refusal("a batch", "/log/batch", b"[" + b" " * BATCH_BYTES + b"]", 413, "too-large"),
        Refusal("lines", "/log/batch", event_of(100 * KIB) + b"\n" * BATCH_BYTES, 413, "too-large", headers=NDJSON),
        Refusal(
            "data",
            "/cache/set",
            {"key": "k", "data": {"text": CANARY + "x" * VALUE_BYTES}, "ttl": 60},
            413,
            "too-large",
        ),
        Refusal(
            "data, by a byte",
            "/cache/set",
            {"key": "k", "data": {"text": "x" * (VALUE_BYTES - 10)}, "ttl": 60},
            413,
            "too-large",
        ),
        Refusal(
            "a body of nothing", "/cache/set", b'{"key":"k","data":{}}' + b" " * (3 * VALUE_BYTES), 413, "too-large"
        ),
        Refusal("arguments", "/cache/key", {"tool": "t", "args": {"a": "x" * 2 * VALUE_BYTES}}, 413, "too-large"),
        Refusal("a key", "/cache/get", {"key": "x" * 2 * VALUE_BYTES}, 413, "too-large"),
        Refusal("a value", "/pseudonyms", {"detector": "user_id", "value": CANARY.ljust(64 * KIB)}, 413, "too-large"),
    ]
)
def test_too_large(caller: Caller, refusal: Refusal):
    """What passes its limit by one byte, or by growing in redaction, is 413."""
    refuse(caller, refusal)


FULL_OF_SPACES = b"[" + b" " * BATCH_BYTES + b"]"


@by_name(
    [
        Refusal(name, "/log/batch", body, 413, "too-large", headers={**kind, "Content-Encoding": "gzip"})
        for kind in (JSON, NDJSON)
        for name, body in {
            f"by two bytes {kind['Content-Type']}": gzip.compress(FULL_OF_SPACES, mtime=0),
            f"bomb {kind['Content-Type']}": gzip.compress(bytes(200 * MIB), 9, mtime=0),
            f"bomb of members {kind['Content-Type']}": gzip.compress(bytes(MIB), mtime=0) * 1000,
            f"bomb, cut off {kind['Content-Type']}": gzip.compress(bytes(50 * MIB), mtime=0)[:-100],
            f"compressed {kind['Content-Type']}": bytes(BATCH_BYTES + 1),
        }.items()
    ]
)
def test_gzip_too_large(caller: Caller, refusal: Refusal):
    """A batch is counted after decompression, and decompression stops at the limit."""
    refuse(caller, refusal)


def test_gzip_of_empty_members_holds_nobody_up(start_service: StartService):
    """A gzip body within the limit that has 250,000 empty members keeps no other caller waiting for seconds."""
    member = gzip.compress(b"", mtime=0)
    body = member * (BATCH_BYTES // len(member))
    fields = (TYPED, "Content-Encoding: gzip", f"Content-Length: {len(body)}")
    service = start_service(WEB_CONCURRENCY="1")
    with (
        Caller(service) as caller,
        closing(socket.create_connection(("127.0.0.1", service.port), timeout=10)) as connection,
    ):
        connection.sendall(head("POST", "/log/batch", *fields) + body)
        answer = read_answer(connection, "POST")
        assert caller.get("/healthz").status == 200
        assert answer.status in {400, 413}
        caller.assert_refused(answer, answer.status, {400: "not-json", 413: "too-large"}[answer.status])


def test_within_the_limits(caller: Caller):
    """What is as large as may be is taken: an event, a batch before and after decompression, a cached value."""
    event = event_of(EVENT_BYTES - 200)
    assert caller.post("/log", event).status == 200
    assert caller.post("/redact", b'"' + b"x" * (EVENT_BYTES - 2) + b'"').status == 200
    batch = json.dumps([GOOD_EVENT]).encode().ljust(BATCH_BYTES)
    assert caller.post("/log/batch", batch).status == 200
    zipped = {**JSON, "Content-Encoding": "gzip"}
    assert caller.request("POST", "/log/batch", gzip.compress(batch, mtime=0), zipped).status == 200
    two_members = gzip.compress(batch[:10], mtime=0) + gzip.compress(batch[10:], mtime=0)
    assert caller.request("POST", "/log/batch", two_members, zipped).status == 200
    value = {"key": "x" * 4096, "data": {"text": "x" * (VALUE_BYTES - 11)}, "ttl": 60}
    assert caller.post("/cache/set", value).status == 200


def test_too_large_an_event_of_a_batch(caller: Caller):
    """An event over the limit, and one whose line grows over it, are refused alone, in both forms of a batch."""
    events = [json.dumps(GOOD_EVENT).encode(), event_of(EVENT_BYTES + 1), GROWING, event_of(1000)]
    for body, headers in ((b"[" + b",".join(events) + b"]", JSON), (b"\n".join(events), NDJSON)):
        answer = caller.request("POST", "/log/batch", body, headers)
        assert answer.status == 200
        caller.assert_silent(answer)
        assert answer.json["accepted"] == 2
        assert [event_id is None for event_id in answer.json["event_ids"]] == [False, True, True, False]
        rows = [(row["index"], row["type"]) for row in answer.json["rejected"]]
        assert rows == [(1, "/problems/too-large"), (2, "/problems/too-large")]


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("length", [10**8, 10**12, 10**30])
def test_too_large_is_said_before_the_body_comes(caller: Caller, path: str, length: int):
    """A length over the limit is refused at once, without waiting for a body that never comes."""
    answer = caller.exchange(head("POST", path, TYPED, f"Content-Length: {length}"), "POST")
    caller.assert_refused(answer, 413, "too-large")


# 414, 431


@pytest.mark.parametrize("path", ["/healthz?", "/cache/get?key=", "/"])
@pytest.mark.parametrize("size", [8190, 9000, 100_000])
def test_request_line_too_long(caller: Caller, path: str, size: int):
    """A request line over 8,190 bytes is 414, and a problem although the application never sees it."""
    caller.assert_refused(caller.exchange(head("GET", path + CANARY.ljust(size, "x"))), 414, "uri-too-long")


@pytest.mark.parametrize(
    "fields",
    [
        [f"X-{number}: {CANARY}" for number in range(100)],
        [f"X-{number}: {CANARY}" for number in range(3000)],
        ["X-Note: " + CANARY.ljust(8190, "x")],
        ["X-Note: " + CANARY.ljust(60_000, "x")],
        ["X-" + CANARY.ljust(8190, "x") + ": 1"],
        ["Cookie: " + CANARY.ljust(9000, "x")],
    ],
    ids=["101 fields", "3001 fields", "a long value", "a very long value", "a long name", "a long cookie"],
)
def test_headers_too_large(caller: Caller, fields: list[str]):
    """Over 100 fields, or one over 8,190 bytes, is 431."""
    caller.assert_refused(caller.exchange(head("GET", "/healthz", *fields)), 431, "headers-too-large")


def test_as_long_as_may_be(caller: Caller):
    """A request line and fields within the limits are served."""
    fields = [f"X-{number}: 1" for number in range(98)]
    assert caller.exchange(head("GET", "/healthz?" + "x" * 8100, *fields, "X-Note: " + "x" * 8170)).status == 200


# 415

WRONG_TYPES = {
    "missing": {},
    "empty": {"Content-Type": ""},
    "text": {"Content-Type": "text/plain"},
    "a form": {"Content-Type": "application/x-www-form-urlencoded"},
    "a file": {"Content-Type": f"multipart/form-data; boundary={CANARY}"},
    "nonsense": {"Content-Type": CANARY},
    "a list": {"Content-Type": "application/json, application/json"},
    "another JSON": {"Content-Type": "application/problem+json"},
    "almost JSON": {"Content-Type": "application/jsonx"},
    "UTF-16": {"Content-Type": "application/json; charset=utf-16"},
    "Latin-1": {"Content-Type": 'application/json; charset="iso-8859-1"'},
    "an unknown charset": {"Content-Type": f"application/json; charset={CANARY}"},
    "an empty charset": {"Content-Type": "application/json; charset="},
    "two charsets": {"Content-Type": "application/json; charset=utf-8; charset=utf-16"},
    "deflate": {**JSON, "Content-Encoding": "deflate"},
    "brotli": {**JSON, "Content-Encoding": "br"},
    "an unknown coding": {**JSON, "Content-Encoding": CANARY},
    "gzip twice": {**JSON, "Content-Encoding": "gzip, gzip"},
}
NO_GZIP = {"gzip": {**JSON, "Content-Encoding": "gzip"}, "NDJSON": NDJSON}


@by_name(
    [
        Refusal(name, path, POSTS[path], 415, "unsupported-media-type", headers=headers)
        for path in POSTS
        for name, headers in (WRONG_TYPES | ({} if path == "/log/batch" else NO_GZIP)).items()
    ]
)
def test_unsupported_media_type(caller: Caller, refusal: Refusal):
    """A type, a charset or a coding that a call does not take is 415, whatever the body is."""
    refuse(caller, refusal)


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON",
        "application/json;charset=utf-8",
        'application/json; charset="UTF-8"',
        "application/json ; charset=utf8",
        "application/json; profile=x",
        "application/json;",
    ],
)
def test_media_types_taken(caller: Caller, path: str, content_type: str):
    """JSON in UTF-8 is taken however its type is written."""
    headers = {"Content-Type": content_type, "Content-Encoding": "identity"}
    assert caller.request("POST", path, json.dumps(POSTS[path]), headers).status == WITHOUT_KEYS.get(path, 200)


# 422

BAD_TIMES = {
    "word": CANARY,
    "empty": "",
    "date": "2025-09-03",
    "no zone": "2025-09-03T10:30:00",
    "no seconds": "2025-09-03T10:30Z",
    "month 13": "2025-13-03T10:30:00Z",
    "February 30": "2025-02-30T10:30:00Z",
    "hour 24": "2025-09-03T24:00:00Z",
    "minute 60": "2025-09-03T10:60:00Z",
    "second 61": "2025-09-03T10:30:61Z",
    "zone 25": "2025-09-03T10:30:00+25:00",
    "zone without a colon": "2025-09-03T10:30:00+0200",
    "two spaces": "2025-09-03  10:30:00Z",
    "space before": " 2025-09-03T10:30:00Z",
    "newline behind": "2025-09-03T10:30:00Z\n",
    "more behind": f"2025-09-03T10:30:00Z{CANARY}",
    "other digits": "\uff12\uff10\uff12\uff15-09-03T10:30:00Z",
    "a number in quotes": "1756895400",
    "true": True,
    "negative": -1,
    "nanoseconds": 1_756_895_400_000_000_000,
    "huge": 1e300,
    "list": [2025],
    "object": {"at": CANARY},
}
GOOD_TIMES = (
    "2025-09-03T10:30:00Z",
    "2025-09-03t10:30:00.123456789z",
    "2025-09-03T10:30:00+02:00",
    "2025-09-03T10:30:00-23:59",
    "2016-12-31T23:59:60Z",
    "2024-02-29T00:00:00Z",
    0,
    1_756_895_400,
    1_756_895_400.5,
    1_756_895_400_000,
)
NOT_STRINGS = {"null": None, "integer": 5, "float": 0.5, "true": True, "list": [CANARY], "object": {"a": CANARY}}
NOT_OBJECTS = {"null": None, "integer": 5, "true": True, "string": CANARY, "list": [{"a": CANARY}]}
BAD_EVENTS = {
    "empty": "",
    "capitals": "Canary",
    "digit first": "1st",
    "dot first": ".event",
    "hyphen first": "-event",
    "space": CANARY.replace("-", " "),
    "65 signs": "e" * 65,
    "long": CANARY * 1000,
    "newline behind": "event\n",
    "umlaut": "ereignis_größe",
    "slash": "a/b",
    "colon": "a:b",
    "NUL": "a\0b",
    "markup": f"<b>{CANARY}</b>",
}
BAD_IDS = {
    "empty": "",
    "65 signs": "i" * 65,
    "space": CANARY.replace("-", " "),
    "newline behind": "id\n",
    "slash": "../id",
    "umlaut": "ä",
    "dot": "a.b",
    "colon": "a:b",
}


def bad_events() -> Iterator[tuple[str, Any, str]]:
    """What is wrong with an event: (name, event, field)."""
    yield "no event", {"payload": {}}, "event"
    yield "no payload", {"event": "a"}, "payload"
    yield "nothing", {}, "event"
    yield "unknown field", {**GOOD_EVENT, "extra_field": CANARY}, "extra_field"
    for name, value in {**BAD_EVENTS, **NOT_STRINGS}.items():
        yield f"event: {name}", {**GOOD_EVENT, "event": value}, "event"
    for name, value in NOT_OBJECTS.items():
        yield f"payload: {name}", {**GOOD_EVENT, "payload": value}, "payload"
    for name, value in {**BAD_IDS, **NOT_STRINGS}.items():
        yield f"event_id: {name}", {**GOOD_EVENT, "event_id": value}, "event_id"
    for name, value in BAD_TIMES.items():
        yield f"timestamp: {name}", {**GOOD_EVENT, "payload": {"timestamp": value}}, "payload"
    for name, value in NOT_STRINGS.items():
        if value is not None:
            yield f"service: {name}", {**GOOD_EVENT, "payload": {"service": value}}, "payload"


@by_name([Refusal(name, "/log", event, 422, "invalid", named) for name, event, named in bad_events()])
def test_invalid_event(caller: Caller, refusal: Refusal):
    """Each rule of each field of an event: 422, and `errors` names the field."""
    errors = refuse(caller, refusal)["errors"]
    if refusal.name.startswith(("timestamp", "service")):
        assert refusal.name.partition(":")[0] in str(errors)


def test_errors_are_messages_by_field(caller: Caller):
    """`errors` maps a field to its messages, or to the errors of the fields within it."""

    def is_errors(value: Any) -> bool:
        if isinstance(value, dict):
            return all(map(is_errors, value.values()))
        return isinstance(value, list) and all(isinstance(message, str) for message in value)

    odd = []
    for name, event, _ in bad_events():
        errors = caller.post("/log", event).json["errors"]
        if not isinstance(errors, dict) or not is_errors(errors):
            odd.append((name, errors))
    assert odd == []


@by_name(
    [
        Refusal(name, path, body, 422, "invalid")
        for path in ("/log", "/cache/get", "/cache/set", "/cache/key", "/pseudonyms")
        for name, body in {**NOT_OBJECTS, "number": 0.5, "empty list": [], "false": False}.items()
    ]
)
def test_body_is_no_object(caller: Caller, refusal: Refusal):
    """Where an object is asked for, any other JSON value is 422."""
    refuse(caller, refusal)


@pytest.mark.parametrize("form", ["array", "ndjson"])
def test_a_bad_event_never_spoils_the_others(caller: Caller, form: str):
    """Each bad event between two good ones is refused alone, at its place, with its reason."""
    for name, event, named in bad_events():
        events = [json.dumps(one).encode() for one in (GOOD_EVENT, event, GOOD_EVENT)]
        if form == "array":
            answer = caller.post("/log/batch", b"[" + b",".join(events) + b"]")
        else:
            answer = caller.request("POST", "/log/batch", b"\n".join(events), NDJSON)
        assert answer.status == 200, name
        caller.assert_silent(answer)
        members = answer.json
        assert members["accepted"] == 2, name
        assert [event_id is None for event_id in members["event_ids"]] == [False, True, False], name
        (row,) = members["rejected"]
        assert (row["index"], row["type"]) == (1, "/problems/invalid"), name
        assert row["title"], name
        assert row["detail"], name
        assert named in row["errors"], name


def test_all_events_refused(caller: Caller):
    """A batch of which nothing is left is 422 with the same list."""
    events = [event for _, event, _ in bad_events()]
    for body in (events, {"events": events}):
        members = caller.assert_refused(caller.post("/log/batch", body), 422, "invalid")
        assert [row["index"] for row in members["rejected"]] == list(range(len(events)))
        assert {row["type"] for row in members["rejected"]} == {"/problems/invalid"}
    lines = b"\n".join(json.dumps(event).encode() for event in events)
    answer = caller.request("POST", "/log/batch", lines, NDJSON)
    assert len(caller.assert_refused(answer, 422, "invalid")["rejected"]) == len(events)


@by_name(
    [
        Refusal("no events", "/log/batch", {}, 422, "invalid"),
        Refusal("empty events", "/log/batch", {"events": []}, 422, "invalid", "events"),
        Refusal("empty array", "/log/batch", [], 422, "invalid", "events"),
        Refusal("events: object", "/log/batch", {"events": GOOD_EVENT}, 422, "invalid", "events"),
        Refusal("events: string", "/log/batch", {"events": CANARY}, 422, "invalid", "events"),
        Refusal("events: null", "/log/batch", {"events": None}, 422, "invalid", "events"),
        Refusal("string", "/log/batch", CANARY, 422, "invalid"),
        Refusal("number", "/log/batch", 5, 422, "invalid"),
        Refusal("null", "/log/batch", None, 422, "invalid"),
        Refusal("one event", "/log/batch", GOOD_EVENT, 422, "invalid", "event"),
        Refusal("unknown field", "/log/batch", {"events": [GOOD_EVENT], "x": CANARY}, 422, "invalid", "x"),
        Refusal("too many", "/log/batch", b"[" + b"0," * 10_000 + b"0]", 422, "invalid", "events"),
        Refusal("too many good", "/log/batch", [GOOD_EVENT] * 10_001, 422, "invalid", "events"),
        Refusal("no line", "/log/batch", b"", 422, "invalid", "events", NDJSON),
        Refusal("blank lines", "/log/batch", b"\n \r\n\t\n", 422, "invalid", "events", NDJSON),
        Refusal("too many lines", "/log/batch", b"0\n" * 10_001, 422, "invalid", "events", NDJSON),
        Refusal("5 MiB of newlines", "/log/batch", b"\n" * BATCH_BYTES, 422, "invalid", "events", NDJSON),
        Refusal("5 MiB of zeros", "/log/batch", b"[" + b"0," * (BATCH_BYTES // 2 - 2) + b"0]", 422, "invalid"),
    ]
)
def test_invalid_batch(caller: Caller, refusal: Refusal):
    """What is no batch of 1 to 10,000 events is refused whole."""
    refuse(caller, refusal)


BAD_KEYS = {
    "empty": "",
    "4,097 bytes": "x" * 4097,
    "4,098 bytes in 2,049 signs": "é" * 2049,
    "long": CANARY * 1000,
    "NUL": f"{CANARY}\0",
    "newline": f"{CANARY}\n",
    "tab": f"\t{CANARY}",
    "DEL": f"{CANARY}\x7f",
    "C1": f"{CANARY}\x85",
}
BAD_TOOLS = {"empty": "", "257 signs": "t" * 257, "NUL": f"{CANARY}\0", "newline": f"{CANARY}\n", "C1": "a\x9fb"}
BAD_TTLS = {
    "0": 0,
    "-1": -1,
    "30 days and a second": 2_592_001,
    "huge": 2**63 - 1,
    "true": True,
    "false": False,
    "1.0": 1.0,
    "60.5": 60.5,
    "string": "60",
    "word": CANARY,
    "null": None,
    "list": [60],
    "object": {"s": CANARY},
}


def bad_names() -> Iterator[tuple[str, dict[str, Any], str]]:
    """How a cache entry must not be named: (name, body, field)."""
    yield "neither", {}, "key"
    yield "both", {"key": CANARY, **GOOD_CALL}, "key"
    yield "key and tool", {"key": CANARY, "tool": CANARY}, "key"
    yield "key and args", {"key": CANARY, "args": {}}, "key"
    yield "tool alone", {"tool": CANARY}, "args"
    yield "args alone", {"args": {"a": CANARY}}, "tool"
    yield "unknown field", {"key": CANARY, "extra_field": CANARY}, "extra_field"
    for name, value in {**BAD_KEYS, **NOT_STRINGS}.items():
        yield f"key: {name}", {"key": value}, "key"
    yield from bad_calls()


def bad_calls() -> Iterator[tuple[str, dict[str, Any], str]]:
    for name, value in {**BAD_TOOLS, **NOT_STRINGS}.items():
        yield f"tool: {name}", {**GOOD_CALL, "tool": value}, "tool"
    for name, value in NOT_OBJECTS.items():
        yield f"args: {name}", {**GOOD_CALL, "args": value}, "args"
    one_in_nfc = {"caf\u00e9": CANARY, "cafe\u0301": CANARY}
    yield "args: one name twice in NFC", {**GOOD_CALL, "args": one_in_nfc}, "args"
    yield "args: the same, below", {**GOOD_CALL, "args": {"a": [one_in_nfc]}}, "args"


@by_name(
    [
        *(Refusal(name, "/cache/get", body, 422, "invalid", named) for name, body, named in bad_names()),
        *(
            Refusal(name, "/cache/set", {"data": {"a": CANARY}, "ttl": 60, **body}, 422, "invalid", named)
            for name, body, named in bad_names()
        ),
        *(Refusal(name, "/cache/key", body, 422, "invalid", named) for name, body, named in bad_calls()),
        Refusal("no tool", "/cache/key", {"args": {"a": CANARY}}, 422, "invalid", "tool"),
        Refusal("no args", "/cache/key", {"tool": CANARY}, 422, "invalid", "args"),
        Refusal("key", "/cache/key", {"key": CANARY, **GOOD_CALL}, 422, "invalid", "key"),
    ]
)
def test_invalid_name(caller: Caller, refusal: Refusal):
    """A cache entry is named by exactly one sound key, or by a sound tool and its arguments."""
    refuse(caller, refusal)


@by_name(
    [
        *(
            Refusal(
                f"ttl: {name}", "/cache/set", {"key": "k", "data": {"a": CANARY}, "ttl": ttl}, 422, "invalid", "ttl"
            )
            for name, ttl in BAD_TTLS.items()
        ),
        *(
            Refusal(f"data: {name}", "/cache/set", {"key": "k", "data": data, "ttl": 60}, 422, "invalid", "data")
            for name, data in NOT_OBJECTS.items()
        ),
        Refusal("no data", "/cache/set", {"key": "k", "ttl": 60}, 422, "invalid", "data"),
        Refusal("data in calls", "/cache/get", {"key": "k", "data": {"a": CANARY}}, 422, "invalid", "data"),
        Refusal("ttl in calls", "/cache/get", {"key": "k", "ttl": 60}, 422, "invalid", "ttl"),
    ]
)
def test_invalid_set(caller: Caller, refusal: Refusal):
    """`data` is an object, `ttl` a JSON integer of 1 s to 30 d."""
    refuse(caller, refusal)


@by_name(
    [
        Refusal(name, f"{path}{query}", NOTHING, 422, "invalid", named, {}, method)
        for method, path in (("GET", "/cache/get"), ("DELETE", "/cache"))
        for name, query, named in (
            ("no query", "", "key"),
            ("empty query", "?", "key"),
            ("empty key", "?key=", "key"),
            ("key without a value", "?key", "key"),
            ("two keys", f"?key={CANARY}&key=b", "key"),
            ("two keys alike", "?key=a&key=a", "key"),
            ("another parameter", f"?other={CANARY}", "other"),
            ("one more parameter", f"?key=a&other={CANARY}", "other"),
            ("key in capitals", f"?KEY={CANARY}", "KEY"),
            ("100 parameters", "?" + "&".join(f"key={CANARY}" for _ in range(100)), "key"),
            ("1,001 bytes", "?key=" + CANARY.ljust(1001, "x"), "key"),
            ("1,002 bytes in 501 signs", "?key=" + "%C3%A9" * 501, "key"),
            ("NUL", f"?key={CANARY}%00", "key"),
            ("newline", f"?key={CANARY}%0d%0aX:%20y", "key"),
            ("DEL", f"?key={CANARY}%7f", "key"),
            ("C1", f"?key={CANARY}%c2%85", "key"),
        )
    ]
)
def test_invalid_query(caller: Caller, refusal: Refusal):
    """A query has exactly one `key`, of 1 to 1,000 bytes without control characters."""
    refuse(caller, refusal)


def test_bounds_are_taken(caller: Caller):
    """The outermost values of each rule are taken."""
    log = partial(caller.post, "/log")
    for event in ({"event": "e"}, {"event": "e" * 64}, {"event": "a0_.-"}, {"event_id": "i" * 64}, {"event_id": "-"}):
        assert log({**GOOD_EVENT, **event}).status == 200, event
    for payload in ({"timestamp": None}, {"service": None}, {"service": ""}, {"service": "ü" * 1000}):
        assert log({**GOOD_EVENT, "payload": payload}).status == 200, payload
    for time in GOOD_TIMES:
        assert log({**GOOD_EVENT, "payload": {"timestamp": time}}).status == 200, time
    for key in ("x", "x" * 4096, "é" * 2048, " ", "\u2028", "\U0001f600"):
        for ttl in (1, 2_592_000):
            assert caller.post("/cache/set", {"key": key, "data": {}, "ttl": ttl}).status == 200, (key, ttl)
    assert caller.get("/cache/get?key=" + "x" * 1000).status == 200
    for tool in ("t", "t" * 256, "ü" * 256, "a b"):
        assert caller.post("/cache/key", {"tool": tool, "args": {}}).status == 200, tool


def test_names_in_errors_are_redacted(caller: Caller):
    """The name of an unknown field is the caller's own word: it is shown only as redaction leaves it, and cut."""
    names = ("bob.smith@example.org", "sk-1234567890abcdef", "4111 1111 1111 1111", "a\r\nX-Injected: yes", "\x1b[31m")
    for path, body in (("/log", GOOD_EVENT), ("/cache/set", POSTS["/cache/set"]), ("/log/batch", {"events": []})):
        for name in names:
            answer = caller.post(path, {**body, name: 1})
            caller.assert_refused(answer, 422, "invalid")
            assert json.dumps(name).strip('"').encode() not in answer.body, (path, name)
    raw = b'{"bob@example.org": 1, "bob@example.org": 2}'
    for path in POSTS:
        answer = caller.post(path, raw)
        caller.assert_refused(answer, 400, "not-json")
        assert b"bob@" not in answer.body
    many = caller.post("/log", {f"field-{number}": 1 for number in range(10_000)})
    assert len(caller.assert_refused(many, 422, "invalid")["errors"]) <= 100
    long = caller.post("/log", {**GOOD_EVENT, "x" * 100_000: 1})
    caller.assert_refused(long, 422, "invalid")
    assert len(long.body) < 2000


# 422: not cacheable

NOT_CACHEABLE: dict[str, dict[str, Any]] = {
    "error": {"error": CANARY},
    "error object": {"error": {"message": CANARY}},
    "status error": {"status": "error", "text": CANARY},
    "status failure": {"status": "failure", "text": CANARY},
    "status ERROR": {"status": "ERROR", "text": CANARY},
    "empty response": {"response": "", "note": CANARY},
    "null response": {"response": None, "note": CANARY},
    "empty text": {"text": "", "note": CANARY},
    "null text": {"text": None, "note": CANARY},
    "cut off": {"text": CANARY, "finish_reason": "length"},
}


@by_name(
    [
        Refusal(name, "/cache/set", {**GOOD_CALL, "data": data, "ttl": 60}, 422, "not-cacheable")
        for name, data in NOT_CACHEABLE.items()
    ]
)
def test_not_cacheable(caller: Caller, refusal: Refusal):
    """An answer that must not be replayed is refused when it is named by its call, and only then."""
    refuse(caller, refusal)
    by_key = {"key": "own:responsibility", "data": refusal.body["data"], "ttl": 1}
    assert caller.post("/cache/set", by_key).status == 200


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"error": None},
        {"error": ""},
        {"error": False},
        {"status": "ok"},
        {"finish_reason": "stop"},
        {"response": 0},
        {"text": " "},
    ],
    ids=str,
)
def test_cacheable(caller: Caller, data: dict[str, Any]):
    """What only looks like a failure is kept."""
    assert caller.post("/cache/set", {**GOOD_CALL, "data": data, "ttl": 1}).status == 200


def test_tool_with_side_effects(start_service: StartService, tmp_path: Path):
    """A tool that config/cache.toml marks as having side effects is refused; its key can still be made."""
    for path in (REPOSITORY / "config").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with (tmp_path / "cache.toml").open("a", encoding="utf-8") as table:
        table.write("\n[tool.send_mail]\ncacheable = false\n")
    with Caller(start_service(CONFIG_DIR=str(tmp_path))) as caller:
        call = {"tool": "send_mail", "args": {"to": CANARY}}
        refuse(caller, Refusal("", "/cache/set", {**call, "data": {"text": CANARY}}, 422, "not-cacheable"))
        assert caller.post("/cache/key", call).status == 200
        assert caller.post("/cache/get", call).json["hit"] is False


# 408


def test_body_that_stalls(start_service: StartService):
    """A body that does not come in time is 408; what comes after is not taken for a request."""
    service = start_service(WEB_CONCURRENCY="1", BODY_TIMEOUT_S="0.5", KEEP_ALIVE_S="1")
    with Caller(service) as caller, ExitStack() as opened:
        stalled = [
            opened.enter_context(socket.create_connection(("127.0.0.1", service.port), timeout=10)) for _ in POSTS
        ]
        for path, connection in zip(POSTS, stalled, strict=True):
            connection.sendall(head("POST", path, TYPED, "Content-Length: 200") + CANARY.encode())
        for connection in stalled:
            caller.assert_refused(read_answer(connection, "POST"), 408, "request-timeout")
        with closing(socket.create_connection(("127.0.0.1", service.port), timeout=10)) as connection:
            rest = HIDDEN.ljust(200)
            connection.sendall(head("POST", "/log", TYPED, "Content-Length: 201") + b"{")
            assert read_answer(connection, "POST").status == 408
            received = bytearray()
            # Where the next request would start is unknown, so the connection has been ended, or is just being.
            with suppress(ConnectionError):
                connection.sendall(rest + head("GET", "/healthz", "Connection: close"))
                while piece := connection.recv(65536):
                    received += piece
        assert bytes(received).count(b"HTTP/1.1 ") <= 1
        assert not received or received.startswith(b"HTTP/1.1 200")


def test_body_that_ends_early(caller: Caller):
    """A sender that closes its side before the length is reached gets 408, and nothing is kept."""
    with closing(socket.create_connection(("127.0.0.1", caller.service.port), timeout=10)) as connection:
        connection.sendall(head("POST", "/log", TYPED, "Content-Length: 1000") + json.dumps(GOOD_EVENT).encode())
        connection.shutdown(socket.SHUT_WR)
        caller.assert_refused(read_answer(connection, "POST"), 408, "request-timeout")


# 503


def assert_try_later(caller: Caller, answer: Answer, slug: str) -> None:
    caller.assert_refused(answer, 503, slug)
    assert 1 <= int(answer.headers["Retry-After"]) <= 60


def test_spool_full(start_service: StartService):
    """When the spool cannot take a batch, 503 says so, none of it is kept, and its ids are free again."""
    service = start_service(
        WEB_CONCURRENCY="1",
        SPOOL_MAX_BYTES="65536",
        LOKI_MAX_LINE_BYTES="32768",
        LOKI_URL=f"http://127.0.0.1:{free_port()}",
        GRACEFUL_TIMEOUT_S="6",
    )

    def figure(name: str, **labels: str) -> float:
        return service.metrics().get((name, frozenset(labels.items())), 0.0)

    batch = [
        {"event": "full", "event_id": f"full-{number}", "payload": {"text": CANARY.ljust(1000, "x")}}
        for number in range(100)
    ]
    with Caller(service) as caller:
        assert_try_later(caller, caller.post("/log/batch", batch), "spool-full")
        assert figure("telemetry_cache_events_total", event="full", outcome="accepted") == 0
        assert figure("telemetry_cache_spool_events") == 0
        kept = caller.post("/log/batch", batch[:10])
        assert (kept.status, kept.json["accepted"]) == (200, 10)
        assert figure("telemetry_cache_events_total", event="full", outcome="duplicate") == 0
        assert figure("telemetry_cache_events_total", event="full", outcome="accepted") == 10

        mixed = [GOOD_EVENT, {"event": "BAD", "payload": {}}, *batch[10:]]
        assert_try_later(caller, caller.post("/log/batch", mixed), "spool-full")
        lines = b"\n".join(json.dumps(event).encode() for event in batch[10:])
        assert_try_later(caller, caller.request("POST", "/log/batch", lines, NDJSON), "spool-full")

        accepted = 10
        while (answer := caller.post("/log", GOOD_EVENT)).status == 200:
            accepted += 1
            assert accepted < 1000
        assert_try_later(caller, answer, "spool-full")
        assert wait_until(lambda: figure("telemetry_cache_spool_events") == accepted, 5)
        assert caller.get("/readyz").status == 503
        assert caller.get("/healthz").status == 200
        assert caller.post("/redact", {}).status == 200
        retried = caller.post("/log", batch[0])
        assert (retried.status, retried.json["event_id"]) == (200, "full-0")


def test_redis_away(start_service: StartService):
    """Without Redis a set and a delete are 503, a get is a counted degraded miss, and events are still taken."""
    service = start_service(WEB_CONCURRENCY="1", REDIS_URL=f"redis://:{CANARY}@127.0.0.1:{free_port()}/0")
    with Caller(service) as caller:
        for _ in range(3):
            body = {"key": CANARY, "data": {"a": CANARY}, "ttl": 60}
            assert_try_later(caller, caller.post("/cache/set", body), "cache-away")
            assert_try_later(caller, caller.request("DELETE", f"/cache?key={CANARY}"), "cache-away")
            answer = caller.get(f"/cache/get?key={CANARY}")
            assert (answer.status, answer.json) == (200, {"hit": False, "data": None, "degraded": True})
            caller.assert_silent(answer)
            answer = caller.post("/cache/get", GOOD_CALL)
            key = caller.post("/cache/key", GOOD_CALL).json["key"]
            assert (answer.status, answer.json["key"]) == (200, key)
            assert (answer.json["hit"], answer.json["data"], answer.json["degraded"]) == (False, None, True)
        figures = service.metrics()
        assert figures["telemetry_cache_cache_degraded_total", frozenset()] == 6
        assert figures["telemetry_cache_cache_misses_total", frozenset()] == 0
        ready = caller.get("/readyz")
        assert (ready.status, ready.json["status"]) == (200, "degraded")
        caller.assert_silent(ready)
        assert caller.post("/log", GOOD_EVENT).status == 200
        refuse(caller, Refusal("", "/cache/set", {"key": "k", "data": {"a": CANARY}, "ttl": 0}, 422, "invalid", "ttl"))
