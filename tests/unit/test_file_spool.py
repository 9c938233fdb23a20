"""The spool on disk: what was taken comes out, over restarts and deaths, once, in order, and adds up."""

from __future__ import annotations

import os
import stat
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.adapters import file_spool
from app.adapters.file_spool import FileSpool
from app.core import cursors
from app.core.batching import BatchLimits
from app.core.events import Redacted
from app.errors import DrainingError, SpoolFailingError, SpoolFullError, TryLaterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

NS = 1_790_000_000_000_000_000
LIMITS = BatchLimits(max_bytes=1_000_000, max_events=1000, max_age_s=1.0)
DIRECTLY: dict[str, Any] = {
    "group": lambda deal: lambda request: deal([request]),
    "commit": lambda call: call(),
    "offload": lambda call: call(),
}


def event(number: int, stream: str = "s", *, slot: int = 0, size: int = 0) -> Redacted:
    return Redacted(
        labels=(("service_name", stream), ("worker", str(slot))),
        timestamp_ns=NS + number,
        line=b'{"n":%d,"x":"%s"}' % (number, b"x" * size),
        metadata=b'{"event_id":"evt_%d","trace_id":"t%d"}' % (number, number),
    )


def events(numbers: Iterable[int], stream: str = "s", *, size: int = 0) -> list[Redacted]:
    return [event(number, stream, size=size) for number in numbers]


def ids(entries: Iterable[Redacted]) -> list[str]:
    return [one.event_id for one in entries]


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


class Counts:
    """The telemetry that a spool needs."""

    def __init__(self) -> None:
        self.of: Counter[str] = Counter()

    def adopted(self) -> None:
        self.of["adopted"] += 1

    def corrupted(self, events: int) -> None:
        self.of["corrupt"] += events

    def committed(self, events: int, sync_s: float) -> None:
        assert sync_s >= 0
        self.of["committed"] += events

    def commit_failed(self, fault: str) -> None:
        self.of[fault] += 1


