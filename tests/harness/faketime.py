"""A wall clock that a test can set while a service runs: libfaketime (Debian: libfaketime), preloaded.

Only the wall clock jumps, as when an operator or an NTP client sets it; the monotonic clock goes on as it is, and the
test's own process keeps the true time.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

import pytest

LIBRARY = "libfaketimeMT.so.1"  # the one for programs with threads
FOLDERS = ("/usr/lib", "/usr/lib64", "/usr/local/lib")
SHARED_MEMORY = Path("/dev/shm")

# libfaketime 0.9.10 fails clock_nanosleep (EINVAL) where the monotonic clock is left alone, and that is how Python
# sleeps since 3.11. select with a time-out sleeps as well.
SITE = '''"""Sleeps by select: libfaketime breaks clock_nanosleep."""

import select
import time


def sleep(seconds):
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        select.select([], [], [], left)


time.sleep = sleep
'''


def require_faketime() -> Path:
    """Return the library's path; without it, skip the test, or fail it where CI=true."""
    places = (f"faketime/{LIBRARY}", f"*/faketime/{LIBRARY}")  # the latter is Debian's, by architecture
    found = [path for folder in FOLDERS for place in places for path in Path(folder).glob(place)]
    if not found:
        reason = "libfaketime is not installed (Debian: apt-get install libfaketime)"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(f"{reason}, and CI must run every test")
        pytest.skip(reason)
    return found[0]


class WallClock:
    """The wall clock of the processes that are started with `env`; true at first."""

    def __init__(self, folder: Path) -> None:
        self._before = _shared()
        self._setting = folder / "clock.txt"
        folder.mkdir(parents=True)
        (folder / "sitecustomize.py").write_text(SITE)
        self.env = {
            "LD_PRELOAD": str(require_faketime()),
            "FAKETIME_TIMESTAMP_FILE": str(self._setting),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # Debian's build has this on; Python's threads then wait for their turn in a busy loop.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
            "NO_FAKE_STAT": "1",
            "PYTHONPATH": str(folder),
        }
        self.set(0)

    def set(self, offset_s: float) -> None:
        """From now on the clock goes `offset_s` seconds ahead of the true one, or behind it."""
        self._write(f"{offset_s:+}")

    def stop_at(self, when: str) -> None:
        """Let the clock stand still: `when` is `2026-08-01 12:00:00`, in UTC."""
        self._write(when)

    def _write(self, setting: str) -> None:
        # By renaming: a process that reads half of it, or nothing, ends.
        new = self._setting.with_suffix(".new")
        new.write_text(setting)
        new.replace(self._setting)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the shared memory that killed processes left: another process with their number could not start."""
        for path in _shared() - self._before:
            if not Path(f"/proc/{path.name.rpartition('_')[2]}").exists():
                path.unlink(missing_ok=True)


def _shared() -> set[Path]:
    return set(SHARED_MEMORY.glob("*faketime_*"))
