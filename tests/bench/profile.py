"""Where the service's time goes under a row's load, by py-spy (`python -m tests.bench.profile --row log`).

The sampling is py-spy's; here its stacks are added up by line, by function and by package.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import sysconfig
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import cpu
from tests.bench.errors import BenchError, MissingToolError
from tests.bench.measure import Meter
from tests.bench.report import table
from tests.bench.rows import ROWS
from tests.bench.site import Site
from tests.harness.service import REPOSITORY, ServiceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.measure import Measurement

SAMPLES_PER_S = 250
WARM_UP_S = 1
GRACE_S = 30.0  # for py-spy to end, past its duration
SITE_PACKAGES = f"{sysconfig.get_path('purelib')}/"
STANDARD_LIBRARY = f"{sysconfig.get_path('stdlib')}/"
WAIT = "acquire_with_timeout (gevent/_threading.py)"
"""Where gevent's idle threads wait for work; py-spy takes them for busy."""

LOOP_SHARE = 0.9
"""Functions with more of the time than this are the server's loop around everything; they say nothing."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Samples, and where they fell."""

    samples: int
    lines: Counter[str]
    """Of the innermost frame: time spent in the line itself."""
    functions: Counter[str]
    """Of all frames, once a sample: time spent in the function and in what it calls."""
    packages: Counter[str]
    """Of the innermost frame."""


def main(arguments: Sequence[str]) -> int:
    """Run the service under load and print where its time went; return the exit code."""
    names = [row.name for row in ROWS if row.server == "service"]
    parser = argparse.ArgumentParser(prog="python -m tests.bench.profile", description=__doc__)
    parser.add_argument("--row", choices=names, default="log", help="what to load it with (default log)")
    parser.add_argument("--seconds", type=int, default=5, help="seconds to sample (default 5)")
    parser.add_argument("--connections", type=int, default=32, help="kept connections of wrk (default 32)")
    parser.add_argument("--top", type=int, default=10, help="how many lines and functions to print (default 10)")
    parser.add_argument("--native", action="store_true", help="look into C extensions too (slower)")
    asked = parser.parse_args(arguments)
    try:
        sys.stdout.write(_run(asked))
    except MissingToolError as exc:
        print(exc, file=sys.stderr)  # noqa: T201
        return 2
    except (BenchError, ServiceError) as exc:
        print(exc, file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _run(asked: argparse.Namespace) -> str:
    row = next(row for row in ROWS if row.name == asked.row)
    spy = _require_spy()
    with Site(1, pin=None, lose=0, rows=[row]) as site, ThreadPoolExecutor(1) as pool:
        body_bytes = site.probe(row)
        Meter(site, WARM_UP_S, asked.connections).server(row, 0, body_bytes)
        (worker,) = cpu.family(site.service.pid)[1:]
        meter = Meter(site, asked.seconds + 2, asked.connections)  # py-spy takes a moment to begin
        measuring = pool.submit(meter.server, row, 1, body_bytes)
        stacks = _record(spy, worker, asked.seconds, site.folder / "stacks.txt", native=asked.native)
        return render(row.title, parse(stacks), measuring.result(), asked.top)


def _record(spy: str, pid: int, seconds: int, file: Path, *, native: bool) -> str:
    """Return py-spy's stacks, one a line with its number of samples at the end."""
    command = [
        *(spy, "record", "--pid", str(pid), "--duration", str(seconds), "--rate", str(SAMPLES_PER_S)),
        *("--format", "raw", "--output", str(file), *(["--native"] if native else [])),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + GRACE_S, check=False)
    except subprocess.TimeoutExpired:
        raise BenchError("py-spy did not end") from None
    if done.returncode:
        raise BenchError(f"py-spy ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return file.read_text(encoding="utf-8")


def _require_spy() -> str:
    beside = Path(sys.executable).parent / "py-spy"
    path = str(beside) if beside.exists() else shutil.which("py-spy")
    if path is None:
        raise MissingToolError("py-spy is not installed (pip install py-spy)")
    return path


def parse(stacks: str) -> Profile:
    """Add up py-spy's raw stacks: `outer (file:line);inner (file:line) samples`."""
    lines: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    packages: Counter[str] = Counter()
    samples = 0
    for stack in stacks.splitlines():
        frames_text, _, number_text = stack.rpartition(" ")
        number = int(number_text)
        frames = frames_text.split(";")
        if shown(frames[-1], line=False) == WAIT:
            continue
        samples += number
        lines[shown(frames[-1])] += number
        packages[package_of(frames[-1])] += number
        for function in {shown(frame, line=False) for frame in frames}:
            functions[function] += number
    return Profile(samples, lines, functions, packages)


def shown(frame: str, *, line: bool = True) -> str:
    """Return a frame with its path cut to what tells, and without the line where a function is meant."""
    name, _, place = frame.rpartition(" (")
    if not name:
        return frame
    file, _, number = place.removesuffix(")").rpartition(":")
    if not file:
        file, number = number, ""
    for folder in (SITE_PACKAGES, STANDARD_LIBRARY, f"{REPOSITORY}/"):
        file = file.removeprefix(folder)
    return f"{name} ({file}:{number})" if line and number else f"{name} ({file})"


def package_of(frame: str) -> str:
    """Return the top folder or module of a frame's file."""
    file = shown(frame, line=False).rpartition(" (")[2].removesuffix(")")
    return file.partition("/")[0].removesuffix(".py")


def render(title: str, profile: Profile, measured: Measurement, top: int) -> str:
    """Return the report as Markdown."""
    inner = Counter({name: n for name, n in profile.functions.items() if n < LOOP_SHARE * profile.samples})
    parts = [
        f"# Profile of {title}",
        f"{profile.samples:,} samples; meanwhile {measured.load.per_s:,.0f} requests/s, {measured.cpu_us:,.0f} µs each",
        *("## Lines, by themselves", _top(profile.lines, profile.samples, top)),
        *("## Functions, with what they call", _top(inner, profile.samples, top)),
        *("## Packages, by themselves", _top(profile.packages, profile.samples, top)),
    ]
    return "\n\n".join(parts) + "\n"


def _top(counted: Counter[str], samples: int, top: int) -> str:
    rows = [[f"`{name}`", f"{100 * number / samples:.1f} %"] for name, number in counted.most_common(top)]
    return table(("where", "of the time"), rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
