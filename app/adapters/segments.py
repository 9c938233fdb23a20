"""The spool's files: segments that are appended to, and the cursor. Every call blocks: run them on a thread.

Law of every write: what was not written and synced whole is cut off again, and a file that failed to sync is never
synced again (the kernel has marked its pages clean: a second fsync would say that all is well).
"""

import os
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

from app.core import cursors, frames
from app.core.backlog import Place
from app.core.cursors import Cursor
from app.core.frames import Header

SUFFIX: Final = ".seg"
CURSOR: Final = "cursor"
_BASE: Final = re.compile(r"[0-9a-f]{16}")

_BUFFERS_A_WRITE: Final = 1024
"""IOV_MAX on Linux."""
_GAP_BYTES: Final = 16 * 1024
"""Frames that are nearer than this are read together, with what lies between them."""
_PROBE_BYTES: Final = 64 * 1024


class SyncError(OSError):
    """fdatasync failed: what it was for may or may not be on disk, and this file can no longer be trusted."""


class Read(NamedTuple):
    """Bytes of a segment, and the address of the first."""

    address: int
    data: bytes


class Segment:
    """One file of frames; `base` is the address of its first byte within the slot."""

    def __init__(self, path: Path, fd: int, base: int, size_bytes: int) -> None:
        """`fd` is open for reading and writing."""
        self.path = path
        self.base = base
        self.size_bytes = size_bytes
        self.undelivered = 0
        self._fd = fd

    @property
    def end(self) -> int:
        """The address behind its last byte."""
        return self.base + self.size_bytes

    def append(self, buffers: Sequence[bytes], *, sync: bool) -> float:
        """Write and sync; return the seconds that the sync took. OSError: nothing of it is in the file."""
        try:
            written = self._write(buffers)
        except OSError:
            self.cut(self.size_bytes)
            raise
        seconds = 0.0
        if sync:
            began_s = time.perf_counter()
            try:
                self._sync()
            except SyncError:
                with suppress(OSError):
                    self.cut(self.size_bytes)
                raise
            seconds = time.perf_counter() - began_s
        self.size_bytes += written
        return seconds

    def cut(self, size_bytes: int) -> None:
        """Cut the file to this size."""
        os.ftruncate(self._fd, size_bytes)
        self.size_bytes = size_bytes

    def probe(self) -> None:
        """Write and sync a piece behind the end, and cut it off again; OSError: there is no room, or the disk fails."""
        try:
            self._write([bytes(_PROBE_BYTES)])
            self._sync()
        finally:
            with suppress(OSError):
                self.cut(self.size_bytes)

    def read(self, offset: int = 0, size: int = -1) -> bytes:
        """Return `size` bytes from `offset` on, or as many as there are."""
        size = self.size_bytes - offset if size < 0 else size
        pieces = []
        while size > 0:
            piece = os.pread(self._fd, size, offset)
            if not piece:
                break
            pieces.append(piece)
            offset += len(piece)
            size -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def read_places(self, places: Sequence[Place]) -> list[Read]:
        """Return stretches that hold the frames at these places, which rise and lie in this segment."""
        reads = []
        at = 0
        while at < len(places):
            first = last = places[at]
            while at + 1 < len(places) and places[at + 1].address - (last.address + last.size) <= _GAP_BYTES:
                at += 1
                last = places[at]
            at += 1
            reads.append(
                Read(first.address, self.read(first.address - self.base, last.address + last.size - first.address))
            )
        return reads

    def remove(self) -> None:
        """Delete the file."""
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _sync(self) -> None:
        try:
            os.fdatasync(self._fd)
        except OSError as exc:
            raise SyncError(exc.errno, "fdatasync failed") from exc

    def _write(self, buffers: Sequence[bytes]) -> int:
        """Write behind the end. A full disk writes short, without an exception, and only then refuses."""
        offset = self.size_bytes
        for start in range(0, len(buffers), _BUFFERS_A_WRITE):
            waiting = [memoryview(buffer) for buffer in buffers[start : start + _BUFFERS_A_WRITE]]
            while waiting:
                written = os.pwritev(self._fd, waiting, offset)
                offset += written
                while waiting and written >= len(waiting[0]):
                    written -= len(waiting.pop(0))
                if waiting:
                    waiting[0] = waiting[0][written:]
        return offset - self.size_bytes


def create(folder: Path, header: Header, *, sync: bool) -> Segment:
    """Make a segment, durably; OSError: there is none."""
    path = folder / f"{header.base:016x}{SUFFIX}"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    segment = Segment(path, fd, header.base, 0)
    try:
        segment.append([frames.pack_header(header)], sync=sync)
        if sync:
            sync_folder(folder)
    except OSError:
        with suppress(OSError):
            segment.remove()
        raise
    return segment


def find(folder: Path, least_bytes: int) -> list[Segment]:
    """Open the segments of a folder, oldest first; those with fewer bytes hold nothing, and are deleted.

    A segment ends where the next begins: what a failed sync left behind there was written anew.
    """
    found: list[Segment] = []
    try:
        for path in sorted(path for path in folder.glob(f"*{SUFFIX}") if _BASE.fullmatch(path.stem)):
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            segment = Segment(path, fd, int(path.stem, 16), os.fstat(fd).st_size)
            if segment.size_bytes < least_bytes:
                segment.remove()
            else:
                found.append(segment)
    except OSError:
        for segment in found:
            segment.close()
        raise
    for segment, following in pairwise(found):
        segment.size_bytes = min(segment.size_bytes, following.base - segment.base)
    return found


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class CursorFile:
    """Two blocks, written in turns where they stand: a write that is cut short spoils one of them at most."""

    def __init__(self, folder: Path, *, block_bytes: int) -> None:
        """Open the file, or make it whole: afterwards it needs no more room, unless streams become many more."""
        self._fd = os.open(folder / CURSOR, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        size = os.fstat(self._fd).st_size
        self._block_bytes = size // 2 if size >= 2 * cursors.block_bytes(0) else block_bytes
        try:
            os.posix_fallocate(self._fd, 0, 2 * self._block_bytes)
        except OSError:
            self.close()
            raise

    def load(self) -> Cursor | None:
        """Return the newest whole block."""
        return cursors.read(self._data())

    @property
    def is_newest(self) -> bool:
        """Whether `load` returns the newest that was ever written."""
        return cursors.is_newest(self._data())

    def write(self, cursor: Cursor, *, sync: bool) -> None:
        """Put the cursor in the place of the older block."""
        block = cursors.pack(cursor, self._block_bytes)
        if block is None:
            self._grow(len(cursor.heads))
            block = cursors.pack(cursor, self._block_bytes) or b""
            # The second block has moved; the first still stands where it did.
            os.pwrite(self._fd, block, self._block_bytes)
        os.pwrite(self._fd, block, cursor.generation % 2 * self._block_bytes)
        if sync:
            os.fdatasync(self._fd)

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _data(self) -> bytes:
        return os.pread(self._fd, 2 * self._block_bytes, 0)

    def _grow(self, streams: int) -> None:
        block_bytes = cursors.block_bytes(2 * streams)
        os.posix_fallocate(self._fd, 0, 2 * block_bytes)
        self._block_bytes = block_bytes


def load_cursor(folder: Path) -> Cursor | None:
    """Return the cursor of a slot that another process may hold."""
    try:
        return cursors.read((folder / CURSOR).read_bytes())
    except OSError:
        return None