class Held:
    """A process that holds a spool: its clock, and what it heard."""

    def __init__(self, folder: Path, *, is_open: bool = True, **changed: Any) -> None:
        self.counts = Counts()
        self.now_s = 1000.0
        self.folder = folder
        self.opened: list[int] = []
        options = {
            "max_bytes": 1 << 20,
            "max_streams": 20,
            "sync": True,
            "limits": LIMITS,
            "telemetry": self.counts,
            "on_open": self.opened.append,
            **DIRECTLY,
            **changed,
        }
        self.spool = FileSpool(folder, **options)
        if is_open:
            self.spool.open()

    def append(self, *entries: Redacted) -> None:
        self.spool.append(entries, self.now_s)

    def keep(self, times: int = 1) -> None:
        for _ in range(times):
            self.now_s += 1.0
            self.spool.keep(self.now_s)

    def take(self) -> Sequence[Redacted]:
        """Take what is due first, settle it, and let the stream go."""
        self.now_s += 10.0
        batch = self.spool.take(self.now_s, flush=True)
        if isinstance(batch, float):
            return ()
        entries = batch.entries
        batch.settle(len(entries))
        batch.release()
        return entries

    def drain(self) -> list[Redacted]:
        """Keep and take until nothing is left to be done."""
        taken: list[Redacted] = []
        idle = 0
        while idle < 4:
            self.keep()
            some = self.take()
            taken += some
            idle = 0 if some else idle + 1
        self.keep(3)
        return taken

    def kill(self) -> None:
        """End as SIGKILL does: nothing is written, locks are free."""
        inside = vars(self.spool)
        for slot in [inside["_own"], *inside["_adopted"]]:
            if slot is not None:
                with suppress(OSError):
                    slot.close()

    @property
    def segments(self) -> list[Path]:
        return sorted(self.folder.glob("*/*.seg"))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of a few frames."""
    monkeypatch.setattr(file_spool, "_MIN_SEGMENT_BYTES", 400)
    monkeypatch.setattr(file_spool, "_MAX_SEGMENT_BYTES", 400)


# Once, whole, in order


TEXTS = st.text(max_size=12)
ANY_EVENT = st.builds(
    Redacted,
    labels=st.sampled_from(["a", "b", "é\n\0"]).map(lambda name: (("service_name", name), ("worker", "0"))),
    timestamp_ns=st.integers(NS, NS + 10**15),
    line=st.text(max_size=80).map(str.encode),
    metadata=TEXTS.map(lambda text: orjson.dumps({"event_id": text, "trace_id": text})),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(ANY_EVENT, max_size=4), max_size=6), st.sampled_from(["kill", "release", "go on"]))
@pytest.mark.usefixtures("small")
def test_what_was_appended_comes_out(
    tmp_path_factory: pytest.TempPathFactory, requests: list[list[Redacted]], end: str
) -> None:
    """Labels, nanosecond, line and metadata to the byte; in the order of each stream; then nothing is left."""
    held = Held(tmp_path_factory.mktemp("spool"), sync=False)
    for entries in requests:
        held.append(*entries)
    accepted = [one for entries in requests for one in entries]
    if end != "go on":
        held.kill() if end == "kill" else held.spool.release()
        held = Held(held.folder, sync=False)
    assert (ledger := held.spool.ledger()).difference == 0
    assert ledger.accepted == len(accepted) or end == "kill"
    taken = held.drain()
    for labels in {one.labels for one in accepted}:
        assert [one for one in taken if one.labels == labels] == [one for one in accepted if one.labels == labels]
    assert len(taken) == len(accepted)
    assert held.spool.ledger().shown() == {
        "accepted": len(accepted),
        "delivered": len(accepted),
        "spooled": 0,
        "dead_lettered": 0,
        "corrupt": 0,
        "difference": 0,
    }
    assert held.counts.of["corrupt"] == 0
    held.kill()


def test_files_are_ours_alone(tmp_path: Path) -> None:
    """Events are private: 0600 for files, 0700 for folders."""
    held = Held(tmp_path / "spool")
    held.append(event(1))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "spool" / "0").iterdir()}
    assert set(modes.values()) == {0o600}
    assert len(modes) == 2
    for folder in (tmp_path / "spool", tmp_path / "spool" / "0"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_no_stream_is_handed_out_twice_at_a_time(tmp_path: Path) -> None:
    """A stream has one sender; a batch that is released unsettled comes again, whole, at its time."""
    held = Held(tmp_path)
    held.append(event(1), event(2), event(3, "t"))
    first, second = held.spool.take(2000.0), held.spool.take(2000.0)
    assert not isinstance(first, float)
    assert not isinstance(second, float)
    assert [ids(first.entries), ids(second.entries)] == [["evt_1", "evt_2"], ["evt_3"]]
    assert isinstance(held.spool.take(2000.0), float)
    first.settle(1)
    first.release(attempt=2, not_before_s=2005.0)
    assert held.spool.take(2001.0) == pytest.approx(1.0)
    again = held.spool.take(2006.0)
    assert not isinstance(again, float)
    assert ids(again.entries) == ["evt_2"]
    assert again.attempt == 2
    assert held.spool.held_back == 1


def test_what_is_dead_is_counted_as_dead(tmp_path: Path) -> None:
    """And over a restart too."""
    held = Held(tmp_path)
    held.append(*events(range(5)))
    batch = held.spool.take(2000.0)
    assert not isinstance(batch, float)
    batch.settle(2)
    batch.settle(1, dead=True)
    batch.release()
    held.spool.release()
    held = Held(tmp_path)
    ledger = held.spool.ledger()
    assert (ledger.accepted, ledger.delivered, ledger.dead_lettered, ledger.spooled) == (5, 2, 1, 2)
    assert ids(held.drain()) == ["evt_3", "evt_4"]
    assert held.spool.ledger().difference == 0


def test_closed_takes_nothing_and_still_hands_out(tmp_path: Path) -> None:
    """So ends a worker: it drains what it can, and the next start has the rest."""
    held = Held(tmp_path)
    held.append(event(1))
    held.spool.close()
    with pytest.raises(DrainingError):
        held.append(event(2))
    assert ids(held.take()) == ["evt_1"]
    held.spool.release()
    with pytest.raises(TryLaterError):
        held.append(event(3))


@pytest.mark.parametrize("moment", ["before the write", "after the write"])
def test_letting_go_while_a_commit_is_under_way_loses_nothing(tmp_path: Path, moment: str) -> None:
    """Either the caller hears that it was not kept, or whoever comes next finds it: SIGQUIT under load."""

    def commit(call: Callable[[], Any]) -> Any:
        if moment == "before the write":
            held.spool.release()
            return call()
        done = call()
        held.spool.release()
        return done

    held = Held(tmp_path, commit=commit)
    kept = True
    try:
        held.append(event(1))
    except (TryLaterError, OSError):
        kept = False
    following = Held(tmp_path)
    assert ids(following.drain()) == (["evt_1"] if kept else [])
    assert following.spool.ledger().difference == 0


def test_two_streams_with_one_digest_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller can choose words whose eight bytes are the same: the cursor then remembers the older head."""
    monkeypatch.setattr(cursors, "digest_of", lambda _: b"12345678")
    held = Held(tmp_path)
    held.append(event(1, "a"))
    held.append(event(2, "b"))
    held.spool.release()
    assert sorted(ids(Held(tmp_path).drain())) == ["evt_1", "evt_2"]


