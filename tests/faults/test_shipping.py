"""From acknowledgement to Loki: what arrives, and what happens when Loki does not want it."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import os
import signal
import socket
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import pytest

from tests.harness.load import play, total, wait_until
from tests.harness.service import free_port
from tests.standins.loki import Fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import StartService
    from tests.harness.service import RunningService
    from tests.standins.loki import LokiStandIn

FAST = {"BATCH_MAX_AGE_S": "0.05"}
DAY_NS = 86_400 * 10**9


def _log(service: RunningService, number: int, **payload: Any) -> list[str]:
    """Log `number` events one after the other; return their ids."""
    return play(
        service.port,
        [("POST", "/log", {"event": "tool_execution", "payload": {"n": n, **payload}}) for n in range(number)],
        clients=1,
        keep=lambda _, answer: answer["event_id"],
    ).kept


def _dead_letters(service: RunningService) -> list[dict[str, Any]]:
    folder = service.data_dir / "dead-letters"
    return [json.loads(line) for path in sorted(folder.glob("*.ndjson")) for line in path.read_text().splitlines()]


def test_what_arrives(start_service: StartService, loki: LokiStandIn) -> None:
    """Labels, line, nanosecond and compression are as delivery.md has them; personal data is gone."""
    service = start_service(LOKI_URL=loki.url, ENVIRONMENT="test", LOKI_TENANT="suite", **FAST)
    seen: list[dict[str, str]] = []
    loki.script = lambda headers, body: seen.append({**headers, "body": gzip.decompress(body).decode()})
    before_ns = time.time_ns()
    status, answer = service.json(
        "POST",
        "/log",
        {
            "event": "tool_execution",
            "event_id": "mine-1",
            "payload": {"service": "pipelines-gateway", "note": "mail bob@example.org", "timestamp": 1756895400},
        },
    )
    assert (status, answer) == (200, {"status": "logged", "event_id": "mine-1", "redacted_fields": ["note"]})
    (entry,) = loki.wait_for(1)
    assert entry.tenant == "suite"
    assert entry.labels == {
        "service_name": "pipelines-gateway",
        "event": "tool_execution",
        "env": "test",
        "tenant": "default",
        "worker": "0",
    }
    assert before_ns <= entry.ns <= time.time_ns()
    line = json.loads(entry.line)
    assert list(line) == ["event_id", "event", "received_at", "payload"]
    assert line["payload"] == {
        "service": "pipelines-gateway",
        "note": "mail [REDACTED_EMAIL]",
        "timestamp": 1756895400,
    }
    assert seen[0]["Content-Encoding"] == "gzip"
    assert "bob@" not in seen[0]["body"]


def test_order_within_a_stream(start_service: StartService, loki: LokiStandIn) -> None:
    """Events of one stream arrive in the order of their acknowledgement, with rising nanoseconds."""
    service = start_service(LOKI_URL=loki.url, **FAST)
    loki.inject(Fault(status=500), times=2)
    ids = _log(service, 300)
    entries = loki.wait_for(300)
    assert [json.loads(entry.line)["event_id"] for entry in entries] == ids
    stamps = [entry.ns for entry in entries]
    assert stamps == sorted(set(stamps))


OUTAGES: dict[str, Callable[[LokiStandIn], None]] = {
    "500": lambda loki: loki.inject(Fault(status=500, text="boom"), times=2),
    "503": lambda loki: loki.inject(Fault(status=503), times=2),
    "429 with Retry-After": lambda loki: loki.inject(Fault(status=429, headers={"Retry-After": "1"}), times=1),
    "401": lambda loki: loki.inject(Fault(status=401), times=2),
    "404": lambda loki: loki.inject(Fault(status=404), times=2),
    "unknown 400": lambda loki: loki.inject(Fault(status=400, text="a new kind of trouble"), times=2),
    "redirect": lambda loki: loki.inject(Fault(status=302, headers={"Location": "http://127.0.0.1:1/"}), times=1),
    "reset": lambda loki: loki.inject(Fault(reset=True), times=2),
    "reset after storing": lambda loki: loki.inject(Fault(reset=True, store=True), times=2),
    "hang": lambda loki: loki.inject(Fault(hang_s=30), times=1),
}


@pytest.mark.parametrize("outage", OUTAGES.values(), ids=OUTAGES.keys())
def test_outage_loses_nothing(
    outage: Callable[[LokiStandIn], None], start_service: StartService, loki: LokiStandIn
) -> None:
    """Whatever Loki answers that is not the events' fault: all arrive in the end, once, and none is buried."""
    service = start_service(LOKI_URL=loki.url, LOKI_READ_TIMEOUT_S="0.5", **FAST)
    outage(loki)
    ids = _log(service, 50)
    loki.wait_for(50, timeout_s=30)
    assert sorted(line["event_id"] for line in loki.lines()) == sorted(ids)
    assert _dead_letters(service) == []


