"""wrk: the Lua script for a request, one run, and what it measured. wrk's own words are read here only."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.bench.errors import BenchError, MissingToolError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.bench.rows import Request

US_PER_MS = 1000.0
US_PER_S = 1_000_000.0
TIMEOUT_S = 10  # for one answer; a later one is an error
GRACE_S = 30.0  # for wrk to end, past its duration
MARK = "bench-figures "

# wrk says percentiles in microseconds here, and rounded for people otherwise. `%.0f`: a %d is for 32 bits.
DONE = f"""
function done(summary, latency)
  io.write(string.format(
    '\\n{MARK}{{"requests":%.0f,"duration_us":%.0f,"bytes":%.0f,"status":%.0f,"socket":%.0f,"p50_us":%.0f,"p99_us":%.0f}}\\n',
    summary.requests, summary.duration, summary.bytes, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""

# wrk asks this for every request; with one body it makes the request once instead.
IN_TURN = """
local requests, turn = {}, 0
function init()
  for number, body in ipairs(bodies) do requests[number] = wrk.format(nil, nil, nil, body) end
end
function request()
  turn = turn % #requests + 1
  return requests[turn]
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of wrk saw."""

    requests: int
    duration_s: float
    answer_bytes: int
    """Bytes of all answers, heads included."""
    refusals: int
    """Answers that were not 2xx."""
    socket_errors: int
    p50_ms: float
    p99_ms: float

    @property
    def per_s(self) -> float:
        """Requests answered in a second."""
        return self.requests / self.duration_s if self.duration_s else 0.0


def require_wrk() -> str:
    """Return wrk's path."""
    path = shutil.which("wrk")
    if path is None:
        raise MissingToolError("wrk is not installed (Debian: apt-get install wrk)")
    return path


def run(
    url: str, request: Request, headers: Mapping[str, str], *, seconds: int, connections: int, folder: Path
) -> Load:
    """Load `url` (scheme, host, port) for `seconds` over kept connections, from one thread."""
    path = folder / "request.lua"
    path.write_text(script(request, headers, folder), encoding="ascii")
    command = [
        *(require_wrk(), "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", f"{TIMEOUT_S}s"),
        *("--script", str(path), url + request.path),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + GRACE_S, check=False)
    except subprocess.TimeoutExpired:
        raise BenchError(f"wrk had not ended {GRACE_S:g} s after its {seconds} s") from None
    if done.returncode:
        raise BenchError(f"wrk ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-500:]}")
    return parse(done.stdout)


def script(request: Request, headers: Mapping[str, str], folder: Path) -> str:
    """Return the Lua script that sends `request`; its bodies are written to `folder`."""
    lines = [f"wrk.method = {_quoted(request.method)}"]
    lines += [f"wrk.headers[{_quoted(name)}] = {_quoted(value)}" for name, value in headers.items()]
    if request.bodies[0]:
        lines.append("local bodies = {}")
        for number, body in enumerate(request.bodies, 1):
            file = folder / f"body-{number}"
            file.write_bytes(body)
            lines.append(f'bodies[{number}] = assert(io.open({_quoted(str(file))}, "rb")):read("*a")')
        lines.append("wrk.body = bodies[1]" if len(request.bodies) == 1 else IN_TURN)
    return "\n".join([*lines, DONE])


def parse(output: str) -> Load:
    """Return the figures that the script wrote; BenchError where there are none."""
    line = next((line for line in output.splitlines() if line.startswith(MARK)), None)
    if line is None:
        raise BenchError(f"wrk wrote no figures: {output.strip()[-500:]}")
    figures = json.loads(line.removeprefix(MARK))
    return Load(
        requests=figures["requests"],
        duration_s=figures["duration_us"] / US_PER_S,
        answer_bytes=figures["bytes"],
        refusals=figures["status"],
        socket_errors=figures["socket"],
        p50_ms=figures["p50_us"] / US_PER_MS,
        p99_ms=figures["p99_us"] / US_PER_MS,
    )


def _quoted(text: str) -> str:
    """A Lua string of ASCII text: JSON's quoting is Lua's too."""
    return json.dumps(text)
