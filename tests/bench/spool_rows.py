"""The spool by itself, in events a second: 1, 32 and 128 greenlets append, each event acknowledged by a group commit.

Beside it, in turns: a write and an fdatasync an event, which is what there is without group commit. A child process
does it (`spool_child.py`, where the spool is opened).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tests.bench import cpu
from tests.bench.errors import BenchError
from tests.harness.service import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.stand import Place

CALLERS = (1, 32, 128)
EVENT_BYTES = (600, 1024)
SECONDS = 1.0
GRACE_S = 60.0

SpoolSide = Literal["floor", "group", "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolMeasurement:
    """What one child said."""

    round: int
    side: SpoolSide
    event_bytes: int
    callers: int
    events: int
    """Acknowledged."""
    duration_s: float
    p50_ms: float
    """Of one append."""
    p99_ms: float
    found: int
    """Whole events in the files afterwards."""

    @property
    def per_s(self) -> float:
        """Events a second."""
        return self.events / self.duration_s if self.duration_s else 0.0

    @property
    def faults(self) -> tuple[str, ...]:
        """Say what is amiss."""
        if self.events and self.events == self.found:
            return ()
        return (f"{self.events:,} events were acknowledged, {self.found:,} are in the files",)

    def __str__(self) -> str:
        """One line of progress."""
        faults = "".join(f"  FAULT: {fault}" for fault in self.faults)
        return (
            f"spool  round {self.round}  {self.side:5}  {self.event_bytes:5} B  {self.callers:3} callers  "
            f"{self.per_s:9,.0f} events/s  p50 {self.p50_ms:6.2f} ms  p99 {self.p99_ms:6.2f} ms{faults}"
        )


class SpoolMissingError(Exception):
    """There is no spool that can be measured by itself; the message says why."""


def measure(place: Place, *, rounds: int, seconds: float = SECONDS) -> Iterator[SpoolMeasurement]:
    """Measure in rounds; raise SpoolMissingError where there is nothing to measure."""
    for number in range(1, rounds + 1):
        for event_bytes in EVENT_BYTES:
            sides: list[tuple[SpoolSide, int]] = [("floor", 1), *(("group", callers) for callers in CALLERS)]
            for side, callers in sides if number % 2 else reversed(sides):
                yield _measure(place, number, side, (event_bytes, callers), seconds)


def _measure(place: Place, number: int, side: SpoolSide, load: tuple[int, int], seconds: float) -> SpoolMeasurement:
    event_bytes, callers = load
    folder = place.folder / "spool"
    command = [
        *(sys.executable, "-m", "gevent.monkey", "--module", "tests.bench.spool_child"),
        *("--side", side, "--folder", str(folder), "--event-bytes", str(event_bytes)),
        *("--callers", str(callers), "--seconds", str(seconds)),
    ]
    try:
        said = _said(command, seconds + GRACE_S, place)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if "missing" in said:
        raise SpoolMissingError(said["missing"])
    return SpoolMeasurement(round=number, side=side, event_bytes=event_bytes, callers=callers, **said)


def _said(command: list[str], timeout_s: float, place: Place) -> dict[str, Any]:
    """Run the child on the cores that are measured; return what it wrote."""
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        if place.cores:
            cpu.pin([child.pid], place.cores.measured)
        try:
            output, errors = child.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            child.kill()
            raise BenchError(f"the spool had not ended after {timeout_s:g} s") from None
    if child.returncode:
        raise BenchError(f"the spool ended with {child.returncode}: {errors.strip()[-1000:]}")
    return json.loads(output.splitlines()[-1])
