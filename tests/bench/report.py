"""The report as Markdown. Pure: figures in, text out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.bench.figures import Figure, RowFigures
    from tests.bench.measure import Measurement

RATES = ("row", "req/s", "floor req/s", "of floor", "p50 ms", "p99 ms", "floor p99 ms", "errors")
COSTS = ("row", "CPU µs a request", "floor CPU µs", "floor ÷ row", "cores busy")
EVENTS = ("row", "events/s", "events/s a core", "accepted", "arrived", "late", "late by s")
LEGEND = """Medians of the rounds (least-most). *Of floor*: the row's rate by the floor's in the same round. *CPU*: all
threads of gunicorn's processes, until the events of the load were delivered. *Cores busy*: CPU seconds a second of
load; well below the number of workers, and something else was slow: wrk, or neighbours. *Late*: accepted events that
had not arrived when the load ended, and for how long. *Errors*: answers that were not 2xx, socket errors, degraded
look-ups."""
REACHES = ("row", "workers", "should reach", "is", "by CPU time", "")


def render(facts: Mapping[str, str], notes: Sequence[str], rows: Sequence[RowFigures]) -> str:
    """Return the report, without the part about delivery."""
    parts = ["# Benchmark", "\n".join(f"- {name}: {value}" for name, value in facts.items())]
    if notes:
        parts.append("\n".join(notes))
    if not rows:
        return "\n\n".join(parts) + "\n"
    for workers in sorted({figures.workers for figures in rows}):
        parts += _of_workers(workers, [figures for figures in rows if figures.workers == workers])
    reaches = [_reach(figures) for figures in rows if figures.row.reach]
    if reaches:
        parts += ["## Reaches", table(REACHES, reaches)]
    parts.append(LEGEND)
    return "\n\n".join(parts) + "\n"


def progress(one: Measurement, rounds: int) -> str:
    """Return one line about a measurement, for whoever waits."""
    number = f"round {one.round}/{rounds}" if one.round else "warm-up"
    events = f"  {one.events_per_s:,.0f} events/s, {one.late:,} late by {one.late_s:.1f} s" if one.events_per_s else ""
    return (
        f"{one.workers} worker{'s' if one.workers > 1 else ''}  {number:9}  {one.row:10}  {one.side:8}  "
        f"{one.connections:3} clients  {one.load.per_s:8,.0f} req/s  p50 {one.load.p50_ms:6.2f} ms  "
        f"p99 {one.load.p99_ms:6.2f} ms  CPU {one.cpu_us:6,.0f} µs{events}"
        f"{''.join(f'  FAULT: {fault}' for fault in one.faults)}"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, numbers to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def spread(figure: Figure, digits: int = 0) -> str:
    """Return `median (least-most)`."""
    shown = [f"{value:,.{digits}f}" for value in (figure.median, figure.least, figure.most)]
    return f"{shown[0]} ({shown[1]}–{shown[2]})"  # noqa: RUF001 - a range


def _of_workers(workers: int, rows: Sequence[RowFigures]) -> list[str]:
    title = f"## {workers} worker{'s' if workers > 1 else ''}"
    parts = [title, table(RATES, [_rate(one) for one in rows]), table(COSTS, [_cost(one) for one in rows])]
    with_events = [one for one in rows if one.row.events]
    if with_events:
        parts.append(table(EVENTS, [_events(one) for one in with_events]))
    return parts


def _rate(one: RowFigures) -> list[str]:
    return [
        one.row.title,
        spread(one.rate),
        spread(one.floor_rate),
        spread(one.rate_ratio, 3),
        spread(one.p50_ms, 2),
        spread(one.p99_ms, 2),
        spread(one.floor_p99_ms, 2),
        f"{one.errors:,}",
    ]


def _cost(one: RowFigures) -> list[str]:
    return [
        one.row.title,
        spread(one.cpu_us),
        spread(one.floor_cpu_us),
        spread(one.cpu_ratio, 3),
        spread(one.cores_busy, 2),
    ]


def _events(one: RowFigures) -> list[str]:
    return [
        one.row.title,
        spread(one.events_per_s),
        spread(one.events_per_cpu_s),
        f"{one.accepted:,}",
        f"{one.arrived:,}",
        spread(one.late),
        spread(one.late_s, 1),
    ]


def _reach(one: RowFigures) -> list[str]:
    reach = one.row.reach
    if reach is None:
        return []
    is_ratio = reach.figure == "rate_ratio"
    value = one.of_reach(reach)
    wanted = f"{reach.at_least:.2f} of the floor" if is_ratio else f"{reach.at_least:,.0f} events/s a core"
    verdict = "reached" if value.median >= reach.at_least else "not reached"
    return [
        one.row.title,
        str(one.workers),
        wanted,
        spread(value, 3 if is_ratio else 0),
        spread(one.cpu_ratio, 3) if is_ratio else "",
        verdict if one.is_sound else "not valid: faults",
    ]
