"""What the command line asks for."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import delivery, recovery, redact_rows
from tests.bench.rows import ROWS, Row

if TYPE_CHECKING:
    from collections.abc import Sequence

ROUNDS, SECONDS = 5, 4
WORKERS = (1, 2)
QUICK_ROUNDS, QUICK_SECONDS = 2, 1
LOST_PUSH = 3
DELIVERY_ROUNDS = 3
"""Each has three sides and three numbers of clients: more would take a quarter of an hour."""

DELIVERY_WORKERS = (1,)
QUICK_RECOVERY_EVENTS = 20_000
REDACTION = ("redact", "worst")
PARTS = ("rows", *delivery.PARTS, *REDACTION)

ABOUT = """Measure the running service with wrk, beside a floor: gunicorn's stock gevent worker with a bare WSGI
callable that reads the same request and answers as many bytes; then what delivery costs; then redaction by
itself, beside Presidio where it is installed. The tables go to stdout, progress to stderr.
Exit code: 0; 1 when an answer was an error, an event did not arrive or a planted finding was left; 2 when a
program is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to measure, and how."""

    rounds: int
    seconds: int
    connections: int
    workers: tuple[int, ...]
    parts: frozenset[str]
    """Of PARTS."""
    delivery_rounds: int
    delivery_workers: tuple[int, ...]
    recovery_events: int
    redact_rounds: int
    redact_turn_s: float
    """CPU time of one side's turn."""
    texts: Path | None
    """A file of texts to redact; None: the one beside the project."""
    rows: tuple[Row, ...]
    pin: bool | None
    json_file: Path | None
    lose: int
    """Which push a sink forgets (0: none)."""


def parse(arguments: Sequence[str]) -> Options:
    """Return the options; SystemExit with 2 for what cannot be meant."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ", ".join(row.name for row in ROWS)
    add = parser.add_argument
    add("--rounds", type=_positive, help=f"rounds; floor and row take turns in each (default {ROUNDS})")
    add("--seconds", type=_positive, help=f"seconds of load in each measurement (default {SECONDS})")
    add("--connections", type=_positive, default=32, help="kept connections of wrk (default 32)")
    add("--workers", type=_workers, help="numbers of workers, as 1,2 (the default; delivery: 1)")
    add("--rows", type=_rows, help=f"these rows, with commas, and nothing of delivery; all are: {names}")
    add(
        "--only",
        type=_parts,
        help=f"parts, with commas: rows, delivery, or of delivery {', '.join(delivery.PARTS)}; redact, worst "
        "(default: all)",
    )
    add("--recovery-events", type=_positive, help=f"events of the backlog (default {recovery.EVENTS:,})")
    add(
        "--texts",
        type=Path,
        metavar="FILE",
        help="texts to redact: a question and an answer a line, as JSON "
        f"(default ../{redact_rows.TEXTS.relative_to(redact_rows.REPOSITORY.parent)} where it is, made ones else)",
    )
    add("--quick", action="store_true", help=f"a trial: {QUICK_ROUNDS} rounds of {QUICK_SECONDS} s")
    add(
        "--pin",
        action=argparse.BooleanOptionalAction,
        help="floor and service on a core of their own, all else on the others (default: for one worker)",
    )
    add("--json", type=Path, metavar="FILE", help="write every measurement to this file")
    add("--lose-push", action="store_true", help="let each sink forget its third push, to see the benchmark find out")
    given = parser.parse_args(arguments)
    if given.texts and not given.texts.is_file():
        parser.error(f"--texts: there is no file {given.texts}")
    return Options(
        rounds=given.rounds or (QUICK_ROUNDS if given.quick else ROUNDS),
        seconds=given.seconds or (QUICK_SECONDS if given.quick else SECONDS),
        connections=given.connections,
        workers=given.workers or WORKERS,
        parts=given.only or frozenset({"rows"} if given.rows else PARTS),
        delivery_rounds=given.rounds or (QUICK_ROUNDS if given.quick else DELIVERY_ROUNDS),
        delivery_workers=given.workers or DELIVERY_WORKERS,
        redact_rounds=given.rounds or (QUICK_ROUNDS if given.quick else ROUNDS),
        redact_turn_s=redact_rows.QUICK_TURN_S if given.quick else redact_rows.TURN_S,
        texts=given.texts,
        recovery_events=given.recovery_events or (QUICK_RECOVERY_EVENTS if given.quick else recovery.EVENTS),
        rows=given.rows or tuple(ROWS),
        pin=given.pin,
        json_file=given.json,
        lose=LOST_PUSH if given.lose_push else 0,
    )


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("a whole number from 1")
    return value


def _workers(text: str) -> tuple[int, ...]:
    return tuple(dict.fromkeys(_positive(part) for part in text.split(",")))


def _parts(text: str) -> frozenset[str]:
    wanted = set(text.split(","))
    unknown = wanted - {*PARTS, "delivery"}
    if unknown:
        raise argparse.ArgumentTypeError(f"no part {', '.join(sorted(unknown))}")
    return frozenset(wanted - {"delivery"}) | frozenset(delivery.PARTS if "delivery" in wanted else ())


def _rows(text: str) -> tuple[Row, ...]:
    wanted = text.split(",")
    unknown = set(wanted) - {row.name for row in ROWS}
    if unknown:
        raise argparse.ArgumentTypeError(f"no row {', '.join(sorted(unknown))}")
    return tuple(row for row in ROWS if row.name in wanted)
