"""Recovery of a backlog: logged while Loki is away, SIGKILL of all processes, started again with a sink that keeps up.

The backlog is made once and copied for each round, so that all rounds recover the same bytes.
"""

from __future__ import annotations

import gzip
import http.client
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from itertools import islice
from typing import TYPE_CHECKING, Any

import orjson

from tests.bench import cpu, texts
from tests.bench.errors import BenchError
from tests.bench.figures import ratio
from tests.bench.processes import ClosedPort, Sink
from tests.harness.load import total
from tests.harness.service import RunningService, ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from tests.bench.stand import Place

EVENTS = 200_000
BATCH_EVENTS = 500
BATCHES = 8
"""Different ones, sent in turn."""

LEAST_BYTES, MOST_BYTES = 600, 1000
"""Events are this long, evenly between."""

NAMES = ("response_generation", "tool_execution", "user_feedback", "bench")
SERVICES = ("pipelines-gateway", "web")
"""The first of each is what `texts.event` names."""

STREAMS = len(NAMES) * len(SERVICES)

SENDERS = 4
PUSH_EVENTS = 1_000
SINK_MAX_BYTES = 1024**3
"""What the sink may keep: it unpacks after the last push has come."""

GIVE_UP_S = 10.0
"""So long without a push, and no more is expected."""

MOST_S = 180.0
POLL_S = 0.25
MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """One start with the backlog."""

    round: int
    events: int
    """Acknowledged before the SIGKILL."""
    disk_bytes: int
    """Of DATA_DIR, after it."""
    started_s: float
    """From the start of the process until the last push."""
    pushed_s: float
    """From the first push until the last."""
    arrived: int
    distinct: int
    cpu_s: float
    sink_per_s: float
    """Events a second that the sink takes when nothing holds it up."""

    @property
    def per_s(self) -> float:
        """Events a second from the first push on."""
        return ratio(self.distinct, self.pushed_s)

    @property
    def per_s_from_start(self) -> float:
        """Events a second from the process's start on: the interpreter, the modules, the look through the files."""
        return ratio(self.distinct, self.started_s)

    @property
    def faults(self) -> tuple[str, ...]:
        """Say what is amiss."""
        if self.events == self.arrived == self.distinct:
            return ()
        return (
            f"{self.events:,} events were acknowledged, {self.arrived:,} arrived, {self.distinct:,} different ones",
        )

    def __str__(self) -> str:
        """One line of progress."""
        faults = "".join(f"  FAULT: {fault}" for fault in self.faults)
        return (
            f"recovery  round {self.round}  {self.events:,} events, {self.disk_bytes / MIB:,.0f} MiB  "
            f"{self.per_s:,.0f} events/s ({self.per_s_from_start:,.0f} from the start, {self.started_s:.1f} s); "
            f"the sink takes {self.sink_per_s:,.0f}/s{faults}"
        )


