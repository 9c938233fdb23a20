"""Damage to the spool's files, bit by bit: what the damage did not touch comes out, and all adds up."""

from __future__ import annotations

import os
import random
import shutil
import stat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import pytest

from app.core import frames
from app.core.frames import HEADER_BYTES, Frame
from tests.unit.test_file_spool import NS, Held, event, small

if TYPE_CHECKING:
    from collections.abc import Iterator

    from app.core.events import Redacted

__all__ = ["small"]

STREAMS = ("a", "b", "c")
FLIPS = (0x01, 0x80, 0xFF)
EVENTS = 8
DONE = {0, 1, 3, 6}
"""Those that were delivered: some of two streams, none of the third, and not the oldest of all."""


class Kept(NamedTuple):
    """A slot's files as they stood at a death, and the frames in each segment."""

    folder: Path
    files: dict[str, bytes]
    frames: dict[str, list[Frame]]

    def restore(self, changed: str, data: bytes) -> None:
        """Put the folder back as it was, but for one file."""
        shutil.rmtree(self.folder)
        slot = self.folder / "0"
        slot.mkdir(parents=True)
        for name, as_it_was in self.files.items():
            (slot / name).write_bytes(data if name == changed else as_it_was)

    @property
    def segments(self) -> list[str]:
        return sorted(self.frames)


def number_of(one: Redacted) -> int:
    return one.timestamp_ns - NS


def made(folder: Path) -> Kept:
    """Write a small spool: three streams over three segments or more, partly delivered, its cursor written."""
    held = Held(folder, sync=False)
    for number in range(EVENTS):
        held.append(event(number, STREAMS[number % 3]))
    while not isinstance(batch := held.spool.take(2000.0), float):
        done = sum(number_of(one) in DONE for one in batch.entries)
        batch.settle(done)
    held.keep(2)
    held.kill()
    files = {path.name: path.read_bytes() for path in (folder / "0").iterdir()}
    found = {
        name: [one for one in frames.scan(data, HEADER_BYTES) if isinstance(one, Frame)]
        for name, data in files.items()
        if name.endswith(".seg")
    }
    assert len(found) >= 3
    return Kept(folder, files, found)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is such a thing: it is written and deleted some ten thousand times."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as name:
        yield Path(name) / "spool"


@pytest.fixture
def kept(folder: Path, small: None) -> Kept:  # noqa: ARG001 - segments are small
    return made(folder)


def outcome(kept: Kept) -> tuple[list[int], Held]:
    """Open the spool anew, take everything, and check what holds whatever was damaged."""
    held = Held(kept.folder, sync=False)
    taken = held.drain()
    for one in taken:
        assert one == event(number_of(one), STREAMS[number_of(one) % 3])
    for stream in range(3):
        mine = [number_of(one) for one in taken if number_of(one) % 3 == stream]
        assert mine == sorted(set(mine))
    ledger = held.spool.ledger()
    assert ledger.difference == 0, ledger
    assert min(ledger.shown().values()) == 0, ledger
    assert ledger.spooled == 0
    assert [path for path in held.segments if path.stat().st_size > HEADER_BYTES] == []
    for path in (kept.folder / "quarantine").glob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    held.kill()
    return sorted(number_of(one) for one in taken), held


def quarantined(kept: Kept) -> bytes:
    return b"".join(path.read_bytes() for path in sorted((kept.folder / "quarantine").glob("*")))


WAITING = sorted(set(range(EVENTS)) - DONE)


def test_the_spool_without_damage(kept: Kept) -> None:
    """What the damaged ones are held against."""
    kept.restore("", b"")
    taken, held = outcome(kept)
    assert taken == WAITING
    assert held.spool.ledger().accepted == held.spool.ledger().delivered == EVENTS
    assert quarantined(kept) == b""


@pytest.mark.parametrize("flip", FLIPS)
def test_every_byte_of_every_segment_flipped(kept: Kept, flip: int) -> None:
    """One event is lost at most, counted if it was not delivered before, and its bytes are kept for a person."""
    for name in kept.segments:
        data = kept.files[name]
        for at in range(len(data)):
            damaged = data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]
            kept.restore(name, damaged)
            hit = [one for one in kept.frames[name] if one.start <= at < one.end]
            lost = [one.number for one in hit if one.number not in DONE]
            taken, held = outcome(kept)
            assert taken == [number for number in WAITING if number not in lost], (name, at)
            assert held.counts.of["corrupt"] == len(lost), (name, at)
            for one in hit:
                assert damaged[one.start : one.end] in quarantined(kept), (name, at)


@pytest.mark.parametrize("zeros", [False, True], ids=["cut", "zeros"])
def test_every_truncation_of_every_segment(kept: Kept, zeros: bool) -> None:  # noqa: FBT001
    """All before the cut comes out, all behind it is counted as lost: the cursor knows how many there were."""
    for name in kept.segments:
        data = kept.files[name]
        for size in range(0, len(data), 1 if not zeros else 2):
            kept.restore(name, data[:size] + bytes(len(data) - size if zeros else 0))
            lost = [one.number for one in kept.frames[name] if one.end > size and one.number not in DONE]
            if size < HEADER_BYTES and not zeros:
                lost = [one.number for one in kept.frames[name] if one.number not in DONE]
            taken, held = outcome(kept)
            assert taken == [number for number in WAITING if number not in lost], (name, size)
            assert held.counts.of["corrupt"] == len(lost), (name, size)


