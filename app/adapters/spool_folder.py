"""The spool's folder: a slot is a numbered folder below it, damaged bytes are kept beside them."""

import errno
import fcntl
import logging
import os
from pathlib import Path
from typing import Final

from app.adapters import segments
from app.adapters.spool_slot import Slot
from app.core.cursors import Cursor

_log = logging.getLogger("telemetry_cache.spool")

NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors that say that the disk is full."""

_MAX_SLOTS: Final = 1024
_MAX_QUARANTINE_BYTES: Final = 64 * 1024 * 1024


class SpoolFolder:
    """Takes slots, looks at those of others. Everything here blocks."""

    def __init__(self, path: Path, *, segment_bytes: int, max_streams: int, sync: bool) -> None:
        """Nothing is made yet."""
        self._path = path
        self._segment_bytes = segment_bytes
        self._max_streams = max_streams
        self._sync = sync

    def make(self) -> None:
        """Make the folder, durably."""
        _make(self._path)

    def numbers(self) -> list[int]:
        """Return the slots that there are."""
        try:
            return sorted(int(name) for name in os.listdir(self._path) if name.isdecimal())  # noqa: PTH208 - names
        except OSError:
            return []

    def has_segments(self, number: int) -> bool:
        """Whether a slot has files of frames."""
        return any((self._path / str(number)).glob(f"*{segments.SUFFIX}"))

    def cursor(self, number: int) -> Cursor | None:
        """Return the cursor of a slot, whoever holds it."""
        return segments.load_cursor(self._path / str(number))

    def take(self, number: int) -> Slot | None:
        """Return a slot that is there, if nobody holds it; OSError."""
        folder = self._path / str(number)
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return Slot(
                folder,
                number,
                lock,
                segment_bytes=self._segment_bytes,
                max_streams=self._max_streams,
                sync=self._sync,
            )
        except BlockingIOError:
            os.close(lock)
            return None
        except OSError:
            os.close(lock)
            raise

    def make_and_take(self, number: int) -> Slot | None:
        """Return a slot that nobody holds, or None; one whose files the disk does not give is passed over.

        OSError: there is no room for a slot.
        """
        if number >= _MAX_SLOTS:
            raise OSError(errno.ENOSPC, "every slot of the spool is taken")
        try:
            _make(self._path / str(number))
            return self.take(number)
        except OSError as exc:
            if exc.errno in NO_ROOM:
                raise
            _log.error("spool slot %d cannot be opened", number)
            return None

    def quarantine(self, name: str, data: bytes) -> None:
        """Keep damaged bytes for whoever looks into it, within bounds; OSError."""
        folder = self._path / "quarantine"
        _make(folder)
        if sum(path.stat().st_size for path in folder.iterdir()) + len(data) > _MAX_QUARANTINE_BYTES:
            return
        fd = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)


def _make(folder: Path) -> None:
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        segments.sync_folder(folder.parent)
