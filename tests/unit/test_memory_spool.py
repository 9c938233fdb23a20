"""The spool in memory: bounded, all of a call or none of it, first in first out within a stream."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.adapters.memory_spool import MemorySpool
from app.core.events import Redacted
from app.errors import DrainingError, SpoolFullError

LINE = b"x" * 60
SIZE = 100  # of an event with this line: the line, and the frame around it
MEMORY = 500 + len(b"x" * (SIZE - 40))


def entry(number: int, stream: str = "s", line: bytes = LINE) -> Redacted:
    return Redacted(
        event_id=f"evt_{number}",
        event="e",
        labels=(("service_name", stream),),
        timestamp_ns=number,
        line=line,
        tenant="default",
    )


def drained(spool: MemorySpool) -> list[Redacted]:
    """Take everything out, lane by lane and batch by batch."""
    taken: list[Redacted] = []
    for lane in spool.lanes():
        while batch := lane.peek(1_000_000, 1_000):
            taken += batch
            lane.ack(len(batch))
    return taken


def test_an_event_has_the_size_that_these_tests_reckon_with() -> None:
    """Its line and the frame of one entry in a push; in memory, the objects around it."""
    assert entry(1).size_bytes == SIZE
    assert entry(1).memory_bytes == MEMORY


def test_what_is_appended_waits_until_it_is_acknowledged() -> None:
    """Peeking takes nothing away."""
    spool = MemorySpool(max_bytes=10_000, lanes=1)
    (lane,) = spool.lanes()
    spool.append([entry(1), entry(2)], 5.0)
    spool.append([entry(3)], 6.0)
    assert (lane.queued_events, lane.queued_bytes, lane.oldest_s) == (3, 3 * SIZE, 5.0)
    assert lane.peek(1000, 10) == lane.peek(1000, 10) == [entry(1), entry(2), entry(3)]
    lane.ack(2)
    assert (lane.queued_events, lane.queued_bytes, lane.oldest_s) == (1, SIZE, 6.0)
    lane.ack(1)
    assert (lane.queued_events, lane.queued_bytes, lane.oldest_s) == (0, 0, 0.0)
    assert list(lane.peek(1000, 10)) == []


@pytest.mark.parametrize(
    ("max_bytes", "max_events", "count"),
    [(1000, 10, 5), (1000, 3, 3), (1000, 1, 1), (3 * SIZE, 10, 3), (3 * SIZE - 1, 10, 2), (SIZE, 10, 1), (1, 10, 1)],
)
def test_a_batch_is_within_both_bounds_and_never_empty(max_bytes: int, max_events: int, count: int) -> None:
    """An event larger than a batch goes alone."""
    spool = MemorySpool(max_bytes=10_000, lanes=1)
    spool.append([entry(number) for number in range(5)], 0.0)
    assert list(spool.lanes()[0].peek(max_bytes, max_events)) == [entry(number) for number in range(count)]


def test_a_batch_is_of_one_stream_and_the_oldest_goes_first() -> None:
    """Loki answers for the last stream of a push alone; no stream waits for ever behind another."""
    spool = MemorySpool(max_bytes=10_000, lanes=1)
    (lane,) = spool.lanes()
    for second, (number, stream) in enumerate([(0, "a"), (1, "b"), (2, "a"), (3, "c"), (4, "b")]):
        spool.append([entry(number, stream)], float(second))
    taken = []
    while batch := lane.peek(10_000, 10):
        taken.append([one.timestamp_ns for one in batch])
        lane.ack(len(batch))
    assert taken == [[0, 2], [1, 4], [3]]


def test_events_that_come_while_a_batch_is_under_way_stay_behind_it() -> None:
    """An acknowledgement is for the batch that was peeked at, of whatever stream the others are."""
    spool = MemorySpool(max_bytes=10_000, lanes=1)
    (lane,) = spool.lanes()
    spool.append([entry(0, "a"), entry(1, "a")], 1.0)
    batch = lane.peek(10_000, 10)
    spool.append([entry(2, "a"), entry(3, "b")], 1.0)
    lane.ack(1)
    lane.ack(len(batch) - 1)
    assert drained(spool) == [entry(2, "a"), entry(3, "b")]


# Bounds


def test_a_full_spool_keeps_all_of_a_call_or_none() -> None:
    """Past the bound nothing is kept, whatever would still have fitted; room comes back with each acknowledgement."""
    spool = MemorySpool(max_bytes=5 * MEMORY, lanes=1)
    spool.append([entry(number) for number in range(3)], 0.0)
    with pytest.raises(SpoolFullError):
        spool.append([entry(3), entry(4), entry(5)], 0.0)
    (lane,) = spool.lanes()
    assert (lane.queued_events, lane.queued_bytes) == (3, 3 * SIZE)
    spool.append([entry(3), entry(4)], 0.0)
    with pytest.raises(SpoolFullError):
        spool.append([entry(5, line=b"")], 0.0)
    lane.peek(SIZE, 1)
    lane.ack(1)
    spool.append([entry(5)], 0.0)
    assert drained(spool) == [entry(number) for number in range(1, 6)]


def test_the_bound_is_shared_by_all_lanes() -> None:
    """Streams that take different lanes cannot hold more together."""
    spool = MemorySpool(max_bytes=10 * MEMORY, lanes=4)
    spool.append([entry(number, f"s{number}") for number in range(10)], 0.0)
    assert sum(lane.queued_bytes for lane in spool.lanes()) == 10 * SIZE
    with pytest.raises(SpoolFullError):
        spool.append([entry(10, "another")], 0.0)


def test_a_refused_call_leaves_no_empty_stream_behind() -> None:
    """Nothing to peek at, and nothing old."""
    spool = MemorySpool(max_bytes=MEMORY - 1, lanes=1)
    with pytest.raises(SpoolFullError):
        spool.append([entry(0)], 9.0)
    (lane,) = spool.lanes()
    assert (lane.queued_events, lane.oldest_s, list(lane.peek(1000, 10))) == (0, 0.0, [])


def test_nothing_to_append_is_no_fault() -> None:
    """Where every event of a batch was a duplicate; even a full spool takes that."""
    spool = MemorySpool(max_bytes=MEMORY, lanes=1)
    spool.append([entry(0)], 0.0)
    spool.append([], 0.0)
    assert drained(spool) == [entry(0)]


@pytest.mark.parametrize(("waiting", "full"), [(0, False), (1, False), (4, False), (5, True)])
def test_a_spool_is_full_where_no_small_event_fits(waiting: int, *, full: bool) -> None:
    """/readyz asks, before a caller is told."""
    spool = MemorySpool(max_bytes=1024 + 4 * MEMORY, lanes=2)
    spool.append([entry(number, f"s{number}") for number in range(waiting)], 0.0)
    assert spool.is_full is full


def test_a_closed_spool_takes_nothing_more_and_gives_what_it_has() -> None:
    """While the service stops, what waits is still delivered."""
    spool = MemorySpool(max_bytes=10_000, lanes=1)
    spool.append([entry(0)], 0.0)
    spool.close()
    for entries in ([entry(1)], []):
        with pytest.raises(DrainingError):
            spool.append(entries, 0.0)
    assert drained(spool) == [entry(0)]


# Lanes


# The lane of each stream, of four: by a sum over its labels, which is the same in every process.
PLACES = {"chat": 3, "tools": 0, "gateway": 0, "search": 3, "vision": 2, "audio": 3, "crawler": 2, "judge": 3}


def test_a_stream_always_takes_the_same_lane() -> None:
    """In this process and in any other, so that no two of them send one stream at a time."""
    spool = MemorySpool(max_bytes=100_000, lanes=4)
    for number, stream in enumerate([*PLACES, *PLACES, *PLACES]):
        spool.append([entry(number, stream)], float(number))
    for place, lane in enumerate(spool.lanes()):
        mine = [stream for stream, wanted in PLACES.items() if wanted == place]
        assert lane.queued_events == 3 * len(mine)
        while batch := lane.peek(100_000, 100):
            assert batch[0].labels[0][1] in mine
            lane.ack(len(batch))


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 200)), max_size=40),
    st.integers(1, 4),
    st.integers(1, 500),
    st.integers(1, 5),
)
def test_every_event_comes_out_once_in_its_streams_order(
    events: list[tuple[str, int]], lanes: int, max_bytes: int, max_events: int
) -> None:
    """Whatever the streams, sizes, lanes and batches; the sums come back to nothing."""
    spool = MemorySpool(max_bytes=1_000_000, lanes=lanes)
    appended = [entry(number, stream, b"x" * size) for number, (stream, size) in enumerate(events)]
    for one in appended:
        spool.append([one], float(one.timestamp_ns))
    taken: list[Redacted] = []
    for lane in spool.lanes():
        while batch := lane.peek(max_bytes, max_events):
            assert len({one.labels for one in batch}) == 1
            taken += batch
            lane.ack(len(batch))
        assert (lane.queued_bytes, lane.queued_events) == (0, 0)
    assert sorted(taken, key=lambda one: one.timestamp_ns) == appended
    for stream in "abcdef":
        numbers = [one.timestamp_ns for one in taken if one.labels[0][1] == stream]
        assert numbers == sorted(numbers)