def test_a_segment_that_is_gone(kept: Kept) -> None:
    """Somebody deleted it: the others are delivered, and what it had is counted as lost."""
    for name in kept.segments:
        kept.restore("", b"")
        (kept.folder / "0" / name).unlink()
        lost = [one.number for one in kept.frames[name] if one.number not in DONE]
        taken, held = outcome(kept)
        assert taken == [number for number in WAITING if number not in lost], name
        assert held.counts.of["corrupt"] == len(lost), name


@pytest.mark.parametrize("size", [0, 10, 63])
def test_all_segments_gone(kept: Kept, size: int) -> None:
    """The cursor alone knows that there were some: they are counted as lost, and the difference is 0."""
    kept.restore("", b"")
    for name in kept.segments:
        os.truncate(kept.folder / "0" / name, size)
    taken, held = outcome(kept)
    assert taken == []
    assert held.spool.ledger().corrupt == len(WAITING)


@pytest.mark.parametrize("flip", FLIPS)
def test_every_byte_of_the_cursor_flipped(kept: Kept, flip: int) -> None:
    """Nothing that waits is lost; at worst what was delivered since the cursor before is sent again."""
    data = kept.files["cursor"]
    half = len(data) // 2
    for at in [*range(150), *range(half, half + 150), *range(150, len(data), 1501)]:
        kept.restore("cursor", data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :])
        taken, held = outcome(kept)
        assert set(WAITING) <= set(taken), at
        assert held.counts.of["corrupt"] == 0, at


def test_every_truncation_of_the_cursor(kept: Kept) -> None:
    """And no cursor at all, or one of noise."""
    data = kept.files["cursor"]
    half = len(data) // 2
    sizes = [*range(0, 200, 3), *range(half - 3, half + 200, 3), *range(0, len(data), 1501)]
    for damaged in [*(data[:size] for size in sizes), random.Random(5).randbytes(len(data)), data + data[:77]]:
        kept.restore("cursor", damaged)
        taken, held = outcome(kept)
        assert set(WAITING) <= set(taken), len(damaged)
        assert held.counts.of["corrupt"] == 0, len(damaged)


def test_no_cursor_and_dead_letters_among_the_delivered(tmp_path: Path) -> None:
    """They are sent once more, as the safe side; no figure is ever below 0, and the spool can be let go of."""
    held = Held(tmp_path, sync=False)
    held.append(*[event(number, "a") for number in range(6)])
    batch = held.spool.take(2000.0)
    assert not isinstance(batch, float)
    batch.settle(4, dead=True)
    batch.release()
    vars(held.spool)["_own"].seal()
    held.append(event(6, "a"))
    held.kill()
    (tmp_path / "0" / "cursor").unlink()
    held = Held(tmp_path, sync=False)
    held.keep(10)
    assert min(held.spool.ledger().shown().values()) == 0
    held.spool.release()
    held = Held(tmp_path, sync=False)
    assert [number_of(one) for one in held.drain()] == list(range(7))
    assert held.spool.ledger().difference == 0


def test_the_newest_cursor_damaged_after_all_was_delivered(tmp_path: Path) -> None:
    """The one before says that events wait, and there are none: they were delivered, and add up."""
    held = Held(tmp_path)
    held.append(event(0), event(1))
    held.spool.keep(1000.0)
    assert len(held.take()) == 2
    vars(held.spool)["_own"].seal()
    held.spool.keep(1000.1)
    held.kill()
    path = tmp_path / "0" / "cursor"
    data = path.read_bytes()
    half = len(data) // 2
    newest = max((0, half), key=lambda start: int.from_bytes(data[start + 12 : start + 20], "little"))
    path.write_bytes(data[: newest + 30] + b"?" + data[newest + 31 :])
    held = Held(tmp_path)
    held.drain()
    ledger = held.spool.ledger()
    assert (ledger.accepted, ledger.spooled, ledger.difference) == (2, 0, 0)


def test_a_frame_that_is_damaged_after_it_was_found(tmp_path: Path) -> None:
    """The one event is passed over, counted and kept for a person; its neighbours are delivered."""
    held = Held(tmp_path)
    for number in range(3):
        held.append(event(number))
    (path,) = held.segments
    data = bytearray(path.read_bytes())
    second = [one for one in frames.scan(bytes(data), HEADER_BYTES) if isinstance(one, Frame)][1]
    data[second.end - 3] ^= 0xFF
    path.write_bytes(data)
    assert [number_of(one) for one in held.drain()] == [0, 2]
    ledger = held.spool.ledger()
    assert (ledger.delivered, ledger.corrupt, ledger.difference) == (2, 1, 0)
    assert held.counts.of["corrupt"] == 1
    assert bytes(data[second.start : second.end]) in b"".join(
        path.read_bytes() for path in (tmp_path / "quarantine").iterdir()
    )


def test_a_damaged_last_frame_is_not_taken_for_a_torn_one(tmp_path: Path) -> None:
    """Acknowledged, then one byte of its length flips, and the cursor is older: the bytes are kept for a person."""
    held = Held(tmp_path)
    held.append(event(0), event(1))
    held.kill()
    (path,) = held.segments
    data = bytearray(path.read_bytes())
    last = [one for one in frames.scan(bytes(data), HEADER_BYTES) if isinstance(one, Frame)][-1]
    data[last.start + 9] ^= 0xFF
    path.write_bytes(data)
    held = Held(tmp_path)
    assert [number_of(one) for one in held.drain()] == [0]
    assert [path.read_bytes() for path in (tmp_path / "quarantine").glob("*")] == [bytes(data[last.start :])]
