"""`POST /log` while Loki is away: its absence costs callers no time, and every event arrives afterwards."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tests.bench import cpu, wrk
from tests.bench.floor import ANSWER_BYTES
from tests.bench.measure import NS_PER_S, NS_PER_US, Measurement, Meter, faults_of, share
from tests.bench.processes import ClosedPort, Sink, start_floor
from tests.bench.stand import probe
from tests.bench.sync_rows import LOG, WARM_UP_S, LogStand
from tests.harness.load import total
from tests.harness.service import RunningService

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.bench.processes import Child
    from tests.bench.stand import Place

CLIENTS = 64
ARRIVAL_S = 120.0
"""How long the service may take to find that Loki is back: its backoff doubles, and this outage is a short one."""

POLL_S = 0.5
ROW = replace(LOG, name="away", title="`POST /log` while Loki is away", reach=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """What became of the events once Loki was there."""

    accepted: int
    arrived: int
    took_s: float
    """From Loki's return to the last event, to half a second."""

    @property
    def faults(self) -> tuple[str, ...]:
        """Say what is amiss."""
        if self.accepted == self.arrived:
            return ()
        return (f"{self.accepted:,} events were accepted while Loki was away, {self.arrived:,} arrived",)


def measure(place: Place, *, rounds: int, seconds: int, notice: Callable[[Measurement], None]) -> Arrival:
    """Measure floor and service in turns, then let Loki be there; `notice` hears of each measurement."""
    with ExitStack() as opened:
        closed = opened.enter_context(ClosedPort())
        env = place.service_env(closed.url, SPOOL_SYNC="group")
        service = opened.enter_context(RunningService(env, folder=place.folder / "away"))
        floor = opened.enter_context(start_floor(place.folder, service.env))
        floor.wait_for(lambda: len(cpu.family(floor.pid)) == 1 + place.workers)
        place.give_core(service)
        place.give_core(floor)
        for number in range(rounds + 1):
            for one in _round(place, floor, service, number, seconds if number else WARM_UP_S):
                notice(one)
        accepted = _accepted(service)
        closed.release()
        sink = opened.enter_context(Sink.start(place.folder, name="sink-away", port=closed.port, lose=place.lose))
        return _arrival(sink, accepted)


def _round(place: Place, floor: Child, service: RunningService, number: int, seconds: int) -> Iterator[Measurement]:
    body_bytes = probe(service.port, ROW)
    meter = Meter(LogStand(place.workers, place.folder, floor, service, None), seconds, CLIENTS)
    for side in ("floor", "service") if number % 2 else ("service", "floor"):
        if side == "floor":
            yield meter.floor(ROW, number, body_bytes)
        else:
            yield _service(place, service, number, seconds, body_bytes)


def _service(place: Place, service: RunningService, number: int, seconds: int, body_bytes: int) -> Measurement:
    """Measure the service; nothing of it can be delivered, so that there is nothing to wait for."""
    accepted = _accepted(service)
    pids = cpu.family(service.pid)
    before_ns = cpu.busy_ns(pids)
    headers = {**ROW.request.headers, ANSWER_BYTES: str(body_bytes)}
    load = wrk.run(service.url, ROW.request, headers, seconds=seconds, connections=CLIENTS, folder=place.folder)
    busy_ns = cpu.busy_ns(pids) - before_ns
    accepted = _accepted(service) - accepted
    answered = load.requests - load.refusals
    uncounted = (f"{answered:,} events were answered 200, {accepted:,} counted",) if accepted < answered else ()
    return Measurement(
        workers=place.workers,
        connections=CLIENTS,
        round=number,
        row=ROW.name,
        side="service",
        body_bytes=body_bytes,
        load=load,
        cpu_us=share(busy_ns / NS_PER_US, load.requests),
        cores_busy=share(busy_ns / NS_PER_S, load.duration_s),
        faults=(*faults_of(load), *uncounted),
        events_per_s=share(answered, load.duration_s),
        accepted=accepted,
    )


def _accepted(service: RunningService) -> int:
    return int(total(service.metrics(), "telemetry_cache_events_total", outcome="accepted"))


def _arrival(sink: Sink, accepted: int) -> Arrival:
    began_s = time.monotonic()
    while (arrived := sink.counts().entries) < accepted and time.monotonic() < began_s + ARRIVAL_S:
        time.sleep(POLL_S)
    return Arrival(accepted=accepted, arrived=arrived, took_s=time.monotonic() - began_s)
