"""The spool's files on a disk that fails: what was not written and synced whole is not there."""

from __future__ import annotations

import errno
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from app.adapters import segments
from app.adapters.segments import Segment, SyncError
from app.core.backlog import Place
from app.core.frames import HEADER_BYTES, Header, Totals
from app.errors import SpoolFailingError, SpoolFullError, TryLaterError
from tests.unit.test_file_spool import Held, event, events, ids, open_files

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HEADER = Header(0, 0, Totals())


class Disk:
    """The calls that reach the disk: with `room` bytes left, writing at most `step` a call, failing when told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room: float = float("inf")
        self.step: float = float("inf")
        self.failing: dict[str, int] = {}
        """How often each call will fail yet."""
        self.synced: list[tuple[str, bool]] = []
        """Each sync of a segment: its file, and whether it did."""
        self._made: Counter[str] = Counter()
        self._really = {
            name: getattr(os, name) for name in ("open", "pwritev", "fdatasync", "fsync", "posix_fallocate")
        }
        monkeypatch.setattr(os, "pwritev", self.pwritev)
        monkeypatch.setattr(os, "fdatasync", self.fdatasync)
        monkeypatch.setattr(os, "fsync", self._maybe("fsync"))
        monkeypatch.setattr(os, "posix_fallocate", self.fallocate)
        monkeypatch.setattr(os, "open", self.open)
        for name in ("pwrite", "pread", "ftruncate", "unlink", "mkdir"):
            self._really[name] = getattr(os, name)
            monkeypatch.setattr(os, name, self._maybe(name))

    def fail(self, name: str, times: int = 1) -> None:
        self.failing[name] = times

    def pwritev(self, fd: int, buffers: Sequence[bytes], offset: int) -> int:
        self._check("pwritev")
        whole = b"".join(buffers)
        size = int(min(len(whole), self.step, self.room))
        if not size:
            raise OSError(errno.ENOSPC, "no room")
        self.room -= size
        return self._really["pwritev"](fd, [whole[:size]], offset)

    def open(self, path: Any, flags: int, *args: Any, **more: Any) -> int:
        # A file that is made anew under an old name is another file.
        self._made[str(path)] += bool(flags & os.O_CREAT)
        return self._really["open"](path, flags, *args, **more)

    def fdatasync(self, fd: int) -> None:
        path = str(Path(f"/proc/self/fd/{fd}").readlink())
        if path.endswith(segments.SUFFIX):
            name = f"{path} {self._made[path]}"
            self.synced.append((name, not self.failing.get("fdatasync")))
            self._check("fdatasync")
        self._really["fdatasync"](fd)

    def fallocate(self, fd: int, offset: int, size: int) -> None:
        if os.fstat(fd).st_size < offset + size and self.room < size:
            raise OSError(errno.ENOSPC, "no room")
        self._really["posix_fallocate"](fd, offset, size)

    def check_syncs(self) -> None:
        """No file was synced again after it failed to."""
        spoilt = set()
        for name, done in self.synced:
            assert name not in spoilt, name
            if not done:
                spoilt.add(name)

    def _maybe(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            self._check(name)
            return self._really[name](*args, **more)

        return call

    def _check(self, name: str) -> None:
        if self.failing.get(name, 0) > 0:
            self.failing[name] -= 1
            raise OSError(errno.EIO, name)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


# One file


def test_what_was_appended_is_read_back(tmp_path: Path, disk: Disk) -> None:
    """Written in any pieces: a thousand buffers and more, of which the disk takes seven bytes at a time."""
    disk.step = 7
    segment = segments.create(tmp_path, HEADER, sync=True)
    buffers = [b"%d," % number for number in range(2500)]
    segment.append(buffers, sync=True)
    assert segment.read(HEADER_BYTES) == b"".join(buffers)
    assert segment.end == HEADER_BYTES + len(b"".join(buffers)) == segment.path.stat().st_size
    (found,) = segments.find(tmp_path, HEADER_BYTES)
    assert found.read(HEADER_BYTES, 4) == b"0,1,"
    for one in (found, segment):
        one.remove()
    assert list(tmp_path.iterdir()) == []


def test_places_near_each_other_are_read_at_once(tmp_path: Path, disk: Disk) -> None:
    """And those far apart are not; addresses count from the slot's beginning."""
    segment = segments.create(tmp_path, HEADER._replace(base=1000), sync=False)
    segment.append([bytes(range(256)) * 400], sync=False)
    places = [Place(1064, 10), Place(1100, 20), Place(1064 + 60_000, 5), Place(1064 + 60_005, 5)]
    reads = segment.read_places(places)
    assert [(read.address, len(read.data)) for read in reads] == [(1064, 56), (61064, 10)]
    assert reads[1].data == segment.read(64 + 60_000, 10)
    assert disk.synced == []
    segment.close()