@pytest.mark.parametrize(
    "words",
    [
        "a new kind of trouble",
        "stream '{event=\"a\"}' includes structured metadata, but this feature is disallowed",
        "loghttp.PushRequest.Streams: found '...max entry size '1' bytes exceeded for stream '{}'...'",
    ],
)
def test_unknown_400_buries_nothing(words: str, start_service: StartService, loki: LokiStandIn) -> None:
    """A 400 for a reason not in the table is the operator's: even a single event is kept and tried again."""
    service = start_service(LOKI_URL=loki.url, **FAST)
    loki.inject(Fault(status=400, text=words), times=2)
    ids = _log(service, 1)
    loki.wait_for(1, timeout_s=30)
    assert [line["event_id"] for line in loki.lines()] == ids
    assert _dead_letters(service) == []


def test_one_stream_a_push(start_service: StartService, loki: LokiStandIn) -> None:
    """Of a push with several streams Loki may drop entries of all but the last behind a 204."""
    service = start_service(LOKI_URL=loki.url, SHIPPER_POOL_SIZE="1", BATCH_MAX_AGE_S="0.3")
    events = [{"event": f"kind_{n % 7}", "payload": {"n": n}} for n in range(70)]
    assert service.json("POST", "/log/batch", events)[1]["accepted"] == 70
    loki.wait_for(70)
    assert [len(push.streams) for push in loki.pushes] == [1] * 7


def test_late_entries_of_one_stream_are_found(start_service: StartService, loki: LokiStandIn) -> None:
    """Entries too far behind their stream's newest are buried with that reason; other streams arrive whole."""
    service = start_service(LOKI_URL=loki.url, SHIPPER_POOL_SIZE="1", BATCH_MAX_AGE_S="0.3")
    _log(service, 1)
    (first,) = loki.wait_for(1)
    _push_ahead(loki, first.labels, first.ns + 2 * 3600 * 10**9)
    late = _log(service, 3)
    status, answer = service.json("POST", "/log", {"event": "other", "payload": {}})
    assert status == 200
    loki.wait_until(lambda: answer["event_id"] in {line.get("event_id") for line in loki.lines()})
    wait_until(lambda: len(_dead_letters(service)) == 3, "the late ones are buried")
    assert [letter["event_id"] for letter in _dead_letters(service)] == late
    assert {letter["reason"] for letter in _dead_letters(service)} == {"too_far_behind"}


def _push_ahead(loki: LokiStandIn, labels: dict[str, str], ns: int) -> None:
    """Make a stream's newest entry lie ahead, as another writer with a fast clock would."""
    clock = loki.clock
    loki.clock = lambda: ns
    body = json.dumps({"streams": [{"stream": labels, "values": [[str(ns), "{}"]]}]})
    connection = http.client.HTTPConnection("127.0.0.1", loki.port, timeout=5)
    try:
        connection.request("POST", "/loki/api/v1/push", body, {"Content-Type": "application/json"})
        assert connection.getresponse().status == 204
    finally:
        connection.close()
        loki.clock = clock


def test_loki_away_then_back(start_service: StartService, loki: LokiStandIn) -> None:
    """With Loki's port closed the service accepts, says that it is degraded, and delivers when Loki is back."""
    service = start_service(LOKI_URL=loki.url, **FAST)
    loki.stop()
    ids = _log(service, 50)
    wait_until(lambda: service.json("GET", "/readyz")[1]["status"] == "degraded", "/readyz says degraded")
    assert service.json("GET", "/readyz")[0] == 200
    loki.start()
    loki.wait_for(50, timeout_s=30)
    assert sorted(line["event_id"] for line in loki.lines()) == sorted(ids)
    wait_until(lambda: service.json("GET", "/readyz")[1]["status"] == "ok", "/readyz says ok again")


def test_too_large_a_push_is_split(start_service: StartService, loki: LokiStandIn) -> None:
    """413 halves the batch until it fits; nothing is lost."""
    service = start_service(LOKI_URL=loki.url, BATCH_MAX_AGE_S="0.5")
    loki.limits = replace(loki.limits, max_body_bytes=6000)
    events = [{"event": "a", "payload": {"n": n, "text": f"{n:x}" * 400}} for n in range(64)]
    status, answer = service.json("POST", "/log/batch", events)
    assert (status, answer["accepted"]) == (200, 64)
    loki.wait_for(64)
    assert {push.status for push in loki.pushes} == {413, 204}
    assert sorted(line["event_id"] for line in loki.lines()) == sorted(answer["event_ids"])


