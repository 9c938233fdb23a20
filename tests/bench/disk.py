"""The disk that a spool is measured on: what it is, and what one fdatasync costs there. Linux only."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

from tests.bench.figures import percentile

SYNCS = 200
APPEND = b"x" * 1023 + b"\n"
NO_DISK = frozenset({"tmpfs", "ramfs", "devtmpfs"})
"""File systems in memory: fdatasync does nothing there."""

MS_PER_S = 1000.0


class Disk(NamedTuple):
    """What was found."""

    file_system: str
    device: str
    sync_p50_ms: float
    sync_p99_ms: float

    @property
    def is_one(self) -> bool:
        """Whether fdatasync has something to do."""
        return self.file_system not in NO_DISK

    def __str__(self) -> str:
        """For the header."""
        warning = "" if self.is_one else "; NO DISK: fdatasync costs nothing here, TMPDIR names another folder"
        return (
            f"{self.file_system} on {self.device}; fdatasync after 1 KB: median {self.sync_p50_ms:.2f} ms, "
            f"p99 {self.sync_p99_ms:.2f} ms{warning}"
        )


def look(folder: Path) -> Disk:
    """Find out what `folder` stands on; takes a few tenths of a second."""
    file_system, device = mount_of(folder.resolve(), Path("/proc/self/mountinfo").read_text(encoding="utf-8"))
    took_ms = []
    fd = os.open(folder / "sync-probe", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for _ in range(SYNCS):
            os.write(fd, APPEND)
            began_s = time.monotonic()
            os.fdatasync(fd)
            took_ms.append((time.monotonic() - began_s) * MS_PER_S)
    finally:
        os.close(fd)
    return Disk(file_system, device, percentile(took_ms, 0.5), percentile(took_ms, 0.99))


def mount_of(folder: Path, mountinfo: str) -> tuple[str, str]:
    """Return (file system, device) of the mount that a folder is on: the longest that is above it, the last of equals.

    Fields of /proc/[pid]/mountinfo: see proc_pid_mountinfo(5).
    """
    best: tuple[int, str, str] = (-1, "unknown", "unknown")
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        point = Path(before.split()[4].replace("\\040", " "))
        file_system, device = after.split()[:2]
        if folder.is_relative_to(point) and len(point.parts) >= best[0]:
            best = (len(point.parts), file_system, device)
    return best[1], best[2]
