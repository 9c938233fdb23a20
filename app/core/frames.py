r"""How a redacted event stands in a spool file: frames that can be found again around any damage.

A segment is a header and then frames, back to back, little-endian:

    frame   mark 4 | CRC32C 4 | payload's length 4 | number 8 | nanosecond 8 | payload
    payload labels (JSON) \n structured metadata (JSON) \n line

The CRC covers what follows it. The payload is UTF-8, which never has the mark's first byte: whatever a caller
sends, a mark is where a frame begins (or is damage), so that looking for the next frame takes linear time.
Numbers count a slot's frames from 0 without gaps, over all its segments.
"""

from collections.abc import Iterator
from functools import lru_cache
from struct import Struct
from typing import Final, NamedTuple

import google_crc32c
import orjson

from app.core.events import Labels, Redacted

MARK: Final = b"\xf8TC\xf9"
_FRAME: Final = Struct("<4sIIQQ")
_CHECKED_FROM: Final = 8
FRAME_HEAD_BYTES: Final = _FRAME.size
_CHECKED_HEAD: Final = Struct("<IQQ")

_MAGIC: Final = b"TCSPOOL1"
_HEADER: Final = Struct("<8sIQQQQQQ")
HEADER_BYTES: Final = 64
"""The header's place; its last bytes are zero."""

_LABEL_SETS: Final = 4096
"""Label sets whose JSON is remembered: they repeat."""


class Totals(NamedTuple):
    """What became of a slot's frames since the slot was made; `requeued` were dead letters before."""

    delivered: int = 0
    dead: int = 0
    corrupt: int = 0
    requeued: int = 0


class Header(NamedTuple):
    """What a segment says of itself: its address, its first frame's number, and the totals when it was made."""

    base: int
    first_number: int
    totals: Totals


class Frame(NamedTuple):
    """A whole frame found in some bytes: where it starts and ends there."""

    start: int
    end: int
    number: int
    timestamp_ns: int


class Damage(NamedTuple):
    """A stretch that holds no whole frame."""

    start: int
    end: int


@lru_cache(maxsize=_LABEL_SETS)
def stream_key(labels: Labels) -> bytes:
    """Return the labels as a frame has them; the same bytes for the same stream, in every process."""
    return orjson.dumps(dict(labels))


@lru_cache(maxsize=_LABEL_SETS)
def _labels(key: bytes) -> Labels:
    return tuple(orjson.loads(key).items())


def size_bytes(entry: Redacted) -> int:
    """Return how many bytes `pack` will make of it."""
    return FRAME_HEAD_BYTES + len(stream_key(entry.labels)) + len(entry.metadata) + len(entry.line) + 2


def pack(entry: Redacted, number: int) -> bytes:
    """Return the frame of an event."""
    payload = b"%b\n%b\n%b" % (stream_key(entry.labels), entry.metadata, entry.line)
    checked = _CHECKED_HEAD.pack(len(payload), number, entry.timestamp_ns) + payload
    return MARK + _crc(checked) + checked


def _crc(data: bytes) -> bytes:
    crc: int = google_crc32c.value(data)
    return crc.to_bytes(4, "little")


def read(data: bytes, start: int) -> Frame | None:
    """Return the frame that begins at `start`, or None where no whole one does."""
    if len(data) - start < FRAME_HEAD_BYTES:
        return None
    mark, crc, length, number, timestamp_ns = _FRAME.unpack_from(data, start)
    end = start + FRAME_HEAD_BYTES + length
    if mark != MARK or end > len(data) or google_crc32c.value(data[start + _CHECKED_FROM : end]) != crc:
        return None
    return Frame(start, end, number, timestamp_ns)


def scan(data: bytes, start: int) -> Iterator[Frame | Damage]:
    """Yield every whole frame from `start` on, in order, and the stretches between them that hold none."""
    at, damaged_from = start, -1
    while at < len(data):
        frame = read(data, at)
        if frame is not None:
            if damaged_from >= 0:
                yield Damage(damaged_from, at)
                damaged_from = -1
            yield frame
            at = frame.end
        else:
            damaged_from = at if damaged_from < 0 else damaged_from
            at = data.find(MARK, at + 1)
            if at < 0:
                break
    if damaged_from >= 0:
        yield Damage(damaged_from, len(data))


def is_torn(data: bytes, start: int) -> bool:
    """Say whether what follows `start` is the beginning of a frame whose rest was never written.

    So ends a file whose writer was killed, or zeros where a machine went down: nobody was told that it is kept.
    """
    tail = data[start : start + FRAME_HEAD_BYTES]
    if not data[start:].strip(b"\0"):
        return True
    if len(tail) < FRAME_HEAD_BYTES:
        return MARK.startswith(tail[: len(MARK)])
    mark, _, length, _, _ = _FRAME.unpack(tail)
    return bool(mark == MARK and start + FRAME_HEAD_BYTES + length > len(data))


def entry_at(data: bytes, start: int, size: int) -> Redacted | None:
    """Return the event whose frame of `size` bytes begins at `start`, as it was sealed; None where it is damaged."""
    if start < 0 or start + size > len(data) or size <= FRAME_HEAD_BYTES:
        return None
    mark, crc, length, _, timestamp_ns = _FRAME.unpack_from(data, start)
    checked = data[start + _CHECKED_FROM : start + size]
    if mark != MARK or FRAME_HEAD_BYTES + length != size or google_crc32c.value(checked) != crc:
        return None
    labels_end = checked.index(b"\n", _CHECKED_HEAD.size)
    metadata_end = checked.index(b"\n", labels_end + 1)
    return Redacted(
        _labels(checked[_CHECKED_HEAD.size : labels_end]),
        timestamp_ns,
        checked[metadata_end + 1 :],
        checked[labels_end + 1 : metadata_end],
    )


def key_in(data: bytes, frame: Frame) -> bytes:
    """Return the stream key of a frame."""
    start = frame.start + FRAME_HEAD_BYTES
    return data[start : data.index(b"\n", start, frame.end)]


def pack_header(header: Header) -> bytes:
    """Return the first HEADER_BYTES of a segment."""
    fields = (header.base, header.first_number, *header.totals)
    unchecked = _HEADER.pack(_MAGIC, 0, *fields)
    return _HEADER.pack(_MAGIC, google_crc32c.value(unchecked), *fields).ljust(HEADER_BYTES, b"\0")


def read_header(data: bytes) -> Header | None:
    """Return a segment's header, or None where it is damaged."""
    if len(data) < HEADER_BYTES:
        return None
    magic, crc, base, first_number, *totals = _HEADER.unpack_from(data)
    if magic != _MAGIC or google_crc32c.value(_HEADER.pack(magic, 0, base, first_number, *totals)) != crc:
        return None
    return Header(base, first_number, Totals(*totals))
