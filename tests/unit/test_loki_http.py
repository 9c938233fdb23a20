"""Loki over HTTP: what each way of answering, and of not answering, comes to."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from app.adapters.loki_http import LokiHttp, MetadataSupport
from app.core.events import Redacted
from app.core.verdicts import Delivered, Refused, Retry, TooLarge
from tests.standins.loki import NS_PER_S, Fault, Limits, LokiStandIn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PROMPT_S = 5.0  # far more than any time-out here, far less than redirects or retries would take


def entry(number: int, line: bytes = b'{"n":1}', age_s: int = 0, stream: str = "chat") -> Redacted:
    return Redacted(
        labels=(("service_name", stream), ("event", "e")),
        timestamp_ns=time.time_ns() - age_s * NS_PER_S + number,
        line=line,
        metadata=json.dumps({"event_id": f"evt_{number}"}).encode(),
    )


@pytest.fixture
def connect() -> Iterator[Callable[..., LokiHttp]]:
    """Make sinks with short time-outs; all are closed in the end."""
    made: list[LokiHttp] = []

    def make(url: str, tenant: str | None = None) -> LokiHttp:
        made.append(LokiHttp(url, tenant=tenant, connect_timeout_s=1.0, read_timeout_s=0.2, metadata=MetadataSupport()))
        return made[-1]

    yield make
    for sink in made:
        sink.close()


@pytest.fixture
def sink(loki: LokiStandIn, connect: Callable[..., LokiHttp]) -> LokiHttp:
    return connect(loki.url)


@pytest.fixture
def closed_url() -> Iterator[str]:
    """An address that refuses connections: bound, but not listening."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


# Delivered


def test_a_batch_is_delivered_as_it_is(loki: LokiStandIn, sink: LokiHttp) -> None:
    """Labels, nanoseconds and lines to the letter; gzip on the wire, and no more headers than needed."""
    batch = [entry(1, '{"s":"é\\n"}'.encode()), entry(2), entry(3)]
    assert sink.send(batch) == Delivered()
    assert [(kept.labels, kept.ns, kept.line.encode()) for kept in loki.entries()] == [
        (dict(one.labels), one.timestamp_ns, one.line) for one in batch
    ]
    (push,) = loki.pushes
    assert push.headers["Content-Type"] == "application/json"
    assert push.headers["Content-Encoding"] == "gzip"
    assert "X-Scope-OrgID" not in push.headers
    assert not {"Authorization", "Cookie"} & set(push.headers)


def test_a_batch_sent_again_is_stored_once(loki: LokiStandIn, sink: LokiHttp) -> None:
    """Stream, nanosecond and line are the same in every push, so that Loki knows a duplicate."""
    batch = [entry(number) for number in range(10)]
    for _ in range(3):
        assert sink.send(batch) == Delivered()
    assert sink.send(batch[5:]) == Delivered()
    assert len(loki.entries()) == 10


