"""`python -m tests.bench`: start, measure in rounds, report. What a person sees is written here only."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tests.bench import machine, options, report, wrk
from tests.bench.errors import BenchError, MissingToolError
from tests.bench.figures import figures_of
from tests.bench.measure import Meter
from tests.bench.rows import ROWS
from tests.bench.site import Site
from tests.harness.service import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.bench.measure import Measurement
    from tests.bench.options import Options
    from tests.bench.rows import Row

WARM_UP_S = 1
LOST_PUSH = 3
QUOTED_LINES, QUOTED_CHARACTERS = 5, 300


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; return the exit code."""
    asked = options.parse(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _require_tools()
        return _run(asked, arguments)
    except MissingToolError as exc:
        _say(str(exc))
        return 2
    except KeyboardInterrupt:
        _say("interrupted; all processes were ended")
        return 130


def _run(asked: Options, arguments: Sequence[str]) -> int:
    rows = [row for row in asked.rows if row.server != "webdis" or shutil.which("webdis")]
    notes = ["The row of Webdis is left out: it is not installed (Debian: apt-get install webdis).\n"]
    notes = notes if len(rows) < len(asked.rows) else []
    facts = {**machine.facts(), "command": shlex.join(["python", "-m", "tests.bench", *arguments])}
    facts["load"] = f"wrk, 1 thread, {asked.connections} kept connections, {asked.rounds} rounds of {asked.seconds} s"
    taken: list[Measurement] = []
    failure: Exception | None = None
    try:
        for workers in asked.workers:
            with Site(workers, pin=asked.pin, lose=LOST_PUSH if asked.lose_push else 0, rows=rows) as site:
                facts[f"cores at WEB_CONCURRENCY={workers}"] = str(site.cores or "shared by all, as the system decides")
                for measurement in _rounds(site, asked, rows):
                    _progress(measurement, asked)
                    taken.append(measurement)
                _quote(site.service.stderr())
    except (BenchError, ServiceError) as exc:
        failure = exc  # what was measured before is still worth a look
    figures = [one for workers in asked.workers for row in rows if (one := figures_of(row, workers, taken))]
    sys.stdout.write(report.render(facts, notes, figures))
    if asked.json_file:
        _write(asked, facts, taken)
    is_faulty = _tell_faults(taken)
    if failure:
        _say(f"the benchmark ended early: {failure}")
    return 1 if is_faulty or failure else 0


def _rounds(site: Site, asked: Options, rows: Sequence[Row]) -> Iterator[Measurement]:
    """Warm up, then measure: the order of floor and row turns with each round, against what drifts."""
    for row in ROWS:  # some of everything, so that /metrics is a real page
        if row.server == "service":
            site.probe(row)
    for number in range(asked.rounds + 1):
        meter = Meter(site, asked.seconds if number else WARM_UP_S, asked.connections)
        for row in rows:
            body_bytes = site.probe(row)
            sides = (meter.floor, meter.server) if number % 2 else (meter.server, meter.floor)
            for measure in sides:
                yield measure(row, number, body_bytes)


def _require_tools() -> None:
    wrk.require_wrk()
    for tool, package in (("redis-server", "redis-server"), ("ps", "procps")):
        if shutil.which(tool) is None:
            raise MissingToolError(f"{tool} is not installed (Debian: apt-get install {package})")


def _progress(one: Measurement, asked: Options) -> None:
    number = f"round {one.round}/{asked.rounds}" if one.round else "warm-up"
    events = f"  {one.events_per_s:,.0f} events/s, {one.late:,} late by {one.late_s:.1f} s" if one.events_per_s else ""
    _say(
        f"{one.workers} worker{'s' if one.workers > 1 else ''}  {number:9}  {one.row:10}  {one.side:7}  "
        f"{one.load.per_s:8,.0f} req/s  p50 {one.load.p50_ms:6.2f} ms  p99 {one.load.p99_ms:6.2f} ms  "
        f"CPU {one.cpu_us:6,.0f} µs{events}{''.join(f'  FAULT: {fault}' for fault in one.faults)}"
    )


def _write(asked: Options, facts: dict[str, str], taken: Sequence[Measurement]) -> None:
    value: dict[str, Any] = {"facts": facts, "measurements": [asdict(one) for one in taken]}
    if asked.json_file:
        asked.json_file.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def _tell_faults(taken: Sequence[Measurement]) -> bool:
    """Say what was wrong once more, where it is read; the warm-up counts as well: events are events."""
    faulty = [one for one in taken if one.faults]
    for one in faulty:
        _say(f"FAULT: {one.workers} workers, round {one.round}, {one.row}, {one.side}: {'; '.join(one.faults)}")
    return bool(faulty)


def _quote(stderr: str) -> None:
    """Repeat the service's last words, if it had any: at the level of warnings it keeps quiet when all is well."""
    for line in stderr.splitlines()[-QUOTED_LINES:]:
        _say(f"the service said: {line[:QUOTED_CHARACTERS]}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - progress is for whoever waits


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
