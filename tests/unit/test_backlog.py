"""The backlog: what waits, by stream; when a stream is due, and which one goes next."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from gevent import GreenletExit
from hypothesis import given
from hypothesis import strategies as st

from app.adapters.segments import Read
from app.adapters.spool_outbox import Outbox
from app.core import frames
from app.core.backlog import NEVER_S, Backlog, Place, Stream
from app.core.batching import BatchLimits
from app.core.events import Redacted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from app.ports import Batch

LIMITS = BatchLimits(max_bytes=1000, max_events=10, max_age_s=1.0)
SIZE = 100
NOW_S = 5000.0


def stream(count: int, size: int = SIZE, now_s: float = NOW_S) -> Stream:
    """Return a stream with events at 0, SIZE, 2 * SIZE, ..., acknowledged in the seconds 0, 1, 2, ..."""
    made = Stream(b"s")
    for number in range(count):
        made.add(Place(number * SIZE, size), number, now_s)
    return made


# A stream


@pytest.mark.parametrize(
    ("count", "size", "after_s", "wait_s"),
    [
        (1, SIZE, 0.0, 1.0),
        (1, SIZE, 0.75, 0.25),
        (1, SIZE, 1.0, 0.0),
        (1, SIZE, 500.0, 0.0),
        (9, SIZE, 0.0, 1.0),
        (10, 1, 0.0, 0.0),
        (9, 111, 0.0, 1.0),
        (9, 112, 0.0, 0.0),
        (1, 5000, 0.0, 0.0),
    ],
)
def test_a_stream_waits_until_it_is_due(count: int, size: int, after_s: float, wait_s: float) -> None:
    """By age, by number or by bytes, of what waits; before that the wait is what is left."""
    assert stream(count, size).due_in_s(LIMITS, NOW_S + after_s) == wait_s


@pytest.mark.parametrize("count", [1, 10])
def test_a_stream_that_is_held_back_is_not_due_before_its_time(count: int) -> None:
    """However old or large it is; afterwards its age and size count again."""
    held = stream(count)
    held.not_before_s = NOW_S + 60
    assert held.due_in_s(LIMITS, NOW_S + 50) == 10.0
    assert held.due_in_s(LIMITS, NOW_S + 60) == 0.0
    held.not_before_s = NEVER_S
    assert held.due_in_s(LIMITS, NOW_S + 1e9) == NEVER_S


@pytest.mark.parametrize(
    ("max_bytes", "max_events", "count"),
    [(1000, 10, 5), (1000, 3, 3), (1000, 1, 1), (3 * SIZE, 10, 3), (3 * SIZE - 1, 10, 2), (SIZE, 10, 1), (1, 10, 1)],
)
def test_a_batch_is_within_both_bounds_and_never_empty(max_bytes: int, max_events: int, count: int) -> None:
    """An event larger than a batch goes alone; looking takes nothing away."""
    held = stream(5)
    limits = BatchLimits(max_bytes, max_events, 1.0)
    wanted = [Place(number * SIZE, SIZE) for number in range(count)]
    assert held.peek(limits) == held.peek(limits) == wanted
    assert (len(held), held.size_bytes) == (5, 5 * SIZE)


def test_what_is_dropped_is_the_oldest() -> None:
    """Its addresses come back, once; head, size and age are those of the rest."""
    held = stream(5)
    assert held.drop(2, NOW_S + 3) == [0, SIZE]
    assert (len(held), held.size_bytes, held.head, held.oldest_second) == (3, 3 * SIZE, 2 * SIZE, 2)
    assert held.drop(3, NOW_S + 4) == [2 * SIZE, 3 * SIZE, 4 * SIZE]
    assert (len(held), held.size_bytes) == (0, 0)


def test_the_age_is_that_of_the_head() -> None:
    """An event behind others changes nothing; one that comes to be the head waits its second from then on."""
    held = stream(2)
    held.add(Place(900, SIZE), 9, NOW_S + 5)
    assert held.since_s == NOW_S
    held.drop(1, NOW_S + 6)
    assert held.since_s == NOW_S + 6
    assert held.due_in_s(LIMITS, NOW_S + 6) == 1.0
    held.drop(2, NOW_S + 7)
    held.add(Place(1000, SIZE), 10, NOW_S + 20)
    assert (held.since_s, held.head, held.oldest_second) == (NOW_S + 20, 1000, 10)


def test_events_that_come_while_a_batch_is_under_way_stay_behind_it() -> None:
    """What is dropped is the batch that was looked at."""
    held = stream(2)
    batch = held.peek(LIMITS)
    held.add(Place(700, SIZE), 7, NOW_S)
    assert held.drop(len(batch), NOW_S) == [place.address for place in batch]
    assert held.peek(LIMITS) == [Place(700, SIZE)]


@pytest.mark.parametrize("left", [0, 1, 4000, 5000])
def test_a_backlog_that_drains_gives_its_memory_back(left: int) -> None:
    """Past 4096 delivered positions the columns hold no more than twice what waits; what waits is as before."""
    held = stream(10_000)
    dropped = []
    while len(held) > left:
        dropped += held.drop(min(7, len(held) - left), NOW_S)
        kept = len(held._addresses)  # noqa: SLF001 - the bound itself
        assert kept <= len(held) + max(4096 + 7, len(held) + 7)
    assert dropped == [number * SIZE for number in range(10_000 - left)]
    assert held.size_bytes == left * SIZE
    wanted = [Place(number * SIZE, SIZE) for number in range(10_000 - left, 10_000)]
    assert held.peek(BatchLimits(10**9, 10**6, 1.0)) == wanted
    held.add(Place(10_000 * SIZE, SIZE), 10_000, NOW_S)
    assert (len(held), held.size_bytes) == (left + 1, (left + 1) * SIZE)
    assert held.oldest_second == 10_000 - left


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=40), st.integers(0, 6), st.integers(1, 5))
def test_a_stream_is_a_queue(steps: list[tuple[bool, int]], compact_at: int, max_events: int) -> None:
    """Whatever is added and dropped, and wherever its columns are cut: first in, first out, and the sums are right."""
    held, model, now_s = Stream(b"s"), deque[tuple[Place, int]](), NOW_S
    address = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.core.backlog._COMPACT_AT", compact_at)
        for is_add, amount in steps:
            now_s += 1
            if is_add:
                held.add(Place(address, amount), address, now_s)
                model.append((Place(address, amount), address))
                address += 10
            else:
                count = min(amount, len(model))
                assert held.drop(count, now_s) == [model.popleft()[0].address for _ in range(count)]
            assert (len(held), held.size_bytes) == (len(model), sum(place.size for place, _ in model))
            assert held.peek(BatchLimits(10**9, max_events, 1.0)) == [place for place, _ in model][:max_events]
            if model:
                assert (held.head, held.oldest_second) == (model[0][0].address, model[0][1])


# The streams of a slot


def backlog(*keys: bytes) -> Backlog:
    """Return a backlog with one event for each key, at 0, SIZE, 2 * SIZE, ..."""
    made = Backlog()
    for number, key in enumerate(keys):
        made.add(key, Place(number * SIZE, SIZE), number, NOW_S)
    return made


def test_each_stream_has_its_own_events() -> None:
    """And all are counted."""
    held = backlog(b"a", b"b", b"a")
    assert {one.key: [place.address for place in one.peek(LIMITS)] for one in held} == {b"a": [0, 200], b"b": [100]}
    assert held.events == 3


def test_an_empty_stream_is_forgotten_when_its_batch_is_released() -> None:
    """Not before: what comes while its last batch is under way belongs to the same stream. One that waits stays."""
    held = backlog(b"a", b"b", b"b")
    first, second = held
    for one in (first, second):
        one.is_busy = True
        assert held.drop(one, 1, NOW_S) == [one.key == b"b" and SIZE]
    assert held.events == 1
    assert list(held) == [first, second]
    held.release(first)
    held.release(second)
    assert list(held) == [second]
    assert not first.is_busy
    assert not second.is_busy


def test_a_stream_that_gets_events_while_its_last_batch_is_under_way_is_kept() -> None:
    """With its account of failures."""
    held = backlog(b"a")
    (only,) = held
    only.is_busy, only.attempt = True, 3
    held.drop(only, 1, NOW_S)
    held.add(b"a", Place(700, SIZE), 7, NOW_S + 9)
    held.release(only)
    assert list(held) == [only]
    assert (only.head, only.since_s, only.attempt) == (700, NOW_S + 9, 3)


def test_the_heads_are_those_of_streams_that_wait() -> None:
    """They go into the cursor: a stream without events has none, even while its batch is still under way."""
    held = backlog(b"a", b"b", b"a")
    first, second = held
    assert held.heads() == {b"a": 0, b"b": 100}
    held.drop(first, 1, NOW_S)
    assert held.heads() == {b"a": 200, b"b": 100}
    held.drop(second, 1, NOW_S)
    assert held.heads() == {b"a": 200}


# What is handed out


def entry(number: int, name: str = "s", line: bytes = b"") -> Redacted:
    line = line or b'{"n":%d}' % number
    return Redacted((("service_name", name),), number * 10**9, line, b'{"event_id":"%b%d"}' % (name.encode(), number))


class FakeSlot:
    """A slot whose frames stand in memory; `faults` are raised by the reads to come, one each."""

    def __init__(self, number: int = 0) -> None:
        self.number = number
        self.backlog = Backlog()
        self.data = bytearray()
        self.settled: list[tuple[list[int], bool, bool]] = []
        self.reads = 0
        self.faults: list[BaseException] = []

    def put(self, entries: Iterable[Redacted], now_s: float = NOW_S) -> list[Place]:
        places = []
        for one in entries:
            frame = frames.pack(one, self.backlog.events)
            places.append(Place(len(self.data), len(frame)))
            self.data += frame
            self.backlog.add(frames.stream_key(one.labels), places[-1], one.timestamp_ns // 10**9, now_s)
        return places

    def spoil(self, place: Place) -> None:
        self.data[place.address + place.size - 1] ^= 1

    def read(self, places: Sequence[Place]) -> list[Read]:
        self.reads += 1
        assert self.reads < 1000, "it is read for ever"
        if self.faults:
            raise self.faults.pop(0)
        first, last = places[0], places[-1]
        return [Read(first.address, bytes(self.data[first.address : last.address + last.size]))]

    def settle(self, addresses: list[int], *, dead: bool = False, corrupt: bool = False) -> None:
        self.settled.append((addresses, dead, corrupt))

    def stream(self, name: str = "s") -> Stream:
        return next(one for one in self.backlog if name.encode() in one.key)


@dataclass
class Bench:
    """An outbox over slots in memory, and what it did besides."""

    limits: BatchLimits = LIMITS
    slots: list[FakeSlot] = field(default_factory=lambda: [FakeSlot()])
    corrupted_events: int = 0
    quarantined: dict[str, bytes] = field(default_factory=dict)
    quarantine_fails: bool = False

    def __post_init__(self) -> None:
        telemetry: Any = self
        self.outbox = Outbox(self.limits, telemetry, offload=lambda call: call(), quarantine=self.keep)
        for slot in self.slots:
            held: Any = slot
            self.outbox.add(held)

    @property
    def slot(self) -> FakeSlot:
        return self.slots[0]

    def corrupted(self, events: int) -> None:
        self.corrupted_events += events

    def keep(self, name: str, data: bytes) -> None:
        if self.quarantine_fails:
            raise OSError
        self.quarantined[name] = data

    def take(self, after_s: float = 1.0, *, flush: bool = False) -> Batch:
        batch = self.outbox.take(NOW_S + after_s, flush=flush)
        assert not isinstance(batch, float)
        return batch

    def wait_s(self, after_s: float, *, flush: bool = False) -> float:
        wait_s = self.outbox.take(NOW_S + after_s, flush=flush)
        assert isinstance(wait_s, float)
        return wait_s

    def names(self, after_s: float) -> list[str]:
        """Take, settle and release whatever is due, and return the streams' names in that order."""
        names = []
        while not isinstance(batch := self.outbox.take(NOW_S + after_s, flush=False), float):
            names.append(batch.entries[0].labels[0][1])
            batch.settle(len(batch.entries))
            batch.release()
        return names


