"""Appending lines to a file so that they are on disk, whole, when the call returns."""

import os
from contextlib import suppress
from pathlib import Path

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


class AppendFile:
    """A file of lines. A line that could not be written whole is cut off again."""

    def __init__(self, path: Path) -> None:
        """Open or make the file (mode 0600), and cut off a line that a crash left half written."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_new = not path.exists()
        self._fd = os.open(path, _FLAGS, 0o600)
        self.path = path
        self.size_bytes = _whole_lines_bytes(self._fd)
        os.ftruncate(self._fd, self.size_bytes)
        if is_new:
            sync_directory(path.parent)

    @property
    def fileno(self) -> int:
        """The open file's number."""
        return self._fd

    def append(self, lines: bytes) -> None:
        """Write `lines` (each ends in a newline) and sync them; OSError: nothing of them is kept."""
        try:
            written = 0
            while written < len(lines):
                written += os.write(self._fd, lines[written:])
        except OSError:
            os.ftruncate(self._fd, self.size_bytes)
            raise
        try:
            os.fdatasync(self._fd)
        except OSError:
            # A second sync of this open file would say that all is well: it is opened anew, and written anew.
            with suppress(OSError):
                os.ftruncate(self._fd, self.size_bytes)
            self.close()
            self._fd = os.open(self.path, _FLAGS, 0o600)
            raise
        self.size_bytes += len(lines)

    def close(self) -> None:
        """Close the file; what was appended is on disk already."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _whole_lines_bytes(fd: int) -> int:
    """Return where the last whole line ends."""
    size = os.fstat(fd).st_size
    block_bytes = 64 * 1024
    end = size
    while end > 0:
        start = max(0, end - block_bytes)
        newline = os.pread(fd, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def sync_directory(path: Path) -> None:
    """Make a new file's name durable too."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
