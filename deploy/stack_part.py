"""One process of `make stack`, and how to ask whether it is well."""  # noqa: INP001 - beside the script that uses it

import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

LOOPBACK: Final = "127.0.0.1"

START_S: Final = 60.0
"""How long a part may take to be ready: the first scrape alone comes up to 15 s after Prometheus."""
STOP_S: Final = 20.0
"""How long a part may take to end, the service apart, which has GRACEFUL_TIMEOUT_S."""
POLL_S: Final = 0.1
ASK_S: Final = 2.0
TAIL_LINES: Final = 20


class StackError(Exception):
    """Why the stack cannot start or go on, in words for a person."""


@dataclass(slots=True, kw_only=True)
class Part:
    """One process: how it is started, when it is ready, how long it may take to end."""

    name: str
    command: Sequence[str]
    folder: Path
    log: Path
    is_ready: Callable[[], bool]
    env: Mapping[str, str] = field(default_factory=dict)
    stop_s: float = STOP_S
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start it in a session of its own: Ctrl-C reaches this script alone, which ends the parts in order."""
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(  # noqa: S603 - the commands of `parts`
                self.command,
                cwd=self.folder,
                env={**os.environ, **self.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def has_ended(self) -> bool:
        """Tell whether it has ended by itself; its number is kept until `stop`."""
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return self.process is not None and os.waitid(os.P_PID, self.process.pid, options) is not None

    def stop(self) -> int:
        """Ask it to end (SIGTERM), insist after `stop_s`, leave nothing of its group; return its exit code."""
        if self.process is None:
            return 0
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGTERM)
        deadline_s = time.monotonic() + self.stop_s
        while not self.has_ended() and time.monotonic() < deadline_s:
            time.sleep(POLL_S)
        # Not waited for yet, so that the group's number cannot be another's.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        code = self.process.wait()
        self.process = None
        return code

    def failure(self, what: str) -> StackError:
        """Return what happened, with the part's last words."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:]
        return StackError("\n  ".join([f"{self.name} {what}; the end of {self.log}:", *lines]))


def ask(port: int, path: str) -> bytes | None:
    """Return the body of a 200 from a port of this machine, or None."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=ASK_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return body if answer.status == http.HTTPStatus.OK else None


def redis_answers(port: int) -> bool:
    """Tell whether Redis answers PING."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=ASK_S) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
