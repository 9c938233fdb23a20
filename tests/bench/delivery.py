"""The rows about delivery: synced beside unsynced, Loki away, the spool by itself, recovery.

A part that ends early leaves the others alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.bench import away_row, disk, recovery, spool_rows, sync_rows
from tests.bench.errors import BenchError
from tests.bench.spool_rows import SpoolMissingError
from tests.bench.stand import Place
from tests.harness.service import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bench.away_row import Arrival
    from tests.bench.measure import Measurement
    from tests.bench.options import Options
    from tests.bench.recovery import Recovery
    from tests.bench.spool_rows import SpoolMeasurement

PARTS = ("sync", "away", "spool", "recovery")


@dataclass(slots=True)
class Delivery:
    """What the parts measured, and what kept them from it."""

    facts: dict[str, str] = field(default_factory=dict)
    sync: list[Measurement] = field(default_factory=list)
    away: list[Measurement] = field(default_factory=list)
    arrivals: dict[int, Arrival] = field(default_factory=dict)
    """By number of workers: what was logged while Loki was away."""
    spool: list[SpoolMeasurement] = field(default_factory=list)
    recovery: dict[int, list[Recovery]] = field(default_factory=dict)
    """By number of workers."""
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        """Say what was wrong, wherever it was."""
        plain = [
            f"{one.workers} workers, round {one.round}, {one.row}, {one.side}, {one.connections} clients: {fault}"
            for one in (*self.sync, *self.away)
            for fault in one.faults
        ]
        others = [*self.arrivals.values(), *self.spool, *(one for rounds in self.recovery.values() for one in rounds)]
        return [*plain, *(fault for one in others for fault in one.faults)]


def measure(asked: Options, say: Callable[[str], None], show: Callable[[Measurement], None]) -> Delivery:
    """Measure the parts that are asked for; `say` and `show` hear of the progress."""
    found = Delivery()
    found.facts["load"] = f"wrk, 1 thread, {asked.delivery_rounds} rounds of {asked.seconds} s"

    def attempt(part: str, run: Callable[[], None]) -> None:
        if part not in asked.parts:
            return
        try:
            run()
        except SpoolMissingError as exc:
            found.notes.append(f"Not measured, {part}: {exc}.")
            say(found.notes[-1])
        except (BenchError, ServiceError, OSError) as exc:
            found.failures.append(f"{part} ended early: {exc}")
            say(found.failures[-1])

    for workers in asked.delivery_workers:
        with Place(workers, pin=asked.pin, lose=asked.lose) as place:
            found.facts["spool's disk"] = str(disk.look(place.folder))
            found.facts[f"cores at WEB_CONCURRENCY={workers}"] = place.cores_said
            attempt("sync", lambda place=place: _sync(place, asked, found, show))
            attempt("away", lambda place=place: _away(place, asked, found, show))
            attempt("recovery", lambda place=place: _recovery(place, asked, found, say))
    with Place(1, pin=asked.pin) as place:
        attempt("spool", lambda: _spool(place, asked, found, say))
    return found


def _sync(place: Place, asked: Options, found: Delivery, show: Callable[[Measurement], None]) -> None:
    for one in sync_rows.measure(place, rounds=asked.delivery_rounds, seconds=asked.seconds):
        found.sync.append(one)
        show(one)


def _away(place: Place, asked: Options, found: Delivery, show: Callable[[Measurement], None]) -> None:
    def notice(one: Measurement) -> None:
        found.away.append(one)
        show(one)

    rounds = asked.delivery_rounds
    found.arrivals[place.workers] = away_row.measure(place, rounds=rounds, seconds=asked.seconds, notice=notice)


def _spool(place: Place, asked: Options, found: Delivery, say: Callable[[str], None]) -> None:
    seconds = min(spool_rows.SECONDS, asked.seconds)
    for one in spool_rows.measure(place, rounds=asked.delivery_rounds, seconds=seconds):
        found.spool.append(one)
        say(str(one))


def _recovery(place: Place, asked: Options, found: Delivery, say: Callable[[str], None]) -> None:
    for one in recovery.measure(place, rounds=asked.delivery_rounds, events=asked.recovery_events):
        found.recovery.setdefault(place.workers, []).append(one)
        say(str(one))