def test_one_connection_is_kept(loki: LokiStandIn, sink: LokiHttp) -> None:
    """Answers are read to their end, short ones at least, so that the next push needs no new connection."""
    opened = 0
    original = socket.socket.connect

    def counting(self: socket.socket, address: object) -> None:
        nonlocal opened
        opened += 1
        original(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", counting)
        loki.inject(Fault(status=500, text="no"), times=2)
        loki.inject(Fault(status=429, text="slow down", headers={"Retry-After": "1"}), times=2)
        for number in range(10):
            sink.send([entry(number)])
    assert opened == 1
    assert len(loki.entries()) == 6


@pytest.mark.parametrize("end", ["", "/", "/loki/api/v1/push", "/loki/api/v1/push/"])
def test_the_address_may_be_that_of_the_push_call(
    loki: LokiStandIn, connect: Callable[..., LokiHttp], end: str
) -> None:
    """LOKI_URL is the base address or, as Promtail has it, the whole one."""
    sink = connect(loki.url + end)
    assert sink.send([entry(1)]) == Delivered()
    assert sink.probe() is None


def test_the_tenant_is_sent(loki: LokiStandIn, connect: Callable[..., LokiHttp]) -> None:
    """LOKI_TENANT goes out as X-Scope-OrgID with every push."""
    loki.require_tenant = True
    assert connect(loki.url).send([entry(1)]) == Retry("unauthorized")
    assert connect(loki.url, "team-a").send([entry(1)]) == Delivered()
    assert [kept.tenant for kept in loki.entries()] == ["team-a"]


# Refused


@pytest.mark.parametrize(
    ("fault", "wanted"),
    [
        (Fault(status=429, text="Ingestion rate limit exceeded"), Retry("rate_limited", of_stream=True)),
        (Fault(status=429, headers={"Retry-After": "7"}), Retry("rate_limited", 7.0)),
        (Fault(status=429, headers={"retry-after": "7"}), Retry("rate_limited", 7.0)),
        (Fault(status=413, text="request body too large"), TooLarge()),
        (Fault(status=401, text="no org id"), Retry("unauthorized")),
        (Fault(status=403), Retry("forbidden")),
        (Fault(status=404), Retry("not_found")),
        (Fault(status=408), Retry("timeout")),
        (Fault(status=500, text="<html>"), Retry("status_5xx")),
        (Fault(status=503, headers={"Retry-After": "30"}), Retry("status_5xx", 30.0)),
        (Fault(status=200, text="{}", store=True), Delivered()),
    ],
)
def test_each_answer_has_its_verdict(loki: LokiStandIn, sink: LokiHttp, fault: Fault, wanted: object) -> None:
    """And the next push goes well, over the same sink."""
    loki.inject(fault)
    assert sink.send([entry(1)]) == wanted
    assert sink.send([entry(2)]) == Delivered()


def test_a_partial_refusal_keeps_the_good_entry(loki: LokiStandIn, sink: LokiHttp) -> None:
    """One entry 8 days old and one good: 400 with Loki's words, and the good one is stored."""
    verdict = sink.send([entry(1, age_s=8 * 86_400), entry(2)])
    assert isinstance(verdict, Refused)
    assert verdict.reason == "too_old"
    assert "has timestamp too old" in verdict.detail
    assert len(loki.entries()) == 1


def test_a_line_that_is_too_long_is_refused_alone(loki: LokiStandIn, sink: LokiHttp) -> None:
    """And its text is not in Loki's words."""
    verdict = sink.send([entry(1, b"x" * 300_000), entry(2)])
    assert isinstance(verdict, Refused)
    assert verdict.reason == "line_too_long"
    assert len(loki.entries()) == 1


def test_a_push_over_the_servers_size_is_split(loki: LokiStandIn, sink: LokiHttp) -> None:
    """413 comes for the size after decompression too."""
    loki.limits = Limits(max_body_bytes=4096)
    assert sink.send([entry(number, b"x" * 1000) for number in range(5)]) == TooLarge()
    assert sink.send([entry(number, b"x" * 1000) for number in range(2)]) == Delivered()


# Not answered


def test_a_closed_port_is_a_retry(connect: Callable[..., LokiHttp], closed_url: str) -> None:
    """Nobody's fault; the events wait."""
    sink = connect(closed_url)
    assert sink.send([entry(1)]) == Retry("connection")
    assert sink.probe() == "connection"


def test_an_answer_that_does_not_come_is_a_retry(loki: LokiStandIn, sink: LokiHttp) -> None:
    """After the read time-out, and not when the server pleases; the next push takes a new connection."""
    loki.inject(Fault(hang_s=60))
    began_s = time.monotonic()
    assert sink.send([entry(1)]) == Retry("timeout")
    assert time.monotonic() - began_s < PROMPT_S
    loki.clear_faults()
    assert sink.send([entry(2)]) == Delivered()


def test_a_reset_is_a_retry(loki: LokiStandIn, sink: LokiHttp) -> None:
    """Whether the entries were stored nobody knows: they are sent again, and stand there once."""
    loki.inject(Fault(reset=True, store=True))
    batch = [entry(1)]
    assert sink.send(batch) == Retry("connection")
    assert sink.send(batch) == Delivered()
    assert len(loki.entries()) == 1


def test_a_loki_that_goes_and_comes_back(loki: LokiStandIn, sink: LokiHttp) -> None:
    """A kept connection that was closed on the other side is no lost batch."""
    assert sink.send([entry(1)]) == Delivered()
    loki.stop()
    assert sink.send([entry(2)]) == Retry("connection")
    loki.start()
    assert sink.send([entry(3)]) == Delivered()


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1", "http://a..b", "http://[::1", "http://\ud800.invalid", "ftp://x", "http://"],
)
def test_an_address_that_cannot_be_reached_never_raises(connect: Callable[..., LokiHttp], url: str) -> None:
    """A sink answers with a verdict, whatever its address is."""
    sink = connect(url)
    assert sink.send([entry(1)]) in (Retry("connection"), Retry("timeout"))
    assert sink.probe() in ("connection", "timeout")


