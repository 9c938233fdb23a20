"""The stand-in for Loki answers as Loki does: one test or one row of a table for each rule."""

from __future__ import annotations

import gzip
import http.client
import json
import threading
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.standins.loki import NS_PER_S, PUSH_PATH, Fault, Limits, LokiStandIn, Reply

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW_NS = 1_790_000_000 * NS_PER_S  # 2026-09-21T14:13:20Z
HOUR_NS = 3_600 * NS_PER_S
STREAM = {"service_name": "chat", "event": "tool_call"}
TEXT = '{event="tool_call", service_name="chat"}'
JSON_TYPE = {"Content-Type": "application/json"}

Value = tuple[Any, ...]


class Client:
    """A keep-alive connection to a stand-in."""

    def __init__(self, loki: LokiStandIn) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", loki.port, timeout=10)

    def close(self) -> None:
        self.connection.close()

    def send(self, body: bytes, headers: dict[str, str], path: str = PUSH_PATH) -> Reply:
        try:
            self.connection.request("POST", path, body, headers)
            with closing(self.connection.getresponse()) as response:
                text = response.read().decode()
                return Reply(response.status, text, dict(response.getheaders()))
        except OSError:
            self.connection.close()  # the next request opens another
            raise

    def push(self, *values: Value, stream: dict[str, Any] | None = None, tenant: str | None = None) -> Reply:
        return self.push_streams((STREAM if stream is None else stream, values), tenant=tenant)

    def push_streams(self, *streams: tuple[dict[str, Any], tuple[Value, ...]], tenant: str | None = None) -> Reply:
        body = {"streams": [{"stream": labels, "values": values} for labels, values in streams]}
        headers = JSON_TYPE if tenant is None else {**JSON_TYPE, "X-Scope-OrgID": tenant}
        return self.send(json.dumps(body).encode(), headers)


@pytest.fixture
def loki() -> Iterator[LokiStandIn]:
    """Start a stand-in whose clock stands still at NOW_NS."""
    with LokiStandIn(clock=lambda: NOW_NS) as stand_in:
        yield stand_in


@pytest.fixture
def client(loki: LokiStandIn) -> Iterator[Client]:
    with closing(Client(loki)) as connected:
        yield connected


def at(offset_ns: int = 0, line: str = "{}", *metadata: dict[str, Any]) -> Value:
    return (str(NOW_NS + offset_ns), line, *metadata)


def test_a_push_is_stored_as_it_is(loki: LokiStandIn, client: Client) -> None:
    """204, no body; nanoseconds, labels, line, metadata and tenant are kept to the letter."""
    reply = client.push(at(7, '{"event_id":"evt_1"}', {"trace_id": "abc"}))
    assert (reply.status, reply.text) == (204, "")
    (entry,) = loki.wait_for(1)
    assert (entry.tenant, entry.labels, entry.ns) == ("fake", STREAM, NOW_NS + 7)
    assert entry.metadata == {"trace_id": "abc"}
    assert loki.lines() == [{"event_id": "evt_1"}]
    (push,) = loki.pushes
    assert (push.status, push.entries, push.stored, push.streams) == (204, 1, 1, (TEXT,))
    assert push.body_bytes > 0
    assert push.began_s <= push.ended_s


def test_gzip_is_understood(loki: LokiStandIn, client: Client) -> None:
    """The wire size is the compressed one."""
    body = json.dumps({"streams": [{"stream": STREAM, "values": [at(0, "x" * 10_000)]}]}).encode()
    packed = gzip.compress(body)
    assert client.send(packed, {**JSON_TYPE, "Content-Encoding": "gzip"}).status == 204
    assert loki.pushes[0].body_bytes == len(packed)
    assert len(loki.entries()[0].line) == 10_000


def wrap(stream: Any = None, values: Any = None) -> bytes:
    labels = STREAM if stream is None else stream
    return json.dumps({"streams": [{"stream": labels, "values": [at()] if values is None else values}]}).encode()


