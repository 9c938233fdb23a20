"""`POST /log` with SPOOL_SYNC=group, with SPOOL_SYNC=off, and the floor: they take turns, at 1, 32 and 128 clients."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Self

from tests.bench import cpu
from tests.bench.measure import Meter
from tests.bench.processes import Child, Sink, start_floor
from tests.bench.rows import ROWS
from tests.bench.stand import probe
from tests.harness.service import RunningService

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.bench.measure import Measurement
    from tests.bench.rows import Row
    from tests.bench.stand import Place

CLIENTS = (1, 32, 128)
LOG = next(row for row in ROWS if row.name == "log")
WARM_UP_S = 1

SyncSide = Literal["synced", "unsynced"]
SYNC: dict[SyncSide, str] = {"synced": "group", "unsynced": "off"}
"""SPOOL_SYNC of each side."""


@dataclass(frozen=True, slots=True)
class LogStand:
    """A service with a sink of its own, beside the floor."""

    workers: int
    folder: Path
    floor: Child
    service: RunningService
    sink: Sink | None
    """None: it is away, and only the floor is measured by a Meter."""

    def server(self, row: Row) -> RunningService:  # noqa: ARG002 - a Stand's signature
        """Return the service: it answers everything here."""
        return self.service


class SyncSite:
    """Both services and the floor, running; each service has a sink, so that nobody's events count for the other."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._open = ExitStack()
        self.stands: dict[SyncSide, LogStand] = {}

    def __enter__(self) -> Self:
        """Start all; what had started is ended if something does not."""
        try:
            services = {side: self._start(side) for side in SYNC}
            floor = self._open.enter_context(start_floor(self._place.folder, services["synced"][0].env))
            floor.wait_for(lambda: len(cpu.family(floor.pid)) == 1 + self._place.workers)
        except BaseException:
            self._open.close()
            raise
        for side, (service, sink) in services.items():
            self.stands[side] = LogStand(self._place.workers, self._place.folder, floor, service, sink)
            self._place.give_core(service)
        self._place.give_core(floor)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _start(self, side: SyncSide) -> tuple[RunningService, Sink]:
        sink = self._open.enter_context(Sink.start(self._place.folder, name=f"sink-{side}", lose=self._place.lose))
        env = self._place.service_env(sink.child.url, SPOOL_SYNC=SYNC[side])
        return self._open.enter_context(RunningService(env, folder=self._place.folder / side)), sink

    def measure(self, side: SyncSide | Literal["floor"], number: int, seconds: int, clients: int) -> Measurement:
        """Measure one of the three in round `number`."""
        stand = self.stands["synced" if side == "floor" else side]
        meter = Meter(stand, seconds, clients)
        body_bytes = probe(stand.service.port, LOG)
        if side == "floor":
            return meter.floor(LOG, number, body_bytes)
        return replace(meter.server(LOG, number, body_bytes), side=side)


def measure(place: Place, *, rounds: int, seconds: int, clients: Sequence[int] = CLIENTS) -> Iterator[Measurement]:
    """Warm up, then measure; who comes first changes with each round, against what drifts."""
    with SyncSite(place) as site:
        for number in range(rounds + 1):
            for connections in clients:
                for side in in_turn(number):
                    yield site.measure(side, number, seconds if number else WARM_UP_S, connections)


def in_turn(number: int) -> tuple[SyncSide | Literal["floor"], ...]:
    """Return the sides in a round's order: each is first, second and last in three rounds."""
    sides: tuple[SyncSide | Literal["floor"], ...] = ("floor", "synced", "unsynced")
    first = number % len(sides)
    return sides[first:] + sides[:first]
