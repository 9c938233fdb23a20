"""Frames: an event comes back as it was, and damage takes what it touches and nothing else."""

from __future__ import annotations

import random
from itertools import pairwise

import google_crc32c
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core import frames
from app.core.events import Redacted
from app.core.frames import FRAME_HEAD_BYTES, HEADER_BYTES, MARK, Damage, Frame, Header, Totals

WORDS = st.text(max_size=40)
EVENTS = st.builds(
    Redacted,
    labels=st.dictionaries(WORDS, WORDS, max_size=4).map(lambda labels: tuple(labels.items())),
    timestamp_ns=st.integers(0, 2**64 - 1),
    line=st.text(max_size=200).map(str.encode),
    metadata=st.dictionaries(st.sampled_from(["trace_id", "request_id"]), WORDS).map(
        lambda more: orjson.dumps({"event_id": "evt_1", **more})
    ),
)
LOOKS_LIKE_A_MARK = "øTCùTCøøTCSPOOL1TCCURSR1\0\n\n"
FLIPS = (0x01, 0x80, 0xFF)


def event(number: int, text: str = "") -> Redacted:
    return Redacted(
        labels=(("service_name", f"s{number % 2}"), ("worker", "0")),
        timestamp_ns=1_790_000_000_000_000_000 + number,
        line=f'{{"n":{number},"text":"{text}"}}'.encode(),
        metadata=b'{"event_id":"evt_%d"}' % number,
    )


def packed(events: list[Redacted]) -> tuple[bytes, list[Frame]]:
    """Return frames back to back, and where each stands."""
    data, places = b"", []
    for number, one in enumerate(events):
        start = len(data)
        data += frames.pack(one, number)
        places.append(Frame(start, len(data), number, one.timestamp_ns))
    return data, places


def whole(data: bytes) -> list[Frame]:
    return [one for one in frames.scan(data, 0) if isinstance(one, Frame)]


@given(st.lists(EVENTS, max_size=6))
def test_what_was_packed_is_found_again(events: list[Redacted]) -> None:
    """Every label, nanosecond, byte of the line and piece of metadata, in order, whatever texts these are."""
    data, places = packed(events)
    assert list(frames.scan(data, 0)) == places
    assert [frames.entry_at(data, place.start, place.end - place.start) for place in places] == events
    assert [frames.key_in(data, place) for place in places] == [frames.stream_key(one.labels) for one in events]


@given(st.lists(EVENTS, min_size=1, max_size=5), st.data())
def test_any_damage_leaves_the_frames_outside_of_it(events: list[Redacted], data: st.DataObject) -> None:
    """A stretch overwritten with anything: nothing raises, and no frame that it did not touch is missing."""
    file, places = packed(events)
    start = data.draw(st.integers(0, len(file)))
    noise = data.draw(st.one_of(st.binary(max_size=80), st.sampled_from([MARK * 9, MARK + file[:60], bytes(80)])))
    damaged = file[:start] + noise + file[start + len(noise) :]
    found = whole(damaged)
    assert [one for one in places if one.end <= start or one.start >= start + len(noise)] == [
        one for one in found if one.end <= start or one.start >= start + len(noise)
    ]


@pytest.mark.parametrize("flip", FLIPS)
def test_every_byte_flipped(flip: int) -> None:
    """The frame that has the byte is lost, no other; what lies between whole frames is told as one stretch."""
    data, places = packed([event(number, LOOKS_LIKE_A_MARK) for number in range(5)])
    for at in range(len(data)):
        damaged = data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]
        hit = next(one for one in places if one.start <= at < one.end)
        assert list(frames.scan(damaged, 0)) == [Damage(hit.start, hit.end) if one is hit else one for one in places], (
            at
        )


def test_every_truncation() -> None:
    """All that was whole before the cut is found, and the rest is told as torn."""
    data, places = packed([event(number, LOOKS_LIKE_A_MARK) for number in range(5)])
    for size in range(len(data)):
        kept = [one for one in places if one.end <= size]
        rest = kept[-1].end if kept else 0
        tail = [Damage(rest, size)] if rest < size else []
        assert list(frames.scan(data[:size], 0)) == [*kept, *tail], size
        assert frames.is_torn(data[:size], rest), size


def test_zeros_behind_the_last_frame_are_torn_and_a_damaged_frame_is_not() -> None:
    """So ends a file after a power cut; a whole frame with one wrong byte was somebody's event."""
    data, places = packed([event(0), event(1)])
    assert frames.is_torn(data + bytes(5000), len(data))
    assert frames.is_torn(data, len(data))
    damaged = data[:-1] + b"?"
    assert not frames.is_torn(damaged, places[1].start)
    assert not frames.is_torn(b"?" + data[places[1].start + 1 :], 0)
    assert not frames.is_torn(b"?!", 0)


