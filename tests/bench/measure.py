"""One measurement: a row, a server, some seconds of load, and what it cost until the last event was delivered."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tests.bench import cpu, wrk
from tests.bench.floor import ANSWER_BYTES
from tests.bench.ledger import QUIET_S, read_at_rest

if TYPE_CHECKING:
    from tests.bench.ledger import Ledger
    from tests.bench.rows import Row
    from tests.bench.stand import Stand

NS_PER_US = 1_000
NS_PER_S = 1_000_000_000
REQUESTS = "flask_http_request_total"
DEGRADED = "telemetry_cache_cache_degraded_total"

Side = Literal["floor", "service", "webdis", "synced", "unsynced"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What one run said of one server."""

    workers: int
    round: int
    """From 1; 0 is the warm-up."""
    row: str
    side: Side
    connections: int
    body_bytes: int
    """Of one answer."""
    load: wrk.Load
    cpu_us: float
    """CPU time of a request, of the master and all workers, until the events of the load were delivered."""
    cores_busy: float
    """CPU seconds a second of load: well below the number of workers, and something else was the bottleneck."""
    faults: tuple[str, ...]
    events_per_s: float = 0.0
    """Events of the requests that were answered during the load."""
    events_per_cpu_s: float = 0.0
    """Events a core: accepted, in a second of CPU time."""
    accepted: int = 0
    arrived: int = 0
    late: int = 0
    """Events that had been accepted and had not arrived when the load ended."""
    late_s: float = 0.0
    """Seconds from then until the last of them arrived, to a quarter of a second."""
    degraded: int = 0
    """Look-ups that the service answered as a miss because it took Redis to be away."""

    @property
    def errors(self) -> int:
        """Requests that were not answered as they must be."""
        return self.load.refusals + self.load.socket_errors + self.degraded


@dataclass(frozen=True, slots=True)
class Meter:
    """Measures rows on a stand."""

    stand: Stand
    seconds: int
    connections: int

    def floor(self, row: Row, number: int, body_bytes: int) -> Measurement:
        """Measure the floor in round `number`, with answers of `body_bytes`."""
        return self._plain("floor", row, number, body_bytes)

    def server(self, row: Row, number: int, body_bytes: int) -> Measurement:
        """Measure who answers the row: the service, or Webdis."""
        if row.server == "webdis":
            return self._plain("webdis", row, number, body_bytes)
        return self._service(row, number, body_bytes)

    def _plain(self, side: Side, row: Row, number: int, body_bytes: int) -> Measurement:
        """Measure a server that has nothing left to do after its answers."""
        server = self.stand.floor if side == "floor" else self.stand.server(row)
        pids = cpu.family(server.pid)
        before_ns = cpu.busy_ns(pids)
        load = self._load(server.url, row, body_bytes)
        busy_ns = cpu.busy_ns(pids) - before_ns
        return Measurement(
            workers=self.stand.workers,
            connections=self.connections,
            round=number,
            row=row.name,
            side=side,
            body_bytes=body_bytes,
            load=load,
            cpu_us=share(busy_ns / NS_PER_US, load.requests),
            cores_busy=share(busy_ns / NS_PER_S, load.duration_s),
            faults=faults_of(load),
        )

    def _service(self, row: Row, number: int, body_bytes: int) -> Measurement:
        """Measure the service; its background work is waited for, and counted in its CPU time."""
        service, sink = self.stand.service, self.stand.sink
        before = read_at_rest(service, sink)
        pids = cpu.family(service.pid)
        before_ns = cpu.busy_ns(pids)
        load = self._load(service.url, row, body_bytes)
        loaded_ns, loaded_s = cpu.busy_ns(pids) - before_ns, time.monotonic()
        in_time = sink.counts().entries - before.ledger.arrived
        after = read_at_rest(service, sink, quiet_s=QUIET_S if row.events else 0.0)
        # Without events there is nothing to wait for.
        busy_ns = after.busy_ns - before_ns if row.events else loaded_ns
        events = after.ledger.since(before.ledger)
        degraded = after.rise(before, DEGRADED)
        # Less the one that read the metrics before; wrk does not know of those that it left under way.
        answered = max(load.requests, after.rise(before, REQUESTS) - 1)
        return Measurement(
            workers=self.stand.workers,
            connections=self.connections,
            round=number,
            row=row.name,
            side="service",
            body_bytes=body_bytes,
            load=load,
            cpu_us=share(busy_ns / NS_PER_US, answered),
            cores_busy=share(loaded_ns / NS_PER_S, load.duration_s),
            faults=(*faults_of(load), *_faults_of_events(row, events, load), *_faults_of_cache(degraded)),
            events_per_s=share((load.requests - load.refusals) * row.events, load.duration_s),
            events_per_cpu_s=share(events.accepted, busy_ns / NS_PER_S),
            accepted=events.accepted,
            arrived=events.arrived,
            late=max(0, events.accepted - in_time),
            late_s=max(0.0, after.last_arrival_s - loaded_s) if events.accepted else 0.0,
            degraded=degraded,
        )

    def _load(self, url: str, row: Row, body_bytes: int) -> wrk.Load:
        headers = {**row.request.headers, ANSWER_BYTES: str(body_bytes)}
        return wrk.run(
            url, row.request, headers, seconds=self.seconds, connections=self.connections, folder=self.stand.folder
        )


def faults_of(load: wrk.Load) -> tuple[str, ...]:
    """Say what was wrong with the answers."""
    faults = []
    if load.refusals:
        faults.append(f"{load.refusals:,} answers were not 2xx")
    if load.socket_errors:
        faults.append(f"{load.socket_errors:,} socket errors")
    if not load.requests:
        faults.append("no request was answered")
    return tuple(faults)


def _faults_of_events(row: Row, events: Ledger, load: wrk.Load) -> tuple[str, ...]:
    """An event that was answered 200 must have been counted, delivered, and have arrived: once."""
    faults = []
    if not events.balances:
        faults.append(f"events do not balance: {events}")
    answered = (load.requests - load.refusals) * row.events
    if events.accepted < answered:
        faults.append(f"{answered:,} events were answered 200, {events.accepted:,} counted")
    return tuple(faults)


def _faults_of_cache(degraded: int) -> tuple[str, ...]:
    return (f"{degraded:,} look-ups were degraded misses",) if degraded else ()


def share(amount: float, parts: float) -> float:
    """Return what falls to each part, and 0 where there is none."""
    return amount / parts if parts else 0.0