def test_a_full_disk_cuts_back_to_what_was_whole(tmp_path: Path, disk: Disk) -> None:
    """A short write, then ENOSPC: nothing of the batch is left, and the next has its place."""
    segment = segments.create(tmp_path, HEADER, sync=True)
    segment.append([b"whole"], sync=True)
    disk.room = 4
    with pytest.raises(OSError, match="no room"):
        segment.append([b"abc", b"def"], sync=True)
    assert segment.path.read_bytes()[HEADER_BYTES:] == b"whole"
    disk.room = 100
    segment.append([b"more"], sync=True)
    assert segment.read(HEADER_BYTES) == b"wholemore"
    segment.close()


def test_a_failed_sync_leaves_nothing_of_the_batch(tmp_path: Path, disk: Disk) -> None:
    """And says so with an error of its own: the file is not to be trusted again."""
    segment = segments.create(tmp_path, HEADER, sync=True)
    disk.fail("fdatasync")
    with pytest.raises(SyncError):
        segment.append([b"abc"], sync=True)
    assert segment.path.stat().st_size == segment.size_bytes == HEADER_BYTES
    segment.close()


@pytest.mark.parametrize("call", ["pwritev", "fdatasync", "fsync"])
def test_a_segment_that_could_not_be_made_is_not_there(tmp_path: Path, disk: Disk, call: str) -> None:
    """Neither its name nor an open file."""
    before = open_files()
    disk.fail(call)
    with pytest.raises(OSError, match=call if call != "fdatasync" else "fdatasync failed"):
        segments.create(tmp_path, HEADER, sync=True)
    assert list(tmp_path.iterdir()) == []
    assert open_files() == before


