"""Reading lines of a file or a pipe, none of them longer than what is searched."""

import gzip
import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO, Final, NamedTuple, cast

MAX_LINE_BYTES: Final = 16 * 1024 * 1024
"""A longer line is withheld: what is searched must fit into memory several times over."""

_CHUNK: Final = 64 * 1024

_BUFFER_BYTES: Final = 256 * 1024

# In what is packed nothing can be found, so that it would come out as it went in; and text of two bytes a
# character is not what the detectors look for.
_MAGIC: Final = {
    b"\x1f\x8b": "gzip, and its name does not end in .gz: pipe it through gzip -dc",
    b"\x28\xb5\x2f\xfd": "zstd: unpack it first",
    b"\xfd7zXZ\x00": "xz: unpack it first",
    b"BZh": "bzip2: unpack it first",
    b"PK\x03\x04": "a zip archive: unpack it first",
    b"\xff\xfe": "UTF-16: write it as UTF-8 first (iconv -f UTF-16 -t UTF-8)",
    b"\xfe\xff": "UTF-16: write it as UTF-8 first (iconv -f UTF-16 -t UTF-8)",
}


class UnreadableError(Exception):
    """What cannot be read as lines; the message says why, and quotes nothing."""


class LongLine(NamedTuple):
    """A line that was passed over."""

    size_bytes: int
    end: bytes


class Lines:
    """The lines of one source, read as they are asked for."""

    def __init__(self, path: Path | None) -> None:
        """Open `path`, or standard input for None; raise OSError."""
        self.name = "standard input" if path is None else str(path)
        self._file = _open(path)
        self.stat = os.fstat(self._file.fileno())
        self._is_packed = path is not None and path.name.endswith(".gz")
        self._stream: IO[bytes] = (
            cast("IO[bytes]", gzip.GzipFile(fileobj=self._file)) if self._is_packed else self._file
        )
        self.read_bytes = 0
        """Bytes of lines, unpacked."""

    @property
    def size_bytes(self) -> int | None:
        """The file's size as it lies there; None for a pipe."""
        return self.stat.st_size if stat.S_ISREG(self.stat.st_mode) else None

    @property
    def position_bytes(self) -> int:
        """How much of `size_bytes` has been read."""
        return self._file.tell() if self._is_packed else self.read_bytes

    def __iter__(self) -> Iterator[bytes | LongLine]:
        r"""Yield each line with its end; raise OSError or UnreadableError. Only `\n` ends a line, as in NDJSON."""
        try:
            while line := self._stream.readline(MAX_LINE_BYTES + 1):
                if not self.read_bytes:
                    _check_start(line, self.name)
                self.read_bytes += len(line)
                is_whole = len(line) <= MAX_LINE_BYTES or line.endswith(b"\n")
                yield line if is_whole else self._passed_over(line)
        except (EOFError, zlib.error, gzip.BadGzipFile) as exc:
            raise UnreadableError(f"{self.name}: not gzip, or damaged") from exc

    def close(self) -> None:
        """Close what was opened."""
        self._file.close()

    def _passed_over(self, line: bytes) -> LongLine:
        size_bytes = len(line)
        tail = line[-1:]
        while piece := self._stream.readline(_CHUNK):
            self.read_bytes += len(piece)
            size_bytes += len(piece)
            tail = (tail + piece)[-2:]
            if piece.endswith(b"\n"):
                break
        end = b"\r\n" if tail == b"\r\n" else b"\n" if tail.endswith(b"\n") else b""
        return LongLine(size_bytes - len(end), end)


def _open(path: Path | None) -> BinaryIO:
    if path is None:
        return open(0, "rb", buffering=_BUFFER_BYTES, closefd=False)
    return path.open("rb", buffering=_BUFFER_BYTES)


def _check_start(line: bytes, name: str) -> None:
    for magic, kind in _MAGIC.items():
        if line.startswith(magic):
            raise UnreadableError(f"{name}: this is {kind}")
