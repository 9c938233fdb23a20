"""A real redis-server for tests: nothing on disk, a free port, switches for being away and being stuck."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

import pytest

from tests.harness.service import free_port

START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.02  # between two tries to connect while it starts


def require_redis() -> str:
    """Return the path of redis-server; without one, skip the test, or fail it where CI=true."""
    path = shutil.which("redis-server")
    if path is None:
        reason = "redis-server is not installed (Debian: apt-get install redis-server)"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(f"{reason}, and CI must run every test")
        pytest.skip(reason)
    return path


class RedisServer:
    """A redis-server on a free port of 127.0.0.1, without persistence; nothing runs before `start()`."""

    def __init__(self) -> None:
        self.port = free_port()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address, for REDIS_URL; the same after `stop()` and `start()`."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._running().pid

    def start(self) -> Self:
        """Start the server, empty, and wait until it answers PING; on the same port as before."""
        if self._process is not None:
            raise RuntimeError(f"redis-server runs already, as {self.pid}")
        self._folder = self._folder or tempfile.TemporaryDirectory(prefix="redis-")
        log = Path(self._folder.name) / "redis.log"
        self._process = subprocess.Popen(
            [
                *(require_redis(), "--port", str(self.port), "--bind", "127.0.0.1"),
                *("--save", "", "--appendonly", "no", "--dir", self._folder.name, "--logfile", str(log)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self._wait_until_ready(log)
        except BaseException:
            self.close()
            raise
        return self

    def stop(self) -> None:
        """End the server and forget its data; its port is closed afterwards. May be called twice."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        process.send_signal(signal.SIGCONT)  # a paused process would not hear of its end
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def pause(self) -> None:
        """Stop the process where it is (SIGSTOP): connections stay open and no answer comes."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on (SIGCONT)."""
        self._running().send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End the server and remove its folder; may be called twice."""
        self.stop()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("redis-server does not run")
        return self._process

    def _wait_until_ready(self, log: Path) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._running().poll() is not None or time.monotonic() > deadline:
                text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
                raise RuntimeError(f"redis-server did not start on port {self.port}:\n{text}")
            time.sleep(POLL_S)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False
