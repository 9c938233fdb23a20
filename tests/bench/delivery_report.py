"""The delivery rows as Markdown. Pure: figures in, text out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench import away_row, recovery, sync_rows
from tests.bench.delivery_figures import SpoolFigures, SyncFigures, spool_figures, sync_figures
from tests.bench.figures import Figure, RowFigures, figures_of
from tests.bench.report import spread, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.delivery import Delivery
    from tests.bench.recovery import Recovery

SYNC_OF_UNSYNCED, SYNC_OF_FLOOR = 0.75, 0.33
REACH_CLIENTS = 32
AWAY_P99_MS = 50.0
RECOVERY_PER_S = 50_000

SYNC = (
    *("workers", "clients", "synced req/s", "unsynced req/s", "synced ÷ unsynced", "floor req/s"),
    *("synced of floor", "unsynced of floor"),
)
LATENCY = (
    *("workers", "clients", "synced p50 ms", "synced p99 ms", "unsynced p50 ms", "unsynced p99 ms"),
    *("floor p99 ms", "synced CPU µs", "unsynced CPU µs", "errors"),
)
ARRIVED = ("workers", "clients", "", "accepted", "arrived", "late", "late by s")
AWAY = (
    *("workers", "clients", "req/s", "floor req/s", "of floor", "p50 ms", "p99 ms", "floor p99 ms", "errors"),
    *("accepted", "arrived", "after s"),
)
SPOOL = (
    *("event", "callers", "events/s", "one by one events/s", "times", "p50 ms", "p99 ms", "acknowledged"),
    "in the files",
)
RECOVERY = (
    *("workers", "events", "MiB on disk", "events/s", "events/s from the start", "s", "s from the start"),
    *("CPU s", "sink alone events/s", "arrived", "different"),
)
REACHES = ("reach", "workers", "should reach", "is", "")

LEGEND = f"""*Synced*: SPOOL_SYNC=group; *unsynced*: SPOOL_SYNC=off; both run beside the floor and take turns, each
with a sink of its own; ratios are of the same round. *Away*: LOKI_URL refuses connections while it is measured;
*after s*: from Loki's return to the last event, the service's backoff in it. *One by one*: a write and an fdatasync an
event, one caller. *Recovery*: events of {recovery.LEAST_BYTES} to {recovery.MOST_BYTES} bytes in {recovery.STREAMS}
streams, logged while Loki is away; SIGKILL of all processes; started again with a sink that counts. *From the start*:
from the start of the process until the last push; else from the first push on."""


def render(found: Delivery) -> str:
    """Return the part of the report about delivery."""
    sync = sync_figures(sync_rows.LOG, found.sync)
    away = _away_figures(found)
    spool = spool_figures(found.spool)
    parts = ["## Delivery", "\n".join(f"- {name}: {value}" for name, value in found.facts.items()), *found.notes]
    if sync:
        parts += ["### `POST /log`, the specification's example, with and without fdatasync"]
        parts += [table(SYNC, [_sync(one) for one in sync]), table(LATENCY, [_latency(one) for one in sync])]
        parts += [table(ARRIVED, [row for one in sync for row in _arrived(one)])]
    if away:
        rows = [_away(one, found) for one in away]
        parts += ["### `POST /log` while Loki is away", table(AWAY, rows)]
    if spool:
        parts += ["### The spool by itself, without HTTP", table(SPOOL, [_spool(one) for one in spool])]
    if found.recovery:
        rows = [_recovery(workers, rounds) for workers, rounds in sorted(found.recovery.items())]
        parts += ["### Recovery of a backlog", table(RECOVERY, rows)]
    reaches = [*_sync_reaches(sync), *_away_reaches(away, found), *_recovery_reaches(found)]
    if reaches:
        parts += ["### Reaches of delivery", table(REACHES, reaches)]
    parts += [LEGEND, *(f"**{failure}**" for failure in found.failures)]
    return "\n\n".join(parts) + "\n"


def _sync(one: SyncFigures) -> list[str]:
    return [
        *(str(one.workers), str(one.clients), spread(one.synced.rate), spread(one.unsynced.rate)),
        *(spread(one.sync_ratio, 3), spread(one.synced.floor_rate)),
        *(spread(one.synced.rate_ratio, 3), spread(one.unsynced.rate_ratio, 3)),
    ]


def _latency(one: SyncFigures) -> list[str]:
    sides = (one.synced, one.unsynced)
    return [
        *(str(one.workers), str(one.clients)),
        *(spread(figure, 2) for side in sides for figure in (side.p50_ms, side.p99_ms)),
        *(spread(one.synced.floor_p99_ms, 2), spread(one.synced.cpu_us), spread(one.unsynced.cpu_us)),
        f"{one.synced.errors + one.unsynced.errors:,}",
    ]


def _arrived(one: SyncFigures) -> list[list[str]]:
    return [
        [
            *(str(one.workers), str(one.clients), name, f"{side.accepted:,}", f"{side.arrived:,}"),
            *(spread(side.late), spread(side.late_s, 1)),
        ]
        for name, side in (("synced", one.synced), ("unsynced", one.unsynced))
    ]


def _away_figures(found: Delivery) -> list[RowFigures]:
    numbers = sorted({one.workers for one in found.away})
    return [one for workers in numbers if (one := figures_of(away_row.ROW, workers, found.away))]


def _away(one: RowFigures, found: Delivery) -> list[str]:
    arrival = found.arrivals.get(one.workers)
    last = [f"{arrival.accepted:,}", f"{arrival.arrived:,}", f"{arrival.took_s:.1f}"] if arrival else ["", "", ""]
    return [
        *(str(one.workers), str(away_row.CLIENTS), spread(one.rate), spread(one.floor_rate), spread(one.rate_ratio, 3)),
        *(spread(one.p50_ms, 2), spread(one.p99_ms, 2), spread(one.floor_p99_ms, 2), f"{one.errors:,}", *last),
    ]


def _spool(one: SpoolFigures) -> list[str]:
    return [
        *(f"{one.event_bytes} B", str(one.callers), spread(one.rate), spread(one.floor_rate)),
        *(spread(one.rate_ratio, 1), spread(one.p50_ms, 2), spread(one.p99_ms, 2)),
        *(f"{one.events:,}", f"{one.found:,}"),
    ]


def _recovery(workers: int, rounds: Sequence[Recovery]) -> list[str]:
    return [
        *(str(workers), f"{rounds[0].events:,}", f"{rounds[0].disk_bytes / recovery.MIB:,.0f}"),
        *(spread(Figure.of(one.per_s for one in rounds)), spread(Figure.of(one.per_s_from_start for one in rounds))),
        *(spread(Figure.of(one.pushed_s for one in rounds), 2), spread(Figure.of(one.started_s for one in rounds), 2)),
        *(spread(Figure.of(one.cpu_s for one in rounds), 1), spread(Figure.of(one.sink_per_s for one in rounds))),
        *("; ".join(f"{one.arrived:,}" for one in rounds), "; ".join(f"{one.distinct:,}" for one in rounds)),
    ]


def _sync_reaches(figures: Sequence[SyncFigures]) -> list[list[str]]:
    rows = []
    for one in figures:
        if one.clients != REACH_CLIENTS:
            continue
        for wanted, figure, of in (
            (SYNC_OF_UNSYNCED, one.sync_ratio, "of the unsynced rate"),
            (SYNC_OF_FLOOR, one.synced.rate_ratio, "of the floor"),
        ):
            verdict = _verdict(reached=figure.median >= wanted, sound=one.is_sound)
            name = f"`/log`, synced, {one.clients} clients"
            rows.append([name, str(one.workers), f"{wanted:.2f} {of}", spread(figure, 3), verdict])
    return rows


def _away_reaches(figures: Sequence[RowFigures], found: Delivery) -> list[list[str]]:
    rows = []
    for one in figures:
        arrival = found.arrivals.get(one.workers)
        sound = one.is_sound and arrival is not None and not arrival.faults
        verdict = _verdict(reached=one.p99_ms.median < AWAY_P99_MS, sound=sound)
        name = f"`/log` while Loki is away, {away_row.CLIENTS} clients"
        rows.append([name, str(one.workers), f"p99 under {AWAY_P99_MS:.0f} ms", spread(one.p99_ms, 2), verdict])
    return rows


def _recovery_reaches(found: Delivery) -> list[list[str]]:
    rows = []
    for workers, rounds in sorted(found.recovery.items()):
        rate = Figure.of(one.per_s for one in rounds)
        sound = not any(one.faults for one in rounds)
        verdict = _verdict(reached=rate.median >= RECOVERY_PER_S, sound=sound)
        rows.append(["recovery", str(workers), f"{RECOVERY_PER_S:,} events/s", spread(rate), verdict])
    return rows


def _verdict(*, reached: bool, sound: bool) -> str:
    if not sound:
        return "not valid: faults"
    return "reached" if reached else "not reached"