def test_files_that_are_no_segments_are_left_alone(tmp_path: Path) -> None:
    """Names that are no address; and what is too short to hold a header goes."""
    (tmp_path / "notes.seg").write_bytes(bytes(100))
    (tmp_path / "0000000000000000.seg").write_bytes(bytes(10))
    (tmp_path / "0000000000000100.seg").write_bytes(bytes(100))
    found = segments.find(tmp_path, HEADER_BYTES)
    assert [(one.base, one.size_bytes) for one in found] == [(256, 100)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0000000000000100.seg", "notes.seg"]
    found[0].close()


def test_a_read_behind_the_end_is_short(tmp_path: Path) -> None:
    """The file was cut by somebody: what is left is returned."""
    (tmp_path / "f").write_bytes(b"abcdef")
    segment = Segment(tmp_path / "f", os.open(tmp_path / "f", os.O_RDWR), 0, 6)
    os.truncate(tmp_path / "f", 3)
    assert segment.read() == b"abc"
    assert segment.read(5, 10) == b""
    segment.close()


# The spool on such a disk


def test_a_full_disk_is_an_answer_and_passes(tmp_path: Path, disk: Disk) -> None:
    """Refused while it is full, taken again by itself; nothing of what was refused comes out, ever."""
    held = Held(tmp_path)
    held.append(event(1))
    disk.room = 150
    for _ in range(3):
        with pytest.raises(SpoolFullError):
            held.append(event(2, size=100), event(3, size=100))
        assert held.spool.fault == "disk full"
    held.keep(2)
    assert held.spool.fault == "disk full"
    disk.room = float("inf")
    held.keep(2)
    assert held.spool.fault is None
    held.append(event(4))
    held.kill()
    assert ids(Held(tmp_path).drain()) == ["evt_1", "evt_4"]
    disk.check_syncs()


def test_a_full_disk_drains(tmp_path: Path, disk: Disk) -> None:
    """Not a byte of room: what waits is delivered, deleted, and accounted for."""
    held = Held(tmp_path, max_bytes=1 << 18)
    for number in range(20):
        held.append(event(number, size=3000))
    disk.room = 0
    assert len(held.drain()) == 20
    assert len(held.segments) <= 1
    held.kill()
    held = Held(tmp_path, is_open=False)
    held.keep()
    assert held.spool.ledger().delivered == 20
    assert held.spool.ledger().difference == 0


def test_a_failed_sync_is_made_good_by_another_file(tmp_path: Path, disk: Disk) -> None:
    """The caller hears nothing of it; the file that failed is never synced again; no event is there twice."""
    held = Held(tmp_path)
    held.append(event(1))
    disk.fail("fdatasync")
    held.append(event(2), event(3))
    held.append(event(4))
    assert len(held.segments) == 2
    disk.check_syncs()
    held.kill()
    held = Held(tmp_path)
    assert ids(held.drain()) == ["evt_1", "evt_2", "evt_3", "evt_4"]
    assert held.spool.ledger().difference == 0


@pytest.mark.parametrize("cut_fails", [False, True], ids=["cut", "not cut"])
def test_what_a_failed_sync_left_behind_hides_nothing(tmp_path: Path, disk: Disk, cut_fails: bool) -> None:  # noqa: FBT001
    """It lies at addresses of the next file: the disk would not cut it, or a power cut has undone the cut."""
    held = Held(tmp_path)
    held.append(event(1))
    disk.fail("fdatasync")
    disk.fail("ftruncate", 1 if cut_fails else 0)
    held.append(event(2), event(3))
    held.kill()
    held = Held(tmp_path)
    assert ids(held.drain()) == ["evt_1", "evt_2", "evt_3"]
    assert held.spool.ledger().accepted == 3


@pytest.mark.parametrize("fails", [2, 3, 5])
def test_syncs_that_go_on_failing_refuse(tmp_path: Path, disk: Disk, fails: int) -> None:
    """The caller hears that nothing is kept, and nothing of it comes out after the next start either."""
    held = Held(tmp_path)
    held.append(event(1))
    disk.fail("fdatasync", fails)
    with pytest.raises(SpoolFailingError):
        held.append(event(2), event(3))
    assert held.spool.fault == "disk failing"
    disk.fail("fdatasync", 0)
    held.append(event(4))
    assert held.spool.fault is None
    disk.check_syncs()
    held.kill()
    held = Held(tmp_path)
    assert ids(held.drain()) == ["evt_1", "evt_4"]
    assert held.spool.ledger().accepted == 2


def test_a_probe_whose_sync_failed_seals_the_file(tmp_path: Path, disk: Disk) -> None:
    """The law holds for it too: that file is not synced again."""
    held = Held(tmp_path)
    held.append(event(1))
    disk.fail("pwritev", 2)
    with pytest.raises(TryLaterError):
        held.append(event(2))
    disk.fail("pwritev", 0)
    disk.fail("fdatasync", 1)
    held.keep(4)
    held.append(event(3))
    assert (f"{held.segments[0]} 1", False) in disk.synced
    disk.check_syncs()


def test_a_disk_that_is_full_at_the_start_is_waited_for(tmp_path: Path, disk: Disk) -> None:
    """No slot can be made: refused, and taken as soon as there is room, by keeping alone."""
    disk.room = 1000
    held = Held(tmp_path, is_open=False)
    held.keep(3)
    assert held.spool.fault == "disk full"
    with pytest.raises(SpoolFailingError):
        held.append(event(1))
    disk.room = float("inf")
    held.keep(2)
    held.append(event(1))
    assert held.spool.fault is None
    assert ids(held.drain()) == ["evt_1"]


def test_a_backlog_on_a_full_disk_is_delivered_at_the_start(tmp_path: Path, disk: Disk) -> None:
    """Room comes from delivering what a dead worker left: adopting it needs none."""
    dead = Held(tmp_path)
    dead.append(*events(range(10)))
    dead.kill()
    disk.room = 0
    held = Held(tmp_path, is_open=False)
    assert len(held.drain()) == 10
    assert held.segments == []
    disk.room = float("inf")
    held.keep(2)
    assert held.spool.fault is None
    assert held.spool.ledger().difference == 0


def test_a_cursor_that_cannot_be_written_deletes_nothing(tmp_path: Path, disk: Disk) -> None:
    """What is delivered comes once more after a kill then; as soon as it can be written, all goes."""
    held = Held(tmp_path)
    held.append(*events(range(3)))
    held.keep(2)
    disk.fail("pwrite", 1000)
    assert ids(held.drain()) == ["evt_0", "evt_1", "evt_2"]
    held.kill()
    held = Held(tmp_path)
    assert ids(held.drain()) == ["evt_0", "evt_1", "evt_2"]
    assert held.spool.ledger().difference == 0
    disk.fail("pwrite", 0)
    held.drain()
    assert held.segments == []
    assert held.spool.ledger().delivered == 3
    held.kill()
    assert Held(tmp_path).drain() == []


def test_what_cannot_be_read_waits_and_comes_when_it_can(tmp_path: Path, disk: Disk) -> None:
    """The disk fails for a while: nothing is counted as lost, and a stream that can be read goes on."""
    held = Held(tmp_path)
    held.append(event(1))
    disk.fail("pread", 1)
    assert isinstance(held.spool.take(2000.0), float)
    assert held.spool.ledger().spooled == 1
    assert ids(held.drain()) == ["evt_1"]


def test_a_drain_gives_up_on_what_cannot_be_read(tmp_path: Path, disk: Disk) -> None:
    """It ends, after a bounded number of tries, and what can be read is drained."""
    held = Held(tmp_path)
    held.append(event(1))
    disk.fail("pread", 200)
    assert isinstance(held.spool.take(2000.0, flush=True), float)
    assert disk.failing["pread"] > 150


@pytest.mark.parametrize("what", ["header", "frames"])
def test_a_slot_that_could_not_be_read_when_adopted_is_not_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A segment gives EIO for a while: the others are delivered meanwhile, and it at the next start at the latest."""
    dead = Held(tmp_path)
    dead.append(event(1), event(2))
    vars(dead.spool)["_own"].seal()
    dead.append(event(3, "t"))
    dead.spool.release()
    really = Segment.read

    def failing(segment: Segment, offset: int = 0, size: int = -1) -> bytes:
        if segment.base == 0 and (what == "header" or size != HEADER_BYTES):
            raise OSError(errno.EIO, "read")
        return really(segment, offset, size)

    held = Held(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(Segment, "read", failing)
        taken = []
        for _ in range(5):
            try:
                taken += held.drain()
            except OSError:
                continue
        assert ids(taken) == ["evt_3"]
        assert held.spool.ledger().difference == 0
    held.spool.release()
    held = Held(tmp_path)
    # The third again: nothing is written down of a slot that is not known wholly.
    assert ids(held.drain()) == ["evt_1", "evt_2", "evt_3"]
    ledger = held.spool.ledger()
    assert (ledger.accepted, ledger.delivered, ledger.corrupt, ledger.difference) == (3, 3, 0, 0)