def test_one_refused_entry_is_buried_alone(start_service: StartService, loki: LokiStandIn) -> None:
    """One line too long for Loki among a hundred: the others arrive, it becomes a dead letter with Loki's reason."""
    service = start_service(LOKI_URL=loki.url, BATCH_MAX_AGE_S="0.5")
    loki.limits = replace(loki.limits, max_line_bytes=2000)
    events = [{"event": "a", "payload": {"n": n, "text": "x " * (2000 if n == 37 else 2)}} for n in range(100)]
    _, answer = service.json("POST", "/log/batch", events)
    loki.wait_for(99)
    wait_until(lambda: len(_dead_letters(service)) == 1, "the dead letter is there")
    (letter,) = _dead_letters(service)
    assert letter["event_id"] == answer["event_ids"][37]
    assert letter["reason"] == "line_too_long"
    assert "max entry size" in letter["detail"]
    assert json.loads(letter["line"])["payload"]["n"] == 37
    wait_until(
        lambda: total(service.metrics(), "telemetry_cache_delivery_events_total", outcome="delivered") == 99,
        "the others are counted as delivered",
    )
    buried = total(
        service.metrics(), "telemetry_cache_delivery_events_total", outcome="dead_letter", reason="line_too_long"
    )
    assert buried == 1


def test_too_old_entries_are_buried(start_service: StartService, loki: LokiStandIn) -> None:
    """A backlog that Loki calls too old does not block what comes behind it."""
    service = start_service(LOKI_URL=loki.url, **FAST)
    loki.clock = lambda: time.time_ns() + 8 * DAY_NS
    old = _log(service, 3)
    wait_until(lambda: len(_dead_letters(service)) == 3, "the old ones are buried")
    loki.clock = time.time_ns
    new = _log(service, 3)
    loki.wait_for(3)
    assert [line["event_id"] for line in loki.lines()] == new
    assert [letter["event_id"] for letter in _dead_letters(service)] == old
    assert {letter["reason"] for letter in _dead_letters(service)} == {"too_old"}


def test_full_queue_refuses_and_recovers(start_service: StartService, loki: LokiStandIn) -> None:
    """A full queue is 503 with Retry-After, keeps none of a batch, and takes events again once Loki does."""
    loki.inject(Fault(status=503), times=None)
    service = start_service(LOKI_URL=loki.url, SPOOL_MAX_BYTES="65536", LOKI_MAX_LINE_BYTES="32768", **FAST)
    accepted: list[str] = []
    while True:
        status, headers, body = service.request(
            "POST",
            "/log",
            json.dumps({"event": "a", "payload": {"text": "x " * 1000}}).encode(),
            {"Content-Type": "application/json"},
        )
        if status != 200:
            break
        accepted.append(json.loads(body)["event_id"])
    assert (status, headers["Retry-After"], json.loads(body)["type"]) == (503, "2", "/problems/spool-full")
    status, answer = service.json("POST", "/log/batch", [{"event": "a", "payload": {"text": "x " * 1000}}] * 3)
    assert (status, answer["type"]) == (503, "/problems/spool-full")
    wait_until(lambda: service.json("GET", "/readyz")[0] == 503, "/readyz says unavailable")
    loki.clear_faults()
    loki.wait_for(len(accepted), timeout_s=30)
    wait_until(lambda: service.json("GET", "/readyz")[0] == 200, "/readyz is well again")
    accepted += _log(service, 3)
    loki.wait_for(len(accepted))
    assert sorted(line["event_id"] for line in loki.lines()) == sorted(accepted)


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_stop_drains(sig: signal.Signals, start_service: StartService, loki: LokiStandIn) -> None:
    """What waits for its batch when the service is told to stop is delivered before it ends."""
    service = start_service(LOKI_URL=loki.url, BATCH_MAX_AGE_S="60")
    ids = _log(service, 100)
    assert loki.entries() == []
    assert service.stop(sig) == 0
    assert sorted(line["event_id"] for line in loki.lines()) == sorted(ids)
    assert _dead_letters(service) == []


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGQUIT, signal.SIGTERM], ids=["SIGINT", "SIGQUIT", "SIGTERM"])
def test_signal_to_the_whole_group_drains(sig: signal.Signals, start_service: StartService, loki: LokiStandIn) -> None:
    """A terminal's Ctrl-C goes to master and workers alike, and the master tells its workers once more."""
    service = start_service(LOKI_URL=loki.url, BATCH_MAX_AGE_S="60")
    ids = _log(service, 20)
    os.killpg(service.pid, sig)
    assert service.stop(sig) == 0
    assert sorted(line["event_id"] for line in loki.lines()) == sorted(ids)
    assert '"where"' not in service.stderr()