UNREADABLE = {
    "not JSON": (b"{", {}, "unmarshalerDecoder"),
    "not an object": (b"[]", {}, "expect { or n"),
    "not UTF-8": (b'{"a":"\xff"}', {}, "unmarshalerDecoder"),
    "a number for the nanoseconds": (wrap(values=[[NOW_NS, "x"]]), {}, "can't find closing '\"'"),
    "words for the nanoseconds": (wrap(values=[["now", "x"]]), {}, "Number/Boolean/None"),
    "more than 64 bits": (wrap(values=[[str(2**63), "x"]]), {}, "overflowed"),
    "an object for the line": (wrap(values=[[str(NOW_NS), {}]]), {}, "can't find closing '\"'"),
    "no line": (wrap(values=[[str(NOW_NS)]]), {}, "can't find closing ']'"),
    "a number in the metadata": (wrap(values=[at(0, "x", {"a": 1})]), {}, "can't find closing '\"'"),
    "a string for the metadata": (wrap(values=[(*at(), "a")]), {}, "can't find closing '}'"),
    "a number for a label": (wrap(stream={"a": 1}), {}, "can't find closing '\"'"),
    "a list for the labels": (wrap(stream=["a"]), {}, "can't find closing '}'"),
    "a lone surrogate": (wrap(values=[[str(NOW_NS), "\ud800"]]), {}, "can't find closing '\"'"),
    "a dash in a label's name": (
        wrap(stream={"a": "1", "b-c": "2"}),
        {},
        "couldn't parse labels: 1:10: parse error: unexpected character inside braces: '-'",
    ),
    "a digit before a label's name": (
        wrap(stream={"1a": "1"}),
        {},
        "unexpected character inside braces: '1'",
    ),
    "broken gzip": (b"no gzip", {"Content-Encoding": "gzip"}, "gzip: invalid header"),
    "half of a gzip": (gzip.compress(b"x" * 99, mtime=0)[:-9], {"Content-Encoding": "gzip"}, "unexpected EOF"),
    "an unknown encoding": (wrap(), {"Content-Encoding": "br"}, 'Content-Encoding "br" not supported'),
    "another type": (wrap(), {"Content-Type": "text/plain"}, "snappy: corrupt input"),
}


