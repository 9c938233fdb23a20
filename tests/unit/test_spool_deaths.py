"""Random walks through the life of a spool that two processes share: they take, deliver, fail and die at any call."""

from __future__ import annotations

import errno
import os
import random
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest

from app.errors import TryLaterError
from tests.unit.test_file_spool import Held, event, small

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from app.core.events import Labels, Redacted
    from app.ports import Batch

__all__ = ["small"]

WALKS = 60
STEPS = 150
CHANGING = ("pwritev", "pwrite", "fdatasync", "fsync", "ftruncate", "unlink", "mkdir", "posix_fallocate")
MAY_FAIL = ("pwritev", "pwrite", "fdatasync", "fdatasync", "fsync", "ftruncate")


class Killed(BaseException):
    """The process is gone: nothing catches it, and nothing that it does afterwards reaches the disk."""


class Kernel:
    """The calls that change the disk. A process can be made to die at any of them, or calls to fail once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, rng: random.Random) -> None:
        self.rng = rng
        self.calls_to_live: int | None = None
        self.is_dead = False
        self.failing: list[str] = []
        self.uncut = False
        """Whether a call to cut a file has failed."""
        self.process = 0
        self._opened_by: dict[int, int] = {}
        self._open = os.open
        monkeypatch.setattr(os, "open", self.open)
        for name in CHANGING:
            monkeypatch.setattr(os, name, self._mortal(name, getattr(os, name)))

    def open(self, *args: Any, **more: Any) -> int:
        if self.is_dead:
            raise Killed
        fd = self._open(*args, **more)
        self._opened_by[fd] = self.process
        return fd

    def bury(self, process: int, folder: Path) -> None:
        """Close what the process had open, as the kernel does: its locks are free."""
        for fd, opened_by in list(self._opened_by.items()):
            if opened_by == process:
                del self._opened_by[fd]
                with suppress(OSError):
                    if Path(f"/proc/self/fd/{fd}").readlink().is_relative_to(folder):
                        os.close(fd)
        self.is_dead, self.calls_to_live = False, None

    def _mortal(self, name: str, really: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            if self.is_dead:
                raise Killed
            if self.calls_to_live is not None:
                self.calls_to_live -= 1
                if self.calls_to_live < 0:
                    self.is_dead = True
                    self._do_some_of_it(name, really, args, more)
                    raise Killed
            if name in self.failing:
                self.failing.remove(name)
                self.uncut |= name == "ftruncate"
                raise OSError(errno.EIO, name)
            return really(*args, **more)

        return call

    def _do_some_of_it(self, name: str, really: Callable[..., Any], args: Any, more: Any) -> None:
        share = self.rng.choice((0.0, 0.5, 1.0))
        if name in ("pwritev", "pwrite"):
            data = b"".join(args[1]) if name == "pwritev" else args[1]
            part = data[: self.rng.randrange(len(data) + 1)] if share == 0.5 else data[: int(share * len(data))]
            really(args[0], [part] if name == "pwritev" else part, args[2])
        elif share == 1.0:
            really(*args, **more)


class Process:
    """One life of one of the two."""

    def __init__(self, number: int, folder: Path) -> None:
        self.number = number
        self.held = Held(folder, is_open=False, max_bytes=20_000)
        self.batches: list[Batch] = []


class Walk:
    """What was promised to whom, and what came of it."""

    def __init__(self, folder: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rng = random.Random(seed)
        self.folder = folder
        self.kernel = Kernel(monkeypatch, self.rng)
        self.living: list[Process | None] = [None, None]
        self.lives = 0
        self.sent = 0
        self.streams: defaultdict[Labels, list[Redacted]] = defaultdict(list)
        self.promised: set[Redacted] = set()
        self.refused: set[Redacted] = set()
        self.settled: dict[Redacted, int] = {}
        self.again: set[Redacted] = set()
        """Settled by one who then died: they may come a second time."""

    def step(self) -> None:
        place = self.rng.randrange(2)
        process = self.living[place]
        if process is None:
            self.lives += 1
            process = self.living[place] = Process(self.lives, self.folder)
            actions: list[Callable[[Process], None]] = [self.keep]
        else:
            actions = [self.append] * 6 + [self.take] * 4 + [self.deal] * 6 + [self.keep] * 4
            actions += [self.doom, self.doom, self.fail, self.die, self.leave]
        self.kernel.process = process.number
        try:
            self.rng.choice(actions)(process)
            ledger = process.held.spool.ledger()
            assert ledger.difference == ledger.corrupt == 0, ledger
        except Killed:
            self.bury(process)

    def append(self, process: Process) -> None:
        entries = []
        for _ in range(self.rng.choice((1, 1, 2, 5))):
            self.sent += 1
            stream = self.rng.choice("abc")
            entries.append(event(self.sent, stream, slot=process.held.spool.slot, size=self.rng.choice((0, 50, 900))))
        for one in entries:
            self.streams[one.labels].append(one)
        try:
            process.held.append(*entries)
        except TryLaterError:
            # What the disk would not cut off again may come after a death; nobody can help that.
            if not self.kernel.uncut:
                self.refused.update(entries)
        else:
            self.promised.update(entries)

    def take(self, process: Process) -> None:
        process.held.now_s += 10.0
        batch = process.held.spool.take(process.held.now_s, flush=self.rng.random() < 0.5)
        if isinstance(batch, float):
            return
        process.batches.append(batch)
        stream = self.streams[batch.entries[0].labels]
        at = [stream.index(one) for one in batch.entries]
        assert at == sorted(set(at)), "out of order"
        missing = set(stream[: at[-1]]) - set(batch.entries) - self.settled.keys()
        assert not missing & self.promised, "passed over"
        assert not set(batch.entries) & self.refused, "refused, and sent"
        assert set(batch.entries) & self.settled.keys() <= self.again, "sent twice without a death"

    def deal(self, process: Process) -> None:
        if not process.batches:
            return
        batch = process.batches.pop(self.rng.randrange(len(process.batches)))
        for _ in range(2):
            count = self.rng.randint(0, len(batch.entries))
            if count:
                for one in batch.entries[:count]:
                    self.settled[one] = process.number
                    self.again.discard(one)
                batch.settle(count, dead=self.rng.random() < 0.2)
        batch.release(attempt=self.rng.randrange(2))

    def keep(self, process: Process) -> None:
        for _ in range(self.rng.randint(1, 4)):
            process.held.now_s += self.rng.choice((0.01, 1.0))
            process.held.spool.keep(process.held.now_s)

    def doom(self, process: Process) -> None:
        """Die within the next calls, in whatever that is."""
        if self.kernel.calls_to_live is None:
            self.kernel.calls_to_live = self.rng.randrange(8)
            self.rng.choice((self.append, self.append, self.keep, self.take, self.leave))(process)
            self.kernel.calls_to_live = None

    def fail(self, process: Process) -> None:
        self.kernel.uncut = False
        self.kernel.failing = self.rng.choices(MAY_FAIL, k=self.rng.randint(1, 3))
        self.rng.choice((self.append, self.append, self.keep))(process)
        self.kernel.failing = []
        self.kernel.uncut = False

    def die(self, _: Process) -> None:
        raise Killed

    def leave(self, process: Process) -> None:
        """End in order: what was taken is let go, and nothing that was settled comes again."""
        while process.batches:
            process.batches.pop().release()
        process.held.keep(30)
        process.held.spool.close()
        process.held.spool.release()
        self.living[self.living.index(process)] = None

    def bury(self, process: Process) -> None:
        self.kernel.bury(process.number, self.folder)
        self.living[self.living.index(process)] = None
        self.again.update(one for one, number in self.settled.items() if number == process.number)

    def finish(self) -> None:
        """All die; the next start delivers whatever was promised, and the figures are what they should be."""
        for process in self.living:
            if process is not None:
                self.bury(process)
        last = Process(self.lives + 1, self.folder)
        idle = 0
        while idle < 60:
            last.held.keep()
            self.take(last)
            idle = 0 if last.batches else idle + 1
            while last.batches:
                self.deal(last)
        lost = [one.event_id for one in self.promised if one not in self.settled]
        assert not lost
        last.held.keep(3)
        ledger = last.held.spool.ledger()
        assert (ledger.difference, ledger.spooled, ledger.corrupt) == (0, 0, 0), ledger
        assert len(self.promised) <= ledger.accepted <= self.sent - len(self.refused), ledger
        self.bury_last(last)

    def bury_last(self, last: Process) -> None:
        self.kernel.bury(last.number, self.folder)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is such a thing: nothing here asks whether a disk is quick."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as name:
        yield Path(name) / "spool"


@pytest.mark.parametrize("seed", range(WALKS))
@pytest.mark.usefixtures("small")
def test_a_walk(folder: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that was taken is lost, what was refused is not sent, order holds, and at every step all adds up."""
    walk = Walk(folder, seed, monkeypatch)
    for _ in range(STEPS):
        walk.step()
    walk.finish()
    assert walk.promised
