"""The real service as a process, started as a person starts it: gunicorn with the project's own config."""

from __future__ import annotations

import http.client
import json as jsonlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from email.message import Message

REPOSITORY = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 20.0
BOOT_TIMEOUT_S = 5.0  # for the workers that still boot when the service is to stop
KILL_TIMEOUT_S = 10.0  # the kernel ends a killed process at once, unless it waits for a disk
REQUEST_TIMEOUT_S = 10.0
PROBE_TIMEOUT_S = 1.0  # for one look at /healthz while the service starts
POLL_S = 0.02  # between two looks at something that the system does not announce
TAIL_CHARACTERS = 8_000  # of the captured output, in the message of a failure

Sample = tuple[str, frozenset[tuple[str, str]]]


class ServiceError(AssertionError):
    """The service did not start, answer or end as it must; the message holds the end of its output."""


class Process(NamedTuple):
    """One living process of the system."""

    pid: int
    parent: int
    group: int


def living_processes() -> list[Process]:
    """Return all processes of the system except those that have ended and are not yet waited for."""
    command = ["ps", "-A", "-o", "pid=,ppid=,pgid=,stat="]
    listing = subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout
    rows = (line.split() for line in listing.splitlines())
    return [Process(int(pid), int(ppid), int(pgid)) for pid, ppid, pgid, stat in rows if "Z" not in stat]


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RunningService:
    """The service on a free port of 127.0.0.1, in a session of its own; nothing runs before `start()`.

    `env` is set on top of a minimal environment: PATH, HOME (a folder of its own), HOST, PORT and DATA_DIR.
    Output goes to files in `folder`; without one, a temporary folder is made, which `close()` removes. What
    `close()`, `kill()` and `stop()` end is the process that was started and its process group, nothing else.
    """

    def __init__(self, env: Mapping[str, str] | None = None, *, folder: Path | None = None) -> None:
        self._owns_folder = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="telemetry-cache-"))
        self.env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.folder),
            "HOST": "127.0.0.1",
            "PORT": str(free_port()),
            "DATA_DIR": str(self.folder / "data"),
            **(env or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    # Life

    def start(self) -> Self:
        """Start the service; wait until /healthz answers 200 and all workers are there.

        Raise `ServiceError` if it ends before that, or takes longer than 20 s.
        """
        if self._process is not None:
            raise ServiceError(f"the service runs already, as {self.pid}")
        self.folder.mkdir(parents=True, exist_ok=True)
        gunicorn = Path(sys.executable).parent / "gunicorn"
        with self._stdout_path.open("ab") as stdout, self._stderr_path.open("ab") as stderr:
            self._process = subprocess.Popen(
                [*self.under(), gunicorn, "--config", "gunicorn.conf.py", "wsgi:app"],
                cwd=REPOSITORY,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        try:
            self._wait_until_healthy()
        except BaseException:
            self.kill()
            raise
        return self

    def under(self) -> list[str]:
        """Return the command that the service is started under; nothing here, a tracer in a subclass."""
        return []

    def stop(self, sig: signal.Signals = signal.SIGTERM, timeout_s: float = 30.0) -> int:
        """Send `sig` to the master, wait for its end, return its exit code (negative: the signal it died of).

        What it leaves behind of its process group is killed. If it has not ended in time, all of it is killed
        and `ServiceError` raised. Workers that still boot are waited for first: a worker of gunicorn loses a
        SIGTERM that comes before its handlers, and the master then waits out its whole graceful time-out.
        """
        pid = self.pid
        _wait_until(lambda: self._has_ended() or self._has_all_workers(), BOOT_TIMEOUT_S)
        os.kill(pid, sig)
        ended = _wait_until(self._has_ended, timeout_s)
        code = self.kill()
        if not ended:
            raise self._failure(f"the service had not ended {timeout_s} s after {sig.name}")
        return code

    def kill(self) -> int:
        """Kill the whole process group at once (SIGKILL); return the master's exit code."""
        process = self._running()
        # Until the master is waited for, its number is kept, so that the group's cannot be another's.
        with suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for a group that has ended
            os.killpg(process.pid, signal.SIGKILL)
        gone = _wait_until(lambda: process.pid not in {one.group for one in living_processes()}, KILL_TIMEOUT_S)
        code = process.wait()
        self._process = None
        if not gone:
            raise self._failure(f"processes of group {process.pid} live on after SIGKILL")
        return code

    def kill_worker(self, pid: int) -> None:
        """Kill one worker (SIGKILL), which must be one of this service, and wait for its end."""
        if pid not in self.worker_pids():
            raise ServiceError(f"{pid} is not a worker of {self.pid}")
        os.kill(pid, signal.SIGKILL)
        if not _wait_until(lambda: pid not in self.worker_pids(), KILL_TIMEOUT_S):
            raise self._failure(f"worker {pid} lives on after SIGKILL")

    def restart(self) -> Self:
        """End the service if it runs, and start it again on the same port and data folder."""
        if self._process is not None:
            self.stop()
        return self.start()

    def close(self) -> None:
        """Kill what runs and remove the temporary folder; may be called twice."""
        if self._process is not None:
            self.kill()
        if self._owns_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    # What it is

    @property
    def port(self) -> int:
        """The port, the same over restarts."""
        return int(self.env["PORT"])

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def data_dir(self) -> Path:
        """DATA_DIR, the same over restarts."""
        return Path(self.env["DATA_DIR"])

    @property
    def pid(self) -> int:
        """The master's process id."""
        return self._running().pid

    def worker_pids(self) -> list[int]:
        """Return the process ids of the master's living children, in order."""
        return sorted(process.pid for process in living_processes() if process.parent == self.pid)

    def stdout(self) -> str:
        """Return all that the service has written to stdout, over restarts."""
        return _read(self._stdout_path)

    def stderr(self) -> str:
        """Return all that the service has written to stderr, over restarts."""
        return _read(self._stderr_path)

    # What it answers

    def request(
        self,
        method: str,
        path: str,
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> tuple[int, Message, bytes]:
        """Send one request on a connection of its own; return status, headers (any case), body."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)) as connection:
            data = body.encode() if isinstance(body, str) else body
            connection.request(method, path, data, dict(headers or {}))
            with closing(connection.getresponse()) as response:
                return response.status, response.headers, response.read()

    def json(
        self, method: str, path: str, value: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """Send `value` as JSON (None: no body); return the status and the decoded answer (None: empty)."""
        body = None if value is None else jsonlib.dumps(value)
        content_type = {} if value is None else {"Content-Type": "application/json"}
        status, _, answer = self.request(method, path, body, {**content_type, **(headers or {})})
        return status, jsonlib.loads(answer) if answer else None

    def metrics(self, headers: Mapping[str, str] | None = None) -> dict[Sample, float]:
        """Return the samples of /metrics by name and labels."""
        status, _, text = self.request("GET", "/metrics", headers=headers)
        if status != http.HTTPStatus.OK:
            raise self._failure(f"/metrics answered {status}")
        families = text_string_to_metric_families(text.decode())
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }

    # Within

    @property
    def _stdout_path(self) -> Path:
        return self.folder / "stdout.txt"

    @property
    def _stderr_path(self) -> Path:
        return self.folder / "stderr.txt"

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ServiceError("the service does not run")
        return self._process

    def _wait_until_healthy(self) -> None:
        if not _wait_until(lambda: self._has_ended() or self._is_up(), START_TIMEOUT_S):
            raise self._failure(f"the service was not up within {START_TIMEOUT_S} s")
        if self._has_ended():
            raise self._failure("the service ended while it started")

    def _is_up(self) -> bool:
        try:
            status, _, _ = self.request("GET", "/healthz", timeout_s=PROBE_TIMEOUT_S)
        except (OSError, http.client.HTTPException):
            return False
        return status == http.HTTPStatus.OK and self._has_all_workers()

    def _has_all_workers(self) -> bool:
        pids = self.worker_pids()
        return len(pids) >= int(self.env.get("WEB_CONCURRENCY", "1")) and all(map(_has_own_handlers, pids))

    def _has_ended(self) -> bool:
        """Tell whether the master has ended, without taking its exit status (see `kill`)."""
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._running().pid, options) is not None

    def _failure(self, what: str) -> ServiceError:
        outputs = {"stdout": self.stdout(), "stderr": self.stderr()}
        shown = (f"--- {name}\n{text[-TAIL_CHARACTERS:]}" for name, text in outputs.items())
        return ServiceError("\n".join([what, *shown]))


def _has_own_handlers(worker_pid: int) -> bool:
    """Tell whether a worker has replaced the master's signal handlers, which it inherits, by its own.

    The master catches SIGHUP and a worker does not (Linux: the mask SigCgt). Without /proc the answer is yes.
    """
    lines = _read(Path(f"/proc/{worker_pid}/status")).splitlines()
    caught = next((line.split()[1] for line in lines if line.startswith("SigCgt:")), "0")
    return not int(caught, 16) & 1 << (signal.SIGHUP - 1)


def _wait_until(predicate: Callable[[], bool], timeout_s: float) -> bool:
    """Ask again and again, for at most `timeout_s`; return the last answer."""
    deadline = time.monotonic() + timeout_s
    while not predicate():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):  # the latter for a process that ends under /proc
        return ""