def test_a_batch_is_what_was_put_in() -> None:
    """Labels, nanoseconds, lines and metadata, read back; it stands in the slot until it is settled."""
    bench = Bench()
    wanted = [entry(number) for number in range(3)]
    places = bench.slot.put(wanted)
    batch = bench.take()
    assert batch.entries == wanted
    assert bench.slot.backlog.events == 3
    batch.settle(2)
    assert list(batch.entries) == wanted[2:]
    batch.settle(1, dead=True)
    batch.release()
    addresses = [place.address for place in places]
    assert bench.slot.settled == [(addresses[:2], False, False), (addresses[2:], True, False)]
    assert (bench.slot.backlog.events, list(bench.slot.backlog)) == (0, [])


def test_without_anything_due_the_wait_is_until_something_is() -> None:
    """A second at most, in which something may come; whatever is due sooner of all slots and streams."""
    bench = Bench(slots=[FakeSlot(0), FakeSlot(1)])
    assert bench.wait_s(0.0) == 1.0
    bench.slots[0].put([entry(0, "a")], NOW_S)
    bench.slots[1].put([entry(0, "b")], NOW_S - 0.5)
    assert bench.wait_s(0.0) == 0.5
    assert bench.wait_s(0.25) == 0.25


def test_a_batch_is_of_one_stream_and_the_one_due_longest_goes_first() -> None:
    """Loki answers for the last stream of a push alone; no stream waits for ever behind another."""
    bench = Bench(slots=[FakeSlot(0), FakeSlot(1)])
    for second, (slot, name) in enumerate([(0, "a"), (1, "b"), (0, "a"), (0, "c"), (1, "b")]):
        bench.slots[slot].put([entry(second, name)], NOW_S + second / 10)
    assert bench.names(5.0) == ["a", "b", "c"]


