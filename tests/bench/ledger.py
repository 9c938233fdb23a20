"""The balance of events: what the service accepted, what it says it delivered, what the sink has.

A benchmark whose events do not all arrive measures how fast they are lost.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.bench import cpu
from tests.harness.load import total

if TYPE_CHECKING:
    from tests.bench.processes import Sink
    from tests.harness.service import RunningService, Sample

LATE_S = 60.0
"""How long events may take to arrive once the load has ended."""

QUIET_S = 1.5
"""A batch is shipped when its oldest event is a second old, so this long without a push means that none is due."""

STUCK_LOOKS = 4
"""So many looks at an unbalanced ledger that does not move, and what is missing is taken for lost."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """What became of events, since the service started or between two looks."""

    accepted: int
    delivered: int
    arrived: int
    unreadable: int
    """Pushes whose entries the sink could not count."""

    @property
    def balances(self) -> bool:
        """Every event that was answered 200 was delivered, and arrived, once."""
        return self.accepted == self.delivered == self.arrived and not self.unreadable

    def since(self, before: Ledger) -> Ledger:
        """Return what has happened since `before`."""
        return Ledger(
            self.accepted - before.accepted,
            self.delivered - before.delivered,
            self.arrived - before.arrived,
            self.unreadable - before.unreadable,
        )

    def __str__(self) -> str:
        """The numbers, for a person."""
        unreadable = f", {self.unreadable} pushes unreadable" if self.unreadable else ""
        return f"accepted {self.accepted:,}, delivered {self.delivered:,}, arrived {self.arrived:,}{unreadable}"


@dataclass(frozen=True, slots=True)
class Reading:
    """The service at rest: its metrics, its CPU time before they were read, and the ledger."""

    samples: dict[Sample, float]
    busy_ns: int
    ledger: Ledger
    last_arrival_s: float
    """When the sink was last seen to have got something, on the monotonic clock."""

    def rise(self, before: Reading, name: str, **labels: str) -> int:
        """Return by how much a counter has risen since."""
        return int(total(self.samples, name, **labels) - total(before.samples, name, **labels))


def read_at_rest(service: RunningService, sink: Sink, *, quiet_s: float = 0.0) -> Reading:
    """Wait until the sink has all that was accepted (at most 60 s, less where nothing moves); return what is there.

    The first look at the service is taken when nothing has arrived for `quiet_s`: looking costs it CPU time too.
    """
    deadline_s = time.monotonic() + LATE_S
    pids = cpu.family(service.pid)
    looks: list[Ledger] = []
    last_arrival_s = 0.0
    while True:
        counts, since_s = sink.settled(QUIET_S if looks else quiet_s, deadline_s)
        busy_ns = cpu.busy_ns(pids)
        samples = service.metrics()
        ledger = Ledger(
            int(total(samples, "telemetry_cache_events_total", outcome="accepted")),
            int(total(samples, "telemetry_cache_delivery_events_total", outcome="delivered")),
            counts.entries,
            counts.unreadable,
        )
        if not looks or ledger.arrived != looks[-1].arrived:
            last_arrival_s = since_s
        looks.append(ledger)
        is_stuck = looks.count(ledger) >= STUCK_LOOKS
        if ledger.balances or is_stuck or time.monotonic() > deadline_s:
            return Reading(samples, busy_ns, ledger, last_arrival_s)
