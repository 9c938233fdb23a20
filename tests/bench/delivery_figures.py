"""From what the delivery rows measured to figures. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.bench.figures import Figure, RowFigures, figures_of, ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.measure import Measurement
    from tests.bench.rows import Row
    from tests.bench.spool_rows import SpoolMeasurement


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncFigures:
    """`/log` at one number of workers and clients, with and without fdatasync."""

    workers: int
    clients: int
    synced: RowFigures
    unsynced: RowFigures
    sync_ratio: Figure
    """The synced rate by the unsynced one, in the same round."""

    @property
    def is_sound(self) -> bool:
        """Whether no round of either had a fault."""
        return self.synced.is_sound and self.unsynced.is_sound


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolFigures:
    """The spool by itself, with events of one size and so many callers."""

    event_bytes: int
    callers: int
    rate: Figure
    floor_rate: Figure
    """Of a write and an fdatasync an event."""
    rate_ratio: Figure
    p50_ms: Figure
    p99_ms: Figure
    events: int
    found: int


def sync_figures(row: Row, measurements: Sequence[Measurement]) -> list[SyncFigures]:
    """Return the figures by workers and clients, of those that were measured with and without."""
    found = []
    for workers, clients in sorted({(one.workers, one.connections) for one in measurements}):
        mine = [one for one in measurements if (one.workers, one.connections) == (workers, clients)]
        synced = figures_of(row, workers, [one for one in mine if one.side != "unsynced"])
        unsynced = figures_of(row, workers, [one for one in mine if one.side != "synced"])
        rates = {(one.side, one.round): one.load.per_s for one in mine if one.round > 0}
        rounds = [number for side, number in rates if side == "synced" and ("unsynced", number) in rates]
        if synced and unsynced and rounds:
            pairs = [ratio(rates["synced", number], rates["unsynced", number]) for number in rounds]
            found.append(
                SyncFigures(
                    workers=workers, clients=clients, synced=synced, unsynced=unsynced, sync_ratio=Figure.of(pairs)
                )
            )
    return found


def spool_figures(measurements: Sequence[SpoolMeasurement]) -> list[SpoolFigures]:
    """Return the figures by size and callers, of the rounds that have a floor too."""
    floors = {(one.event_bytes, one.round): one for one in measurements if one.side == "floor"}
    spools = [one for one in measurements if one.side == "group" and (one.event_bytes, one.round) in floors]
    found = []
    for event_bytes, callers in sorted({(one.event_bytes, one.callers) for one in spools}):
        mine = [one for one in spools if (one.event_bytes, one.callers) == (event_bytes, callers)]
        beside = [floors[event_bytes, one.round] for one in mine]
        found.append(
            SpoolFigures(
                event_bytes=event_bytes,
                callers=callers,
                rate=Figure.of(one.per_s for one in mine),
                floor_rate=Figure.of(one.per_s for one in beside),
                rate_ratio=Figure.of(ratio(one.per_s, floor.per_s) for one, floor in zip(mine, beside, strict=True)),
                p50_ms=Figure.of(one.p50_ms for one in mine),
                p99_ms=Figure.of(one.p99_ms for one in mine),
                events=sum(one.events for one in mine),
                found=sum(one.found for one in mine),
            )
        )
    return found