def test_a_clock_that_is_far_off_loses_nothing(tmp_path: Path) -> None:
    """A machine without a battery may start in any year: events before and behind are kept, or refused."""
    held = Held(tmp_path)
    held.append(event(1))
    odd = event(2)._replace(timestamp_ns=2**32 * 10**9)
    held.append(odd)
    held.append(event(3))
    held.kill()
    assert ids(Held(tmp_path).drain()) == ["evt_1", "evt_2", "evt_3"]


# The bound


def test_full_refuses_and_has_room_again_after_delivery(tmp_path: Path) -> None:
    """Without being opened anew; and a probe of nothing passes even then."""
    held = Held(tmp_path, max_bytes=65536)
    number = 0
    while number < 100:
        try:
            held.append(event(number, size=3000))
        except SpoolFullError:
            break
        number += 1
    assert 15 < number < 22
    assert held.spool.fault == "full"
    held.append()
    assert held.spool.figures(0).events == number == held.spool.ledger().accepted
    assert len(held.drain()) == number
    assert held.spool.fault is None
    for again in range(number, number + 10):
        held.append(event(again, size=3000))
    assert ids(held.drain()) == [f"evt_{one}" for one in range(number, number + 10)]


@pytest.mark.parametrize("text", ["plain", "\0" * 128], ids=["plain", "escaped"])
def test_files_are_never_larger_than_the_bound(tmp_path: Path, text: str) -> None:
    """But for their headers; whatever is in the metadata, and however large the requests are."""
    held = Held(tmp_path, max_bytes=65536)
    odd = event(1)._replace(metadata=orjson.dumps({"event_id": "evt_1", "trace_id": text, "request_id": text}))
    refused = 0
    while refused < 5:
        try:
            held.append(*[odd] * 40)
        except SpoolFullError:
            refused += 1
        assert sum(path.stat().st_size for path in held.segments) <= 65536 + 64 * len(held.segments)


def test_many_streams_of_which_one_is_stuck(tmp_path: Path) -> None:
    """What is delivered beside it goes, segment by segment, and the stuck one is there to the end."""
    held = Held(tmp_path, max_bytes=1 << 18)
    held.append(event(0, "stuck"))
    stuck = held.spool.take(2000.0)
    assert not isinstance(stuck, float)
    for number in range(1, 400):
        held.append(event(number, "s", size=3000))
        held.take()
        held.keep()
    stuck.release()
    held.spool.release()
    assert ids(Held(tmp_path).drain()) == ["evt_0"]


# Slots and adoption


def test_a_slot_has_one_holder_and_fresh_events_another_slot(tmp_path: Path) -> None:
    """The lowest that nobody holds and that has nothing left in it; each process is told which."""
    first, second = Held(tmp_path), Held(tmp_path)
    assert (first.opened, second.opened) == ([0], [1])
    first.append(event(1))
    first.kill()
    third = Held(tmp_path)
    assert third.opened == [2]
    assert third.counts.of["adopted"] == 1
    fourth = Held(tmp_path)
    assert fourth.opened == [3]
    assert fourth.drain() == []
    assert third.drain() == [event(1)]
    second.append(event(2))
    assert third.drain() == fourth.drain() == []
    assert Held(tmp_path).opened == [0]
    assert second.drain() == [event(2)]


def test_a_dead_worker_s_events_are_adopted_with_their_labels(tmp_path: Path) -> None:
    """By one of the living, without a restart, while it takes fresh events of its own; then the slot is let go."""
    living, dying = Held(tmp_path), Held(tmp_path)
    dying.append(event(1, slot=1), event(2, slot=1))
    living.append(event(3, slot=0))
    assert ids(living.take()) == ["evt_3"]
    assert living.drain() == []
    dying.kill()
    assert living.drain() == [event(1, slot=1), event(2, slot=1)]
    assert living.spool.slot == 0
    assert living.segments[1:] == []
    assert Held(tmp_path).opened == [1]
    assert living.spool.ledger().delivered == 3