def test_what_the_limits_leave_behind_is_due_at_once() -> None:
    """It has waited as long as what went before it; what came while that was under way has not."""
    bench = Bench()
    bench.slot.put(entry(number) for number in range(12))
    batch = bench.take()
    batch.settle(10)
    batch.release()
    batch = bench.take()
    assert list(batch.entries) == [entry(10), entry(11)]
    bench.slot.put([entry(12)], NOW_S + 1)
    batch.settle(2)
    batch.release()
    assert bench.wait_s(1.0) == 1.0


def test_no_stream_waits_for_ever_behind_one_that_is_always_full() -> None:
    """One that gets as much as is shipped of it has its turns, and the others have theirs."""
    bench = Bench()
    bench.slot.put(entry(number, "a") for number in range(20))
    bench.slot.put([entry(0, "b")], NOW_S + 0.1)
    names = []
    for turn in range(2, 52):
        batch = bench.take(turn)
        names.append(batch.entries[0].labels[0][1])
        bench.slot.put((entry(10 * turn + number, "a") for number in range(10)), NOW_S + turn)
        batch.settle(len(batch.entries))
        batch.release()
    assert "b" in names


def test_a_stream_whose_batch_is_under_way_is_not_handed_out_twice() -> None:
    """One sender a stream keeps its order; when it is released, the rest follows."""
    bench = Bench(limits=BatchLimits(1000, 1, 1.0))
    bench.slot.put([entry(0), entry(1)])
    batch = bench.take()
    assert bench.wait_s(1.0) == bench.wait_s(1.0, flush=True) == 1.0
    batch.settle(1)
    batch.release()
    assert list(bench.take().entries) == [entry(1)]