def test_a_mark_in_a_frame_s_numbers_misleads_nobody() -> None:
    """A nanosecond and a number can be any bytes: those of a mark too, and of a frame's head."""
    as_number = int.from_bytes(MARK, "little")
    odd = event(1)._replace(timestamp_ns=as_number << 32 | as_number)
    data = frames.pack(event(0), as_number) + frames.pack(odd, as_number << 16) + frames.pack(event(2), 2)
    assert [one.timestamp_ns for one in whole(data)] == [
        event(0).timestamp_ns,
        odd.timestamp_ns,
        event(2).timestamp_ns,
    ]
    second = whole(data)[1]
    for at in range(second.start, second.end):
        damaged = data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
        assert [one.timestamp_ns for one in whole(damaged)] == [event(0).timestamp_ns, event(2).timestamp_ns]


@pytest.mark.parametrize("case", ["marks in text", "every mark spoilt", "every length spoilt", "noise"])
def test_looking_for_frames_is_linear(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However a caller words his events, and whatever one byte of each frame becomes: no byte is summed often."""
    texts = {"marks in text": LOOKS_LIKE_A_MARK * 400}
    data, places = packed([event(number, texts.get(case, "x" * 400)) for number in range(300)])
    spoilt = bytearray(data)
    for place in places:
        if case == "every mark spoilt":
            spoilt[place.start] ^= 1
        elif case == "every length spoilt":
            spoilt[place.start + 8] ^= 1
        elif case == "marks in text":
            spoilt[place.end - 1] ^= 1
    if case == "noise":
        spoilt = bytearray(random.Random(5).randbytes(len(data)))
    summed = 0
    crc = google_crc32c.value

    def counted(part: bytes) -> int:
        nonlocal summed
        summed += len(part)
        return crc(part)

    monkeypatch.setattr(google_crc32c, "value", counted)
    assert whole(bytes(spoilt)) == []
    assert summed <= 2 * len(data)


@given(EVENTS)
def test_the_room_asked_for_is_enough(one: Redacted) -> None:
    """`size_bytes` is what the bound of the disk is kept by: never less than what is written, nor much more."""
    size = len(frames.pack(one, 2**64 - 1))
    assert frames.size_bytes(one) == size


def test_the_same_labels_are_the_same_stream_in_any_process() -> None:
    """Order counts, as it does in the frame; nothing is rounded or sorted."""
    labels = (("b", "1"), ("a", "é"))
    assert frames.stream_key(labels) == '{"b":"1","a":"é"}'.encode()
    assert _unpacked(*_one(event(1)._replace(labels=labels))).labels == labels


def _unpacked(data: bytes, frame: Frame) -> Redacted:
    entry = frames.entry_at(data, frame.start, frame.end - frame.start)
    assert entry is not None
    return entry


def _one(one: Redacted) -> tuple[bytes, Frame]:
    data = frames.pack(one, 0)
    frame = frames.read(data, 0)
    assert frame is not None
    return data, frame


NUMBERS = st.integers(0, 2**64 - 1)


@given(st.builds(Header, NUMBERS, NUMBERS, st.builds(Totals, NUMBERS, NUMBERS, NUMBERS, NUMBERS)))
def test_a_header_comes_back_as_it_was(header: Header) -> None:
    """And takes its place, no more and no less."""
    data = frames.pack_header(header)
    assert len(data) == HEADER_BYTES
    assert frames.read_header(data) == header
    assert frames.read_header(data + frames.pack(event(0), 0)) == header


@pytest.mark.parametrize("flip", FLIPS)
def test_a_damaged_header_is_none(flip: int) -> None:
    """Every byte that says something; those that fill its place up say nothing."""
    data = frames.pack_header(Header(7, 8, Totals(1, 2, 3, 4)))
    for at in range(HEADER_BYTES):
        damaged = data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]
        assert frames.read_header(damaged) is None or not data[at:].strip(b"\0")
        assert frames.read_header(data[:at]) is None


def test_frames_do_not_overlap_and_a_head_alone_is_none() -> None:
    """A head whose payload is not all there is no frame."""
    data, places = packed([event(number) for number in range(4)])
    assert all(first.end == second.start for first, second in pairwise(places))
    assert frames.read(data[:FRAME_HEAD_BYTES], 0) is None
    assert frames.read(data, 1) is None
    assert frames.read(data, len(data)) is None
