"""The processes of a run besides the service: the floor, the sink, Webdis. Each ends what it started, and no more."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, Self

from tests.bench.errors import BenchError
from tests.bench.sink import PENDING_MAX_BYTES, Arrivals, Counts
from tests.harness.service import REPOSITORY, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 5.0
ASK_TIMEOUT_S = 30.0
POLL_S = 0.02
COUNT_POLL_S = 0.25
TAIL_CHARACTERS = 2000


class Child:
    """A process with a port on 127.0.0.1, in a session of its own, whose output goes to a file."""

    def __init__(self, name: str, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.port = port
        self._process = process
        self._log = log

    @classmethod
    def start(
        cls, name: str, command: Sequence[str], folder: Path, *, port: int, env: Mapping[str, str] | None = None
    ) -> Self:
        """Start `command` in the repository's folder; wait until its port (0: the one that it prints) answers."""
        log = folder / f"{name}.txt"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                env=dict(env) if env is not None else None,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        child = cls(name, port, process, log)
        try:
            child.wait_for(child.is_up)
        except BaseException:
            child.close()
            raise
        return child

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def url(self) -> str:
        """The base address."""
        return f"http://127.0.0.1:{self.port}"

    def is_up(self) -> bool:
        """Tell whether the port takes connections."""
        if not self.port:
            first = self._log.read_text(encoding="utf-8").partition("\n")
            self.port = int(first[0]) if first[1] and first[0].isdigit() else 0
        if not self.port:
            return False
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def wait_for(self, predicate: Callable[[], bool]) -> None:
        """Ask until it is so; BenchError with the process's last words else."""
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not predicate():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                said = self._log.read_text(encoding="utf-8", errors="replace")[-TAIL_CHARACTERS:]
                raise BenchError(f"{self.name} did not start:\n{said}")
            time.sleep(POLL_S)

    def get(self, path: str) -> bytes:
        """Return the body of an answer, on a connection of its own."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=ASK_TIMEOUT_S)) as connection:
            connection.request("GET", path)
            return connection.getresponse().read()

    def close(self) -> None:
        """End the process and its group; may be called twice."""
        if self._process.returncode is not None:
            return
        for sig in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, sig)
            with suppress(subprocess.TimeoutExpired):
                # Not reaped before the group has had its SIGKILL: until then its number is nobody else's.
                self._wait_ended() if sig is signal.SIGTERM else self._process.wait(STOP_TIMEOUT_S)

    def _wait_ended(self) -> None:
        deadline_s = time.monotonic() + STOP_TIMEOUT_S
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        while os.waitid(os.P_PID, self._process.pid, options) is None and time.monotonic() < deadline_s:
            time.sleep(POLL_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def start_floor(folder: Path, env: Mapping[str, str]) -> Child:
    """Start the floor with the service's environment, on a port of its own."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "--config", "python:tests.bench.floor_conf", "tests.bench.floor"]
    return Child.start("floor", command, folder, port=port, env={**env, "PORT": str(port)})


class Sink:
    """The counting sink."""

    def __init__(self, child: Child) -> None:
        self.child = child

    @classmethod
    def start(
        cls,
        folder: Path,
        *,
        name: str = "sink",
        port: int = 0,
        lose: int = 0,
        pending_max_bytes: int = PENDING_MAX_BYTES,
        distinct: bool = False,
    ) -> Self:
        """Start it on `port` (0: a free one); it forgets the push number `lose` (0: none)."""
        command = [
            *(sys.executable, "-m", "tests.bench.sink", "--port", str(port), "--lose", str(lose)),
            *("--pending-bytes", str(pending_max_bytes), *(["--distinct"] if distinct else [])),
        ]
        return cls(Child.start(name, command, folder, port=0))

    def counts(self) -> Counts:
        """Return what has arrived; unpacks what was kept."""
        answer: dict[str, Any] = json.loads(self.child.get("/counts"))
        return Counts(**answer)

    def arrivals(self) -> Arrivals:
        """Return when pushes came; that costs the sink next to nothing."""
        return Arrivals(**json.loads(self.child.get("/arrivals")))

    def settled(self, quiet_s: float, deadline_s: float) -> tuple[Counts, float]:
        """Return the counts once nothing has arrived for `quiet_s`, or at the deadline; and since when they stand.

        Both times are on the monotonic clock.
        """
        seen, since_s = self.counts(), time.monotonic()
        while time.monotonic() < min(since_s + quiet_s, deadline_s):
            time.sleep(COUNT_POLL_S)
            now = self.counts()
            if now != seen:
                seen, since_s = now, time.monotonic()
        return seen, since_s

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.close()


class ClosedPort:
    """A port of 127.0.0.1 that refuses connections, kept from everyone else until it is let go."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", 0))  # and no listen: the kernel answers with RST
        self.port = int(self._socket.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def release(self) -> None:
        """Let somebody listen there; may be called twice."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def start_webdis(folder: Path, redis_port: int, threads: int) -> Child | None:
    """Start Webdis in front of that redis-server; None where it is not installed."""
    path = shutil.which("webdis")
    if path is None:
        return None
    port = free_port()
    config = {
        "redis_host": "127.0.0.1",
        "redis_port": redis_port,
        "redis_auth": None,
        "database": 0,
        "http_host": "127.0.0.1",
        "http_port": port,
        "threads": threads,
        "pool_size": 20,
        "daemonize": False,
        "websockets": False,
        "acl": [{"disabled": ["DEBUG"]}],
        "verbosity": 1,
        "logfile": str(folder / "webdis.log"),
    }
    file = folder / "webdis.json"
    file.write_text(json.dumps(config), encoding="utf-8")
    return Child.start("webdis", [path, str(file)], folder, port=port)