def test_what_is_released_unsettled_comes_again() -> None:
    """With the account of its failures, and not before its time; the others go on."""
    bench = Bench()
    bench.slot.put([entry(0, "a"), entry(1, "b")])
    batch = bench.take()
    assert (batch.attempt, bench.outbox.held_back) == (0, 0)
    batch.release(attempt=1, not_before_s=NOW_S + 1.5)
    assert bench.outbox.held_back == 1
    assert bench.names(1.0) == ["b"]
    assert bench.wait_s(1.25) == 0.25
    again = bench.take(1.5)
    assert (again.attempt, list(again.entries)) == (1, [entry(0, "a")])
    again.release()
    assert bench.outbox.held_back == 0
    assert bench.take(1.5).attempt == 0


def test_a_flush_finds_everything_due_but_what_was_released_for_never() -> None:
    """What is young, and what is held back; one attempt is made at each."""
    bench = Bench()
    bench.slot.put([entry(0, "a"), entry(1, "b")])
    bench.slot.stream("b").not_before_s = NOW_S + 300
    names = []
    for _ in range(2):
        batch = bench.take(0.0, flush=True)
        names.append(batch.entries[0].labels[0][1])
        batch.release(not_before_s=NEVER_S)
    assert sorted(names) == ["a", "b"]
    assert bench.wait_s(0.0, flush=True) > 0
    assert bench.slot.backlog.events == 2


def test_a_slot_that_was_removed_is_not_asked() -> None:
    """Its files are somebody else's then."""
    bench = Bench()
    bench.slot.put([entry(0)])
    slot: Any = bench.slot
    bench.outbox.remove(slot)
    assert bench.wait_s(9.0) == 1.0
    assert bench.outbox.oldest_s(100.0) == 0.0


def test_the_oldest_is_of_all_streams_and_slots() -> None:
    """Acknowledged so many seconds ago; a clock that was set back makes no negative age."""
    bench = Bench(slots=[FakeSlot(0), FakeSlot(1)])
    assert bench.outbox.oldest_s(100.0) == 0.0
    bench.slots[0].put([entry(30, "a"), entry(31, "b")])
    bench.slots[1].put([entry(20)])
    assert bench.outbox.oldest_s(100.0) == 80.0
    assert bench.outbox.oldest_s(10.0) == 0.0