def measure(place: Place, *, rounds: int, events: int) -> Iterator[Recovery]:
    """Make the backlog, then recover it in rounds."""
    batches = [batch(number) for number in range(BATCHES)]
    requests = -(-events // BATCH_EVENTS)
    kept = place.folder / "backlog"
    _make_backlog(place, [texts.compact({"events": one}) for one in batches], requests, kept)
    acknowledged = requests * BATCH_EVENTS
    for number in range(1, rounds + 1):
        sink_per_s = _sink_per_s(place, batches, acknowledged)
        yield _recover(place, kept, number, acknowledged, sink_per_s)


def batch(number: int) -> list[dict[str, Any]]:
    """Return the events of a batch, of several streams; sizes are of an event as compact JSON."""
    events = []
    for place in range(BATCH_EVENTS):
        size = LEAST_BYTES + (MOST_BYTES - LEAST_BYTES) * place // BATCH_EVENTS
        name, service = NAMES[place % len(NAMES)], SERVICES[place // len(NAMES) % len(SERVICES)]
        size += len(NAMES[0] + SERVICES[0]) - len(name + service)
        event: dict[str, Any] = texts.event(size, 50_000 + number * BATCH_EVENTS + place)
        event["event"], event["payload"]["service"] = name, service
        events.append(event)
    return events


# Before


def _make_backlog(place: Place, bodies: Sequence[bytes], requests: int, kept: Path) -> None:
    """Log while Loki is away, kill master and workers at once, keep the data folder."""
    with ClosedPort() as closed:
        service = RunningService(place.service_env(closed.url, SPOOL_SYNC="group"), folder=place.folder / "feeding")
        with service:
            place.give_core(service)
            expect = b'"accepted":%d,' % BATCH_EVENTS
            _send_all(service.port, "/log/batch", bodies, requests, expect=expect, more={})
            service.kill()
    service.data_dir.rename(kept)


def _send_all(
    port: int, path: str, bodies: Sequence[bytes], requests: int, *, expect: bytes, more: Mapping[str, str]
) -> None:
    """Send so many requests from a few connections; BenchError when one is not answered as expected."""
    headers = {"Content-Type": "application/json", **more}

    def send(first: int) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            for number in range(first, requests, SENDERS):
                connection.request("POST", path, bodies[number % len(bodies)], headers)
                answer = connection.getresponse()
                said = answer.read()
                if answer.status not in {HTTPStatus.OK, HTTPStatus.NO_CONTENT} or expect not in said:
                    raise BenchError(f"{path} answered {answer.status}: {said[:300]!r}")

    with ThreadPoolExecutor(SENDERS) as pool:
        list(pool.map(send, range(SENDERS)))


# The sink by itself


def _sink_per_s(place: Place, batches: Sequence[Sequence[dict[str, Any]]], events: int) -> float:
    """Return how many events a second a sink takes from senders that only send: it must not be what is measured."""
    bodies = [push_of(one) for one in batches]
    with _sink(place, "sink-alone") as sink, _on_measured_cores(place):
        pushes = -(-events // PUSH_EVENTS)
        gzipped = {"Content-Encoding": "gzip"}
        _send_all(sink.child.port, "/loki/api/v1/push", bodies, pushes, expect=b"", more=gzipped)
        arrivals = sink.arrivals()
        return ratio(pushes * PUSH_EVENTS, arrivals.last_s - arrivals.first_s)


def push_of(events: Sequence[dict[str, Any]]) -> bytes:
    """Return a push of PUSH_EVENTS entries, as the service's are: one stream, gzip."""
    lines = (orjson.dumps(event).decode() for event in [*events] * -(-PUSH_EVENTS // len(events)))
    values = [[str(time.time_ns()), line] for line in islice(lines, PUSH_EVENTS)]
    return gzip.compress(orjson.dumps({"streams": [{"stream": {"a": "b"}, "values": values}]}), compresslevel=1)


def _sink(place: Place, name: str, *, lose: int = 0) -> Sink:
    return Sink.start(place.folder, name=name, lose=lose, pending_max_bytes=SINK_MAX_BYTES, distinct=True)


@contextmanager
def _on_measured_cores(place: Place) -> Iterator[None]:
    """Send from where the service would: the sink has the other cores to itself."""
    if place.cores is None:
        yield
        return
    cpu.pin([os.getpid()], place.cores.measured)
    try:
        yield
    finally:
        cpu.pin([os.getpid()], place.cores.others)


# After


def _recover(place: Place, kept: Path, number: int, acknowledged: int, sink_per_s: float) -> Recovery:
    data = place.folder / "recovering"
    shutil.copytree(kept, data)
    os.sync()  # what the copy left to be written must not wait in front of the service's own syncs
    disk_bytes = sum(path.stat().st_size for path in data.rglob("*") if path.is_file())
    with ExitStack() as opened:
        opened.callback(shutil.rmtree, data, ignore_errors=True)
        sink = opened.enter_context(_sink(place, "sink-recovery", lose=place.lose))
        service = RunningService(
            place.service_env(sink.child.url, SPOOL_SYNC="group", DATA_DIR=str(data)),
            folder=place.folder / f"recovery-{number}",
        )
        opened.callback(service.close)
        starting = opened.enter_context(ThreadPoolExecutor(1))
        began_s = time.monotonic()
        started = starting.submit(service.start)
        _give_core_when_born(place, service, started)
        started.result()
        _wait_for_arrivals(service, sink, acknowledged)
        cpu_s = cpu.busy_ns(cpu.family(service.pid)) / 1e9
        arrivals, counts = sink.arrivals(), sink.counts()
    return Recovery(
        round=number,
        events=acknowledged,
        disk_bytes=disk_bytes,
        started_s=max(0.0, arrivals.last_s - began_s),
        pushed_s=arrivals.last_s - arrivals.first_s,
        arrived=counts.entries,
        distinct=counts.distinct,
        cpu_s=cpu_s,
        sink_per_s=sink_per_s,
    )


def _give_core_when_born(place: Place, service: RunningService, started: Future[Any]) -> None:
    """Pin the master before it has workers: they inherit it, and recover from their first moment on."""
    while place.cores and not started.done():
        with suppress(ServiceError):  # not born yet
            cpu.pin([service.pid], place.cores.measured)
            return
        time.sleep(0.001)


def _wait_for_arrivals(service: RunningService, sink: Sink, events: int) -> None:
    """Wait until the service says that it delivered all, or until nothing has come for long."""
    began_s = time.monotonic()
    while (now_s := time.monotonic()) < began_s + MOST_S:
        delivered = total(service.metrics(), "telemetry_cache_delivery_events_total", outcome="delivered")
        last_s = sink.arrivals().last_s
        if delivered >= events or now_s - max(began_s, last_s) > GIVE_UP_S:
            return
        time.sleep(POLL_S)