def test_stop_without_loki_keeps_the_events(start_service: StartService, loki: LokiStandIn) -> None:
    """What cannot be delivered at the end stays on disk, and the next start delivers it as it was acknowledged."""
    service = start_service(LOKI_URL=loki.url, BATCH_MAX_AGE_S="60", GRACEFUL_TIMEOUT_S="6")
    loki.stop()
    ids = _log(service, 20)
    assert service.stop() == 0
    assert _dead_letters(service) == []
    loki.start()
    stopped_ns = time.time_ns()
    service.start()
    entries = loki.wait_for(20, timeout_s=30)
    assert [json.loads(entry.line)["event_id"] for entry in entries] == ids
    assert {entry.labels["worker"] for entry in entries} == {"0"}
    assert all(entry.ns < stopped_ns for entry in entries)


def test_retry_with_the_same_event_id_is_one_event(start_service: StartService, loki: LokiStandIn) -> None:
    """A caller's own event_id seen again is acknowledged without a second entry, and counted as a duplicate."""
    service = start_service(LOKI_URL=loki.url, **FAST)
    event = {"event": "a", "event_id": "retry-1", "payload": {"user_id": "u1"}}
    answers = [service.json("POST", "/log", event) for _ in range(3)]
    assert answers == [(200, {"status": "logged", "event_id": "retry-1", "redacted_fields": ["user_id"]})] * 3
    _log(service, 1)
    loki.wait_for(2)
    samples = service.metrics()
    assert total(samples, "telemetry_cache_events_total", outcome="accepted") == 2
    assert total(samples, "telemetry_cache_events_total", outcome="duplicate") == 2


def test_many_streams_become_other(start_service: StartService, loki: LokiStandIn) -> None:
    """Past LOKI_MAX_STREAMS a caller cannot make new streams; what it says stands in the line."""
    service = start_service(LOKI_URL=loki.url, LOKI_MAX_STREAMS="3", **FAST)
    for number in range(6):
        service.json("POST", "/log", {"event": "a", "payload": {"service": f"service-{number}"}})
    service.json("POST", "/log", {"event": "a", "payload": {"service": "no label: {bad}"}})
    entries = loki.wait_for(7)
    names = [entry.labels["service_name"] for entry in entries]
    assert sorted(set(names)) == ["other", "service-0", "service-1", "service-2"]
    assert {json.loads(entry.line)["payload"]["service"] for entry in entries} > {"service-5", "no label: {bad}"}


def test_answer_that_trickles(start_service: StartService, loki: LokiStandIn) -> None:
    """A push as a whole is bounded in time: an answer of a byte now and then does not hold its lane for ever."""
    with _Trickler() as trickler:
        service = start_service(
            LOKI_URL=trickler.url,
            LOKI_READ_TIMEOUT_S="0.5",
            LOKI_CONNECT_TIMEOUT_S="0.5",
            GRACEFUL_TIMEOUT_S="6",
            **FAST,
        )
        _log(service, 1)
        wait_until(lambda: total(service.metrics(), "telemetry_cache_pushes_total", result="timeout") >= 2, "time-outs")
        assert service.json("GET", "/readyz")[1]["status"] == "degraded"
    assert loki.entries() == []


class _Trickler:
    """Takes requests and answers each with a head that comes one byte every tenth of a second."""

    def __enter__(self) -> Self:
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.1)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _accept(self) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = self._listener.accept()
                thread = threading.Thread(target=self._trickle, args=(connection,))
                self._threads.append(thread)
                thread.start()

    def _trickle(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            for byte in b"HTTP/1.1 204 No Content\r\n" + b"X-Slow: yes\r\n" * 1000:
                if self._ended.wait(0.1):
                    return
                connection.sendall(bytes([byte]))


def test_unreachable_from_the_start(start_service: StartService) -> None:
    """LOKI_URL where nobody listens: the service starts, accepts, and /readyz knows before any event."""
    service = start_service(LOKI_URL=f"http://127.0.0.1:{free_port()}", **FAST)
    wait_until(lambda: service.json("GET", "/readyz")[1]["status"] == "degraded", "/readyz says degraded")
    assert len(_log(service, 3)) == 3
