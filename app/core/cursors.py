"""How far a slot's events are delivered, as it stands on disk: small, rewritten in place, never half written.

A cursor file holds two blocks that are written in turns; the newest whole one counts. Written in place, it needs no
room on a full disk.

    block   magic 8 | CRC32C 4 | generation 8 | end 8 | next number 8 | spooled 8 | totals 4 x 8 | heads 4
            then a head for each stream that has undelivered frames: digest of its key 8 | address of the first 8
"""

from collections.abc import Mapping
from hashlib import blake2b
from struct import Struct
from typing import Final, NamedTuple

import google_crc32c

from app.core.frames import Totals

_MAGIC: Final = b"TCCURSR1"
_BLOCK: Final = Struct("<8sIQQQQQQQQI")
_HEAD: Final = Struct("<8sQ")
_CHECKED_FROM: Final = 12
_ROOM: Final = 4096
_SPARE_STREAMS: Final = 64


class Cursor(NamedTuple):
    """A slot at one moment.

    Of the frames before the address `end`, those of a stream in `heads` are undelivered from that address on, and
    all others are done. `spooled` counts the undelivered.
    """

    generation: int
    end: int
    next_number: int
    spooled: int
    totals: Totals
    heads: Mapping[bytes, int]

    def is_done(self, digest: bytes, address: int) -> bool:
        """Say whether a frame of a stream was delivered, or a dead letter, at that moment."""
        return address < self.end and address < self.heads.get(digest, self.end)


NEVER: Final = Cursor(0, 0, 0, 0, Totals(), {})
"""The cursor of a slot that was never used."""


def digest_of(key: bytes) -> bytes:
    """Return what stands for a stream in a cursor: a stream's name may hold a caller's word, and be long."""
    return blake2b(key, digest_size=8).digest()


def block_bytes(max_streams: int) -> int:
    """Return the size of a block that has room for so many streams."""
    needed = _BLOCK.size + (max_streams + _SPARE_STREAMS) * _HEAD.size
    return max(4, -(-needed // _ROOM)) * _ROOM


def pack(cursor: Cursor, room_bytes: int) -> bytes | None:
    """Return a block of exactly `room_bytes`, or None where its streams do not fit."""
    body = _BLOCK.pack(
        _MAGIC,
        0,
        cursor.generation,
        cursor.end,
        cursor.next_number,
        cursor.spooled,
        *cursor.totals,
        len(cursor.heads),
    )
    body += b"".join(_HEAD.pack(digest, address) for digest, address in cursor.heads.items())
    if len(body) > room_bytes:
        return None
    crc: int = google_crc32c.value(body[_CHECKED_FROM:])
    return (body[:8] + crc.to_bytes(4, "little") + body[_CHECKED_FROM:]).ljust(room_bytes, b"\0")


def read(data: bytes) -> Cursor | None:
    """Return the newest whole block of a cursor file, or None where there is none."""
    whole = [block for half in _halves(data) if (block := _read_block(half)) is not None]
    return max(whole, key=lambda block: block.generation, default=None)


def is_newest(data: bytes) -> bool:
    """Say whether what `read` returns is the newest that was ever written: no block is damaged."""
    return all(_read_block(half) is not None or not half.strip(b"\0") for half in _halves(data))


def _halves(data: bytes) -> tuple[bytes, bytes]:
    room_bytes = len(data) // 2
    return data[:room_bytes], data[room_bytes : 2 * room_bytes]


def _read_block(data: bytes) -> Cursor | None:
    if len(data) < _BLOCK.size:
        return None
    magic, crc, generation, end, next_number, spooled, *totals, heads = _BLOCK.unpack_from(data)
    size = _BLOCK.size + heads * _HEAD.size
    if magic != _MAGIC or size > len(data) or google_crc32c.value(data[_CHECKED_FROM:size]) != crc:
        return None
    places = dict(_HEAD.iter_unpack(data[_BLOCK.size : size]))
    return Cursor(generation, end, next_number, spooled, Totals(*totals), places)
