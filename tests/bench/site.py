"""Everything that runs for one number of workers: redis-server, sink, service, floor and Webdis, and their cores."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack, closing
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Self

from redis import Redis

from tests.bench import cpu
from tests.bench.errors import BenchError
from tests.bench.processes import Child, Sink, start_floor, start_webdis
from tests.bench.rows import ROWS, SETUP, WEBDIS_KEY, Row
from tests.bench.stand import Cores, probe
from tests.harness.redis import RedisServer
from tests.harness.service import RunningService

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WEBDIS_FRAME = len('{"GET":""}')  # what Webdis writes around a value


class Site:
    """The running things, to be closed at the end."""

    def __init__(self, workers: int, *, pin: bool | None, lose: int, rows: Sequence[Row]) -> None:
        self.workers = workers
        self._lose = lose
        self._with_webdis = any(row.server == "webdis" for row in rows)
        self._available = tuple(sorted(os.sched_getaffinity(0)))
        self.cores = Cores.split(workers, self._available, wanted=pin)
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """Start all; what had started is ended if something does not."""
        try:
            self._start()
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """End all: the service in peace when nothing went wrong, at once otherwise."""
        try:
            if kind is None:
                self.service.stop()
        finally:
            self._open.close()

    def _start(self) -> None:
        self.folder = Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="telemetry-cache-bench-")))
        if self.cores:
            # All that is started from here inherits it.
            cpu.pin([os.getpid()], self.cores.others)
            self._open.callback(cpu.pin, [os.getpid()], self._available)
        redis = self._open.enter_context(RedisServer())
        self.sink = self._open.enter_context(Sink.start(self.folder, lose=self._lose))
        self.service = self._open.enter_context(
            RunningService(
                {
                    "WEB_CONCURRENCY": str(self.workers),
                    "REDIS_URL": redis.url,
                    "LOKI_URL": self.sink.child.url,
                    "LOG_LEVEL": "warning",
                },
                folder=self.folder / "service",
            )
        )
        self.floor = self._open.enter_context(start_floor(self.folder, self.service.env))
        self.floor.wait_for(lambda: len(cpu.family(self.floor.pid)) == 1 + self.workers)
        self._set_up()
        self.webdis = self._start_webdis(redis) if self._with_webdis else None
        if self.cores:
            measured = [pid for child in self._measured() for pid in cpu.family(child.pid)]
            cpu.pin(measured, self.cores.measured)

    def _measured(self) -> Iterator[Child | RunningService]:
        yield self.floor
        yield self.service
        if self.webdis:
            yield self.webdis

    def _set_up(self) -> None:
        for path, value in SETUP:
            status, answer = self.service.json("POST", path, value)
            if status != HTTPStatus.OK or answer.get("status") != "cached":
                raise BenchError(f"{path} answered {status}: {answer}")

    def _start_webdis(self, redis: RedisServer) -> Child | None:
        hit_bytes = self.probe(next(row for row in ROWS if row.name == "cache-hit"))
        with closing(Redis(port=redis.port)) as client:
            client.set(WEBDIS_KEY, "x" * (hit_bytes - WEBDIS_FRAME))
        webdis = start_webdis(self.folder, redis.port, self.workers)
        return self._open.enter_context(webdis) if webdis else None

    # What is asked of it

    def server(self, row: Row) -> Child | RunningService:
        """Return who answers the row, besides the floor."""
        if row.server == "service":
            return self.service
        if self.webdis is None:
            raise BenchError("Webdis does not run")
        return self.webdis

    def probe(self, row: Row) -> int:
        """Send a row's request once; return how many bytes the body of its answer has."""
        return probe(self.server(row).port, row)
