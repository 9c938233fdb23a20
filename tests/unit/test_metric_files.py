"""Metric files on a full disk: a worker goes on."""

from __future__ import annotations

import errno
import os
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from prometheus_client.mmap_dict import MmapedDict, mmap_key

from app.adapters.metric_files import AllocatedDict

if TYPE_CHECKING:
    from pathlib import Path


def key(number: int) -> str:
    return mmap_key("name", "name", ("label",), (f"value-{number:06}",), "help")


def test_a_file_has_no_holes(tmp_path: Path) -> None:
    """What it is long, it has on the disk: a page that cannot be given later would be SIGBUS."""
    path = tmp_path / "counter_0.db"
    with closing(AllocatedDict(str(path))) as values:
        values.write_value(key(1), 1.0, 0.0)
    assert path.stat().st_blocks * 512 >= path.stat().st_size > 0


def test_a_file_that_grows_keeps_its_values(tmp_path: Path) -> None:
    """Past its first size, and read again by the library's own reader."""
    path = tmp_path / "counter_0.db"
    number = 0
    with closing(AllocatedDict(str(path))) as values:
        first = path.stat().st_size
        while path.stat().st_size == first:
            values.write_value(key(number), float(number), 0.0)
            number += 1
    assert path.stat().st_blocks * 512 >= path.stat().st_size == 2 * first
    found = {name: value for name, value, _, _ in MmapedDict.read_all_values_from_file(str(path))}
    assert found == {key(one): float(one) for one in range(number)}


def test_without_room_a_new_series_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The known ones go on, nothing is raised, and the file stays sound."""
    path = tmp_path / "counter_0.db"
    with closing(AllocatedDict(str(path))) as values:
        monkeypatch.setattr(os, "posix_fallocate", _full)
        for number in range(20_000):
            values.write_value(key(number), 1.0, 0.0)
        for number in range(20_000):
            values.write_value(key(number), float(number), 0.0)
    found = {name: value for name, value, _, _ in MmapedDict.read_all_values_from_file(str(path))}
    fits = len(found)
    assert 1_000 < fits < 20_000
    assert found == {key(number): float(number) for number in range(fits)}


def test_a_file_without_room_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The start fails with an error that says so, and not with a signal later."""
    monkeypatch.setattr(os, "posix_fallocate", _full)
    with pytest.raises(OSError, match="No space left"):
        AllocatedDict(str(tmp_path / "counter_0.db"))


def _full(*_: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
