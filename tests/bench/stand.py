"""Where something is measured: a folder, cores, and what a measurement needs to know of the servers."""

from __future__ import annotations

import http.client
import os
import tempfile
from contextlib import ExitStack, closing
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

from tests.bench import cpu
from tests.bench.errors import BenchError

if TYPE_CHECKING:
    from tests.bench.processes import Child, Sink
    from tests.bench.rows import Row
    from tests.harness.service import RunningService

ANSWER_TIMEOUT_S = 10.0


class Stand(Protocol):
    """What a Meter measures."""

    @property
    def workers(self) -> int:
        """How many workers floor and service have."""
        ...

    @property
    def folder(self) -> Path:
        """Where files may be put."""
        ...

    @property
    def floor(self) -> Child:
        """The floor."""
        ...

    @property
    def service(self) -> RunningService:
        """The service."""
        ...

    @property
    def sink(self) -> Sink:
        """Where its events go."""
        ...

    def server(self, row: Row) -> Child | RunningService:
        """Return who answers the row, besides the floor."""
        ...


@dataclass(frozen=True, slots=True)
class Cores:
    """Which cores the measured gunicorn may use, and which all others; None: the system decides."""

    measured: tuple[int, ...]
    others: tuple[int, ...]

    @classmethod
    def split(cls, workers: int, available: tuple[int, ...], *, wanted: bool | None) -> Self | None:
        """Split the cores so that load and neighbours disturb nobody; `wanted` None: for one worker, where it goes."""
        if wanted is None:
            wanted = workers == 1 and len(available) > 1
        if not wanted:
            return None
        if len(available) == 1:
            raise BenchError("--pin needs two cores")
        first = min(workers, len(available) - 1)
        return cls(available[:first], available[first:])

    def __str__(self) -> str:
        """For the header."""
        measured, others = (", ".join(map(str, cores)) for cores in (self.measured, self.others))
        return f"floor, service and Webdis on core {measured}; wrk, redis-server and the sink on core {others}"


class Place:
    """A folder of its own, and this process (with all that it starts) on the cores that are not measured."""

    def __init__(self, workers: int, *, pin: bool | None, lose: int = 0) -> None:
        self.workers = workers
        self.lose = lose
        """Which push the sinks forget (0: none)."""
        self.available = tuple(sorted(os.sched_getaffinity(0)))
        self.cores = Cores.split(workers, self.available, wanted=pin)
        self.folder = Path()
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self.folder = Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="telemetry-cache-bench-")))
        if self.cores:
            cpu.pin([os.getpid()], self.cores.others)
            self._open.callback(cpu.pin, [os.getpid()], self.available)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def cores_said(self) -> str:
        """For the header."""
        if self.cores is None:
            return "shared by all, as the system decides"
        measured, others = (", ".join(map(str, cores)) for cores in (self.cores.measured, self.cores.others))
        return f"what is measured on core {measured}; wrk and the sinks on core {others}"

    def give_core(self, server: Child | RunningService) -> None:
        """Put a server and its workers on the cores that are measured."""
        if self.cores:
            cpu.pin(cpu.family(server.pid), self.cores.measured)

    def service_env(self, loki_url: str, **more: str) -> dict[str, str]:
        """Return a service's environment: quiet, and with a spool that a benchmark does not fill."""
        return {
            "WEB_CONCURRENCY": str(self.workers),
            "LOKI_URL": loki_url,
            "LOG_LEVEL": "warning",
            "SPOOL_MAX_BYTES": str(SPOOL_MAX_BYTES),
            **more,
        }


SPOOL_MAX_BYTES = 8 * 1024**3


def probe(port: int, row: Row) -> int:
    """Send a row's request once; return how many bytes the body of its answer has."""
    body = row.request.bodies[0]
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_TIMEOUT_S)) as connection:
        connection.request(row.request.method, row.request.path, body or None, row.request.headers)
        answer = connection.getresponse()
        content = answer.read()
    if answer.status != HTTPStatus.OK or row.answer_has not in content:
        raise BenchError(f"{row.name}: expected 200 with {row.answer_has!r}; got {answer.status}: {content[:500]!r}")
    return len(content)
