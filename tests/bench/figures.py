"""From measurements to figures: medians, spreads, ratios of the same round. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tests.bench.measure import Measurement
    from tests.bench.rows import Reach, Row


@dataclass(frozen=True, slots=True)
class Figure:
    """A number of several rounds."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Figure:
        """Return the median of the rounds and what lies around it; at least one round."""
        known = list(values)
        return cls(median(known), min(known), max(known))


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFigures:
    """A row at one number of workers."""

    row: Row
    workers: int
    rounds: int
    rate: Figure
    """Requests a second."""
    floor_rate: Figure
    rate_ratio: Figure
    """The server's rate by the floor's, in the same round."""
    p50_ms: Figure
    p99_ms: Figure
    floor_p99_ms: Figure
    cpu_us: Figure
    floor_cpu_us: Figure
    cpu_ratio: Figure
    """The floor's CPU time a request by the server's, in the same round."""
    events_per_s: Figure
    events_per_cpu_s: Figure
    accepted: int
    arrived: int
    late: Figure
    late_s: Figure
    cores_busy: Figure
    errors: int
    is_sound: bool
    """No round had a fault: the figures are of what the row says."""

    def of_reach(self, reach: Reach) -> Figure:
        """Return the figure that a reach speaks of."""
        return self.rate_ratio if reach.figure == "rate_ratio" else self.events_per_cpu_s


def figures_of(row: Row, workers: int, measurements: Sequence[Measurement]) -> RowFigures | None:
    """Return a row's figures; None where no round has both the floor and the server."""
    mine = [one for one in measurements if one.row == row.name and one.workers == workers and one.round > 0]
    floors = {one.round: one for one in mine if one.side == "floor"}
    servers = {one.round: one for one in mine if one.side != "floor"}
    pairs = [(floors[number], servers[number]) for number in sorted(floors.keys() & servers.keys())]
    if not pairs:
        return None

    def over(value: Callable[[Measurement, Measurement], float]) -> Figure:
        return Figure.of(value(floor, server) for floor, server in pairs)

    return RowFigures(
        row=row,
        workers=workers,
        rounds=len(pairs),
        rate=over(lambda _, server: server.load.per_s),
        floor_rate=over(lambda floor, _: floor.load.per_s),
        rate_ratio=over(lambda floor, server: ratio(server.load.per_s, floor.load.per_s)),
        p50_ms=over(lambda _, server: server.load.p50_ms),
        p99_ms=over(lambda _, server: server.load.p99_ms),
        floor_p99_ms=over(lambda floor, _: floor.load.p99_ms),
        cpu_us=over(lambda _, server: server.cpu_us),
        floor_cpu_us=over(lambda floor, _: floor.cpu_us),
        cpu_ratio=over(lambda floor, server: ratio(floor.cpu_us, server.cpu_us)),
        events_per_s=over(lambda _, server: server.events_per_s),
        events_per_cpu_s=over(lambda _, server: server.events_per_cpu_s),
        accepted=sum(server.accepted for _, server in pairs),
        arrived=sum(server.arrived for _, server in pairs),
        late=over(lambda _, server: server.late),
        late_s=over(lambda _, server: server.late_s),
        cores_busy=over(lambda _, server: server.cores_busy),
        errors=sum(one.errors for pair in pairs for one in pair),
        is_sound=not any(one.faults for pair in pairs for one in pair),
    )


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` of them do not pass; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def ratio(part: float, whole: float) -> float:
    """Return part / whole, and 0 where there is no whole."""
    return part / whole if whole else 0.0