def test_nobody_adopts_what_is_his_own_or_what_another_holds(tmp_path: Path) -> None:
    """However often they look."""
    held, other = Held(tmp_path), Held(tmp_path)
    held.append(event(1))
    other.append(event(2, slot=1))
    for one in (held, other):
        one.keep(5)
        assert one.counts.of["adopted"] == 0
        assert one.spool.figures(0).events == 1


def test_labels_stay_with_the_events_through_many_deaths(tmp_path: Path) -> None:
    """Each process takes two, and dies in the middle of delivering what it adopted."""
    for number in range(6):
        held = Held(tmp_path)
        slot = held.spool.slot
        held.append(event(2 * number, slot=slot), event(2 * number + 1, slot=slot))
        held.keep(3)
        held.kill()
    last = Held(tmp_path)
    taken = last.drain()
    assert sorted(one.timestamp_ns - NS for one in taken) == list(range(12))
    for worker in {one.labels for one in taken}:
        mine = [one.timestamp_ns for one in taken if one.labels == worker]
        assert mine == sorted(mine)
    assert last.spool.ledger().difference == 0
    assert last.segments == []


def test_a_slot_that_cannot_be_opened_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead worker's file on a bad sector: events are taken all the same, and no descriptor is left behind."""
    dead = Held(tmp_path)
    dead.append(event(1))
    dead.spool.release()
    really_open = os.open

    def failing(path: Any, *args: Any, **more: Any) -> int:
        if str(path).endswith(".seg") and "/0/" in str(path):
            raise OSError(5, "Input/output error")
        return really_open(path, *args, **more)

    monkeypatch.setattr(os, "open", failing)
    before = open_files()
    held = Held(tmp_path, is_open=False)
    held.keep(20)
    assert open_files() < before + 10
    with suppress(SpoolFailingError):
        held.append(event(2))
    assert held.spool.fault is None
    monkeypatch.undo()
    assert sorted(ids(held.drain())) == ["evt_1", "evt_2"]


# Letters that are sent again


def test_what_is_requeued_is_not_accepted_a_second_time(tmp_path: Path) -> None:
    """Accepted 3, dead 2, both sent again, one of them dead again: at every step all adds up."""
    held = Held(tmp_path)
    held.append(*events(range(3)))
    batch = held.spool.take(2000.0)
    assert not isinstance(batch, float)
    dead = batch.entries[:2]
    batch.settle(2, dead=True)
    batch.release()
    held.keep(2)
    beside = Held(tmp_path, is_open=False)
    beside.spool.open(adopt=False)
    beside.spool.append(dead, 1000.0)
    beside.spool.note_requeued(len(dead))
    for spool in (beside.spool, held.spool):
        ledger = spool.ledger()
        assert (ledger.accepted, ledger.spooled, ledger.dead_lettered, ledger.difference) == (3, 3, 0, 0)
    beside.spool.release()
    held.keep(5)
    assert held.spool.ledger().shown() == {
        "accepted": 3,
        "delivered": 0,
        "spooled": 3,
        "dead_lettered": 0,
        "corrupt": 0,
        "difference": 0,
    }
    again = held.spool.take(3000.0)
    assert not isinstance(again, float)
    again.settle(1, dead=True)
    again.release()
    held.drain()
    ledger = held.spool.ledger()
    assert (ledger.accepted, ledger.delivered, ledger.dead_lettered, ledger.difference) == (3, 2, 1, 0)
    held.kill()
    assert Held(tmp_path).spool.ledger().difference == 0


def test_a_disk_that_hangs_refuses(tmp_path: Path) -> None:
    """Nobody waits for ever, /readyz says why, and the next event that the disk takes ends it."""
    hangs = [True]

    def group(deal: Any) -> Any:
        def submit(request: Any) -> None:
            if hangs[0]:
                raise TimeoutError
            deal([request])

        return submit

    held = Held(tmp_path, group=group)
    with pytest.raises(SpoolFailingError):
        held.append(event(1))
    assert held.spool.fault == "disk hangs"
    hangs[0] = False
    held.append(event(2))
    assert held.spool.fault is None
    assert ids(held.drain()) == ["evt_2"]
