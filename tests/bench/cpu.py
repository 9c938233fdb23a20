"""CPU time of processes, and which cores they may use. Linux only."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.errors import BenchError
from tests.harness.service import living_processes

if TYPE_CHECKING:
    from collections.abc import Collection

_SCHED_CLOCK = 2  # CPUCLOCK_SCHED of the kernel's posix-timers.h: user and system time as the scheduler counts it


def family(master_pid: int) -> tuple[int, ...]:
    """Return a process and its living children, in order."""
    return (master_pid, *sorted(one.pid for one in living_processes() if one.parent == master_pid))


def busy_ns(pids: Collection[int]) -> int:
    """Return the CPU time of the processes, all their threads, in nanoseconds.

    This is the clock of clock_getcpuclockid(3): /proc/<pid>/stat in ticks of 10 ms is the same sum, and
    /proc/<pid>/schedstat is the main thread's alone.
    """
    try:
        return sum(time.clock_gettime_ns((~pid << 3) | _SCHED_CLOCK) for pid in pids)
    except OSError as exc:
        raise BenchError("a process ended while it was measured") from exc


def pin(pids: Collection[int], cores: Collection[int]) -> None:
    """Let every thread of the processes run on `cores` only; those that they start inherit it."""
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(ProcessLookupError):  # a thread that ended meanwhile
                os.sched_setaffinity(int(task.name), cores)