# Answers that would do harm


class RawServer:
    """Answers each connection's first request with given bytes, and counts what it could send."""

    def __init__(self, *pieces: bytes, hold: bool = False) -> None:
        self.sent = 0
        self.requests: list[bytes] = []
        self._pieces = pieces
        self._hold = hold
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._listening.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        try:
            self.requests.append(connection.recv(65_536))
            for piece in self._pieces:
                connection.sendall(piece)
                self.sent += len(piece)
            if self._hold:
                connection.recv(1)
        except OSError:
            return


MEGABYTE = b"x" * 1_000_000


def head(status: str, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode()


@pytest.mark.parametrize(
    ("status", "wanted"), [("400 Bad Request", Retry("bad_request", of_stream=True)), ("500 Oops", Retry("status_5xx"))]
)
def test_a_huge_answer_is_not_read(connect: Callable[..., LokiHttp], status: str, wanted: Retry) -> None:
    """A gigabyte of error page is left on the wire."""
    pieces = [head(status, "Content-Length: 1000000000"), *[MEGABYTE] * 1000]
    with closing(RawServer(*pieces)) as server:
        assert connect(server.url).send([entry(1)]) == wanted
    assert server.sent < 100_000_000


def test_a_small_answer_that_unfolds_is_not_unfolded(connect: Callable[..., LokiHttp]) -> None:
    """A few kilobytes of gzip that hold megabytes are read as far as they are needed."""
    packed = gzip.compress(b"x" * 50_000_000)
    reply = head("400 Bad Request", "Content-Encoding: gzip", f"Content-Length: {len(packed)}") + packed
    with closing(RawServer(reply)) as server:
        began_s = time.monotonic()
        assert connect(server.url).send([entry(1)]) == Retry("bad_request", of_stream=True)
        assert time.monotonic() - began_s < PROMPT_S


def test_the_words_of_a_refusal_are_bounded(connect: Callable[..., LokiHttp]) -> None:
    """What a dead letter is made from is no longer than a few kilobytes."""
    words = b"entry for stream '{a=\"b\"}' has timestamp too old: " + b"x" * 100_000
    with closing(RawServer(head("400 Bad Request", f"Content-Length: {len(words)}") + words)) as server:
        verdict = connect(server.url).send([entry(1)])
    assert isinstance(verdict, Refused)
    assert len(verdict.detail) <= 10_000


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
def test_a_redirect_is_not_followed(connect: Callable[..., LokiHttp], status: str) -> None:
    """Events go where LOKI_URL says and nowhere else; a login page behind a redirect is no Loki."""
    with closing(RawServer(head("204 No Content"))) as elsewhere:
        reply = head(status, f"Location: {elsewhere.url}/loki/api/v1/push", "Content-Length: 0")
        with closing(RawServer(reply)) as server:
            sink = connect(server.url)
            assert sink.send([entry(1)]) == Retry("status_3xx")
            sink.probe()
    assert elsewhere.requests == []


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        head("204 No Content")[:11],
        head("400 Bad Request", "Content-Length: 100") + b"cut",
        head("400 Bad Request", "Transfer-Encoding: chunked") + b"zz\r\n",
        head("400 Bad Request", "Content-Encoding: gzip", "Content-Length: 5") + b"plain",
        head("400 Bad Request", "Content-Encoding: deflate", "Content-Length: 5") + b"plain",
        head("400 Bad Request", "Content-Length: no") + b"x",
        head("200 OK", *[f"X-{number}: y" for number in range(500)]),
    ],
    ids=[
        "nothing",
        "garbage",
        "no status",
        "cut head",
        "cut body",
        "bad chunk",
        "no gzip",
        "no deflate",
        "no length",
        "headers",
    ],
)
def test_an_answer_that_is_no_http_never_raises(connect: Callable[..., LokiHttp], reply: bytes) -> None:
    """Whatever comes, the batch is kept."""
    with closing(RawServer(reply)) as server:
        sink = connect(server.url)
        assert isinstance(sink.send([entry(1)]), Retry)
        sink.probe()


def test_a_body_that_stalls_is_a_retry(connect: Callable[..., LokiHttp]) -> None:
    """A head that promises more than comes holds a push no longer than the read time-out."""
    with closing(RawServer(head("400 Bad Request", "Content-Length: 100") + b"entry", hold=True)) as server:
        began_s = time.monotonic()
        verdict = connect(server.url).send([entry(1)])
        assert time.monotonic() - began_s < PROMPT_S
    assert isinstance(verdict, Retry)


