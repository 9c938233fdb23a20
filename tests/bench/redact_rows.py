"""Redaction by itself, in MB/s a core: `redact()` beside Python's `re`, the specification's algorithm and Presidio.

All search the same payloads, take turns in each round and are timed by the CPU time of their process. Presidio, some
hundred times slower, has the first of the payloads only.
"""

from __future__ import annotations

import gc
import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from app.core.detectors import load_rules
from app.core.redaction import redact
from tests.bench.presidio import NotInstalledError, Presidio
from tests.bench.redact_events import PLANTED_EVERY, Case, cases, left_in, size_of
from tests.bench.redact_others import PatternByPattern, redact_pii
from tests.harness.service import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from app.core.rules import Rules

TABLE = REPOSITORY / "config" / "detectors.toml"
TEXTS = REPOSITORY.parent / "shared" / "data" / "gsm8k-test.jsonl"
"""Real texts, where somebody has put them beside the project: a question and an answer a line."""

TURN_S, QUICK_TURN_S = 0.25, 0.1
"""CPU time of one side's turn; at least each payload once."""

PRESIDIO_EVENTS = PLANTED_EVERY
"""As many as have one planted finding among them."""

PRESIDIO = "Presidio"
OURS, RE, SPEC = "redact()", "re", "specification"
SIDES = (OURS, RE, SPEC, PRESIDIO)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One side's search of one row's payloads."""

    round: int
    case: str
    side: str
    events: int
    text_bytes: int
    """Of string values, in UTF-8."""
    cpu_s: float

    @property
    def us(self) -> float:
        """CPU time an event."""
        return self.cpu_s / self.events * 1e6

    @property
    def mb_per_s(self) -> float:
        """Megabytes (10^6) of text a second of CPU time."""
        return self.text_bytes / self.cpu_s / 1e6 if self.cpu_s else 0.0

    def __str__(self) -> str:
        """One line of progress."""
        return (
            f"redact  round {self.round}  {self.case:8} {self.side:14} {self.events:6,} events  "
            f"{self.us:9,.1f} µs an event  {self.mb_per_s:8.2f} MB/s"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What was found in one row's payloads, looked at once and not timed."""

    case: str
    title: str
    events: int
    text_bytes: int
    planted: int
    """Events with something planted."""
    left: dict[str, int]
    """By kind: planted values that stood in the event after `redact()`."""
    touched: dict[str, tuple[int, int]]
    """By side: events that were changed, of how many."""
    clean_touched: int
    """Events without anything planted that `redact()` changed."""


@dataclass(slots=True)
class Redaction:
    """What was measured."""

    facts: dict[str, str] = field(default_factory=dict)
    sights: list[Sight] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        """Say what was planted and not found: a rate of what finds nothing is no rate."""
        return [
            f"redact, {one.title}: {count} planted {kind} left of {one.planted} events with something planted"
            for one in self.sights
            for kind, count in one.left.items()
        ]


def shipped_rules() -> Rules:
    """Return the table as it is shipped."""
    return load_rules(TABLE.read_text(encoding="utf-8"))


def measure(
    found: Redaction, say: Callable[[str], None], *, rounds: int, turn_s: float, texts: Path | None = None
) -> None:
    """Measure into `found`; `texts` is a file of texts, and made ones serve where it is not there."""
    rules = shipped_rules()
    plain = PatternByPattern((one.name, _source(one)) for one in rules.detectors)
    file = texts or TEXTS
    rows = cases(file if file.is_file() else None)
    found.facts |= {
        "texts": file.name if file.is_file() else "made from a seed (no file of texts was there)",
        "table": f"{len(rules.detectors)} patterns; google-re2 {version('google-re2')}",
        "re": f"{len(plain.patterns)} patterns with the specification's; {len(plain.left_out)} are not in its syntax",
        "turns": f"{rounds} rounds; each side {turn_s:g} s of CPU time a turn",
    }
    with _presidio(found) as presidio:
        runs: dict[str, Callable[[Any], Any]] = {
            OURS: lambda payload: redact(payload, rules),
            RE: plain.redact,
            SPEC: redact_pii,
        }
        for case in rows:
            found.sights.append(_look(case, rules, plain, presidio))
        for number in range(1, rounds + 1):
            for turn in _round(number, rows, runs, presidio, turn_s):
                found.turns.append(turn)
                say(str(turn))


def _presidio(found: Redaction) -> Presidio | nullcontext[None]:
    """Start Presidio, if it is there, and put down which one."""
    try:
        presidio = Presidio.start()
    except NotInstalledError as exc:
        found.facts[PRESIDIO] = f"not installed: {exc}"
        return nullcontext()
    found.facts[PRESIDIO] = f"presidio-analyzer {presidio.version}: {', '.join(presidio.recognizers)}"
    return presidio


def _source(detector: Any) -> str:
    source = detector.pattern.pattern
    return source.decode() if isinstance(source, bytes) else source


def _look(case: Case, rules: Rules, plain: PatternByPattern, presidio: Presidio | None) -> Sight:
    """Search each payload once, untimed: it warms all sides up, and says what they find."""
    changed, left = [], Counter[str]()
    for payload, planted in zip(case.payloads, case.planted, strict=True):
        value = redact(payload, rules).value
        changed.append(value != payload)
        left.update(one.kind for one in left_in(value, planted))
    events = len(case.payloads)
    touched = {
        OURS: (sum(changed), events),
        RE: (sum(plain.redact(payload) != payload for payload in case.payloads), events),
        SPEC: (sum(bool(redact_pii(payload)[1]) for payload in case.payloads), events),
    }
    if presidio:
        some = case.payloads[:PRESIDIO_EVENTS]
        touched[PRESIDIO] = presidio.take(case.name, some), len(some)
    return Sight(
        case=case.name,
        title=case.title,
        events=events,
        text_bytes=case.text_bytes,
        planted=sum(map(bool, case.planted)),
        left=dict(left),
        touched=touched,
        clean_touched=sum(
            is_changed and not planted for is_changed, planted in zip(changed, case.planted, strict=True)
        ),
    )


def _round(
    number: int, rows: list[Case], runs: dict[str, Callable[[Any], Any]], presidio: Presidio | None, turn_s: float
) -> Iterator[Turn]:
    """Each row by each side; who comes first turns with the round."""
    for case in rows:
        first = number % len(SIDES)
        for side in (*SIDES[first:], *SIDES[:first]):
            some = case.payloads
            if side in runs:
                events, cpu_s = _timed(runs[side], some, turn_s)
            elif presidio:
                some = some[:PRESIDIO_EVENTS]
                events, cpu_s = presidio.search(case.name, turn_s)
            else:
                continue
            passes = events // len(some)
            size = passes * sum(map(size_of, some))
            yield Turn(round=number, case=case.name, side=side, events=events, text_bytes=size, cpu_s=cpu_s)


def _timed(run: Callable[[Any], Any], payloads: tuple[dict[str, Any], ...], seconds: float) -> tuple[int, float]:
    """Search all payloads, over and over, for so much CPU time; return how many, and the CPU time they took."""
    gc.collect()
    events, began_s = 0, time.process_time()
    while not events or time.process_time() - began_s < seconds:
        for payload in payloads:
            run(payload)
        events += len(payloads)
    return events, time.process_time() - began_s
