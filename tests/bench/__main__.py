"""`python -m tests.bench`: start, measure in rounds, report. What a person sees is written here only."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tests.bench import delivery, delivery_report, machine, options, redact_report, redact_rows, report, worst, wrk
from tests.bench.errors import BenchError, MissingToolError
from tests.bench.figures import figures_of
from tests.bench.measure import Meter
from tests.bench.rows import ROWS
from tests.bench.site import Site
from tests.bench.worst import Worst
from tests.harness.service import ServiceError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from tests.bench.measure import Measurement
    from tests.bench.options import Options
    from tests.bench.rows import Row

WARM_UP_S = 1
QUOTED_LINES, QUOTED_CHARACTERS = 5, 300


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; return the exit code."""
    asked = options.parse(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _require_tools(asked.parts)
        return _run(asked, arguments)
    except MissingToolError as exc:
        _say(str(exc))
        return 2
    except KeyboardInterrupt:
        _say("interrupted; all processes were ended")
        return 130


def _run(asked: Options, arguments: Sequence[str]) -> int:
    facts = {**machine.facts(), "command": shlex.join(["python", "-m", "tests.bench", *arguments])}
    failures: list[str] = []
    taken: list[Measurement] = []
    notes: list[str] = []
    if "rows" in asked.parts:
        notes = _measure_rows(asked, facts, taken, failures)
    found = delivery.Delivery()
    if asked.parts.intersection(delivery.PARTS):
        found = delivery.measure(asked, _say, lambda one: _say(report.progress(one, asked.delivery_rounds)))
    redaction, slowest = redact_rows.Redaction(), list[Worst]()
    _measure_redaction(asked, redaction, slowest, failures)
    figures = [one for workers in asked.workers for row in asked.rows if (one := figures_of(row, workers, taken))]
    sys.stdout.write(report.render(facts, notes, figures))
    if asked.parts.intersection(delivery.PARTS):
        sys.stdout.write("\n" + delivery_report.render(found))
    if asked.parts.intersection(options.REDACTION):
        sys.stdout.write("\n" + redact_report.render(redaction, slowest))
    if asked.json_file:
        _write(asked.json_file, facts, taken, {"delivery": found, "redaction": redaction, "worst": slowest})
    faults = [*_faults(taken), *found.faults, *redaction.faults]
    for fault in faults:
        _say(f"FAULT: {fault}")  # once more, where it is read
    for failure in (*failures, *found.failures):
        _say(f"the benchmark ended early: {failure}")
    return 1 if faults or failures or found.failures else 0


def _measure_rows(asked: Options, facts: dict[str, str], taken: list[Measurement], failures: list[str]) -> list[str]:
    """Measure the rows into `taken`; return what is to be said of them besides."""
    rows = [row for row in asked.rows if row.server != "webdis" or shutil.which("webdis")]
    facts["load"] = f"wrk, 1 thread, {asked.connections} kept connections, {asked.rounds} rounds of {asked.seconds} s"
    try:
        for workers in asked.workers:
            with Site(workers, pin=asked.pin, lose=asked.lose, rows=rows) as site:
                facts[f"cores at WEB_CONCURRENCY={workers}"] = str(site.cores or "shared by all, as the system decides")
                for measurement in _rounds(site, asked, rows):
                    _say(report.progress(measurement, asked.rounds))
                    taken.append(measurement)
                _quote(site.service.stderr())
    except (BenchError, ServiceError) as exc:
        failures.append(str(exc))  # what was measured before is still worth a look
    notes = ["The row of Webdis is left out: it is not installed (Debian: apt-get install webdis).\n"]
    return notes if len(rows) < len(asked.rows) else []


def _measure_redaction(
    asked: Options, redaction: redact_rows.Redaction, slowest: list[Worst], failures: list[str]
) -> None:
    try:
        if "redact" in asked.parts:
            redact_rows.measure(
                redaction, _say, rounds=asked.redact_rounds, turn_s=asked.redact_turn_s, texts=asked.texts
            )
        if "worst" in asked.parts:
            for one in worst.measure():
                slowest.append(one)
                _say(str(one))
    except BenchError as exc:
        failures.append(f"redaction ended early: {exc}")


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


def _require_tools(parts: Collection[str]) -> None:
    if {"rows", "sync", "away"}.intersection(parts):
        wrk.require_wrk()
    needed = {"redis-server": "redis-server"} if "rows" in parts else {}
    if set(parts) - set(options.REDACTION):
        needed["ps"] = "procps"
    for tool, package in needed.items():
        if shutil.which(tool) is None:
            raise MissingToolError(f"{tool} is not installed (Debian: apt-get install {package})")


def _write(file: Path, facts: dict[str, str], taken: Sequence[Measurement], found: dict[str, Any]) -> None:
    value: dict[str, Any] = {"facts": facts, "measurements": [asdict(one) for one in taken]}
    for name, part in found.items():
        value[name] = [asdict(one) for one in part] if isinstance(part, list) else asdict(part)
    file.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def _faults(taken: Sequence[Measurement]) -> list[str]:
    """Say what was wrong; the warm-up counts as well: events are events."""
    return [
        f"{one.workers} workers, round {one.round}, {one.row}, {one.side}: {'; '.join(one.faults)}"
        for one in taken
        if one.faults
    ]


def _quote(stderr: str) -> None:
    """Repeat the service's last words, if it had any: at the level of warnings it keeps quiet when all is well."""
    for line in stderr.splitlines()[-QUOTED_LINES:]:
        _say(f"the service said: {line[:QUOTED_CHARACTERS]}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - progress is for whoever waits


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