# What cannot be read


def test_a_stream_that_cannot_be_read_holds_nobody_up() -> None:
    """It is tried again some seconds later, and nothing of it is forgotten."""
    bench = Bench()
    bench.slot.put([entry(0, "a")], NOW_S - 1)
    bench.slot.put([entry(1, "b")])
    bench.slot.faults = [OSError(5, "broken")]
    assert bench.names(1.0) == ["b"]
    assert bench.wait_s(1.0) == 1.0
    assert bench.names(6.0) == ["a"]
    assert (bench.corrupted_events, bench.quarantined) == (0, {})


def test_a_flush_ends_though_a_stream_cannot_be_read() -> None:
    """One attempt is made at it: a stop must not spin until its time is over."""
    bench = Bench()
    bench.slot.put([entry(0, "a"), entry(1, "b")])
    bench.slot.faults = [OSError(5, "broken")] * 500
    assert bench.wait_s(1.0, flush=True) > 0
    assert bench.slot.reads <= 4
    assert bench.slot.backlog.events == 2


def test_a_reader_that_is_killed_leaves_its_stream_to_others() -> None:
    """As a stop does when its time is over."""
    bench = Bench()
    bench.slot.put([entry(0)])
    bench.slot.faults = [GreenletExit()]
    with pytest.raises(GreenletExit):
        bench.outbox.take(NOW_S + 1, flush=False)
    assert list(bench.take().entries) == [entry(0)]


@pytest.mark.parametrize("quarantine_fails", [False, True])
@pytest.mark.parametrize("bad", [(0,), (1,), (3,), (0, 1), (0, 3), (0, 1, 2, 3)])
def test_a_damaged_event_is_passed_over_and_counted(bad: tuple[int, ...], *, quarantine_fails: bool) -> None:
    """The whole ones around it come out, in order; what is left of it is kept where that can be."""
    bench = Bench(limits=BatchLimits(1000, 10, 0.0), quarantine_fails=quarantine_fails)
    places = bench.slot.put(entry(number) for number in range(4))
    for number in bad:
        bench.slot.spoil(places[number])
    taken: list[Redacted] = []
    while not isinstance(batch := bench.outbox.take(NOW_S + 99, flush=False), float):
        taken += batch.entries
        batch.settle(len(batch.entries))
        batch.release()
    assert taken == [entry(number) for number in range(4) if number not in bad]
    assert bench.corrupted_events == len(bad)
    corrupt = [addresses for addresses, _, is_corrupt in bench.slot.settled if is_corrupt]
    assert corrupt == [[places[number].address] for number in bad]
    wanted = {
        f"0-{places[number].address:016x}": bytes(bench.slot.data[places[number].address :][: places[number].size])
        for number in bad
    }
    assert bench.quarantined == ({} if quarantine_fails else wanted)
    assert (bench.slot.backlog.events, list(bench.slot.backlog)) == (0, [])


@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from("abcdef"), st.integers(0, 200)), max_size=40),
    st.integers(1, 500),
    st.integers(1, 5),
    st.lists(st.integers(0, 3), max_size=20),
)
def test_every_event_comes_out_once_in_its_streams_order(
    events: list[tuple[int, str, int]], max_bytes: int, max_events: int, refused: list[int]
) -> None:
    """Whatever the slots, streams, sizes, batches, and how much of each is settled; the sums come back to nothing."""
    bench = Bench(limits=BatchLimits(max_bytes, max_events, 0.0), slots=[FakeSlot(number) for number in range(3)])
    appended = []
    for number, (slot, name, size) in enumerate(events):
        appended.append((slot, entry(number, name, b"x" * size)))
        bench.slots[slot].put([appended[-1][1]], NOW_S + number)
    settling = iter(refused)
    taken: list[Redacted] = []
    while not isinstance(batch := bench.outbox.take(NOW_S + 99, flush=False), float):
        assert len({one.labels for one in batch.entries}) == 1
        assert len(batch.entries) <= max_events
        count = min(next(settling, max_events), len(batch.entries))
        taken += batch.entries[:count]
        batch.settle(count)
        batch.release()
    assert sorted(taken, key=lambda one: one.timestamp_ns) == [one for _, one in appended]
    for number, slot in enumerate(bench.slots):
        assert (slot.backlog.events, list(slot.backlog)) == (0, [])
        for name in "abcdef":
            wanted = [one for at, one in appended if at == number and one.labels[0][1] == name]
            assert [one for one in taken if one in wanted] == wanted
