"""A small disk of its own for a folder: a tmpfs that can be filled, and given room again, without hurting anybody."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOUNT_TIMEOUT_S = 10.0
BLOCK_BYTES = 4096


class Disk:
    """A mounted file system; `ballast` is a foreign file that takes its room."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ballast = folder / "foreign.bin"

    @property
    def free_bytes(self) -> int:
        """What can still be written."""
        there = os.statvfs(self.folder)
        return there.f_bavail * there.f_frsize

    def fill(self) -> None:
        """Let the foreign file take all the room that there is now."""
        with self.ballast.open("ab", buffering=0) as file:
            try:
                while file.write(bytes(BLOCK_BYTES)) == BLOCK_BYTES:
                    continue
            except OSError:  # ENOSPC: that is what was wanted
                return

    def make_room(self) -> None:
        """Remove the foreign file."""
        self.ballast.unlink()


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[Disk]:
    """Mount a tmpfs of that size on `folder`, for its owner alone; it is gone with the block, whatever happens.

    Where this may not be done (it takes root), the test is skipped, or fails where CI=true.
    """
    folder.mkdir(mode=0o700, parents=True)
    options = f"size={size_bytes},mode=0700"
    # Looked for by name: who may not mount need not have the command either.
    answer = _run("mount", "-t", "tmpfs", "-o", options, "telemetry-cache-test", str(folder))
    if answer is not None:
        reason = f"a tmpfs cannot be mounted here ({answer}); this test needs root and CAP_SYS_ADMIN"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(f"{reason}, and CI must run every test")
        pytest.skip(reason)
    try:
        yield Disk(folder)
    finally:
        # Lazily: a service that a failed test has left behind must not keep the disk mounted.
        if (answer := _run("umount", "--lazy", str(folder))) is not None:
            pytest.fail(f"{folder} is still mounted: {answer}")


def _run(*command: str) -> str | None:
    """Run a command; return what went wrong, or None."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=MOUNT_TIMEOUT_S, check=False)
    except (FileNotFoundError, PermissionError) as exc:
        return str(exc)
    said = done.stderr.strip().partition("\n")[0]
    return None if done.returncode == 0 else said or f"exit code {done.returncode}"