@pytest.mark.parametrize(("body", "headers", "reason"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_refused_whole(
    loki: LokiStandIn, client: Client, body: bytes, headers: dict[str, str], reason: str
) -> None:
    """400, plain text with Loki's reason and a newline at its end; nothing is stored."""
    reply = client.send(body, {**JSON_TYPE, **headers})
    assert reply.status == 400
    assert reason in reply.text
    assert reply.text.endswith("\n")
    assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert loki.entries() == []


def test_a_malformed_push_is_echoed(client: Client) -> None:
    """Loki's answer holds a piece of the body, so it must never be logged as it is."""
    assert "alice@example.com" in client.send(b'{"streams":[{"stream":"alice@example.com"}]}', JSON_TYPE).text


NAMES = {f"l{number:02}": "x" for number in range(16)}
REFUSED = {
    "too old": (
        STREAM,
        at(-8 * 24 * HOUR_NS),
        (
            f"entry for stream '{TEXT}' has timestamp too old: 2026-09-13T14:13:20Z, "
            "oldest acceptable timestamp is: 2026-09-14T14:13:20Z"
        ),
    ),
    "too new": (
        STREAM,
        at(601 * NS_PER_S),
        f"entry for stream '{TEXT}' has timestamp too new: 2026-09-21T14:23:21Z",
    ),
    "line too long": (
        STREAM,
        at(0, "é" * 150_000),
        (
            f"max entry size '262144' bytes exceeded for stream '{TEXT}' "
            "while adding an entry with length '300000' bytes"
        ),
    ),
    "metadata too large": (
        STREAM,
        at(0, "x", {"a": "x" * 65_536}),
        "too large: '65537' bytes, limit: '65536'",
    ),
    "too much metadata": (
        STREAM,
        at(0, "x", {str(number): "" for number in range(129)}),
        "too many structured metadata labels: '129', limit: '128'",
    ),
    "too many labels": ({**NAMES, **STREAM}, at(), "has 17 label names; limit 15"),
    "label name too long": ({"a" * 1_025: "x"}, at(), f"has label name too long: '{'a' * 1_025}'"),
    "label value too long": ({"a": "x" * 2_049}, at(), f"has label value too long: '{'x' * 2_049}'"),
    "no labels": ({"a": ""}, at(), "error at least one label pair is required per stream"),
}


@pytest.mark.parametrize(("stream", "value", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_refused_entry_leaves_the_others_stored(
    loki: LokiStandIn, client: Client, stream: dict[str, str], value: Value, reason: str
) -> None:
    """400 with Loki's wording for one entry, while its neighbours in and after its stream are kept."""
    reply = client.push_streams((stream, (value,)), (STREAM, (at(1, "good"),)))
    assert reply.status == 400
    assert reason in reply.text
    assert [entry.line for entry in loki.entries()] == ["good"]


BOUNDARIES = {
    "as old as may be": (STREAM, at(-7 * 24 * HOUR_NS)),
    "as new as may be": (STREAM, at(600 * NS_PER_S)),
    "as long as may be": (STREAM, at(0, "x" * 262_144)),
    "fifteen labels, and service_name": ({**dict(list(NAMES.items())[:15]), "service_name": "a"}, at()),
    "a long name": ({"a" * 1_024: "x"}, at()),
    "a long value": ({"a": "x" * 2_048}, at()),
    "the empty line": (STREAM, at(0, "")),
}


@pytest.mark.parametrize(("stream", "value"), BOUNDARIES.values(), ids=BOUNDARIES)
def test_the_last_acceptable_value_is_accepted(client: Client, stream: dict[str, str], value: Value) -> None:
    """The limits are inclusive."""
    assert client.push(value, stream=stream).status == 204


def test_equal_and_different_reasons_are_grouped(client: Client) -> None:
    """More than one refusal: each text once, with its number."""
    old, new = at(-8 * 24 * HOUR_NS), at(2 * HOUR_NS)
    text = client.push(old, old, new).text
    assert text.startswith(f"2 errors like: entry for stream '{TEXT}' has timestamp too old")
    assert f"; 1 errors like: entry for stream '{TEXT}' has timestamp too new" in text


def test_too_far_behind_the_newest_of_its_stream(loki: LokiStandIn, client: Client) -> None:
    """An hour behind is in time, a nanosecond more is not; another stream has its own newest."""
    late = at(-HOUR_NS - 1_000)
    assert client.push(at(), at(-HOUR_NS, "in time"), late).text == (
        "entry with timestamp 2026-09-21 13:13:19.999999 +0000 UTC ignored, reason: 'entry too far behind, "
        "entry timestamp is: 2026-09-21T13:13:19Z, oldest acceptable timestamp is: 2026-09-21T13:13:20Z',\n"
        f"user 'fake', total ignored: 1 out of 3 for stream: {TEXT}\n"
    )
    assert client.push(late, stream={**STREAM, "worker": "1"}).status == 204
    assert [entry.line for entry in loki.entries()] == ["{}", "in time", "{}"]


def test_only_the_last_stream_of_a_push_reports_what_came_too_late(loki: LokiStandIn, client: Client) -> None:
    """The same late entry is refused aloud in the last stream and silently in an earlier one."""
    other = {**STREAM, "worker": "1"}
    client.push(at())
    late = (STREAM, (at(-2 * HOUR_NS),))
    assert client.push_streams((other, (at(),)), late).status == 400
    assert client.push_streams(late, (other, (at(1),))).status == 204
    assert len(loki.entries()) == 3


def test_at_most_ten_late_entries_are_listed(client: Client) -> None:
    """The number of all is still told."""
    client.push(at())
    text = client.push(*(at(-2 * HOUR_NS + number) for number in range(12))).text
    assert text.count("entry with timestamp") == 10
    assert "total ignored: 12 out of 12" in text


def test_the_same_entries_are_stored_once(loki: LokiStandIn, client: Client) -> None:
    """Stream, nanosecond and bytes make an entry; pushes of what is there answer 204."""
    entries = [at(number) for number in range(700)]
    assert [client.push(*entries).status for _ in range(2)] == [204, 204]
    assert len(loki.entries()) == 700
    assert [push.stored for push in loki.pushes] == [700, 0]
    client.push(at(0, "other bytes"))
    client.push(at(0), stream={"service_name": "other"})
    client.push(at(0), tenant="other")
    assert len(loki.entries()) == 703


def test_the_stream_limit(loki: LokiStandIn, client: Client) -> None:
    """429 for a stream too many, also by the last stream's verdict; known streams go on."""
    loki.limits = replace(loki.limits, max_streams=1)
    assert client.push(at()).status == 204
    reply = client.push(at(), stream={"service_name": "other"})
    assert reply.status == 429
    assert reply.text.startswith(
        'Maximum active stream limit exceeded when trying to create stream {service_name="other"}, reduce'
    )
    assert client.push(at(1)).status == 204
    assert client.push(at(), tenant="other").status == 204


def test_the_rate_limit() -> None:
    """A push over the tenant's rate is refused whole with 429, until the bucket has filled again."""
    now = [NOW_NS]
    limits = Limits(rate_bytes_per_s=100, burst_bytes=1_000, retry_after_s=3)
    with LokiStandIn(clock=lambda: now[0], limits=limits) as loki, closing(Client(loki)) as client:
        assert client.push(at(0, "x" * 1_000)).status == 204
        reply = client.push(at(1, "x" * 150), at(2, "x" * 150))
        assert reply.status == 429
        assert reply.text.startswith(
            "Ingestion rate limit exceeded for user fake (limit: 100 bytes/sec) while attempting to ingest "
            "'2' lines totaling '300' bytes, reduce log volume"
        )
        assert reply.headers["Retry-After"] == "3"
        assert client.push(at(0, "x" * 1_000), tenant="other").status == 204
        now[0] += 3 * NS_PER_S
        assert client.push(at(1, "x" * 150), at(2, "x" * 150)).status == 204
        assert len(loki.entries()) == 4


@pytest.mark.parametrize("headers", [{}, {"Content-Encoding": "gzip"}], ids=["plain", "gzip"])
def test_a_body_too_large(loki: LokiStandIn, client: Client, headers: dict[str, str]) -> None:
    """413 by the size on the wire, and by the size after decompression; the connection lives on."""
    loki.limits = replace(loki.limits, max_body_bytes=1_000)
    body = wrap(values=[at(0, "x" * 1_000)])
    reply = client.send(gzip.compress(body) if headers else body, {**JSON_TYPE, **headers})
    assert (reply.status, reply.text.split(":")[0]) == (413, "request body too large")
    assert client.push(at()).status == 204


EMPTY = {
    "no streams, Loki 3": ("3.0", b'{"streams":[]}', 422),
    "no streams, Loki 2": ("2.9", b'{"streams":[]}', 204),
    "streams null": ("2.9", b'{"streams":null}', 204),
    "a stream without entries": ("3.0", wrap(values=[]), 204),
}


@pytest.mark.parametrize(("version", "body", "status"), EMPTY.values(), ids=EMPTY)
def test_an_empty_push(version: str, body: bytes, status: int) -> None:
    """Loki 3 wants a stream at least; nobody wants entries."""
    with LokiStandIn(version=version) as loki, closing(Client(loki)) as client:
        assert client.send(body, JSON_TYPE).status == status


METADATA = {
    "2.8": ("2.8", None, 400, "array must contains 2 values", 0),
    "2.9": ("2.9", None, 400, "this feature is disallowed", 1),
    "2.9, enabled": ("2.9", True, 204, "", 2),
    "3.0": ("3.0", None, 204, "", 2),
    "3.0, disabled": ("3.0", False, 400, "this feature is disallowed", 1),
}


@pytest.mark.parametrize(("version", "allowed", "status", "reason", "stored"), METADATA.values(), ids=METADATA)
def test_structured_metadata_by_version(
    *, version: str, allowed: bool | None, status: int, reason: str, stored: int
) -> None:
    """2.8 refuses the push, 2.9 the entry, 3.0 nothing."""
    with (
        LokiStandIn(version=version, allow_structured_metadata=allowed, clock=lambda: NOW_NS) as loki,
        closing(Client(loki)) as client,
    ):
        reply = client.push(at(0, "with", {"trace_id": "abc"}), at(1, "without"))
        assert reply.status == status
        assert reason in reply.text
        assert len(loki.entries()) == stored


SERVICE_NAMES = {
    "given": ("3.0", {"service_name": "a", "app": "b"}, "a"),
    "discovered": ("3.0", {"job": "c", "app": "b"}, "b"),
    "unknown": ("3.0", {"event": "a"}, "unknown_service"),
    "not before 3.0": ("2.9", {"event": "a"}, None),
}


@pytest.mark.parametrize(("version", "stream", "expected"), SERVICE_NAMES.values(), ids=SERVICE_NAMES)
def test_the_service_name_is_discovered(version: str, stream: dict[str, str], expected: str | None) -> None:
    """Loki 3 gives each stream a service_name."""
    with LokiStandIn(version=version, clock=lambda: NOW_NS) as loki, closing(Client(loki)) as client:
        client.push(at(), stream=stream)
        assert loki.entries()[0].labels.get("service_name") == expected


def test_tenants_and_credentials(loki: LokiStandIn, client: Client) -> None:
    """Tenants are kept apart; without a tenant or the token, where wanted, the answer is 401."""
    loki.require_tenant = True
    assert client.push(at()).text == "no org id\n"
    assert client.push(at(), tenant="a").status == 204
    loki.bearer = "secret"
    assert client.push(at(1), tenant="a").status == 401
    headers = {**JSON_TYPE, "X-Scope-OrgID": "b", "Authorization": "Bearer secret"}
    assert client.send(wrap(), headers).status == 204
    assert [entry.tenant for entry in loki.entries()] == ["a", "b"]
    assert [push.status for push in loki.pushes] == [401, 204, 401, 204]


def test_ready_and_unknown_paths(client: Client) -> None:
    """GET /ready says so; anything else is not there; a body of unknown length is not read."""
    client.connection.request("GET", "/ready")
    with closing(client.connection.getresponse()) as response:
        assert (response.status, response.read()) == (200, b"ready\n")
    assert client.send(b"{}", JSON_TYPE, path="/api/prom/push").status == 404
    client.connection.putrequest("POST", PUSH_PATH)
    client.connection.endheaders()
    with closing(client.connection.getresponse()) as response:
        assert response.status == 411


def test_faults_are_answered_in_order_and_then_forgotten(loki: LokiStandIn, client: Client) -> None:
    """The next pushes get what was injected, stored or not as ordered; then Loki is itself again."""
    loki.inject(Fault(status=503, text="busy", headers={"Retry-After": "2"}), times=2)
    loki.inject(Fault(status=504, store=True))
    replies = [client.push(at(number)) for number in range(4)]
    assert [reply.status for reply in replies] == [503, 503, 504, 204]
    assert (replies[0].text, replies[0].headers["Retry-After"]) == ("busy\n", "2")
    assert [entry.ns - NOW_NS for entry in loki.entries()] == [2, 3]


def test_a_fault_without_end_is_cleared(loki: LokiStandIn, client: Client) -> None:
    """`times=None` lasts until `clear_faults`."""
    loki.inject(Fault(status=500), times=None)
    assert [client.push(at()).status for _ in range(5)] == [500] * 5
    loki.clear_faults()
    assert client.push(at()).status == 204


def test_a_script_chooses_by_the_push(loki: LokiStandIn, client: Client) -> None:
    """The script sees headers and body, and comes after the injected faults."""
    loki.script = lambda headers, body: (
        Fault(status=500) if b"poison" in body and headers["Content-Type"] == "application/json" else None
    )
    loki.inject(Fault(status=429))
    statuses = [client.push(at(0, line)).status for line in ("poison", "poison", "good")]
    assert statuses == [429, 500, 204]


@pytest.mark.parametrize(("store", "stored"), [(True, 1), (False, 0)], ids=["after storing", "before"])
def test_a_reset_connection(loki: LokiStandIn, client: Client, *, store: bool, stored: int) -> None:
    """The client sees a reset and cannot tell whether the entry is there."""
    loki.inject(Fault(reset=True, store=store))
    with pytest.raises(ConnectionResetError):
        client.push(at())
    assert len(loki.entries()) == stored
    assert loki.pushes[0].status is None
    assert client.push(at()).status == 204
    assert len(loki.entries()) == 1


def test_a_push_hangs_until_it_is_released(loki: LokiStandIn, client: Client) -> None:
    """A hanging push has arrived but is not stored; `clear_faults` lets it go on."""
    loki.inject(Fault(hang_s=60))
    replies: list[Reply] = []
    thread = threading.Thread(target=lambda: replies.append(client.push(at())))
    thread.start()
    loki.wait_until(lambda: loki.arrivals == 1)
    assert (loki.entries(), loki.pushes) == ([], [])
    loki.clear_faults()
    thread.join(10)
    assert [reply.status for reply in replies] == [204]
    assert len(loki.entries()) == 1


def test_a_push_hangs_for_its_time(loki: LokiStandIn, client: Client) -> None:
    """The time is waited for, and the push then handled as usual."""
    loki.inject(Fault(hang_s=0.1))
    assert client.push(at()).status == 204
    assert loki.pushes[0].ended_s - loki.pushes[0].began_s >= 0.1


def test_stop_and_start_again_on_the_same_port(loki: LokiStandIn, client: Client) -> None:
    """Stopped, it cuts connections, refuses new ones and drops what hangs; started, all is as before."""
    client.push(at())
    port = loki.port
    loki.inject(Fault(hang_s=60))
    broken: list[BaseException] = []

    def hang() -> None:
        try:
            client.push(at(1))
        except OSError as exc:
            broken.append(exc)

    thread = threading.Thread(target=hang)
    thread.start()
    loki.wait_until(lambda: loki.arrivals == 2)
    loki.stop()
    loki.stop()
    thread.join(10)
    assert len(broken) == 1
    with pytest.raises(ConnectionRefusedError):
        client.push(at(2))
    loki.start()
    assert loki.port == port
    assert client.push(at(3)).status == 204
    assert [entry.ns - NOW_NS for entry in loki.entries()] == [0, 3]


def test_waiting_ends_in_time(loki: LokiStandIn, client: Client) -> None:
    """`wait_for` wakes by the push itself, and says what is there when its time is up."""
    thread = threading.Thread(target=lambda: client.push(at()))
    thread.start()
    assert len(loki.wait_for(1)) == 1
    thread.join(10)
    with pytest.raises(TimeoutError, match=r"1 of 2 entries after 0\.01 s; answered: .*204: 1"):
        loki.wait_for(2, timeout_s=0.01)


def test_many_clients_at_once(loki: LokiStandIn) -> None:
    """Connections are served side by side, and no entry is lost or stored twice."""

    def run(number: int) -> None:
        with closing(Client(loki)) as one:
            for step in range(20):
                one.push(at(number * 1_000 + step))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len({entry.ns for entry in loki.entries()}) == len(loki.entries()) == 160
