"""The cursor: how far a slot is delivered survives a write that was cut short anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.adapters.segments import CursorFile, load_cursor
from app.core import cursors
from app.core.cursors import NEVER, Cursor
from app.core.frames import Totals

if TYPE_CHECKING:
    from pathlib import Path

NUMBERS = st.integers(0, 2**64 - 1)
ROOM = cursors.block_bytes(0)


def cursor(generation: int, *, end: int = 1000, heads: int = 2) -> Cursor:
    places = {cursors.digest_of(b"stream %d" % number): 64 + number for number in range(heads)}
    return Cursor(generation, end, 50, heads, Totals(40, 3, 2, 1), places)


def both(first: Cursor, second: Cursor) -> bytes:
    blocks = [cursors.pack(one, ROOM) for one in (first, second)]
    return (blocks[0] or b"") + (blocks[1] or b"")


@given(
    st.builds(
        Cursor,
        NUMBERS,
        NUMBERS,
        NUMBERS,
        NUMBERS,
        st.builds(Totals, NUMBERS, NUMBERS, NUMBERS, NUMBERS),
        st.dictionaries(st.binary(min_size=8, max_size=8), NUMBERS, max_size=30),
    ),
    st.booleans(),
)
def test_a_cursor_comes_back_as_it_was(one: Cursor, first: bool) -> None:  # noqa: FBT001 - hypothesis's way
    """From either block, the other one empty."""
    block = cursors.pack(one, ROOM)
    assert block is not None
    assert len(block) == ROOM
    assert cursors.read(block + bytes(ROOM) if first else bytes(ROOM) + block) == one


@pytest.mark.parametrize("newest", [0, 1])
def test_the_newest_whole_block_counts(newest: int) -> None:
    """And the older one when any byte of the newest that says something is flipped; never a mixture."""
    old, new = cursor(6, end=900), cursor(7, end=1100)
    data = both(new, old) if newest == 0 else both(old, new)
    assert cursors.read(data) == new
    start = newest * ROOM
    said = len((cursors.pack(new, ROOM) or b"").rstrip(b"\0"))
    for at in range(start, start + said):
        for flip in (0x01, 0x80, 0xFF):
            damaged = data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]
            assert cursors.read(damaged) == old, at


def test_a_write_that_is_cut_short_at_any_byte_spoils_one_block() -> None:
    """Half of the new block over the one before the last: the last still stands, until the new one is whole."""
    old, last, new = cursor(5, end=800), cursor(6, end=900), cursor(7, end=1100, heads=3)
    data = both(last, old)
    block = cursors.pack(new, ROOM) or b""
    for written in range(200):
        torn = data[:ROOM] + block[:written] + data[ROOM + written :]
        assert cursors.read(torn) in (last, new), written
    assert cursors.read(data[:ROOM] + block) == new


def test_both_blocks_damaged_are_no_cursor() -> None:
    """Neither is one of zeros, or a file that is too short."""
    data = both(cursor(1), cursor(2))
    damaged = bytearray(data)
    damaged[30] ^= 1
    damaged[ROOM + 30] ^= 1
    assert cursors.read(bytes(damaged)) is None
    for size in (0, 1, 7, 8, 91, 92, 93, 200):
        assert cursors.read(bytes(size)) is None
        assert cursors.read(data[:size]) is None


@given(st.binary(max_size=400))
def test_noise_is_no_cursor(noise: bytes) -> None:
    """Nothing raises, whatever stands there: a count of heads that is far too large, for one."""
    assert cursors.read(noise) is None
    assert cursors.read(b"TCCURSR1" + noise + b"\xff" * 100) is None


def test_a_cursor_with_too_many_streams_does_not_fit() -> None:
    """None, so that the file is made larger: streams are never left out."""
    fits = max(heads for heads in range(900, 1100) if cursors.pack(cursor(1, heads=heads), ROOM))
    assert cursors.pack(cursor(1, heads=fits + 1), ROOM) is None
    assert cursors.read((cursors.pack(cursor(1, heads=fits), ROOM) or b"") + bytes(ROOM)) == cursor(1, heads=fits)


@given(st.integers(0, 6000))
def test_a_block_has_room_for_what_it_is_made_for(streams: int) -> None:
    """And some to spare; blocks end where a page of the disk does."""
    room = cursors.block_bytes(streams)
    assert room % 4096 == 0
    assert cursors.pack(cursor(1, heads=streams), room) is not None


def test_what_is_done_and_what_is_not() -> None:
    """Before the end, and before its stream's head; all streams without one are done there."""
    one = Cursor(1, 1000, 9, 4, Totals(), {b"12345678": 500})
    assert one.is_done(b"12345678", 499)
    assert not one.is_done(b"12345678", 500)
    assert not one.is_done(b"12345678", 1000)
    assert one.is_done(b"87654321", 999)
    assert not one.is_done(b"87654321", 1000)
    assert not NEVER.is_done(b"12345678", 0)


# The file


@pytest.mark.parametrize("times", [1, 2, 3, 7])
def test_a_file_is_written_in_turns(tmp_path: Path, times: int) -> None:
    """What was written last is read, by its holder and by others, and its size never changes."""
    file = CursorFile(tmp_path, block_bytes=ROOM)
    assert file.load() is None
    assert load_cursor(tmp_path) is None
    for generation in range(1, times + 1):
        file.write(cursor(generation, end=generation), sync=True)
        assert file.load() == load_cursor(tmp_path) == cursor(generation, end=generation)
        assert (tmp_path / "cursor").stat().st_size == 2 * ROOM
    file.close()
    again = CursorFile(tmp_path, block_bytes=2 * ROOM)
    assert again.load() == cursor(times, end=times)
    again.close()


@pytest.mark.parametrize("generation", [7, 8])
def test_a_file_grows_with_its_streams(tmp_path: Path, generation: int) -> None:
    """Whichever block's turn it is: before and after, the newest is read."""
    file = CursorFile(tmp_path, block_bytes=ROOM)
    file.write(cursor(generation - 2), sync=False)
    file.write(cursor(generation - 1), sync=False)
    many = cursor(generation, heads=3000)
    file.write(many, sync=True)
    assert file.load() == load_cursor(tmp_path) == many
    file.write(cursor(generation + 1), sync=True)
    assert file.load() == load_cursor(tmp_path) == cursor(generation + 1)
    file.close()
    again = CursorFile(tmp_path, block_bytes=ROOM)
    assert again.load() == cursor(generation + 1)
    again.close()


def test_no_folder_is_no_cursor(tmp_path: Path) -> None:
    """A slot can be deleted while somebody adds up."""
    assert load_cursor(tmp_path / "none") is None
