"""Presidio as the benchmark sees it: a child process that may not be there (`presidio_child.py` is what runs in it)."""

from __future__ import annotations

import json
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from tests.bench import presidio_child
from tests.bench.errors import BenchError
from tests.harness.service import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PYTHON = REPOSITORY / ".venv-bench" / "bin" / "python"
"""The interpreter that has it; `make bench` makes the virtual environment."""

STOP_TIMEOUT_S = 10.0


class NotInstalledError(Exception):
    """Presidio is not there; the message says what is missing."""


class Presidio:
    """The running child; to be closed."""

    def __init__(self, process: subprocess.Popen[str], version: str, recognizers: list[str]) -> None:
        self._process = process
        self.version = version
        self.recognizers = recognizers

    @classmethod
    def start(cls, python: Path = PYTHON) -> Self:
        """Start it; raise NotInstalledError where that cannot be."""
        if not python.exists():
            raise NotInstalledError("`make bench` has not installed it")
        process = subprocess.Popen(
            [python, "-P", presidio_child.__file__],  # -P: our modules' names are some of the library's
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # its imports warn at length
            text=True,
        )
        first = process.stdout.readline() if process.stdout else ""
        hello = json.loads(first) if first else {}
        if "version" in hello:
            return cls(process, **hello)
        process.communicate()
        if "missing" in hello:
            raise NotInstalledError(hello["missing"])
        raise BenchError(f"Presidio ended with {process.returncode} before it had begun")

    def __enter__(self) -> Self:
        """It runs already."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        with suppress(BrokenPipeError, subprocess.TimeoutExpired):
            self._process.communicate(timeout=STOP_TIMEOUT_S)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def take(self, case: str, payloads: Sequence[dict[str, Any]]) -> int:
        """Hand over what is searched under this name; return in how many something was found."""
        touched: int = self._ask({"case": case, "payloads": list(payloads)})["touched"]
        return touched

    def search(self, case: str, seconds: float) -> tuple[int, float]:
        """Search it for so much CPU time, once at least; return the events and the CPU seconds."""
        said = self._ask({"case": case, "seconds": seconds})
        return said["events"], said["cpu_s"]

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        if self._process.stdin is None or self._process.stdout is None:
            raise BenchError("Presidio has no pipes")
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as exc:
            raise BenchError("Presidio ended while it was measured") from exc
        answer = self._process.stdout.readline()
        if not answer:
            raise BenchError("Presidio ended while it was measured")
        said: dict[str, Any] = json.loads(answer)
        return said