def test_neither_proxies_nor_netrc_of_the_environment_are_used(
    loki: LokiStandIn,
    connect: Callable[..., LokiHttp],
    closed_url: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Whoever starts the service does not decide by accident where logs go."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, closed_url)
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login plum password quince\n", encoding="ascii")
    monkeypatch.setenv("NETRC", str(netrc))
    assert connect(loki.url).send([entry(1)]) == Delivered()
    assert "Authorization" not in loki.pushes[0].headers


def test_credentials_of_the_address_are_sent(loki: LokiStandIn, connect: Callable[..., LokiHttp]) -> None:
    """LOKI_URL may hold a user and a password, as gateways ask for."""
    sink = connect(loki.url.replace("http://", "http://user:pass@"))
    assert sink.send([entry(1)]) == Delivered()
    assert loki.pushes[0].headers["Authorization"] == "Basic dXNlcjpwYXNz"


# Probe


def test_the_probe_asks_whether_somebody_is_there(loki: LokiStandIn, sink: LokiHttp) -> None:
    """`/ready` of Loki, and no push."""
    assert sink.probe() is None
    loki.stop()
    assert sink.probe() == "connection"
    assert loki.arrivals == 0


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        ("200 OK", None),
        ("401 Unauthorized", None),
        ("404 Not Found", None),
        ("500 Oops", "not_ready"),
        ("503 No", "not_ready"),
    ],
)
def test_a_gateway_that_knows_no_ready_is_somebody(
    connect: Callable[..., LokiHttp], status: str, wanted: str | None
) -> None:
    """Only a 5xx says that Loki is not well."""
    with closing(RawServer(head(status, "Content-Length: 0"))) as server:
        assert connect(server.url).probe() == wanted


def test_a_probe_that_is_not_answered_is_a_timeout(connect: Callable[..., LokiHttp]) -> None:
    """It holds nobody up."""
    with closing(RawServer(hold=True)) as server:
        began_s = time.monotonic()
        assert connect(server.url).probe() == "timeout"
        assert time.monotonic() - began_s < PROMPT_S


def test_lines_are_json_to_loki_and_to_us(loki: LokiStandIn, sink: LokiHttp) -> None:
    """Any text of a line comes out as it went in."""
    text = {"s": '\u2028\U0001f600\\"\t\x7f', "n": [1, None]}
    assert sink.send([entry(1, json.dumps(text).encode())]) == Delivered()
    assert loki.lines() == [text]


# Structured metadata


def metadata_of(loki: LokiStandIn) -> list[dict[str, str]]:
    return [stored.metadata for stored in loki.entries()]


def test_metadata_goes_along_where_loki_has_it(loki: LokiStandIn, sink: LokiHttp) -> None:
    """From 3.0 on."""
    assert sink.send([entry(1), entry(2)]) == Delivered()
    assert metadata_of(loki) == [{"event_id": "evt_1"}, {"event_id": "evt_2"}]


@pytest.mark.parametrize("version", ["2.8", "2.9"])
def test_without_metadata_where_loki_refuses_it(connect: Callable[..., LokiHttp], version: str) -> None:
    """2.8 cannot read it, 2.9 has it off: the same events go without, and it is not tried for ever."""
    with LokiStandIn(version=version) as loki:
        sink = connect(loki.url)
        for number in range(5):
            assert sink.send([entry(number)]) == Delivered()
        assert metadata_of(loki) == [{}] * 5
        assert [push.status for push in loki.pushes] == [400, 204, 400, 204, 204, 204, 204]


def test_one_hiccup_does_not_end_metadata(loki: LokiStandIn, sink: LokiHttp) -> None:
    """A single unknown 400 sends one batch without."""
    loki.inject(Fault(status=400, text="no such thing"))
    assert [sink.send([entry(number)]) for number in range(3)] == [Delivered()] * 3
    assert metadata_of(loki) == [{}, {"event_id": "evt_1"}, {"event_id": "evt_2"}]


def test_an_unknown_refusal_with_and_without_is_kept(loki: LokiStandIn, sink: LokiHttp) -> None:
    """Then metadata is not what was wrong."""
    loki.inject(Fault(status=400, text="no such thing"), times=2)
    assert sink.send([entry(1)]) == Retry("bad_request", of_stream=True)
    assert sink.send([entry(1)]) == Delivered()
    assert metadata_of(loki) == [{"event_id": "evt_1"}]
