"""Metric files that have their room on the disk before they are written to.

prometheus_client maps files that are holes: the first write to a page that a full disk cannot give is SIGBUS, which
ends the worker. So the room is taken when the file is made or grows, and where that fails a series is not kept.
"""

import logging
import mmap
import os
import struct
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from prometheus_client import mmap_dict, values

_log = logging.getLogger("telemetry_cache.metrics")

_VALUE_BYTES = 16
_pack_value = struct.Struct("dd").pack
_FIRST_BYTES = 256 * 1024
"""A worker has six such files; what the suite's usual models and events need fits."""


class AllocatedDict(mmap_dict.MmapedDict):
    """A metric file without holes."""

    def __init__(self, filename: str, read_mode: bool = False) -> None:  # noqa: FBT001, FBT002 - the library's signature
        """OSError: the disk has no room for it."""
        self._is_full = False
        if not read_mode:
            _allocate(filename, 0)
        super().__init__(filename, read_mode)

    def write_value(self, key: str, value: float, timestamp: float) -> None:
        """Write a series' value, and give it its place if it has none."""
        place = self._positions.get(key)
        if place is None:
            self._init_value(key)
            place = self._positions[key]
        # One assignment: a reader never meets half of it.
        self._m[place : place + _VALUE_BYTES] = _pack_value(value, timestamp)

    def _init_value(self, key: str) -> None:
        """Give a series its place; without room on the disk, one that nobody reads."""
        needed = len(key.encode()) + 64
        # The last place of the file is kept free for that.
        if self._used + needed + _VALUE_BYTES > self._capacity:
            try:
                _allocate(self._fname, 2 * self._capacity)
            except OSError:
                if not self._is_full:
                    _log.error("the disk is full: new series of metrics are not kept")
                self._is_full = True
                self._positions[key] = self._capacity - _VALUE_BYTES
                return
            self._grow()
        super()._init_value(key)

    def _grow(self) -> None:
        self._capacity = os.fstat(self._f.fileno()).st_size
        self._m = mmap.mmap(self._f.fileno(), self._capacity)


def install(slot: int, lock: AbstractContextManager[object]) -> None:
    """Let prometheus_client keep its values in these files, named by the worker's slot; `lock` guards each of them."""
    library: Any = values
    library.MmapedDict = AllocatedDict
    library.ValueClass = _value_class(library.MultiProcessValue(lambda: slot), lock)


def _value_class(base: Any, lock: AbstractContextManager[object]) -> type:
    """The library's values; counting, a dozen times a request, does not ask whose the file is: a slot never changes."""

    class Value(base):  # type: ignore[misc]
        def inc(self, amount: float) -> None:
            with lock:
                self._value += amount
                self._timestamp = 0.0
                self._file.write_value(self._key, self._value, 0.0)

    return Value


def _allocate(filename: str, size: int) -> None:
    """Give the file its room. It is made under another name: a scrape must not meet it empty."""
    path = Path(filename)
    draft = path if path.exists() else path.with_suffix(".draft")
    fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, max(size, os.fstat(fd).st_size, _FIRST_BYTES))
    finally:
        os.close(fd)
    if draft != path:
        draft.rename(path)
