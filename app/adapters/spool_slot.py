"""A slot of the spool: a folder that one process holds, with the segments of one writer and what is left of them.

Whoever holds the folder's lock may write, ship and delete; a lock that is free means that its holder is dead (or has
let go). All segments of a slot have one holder, so that its streams have one sender and keep their order.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from app.adapters import segments
from app.adapters.segments import CursorFile, Segment, SyncError
from app.core import cursors, frames
from app.core.backlog import LONG_AGO_S, Backlog, Place
from app.core.cursors import NEVER, Cursor
from app.core.frames import HEADER_BYTES, Damage, Frame, Header, Totals

_log = logging.getLogger("telemetry_cache.spool")

_NS: Final = 1_000_000_000
_LAST_SECOND: Final = 2**32 - 1
_PIECE_FRAMES: Final = 2_000
"""Frames that are looked through before others may run: some milliseconds."""

Call = Callable[[Callable[[], Any]], Any]
"""Runs a blocking call where it holds nobody up, and returns what it returns."""

Quarantine = Callable[[str, bytes], None]
"""Keeps damaged bytes under a name."""


class Written(NamedTuple):
    """Where frames went: the segment, the address of the first, and the seconds that the sync took."""

    segment: Segment
    address: int
    sync_s: float


class Slot:
    """One slot, held by this process."""

    def __init__(
        self, folder: Path, number: int, lock: int, *, segment_bytes: int, max_streams: int, sync: bool
    ) -> None:
        """`lock` is the folder, open and locked. OSError: it has no room for its cursor."""
        self.number = number
        self.folder = folder
        self.backlog = Backlog()
        self.lost = 0
        """Events that recovery could not find although they were acknowledged."""
        self.is_ready = False
        """Whether all that stands in its files is known: until then nothing is deleted and no cursor written."""
        self.is_writing = False
        """Whether frames are on their way that are not in the backlog yet."""
        self._lock = lock
        self._sync = sync
        self._segment_bytes = segment_bytes
        self._cursor_file = CursorFile(folder, block_bytes=cursors.block_bytes(max_streams))
        try:
            loaded = self._cursor_file.load()
            self._cursor, self._is_newest = loaded or NEVER, loaded is not None and self._cursor_file.is_newest
            self._segments = segments.find(folder, HEADER_BYTES)
        except OSError:
            self._cursor_file.close()
            raise
        self._writer: Segment | None = None
        self.end = max(self._cursor.end, self._segments[-1].end if self._segments else 0)
        self.next_number = self._cursor.next_number
        self.totals = self._cursor.totals

    @property
    def has_segments(self) -> bool:
        """Whether files of frames are there."""
        return bool(self._segments)

    @property
    def segment_count(self) -> int:
        """How many."""
        return len(self._segments)

    @property
    def size_bytes(self) -> int:
        """What they take of the disk."""
        return sum(segment.size_bytes for segment in tuple(self._segments))

    @property
    def cursor(self) -> Cursor:
        """The slot as it is now."""
        heads: dict[bytes, int] = {}
        for key, address in self.backlog.heads().items():
            digest = cursors.digest_of(key)
            heads[digest] = min(address, heads.get(digest, address))
        return Cursor(self._cursor.generation + 1, self.end, self.next_number, self.backlog.events, self.totals, heads)

    # Writing: `write`, `roll` and `probe` run on the thread that commits, one at a time.

    def write(self, buffers: Sequence[bytes]) -> Written:
        """Write frames and sync them; OSError: none of them is kept. `committed` must follow."""
        writer = self._writer
        if writer is None or writer.size_bytes >= self._segment_bytes:
            writer = self._roll()
        try:
            return self._append(writer, buffers)
        except SyncError:
            # Sealed: this file is never synced again. What was in it before was synced, and is shipped.
            self._writer = None
        writer = self._roll()
        try:
            return self._append(writer, buffers)
        except SyncError:
            self._writer = None
            self._segments.remove(writer)
            writer.remove()
            raise

    def _append(self, writer: Segment, buffers: Sequence[bytes]) -> Written:
        address = writer.end
        return Written(writer, address, writer.append(buffers, sync=self._sync))

    def committed(self, written: Written, entries: Sequence[tuple[bytes, int, int]], now_s: float) -> None:
        """Take what was written among the undelivered: (stream key, nanosecond, length) of each frame."""
        address = written.address
        for key, timestamp_ns, size in entries:
            self.backlog.add(key, Place(address, size), _second(timestamp_ns), now_s)
            address += size
        written.segment.undelivered += len(entries)
        self.next_number += len(entries)
        self.end = address

    def seal(self) -> None:
        """Write no more to the present segment."""
        self._writer = None

    @property
    def writes_in_vain(self) -> bool:
        """Whether the present segment is worth giving back: large, and all of it delivered."""
        writer = self._writer
        return writer is not None and not writer.undelivered and writer.size_bytes > self._segment_bytes // 4

    def probe(self) -> None:
        """OSError: the disk has no room, or fails."""
        try:
            (self._writer or self._roll()).probe()
        except SyncError:
            self._writer = None
            raise

    def _roll(self) -> Segment:
        base = max((segment.end for segment in self._segments), default=self.end)
        header = Header(max(base, self.end), self.next_number, self.totals)
        writer = segments.create(self.folder, header, sync=self._sync)
        self._segments.append(writer)
        self._writer = writer
        return writer

    # Reading

    def read(self, places: Sequence[Place]) -> list[segments.Read]:
        """Return the bytes at these places, which rise."""
        reads = []
        at = 0
        for segment in tuple(self._segments):
            start = at
            while at < len(places) and places[at].address < segment.end:
                at += 1
            if at > start:
                reads += segment.read_places(places[start:at])
        return reads

    def settle(self, addresses: Sequence[int], *, dead: bool = False, corrupt: bool = False) -> None:
        """Count frames that left the backlog."""
        held = iter(tuple(self._segments))
        segment = next(held)
        for address in addresses:
            while address >= segment.end:
                segment = next(held)
            segment.undelivered -= 1
        delivered, died, lost, requeued = self.totals
        count = len(addresses)
        if corrupt:
            lost += count
        elif dead:
            died += count
        else:
            delivered += count
        self.totals = Totals(delivered, died, lost, requeued)

    # Keeping

    def finished(self) -> list[Segment]:
        """Return the segments that can go: all delivered, and nobody writes to them."""
        if not self.is_ready or self.is_writing:
            return []
        return [one for one in self._segments if not one.undelivered and one is not self._writer]

    def save(self, cursor: Cursor, *, sync: bool) -> None:
        """Write the cursor down; OSError: the older one stands."""
        self._cursor_file.write(cursor, sync=sync)
        self._cursor = cursor

    @property
    def is_saved(self) -> bool:
        """Whether the cursor on disk says how it is."""
        return not self.is_ready or self.cursor._replace(generation=0) == self._cursor._replace(generation=0)

    def remove(self, finished: Sequence[Segment]) -> None:
        """Delete segments; a saved cursor must say that they are done."""
        for segment in finished:
            self._segments.remove(segment)
            segment.remove()

    def close(self) -> None:
        """Let go of the folder."""
        for segment in self._segments:
            segment.close()
        self._cursor_file.close()
        os.close(self._lock)

    # Recovery

    def recover(self, call: Call, quarantine: Quarantine) -> Iterator[None]:
        """Look through all frames, in pieces; what is not done is in the backlog, and due, as soon as it is found."""
        is_unreadable = False
        found = _Found(self._cursor.end if not self._cursor.heads else min(self._cursor.heads.values()))
        headers = [self._header(call, one) for one in self._segments]
        totals = self._totals_then([header for header in headers if header is not None])
        for at, segment in enumerate(self._segments):
            if header := headers[at]:
                found.begin(header.first_number, segment.base)
            following = self._segments[at + 1] if at + 1 < len(self._segments) else None
            room = following.base - segment.base if following else segment.size_bytes
            try:
                data = call(partial(segment.read, 0, min(room, segment.size_bytes)))
            except OSError:
                is_unreadable = True
                continue
            yield from self._recover_segment(segment, data, found, quarantine)
            if following is None and found.torn_at is not None:
                self._cut(call, segment, found.torn_at)
        self.end = max(self.end, self._segments[-1].end if self._segments else 0)
        if is_unreadable:
            # Never ready: nothing of the slot is deleted or written down, and the next start tries again.
            _log.error("a spool segment cannot be read")
            return
        self._settle_accounts(found, totals)
        self.is_ready = True

    def _recover_segment(
        self, segment: Segment, data: bytes, found: "_Found", quarantine: Quarantine
    ) -> Iterator[None]:
        found.torn_at = None
        digests: dict[bytes, bytes] = {}
        for count, piece in enumerate(frames.scan(data, HEADER_BYTES)):
            if isinstance(piece, Damage):
                self._note_damage(segment, data, piece, found, quarantine)
                continue
            address = segment.base + piece.start
            if not found.take(piece, address):
                continue
            key = frames.key_in(data, piece)
            digest = digests.get(key)
            if digest is None:
                digest = digests[key] = cursors.digest_of(key)
            if not self._cursor.is_done(digest, address):
                self.backlog.add(key, Place(address, piece.end - piece.start), _second(piece.timestamp_ns), LONG_AGO_S)
                segment.undelivered += 1
                found.undelivered += 1
            if count % _PIECE_FRAMES == _PIECE_FRAMES - 1:
                yield
        yield

    def _note_damage(
        self, segment: Segment, data: bytes, damage: Damage, found: "_Found", quarantine: Quarantine
    ) -> None:
        address = segment.base + damage.start
        if damage.end == len(data) and frames.is_torn(data, damage.start):
            # Nobody was told that this is kept; or it is the length that is damaged, so it is not thrown away.
            found.torn_at = damage.start
        with suppress(OSError):
            quarantine(f"{self.number}-{address:016x}", data[damage.start : damage.end])
        if found.torn_at != damage.start:
            size = damage.end - damage.start
            _log.error("%d bytes of the spool are damaged; whole events around them are kept", size)

    def _cut(self, call: Call, segment: Segment, size_bytes: int) -> None:
        with suppress(OSError):
            call(lambda: segment.cut(size_bytes))

    def _header(self, call: Call, segment: Segment) -> Header | None:
        try:
            return frames.read_header(call(partial(segment.read, 0, HEADER_BYTES)))
        except OSError:
            return None

    def _totals_then(self, headers: Sequence[Header]) -> Totals:
        """What was done when the cursor was written; without one, before the oldest segment was begun."""
        if self._cursor is not NEVER or not headers:
            return self.totals
        return headers[0].totals._replace(requeued=headers[-1].totals.requeued)

    def _settle_accounts(self, found: "_Found", totals: Totals) -> None:
        """Make the totals true: what is neither known to be done nor found was delivered, or is lost."""
        settled = self.totals
        gone = [now - then for now, then in zip(settled, self._cursor.totals, strict=True)]
        self.next_number = max(self._cursor.next_number, found.next_number or 0)
        found.end(self._cursor.next_number)
        rest = self.next_number - totals.delivered - totals.dead - totals.corrupt - found.undelivered
        # The newest cursor knows what waited; an older one was written before what is gone was delivered.
        lost = max(0, rest if self._is_newest else min(found.missing, rest))
        delivered = totals.delivered + rest - lost
        # An old cursor may have been read: what it calls dead letters is then sent again.
        self.totals = Totals(
            max(0, delivered) + gone[0],
            totals.dead + min(0, delivered) + gone[1],
            totals.corrupt + lost + gone[2],
            totals.requeued,
        )
        self.lost = lost
        if lost:
            _log.error("%d spooled events are lost to damage of the disk", lost)


def _second(timestamp_ns: int) -> int:
    """Return the epoch second, as far as 32 bits go: clocks can be set to anything."""
    return min(max(0, timestamp_ns // _NS), _LAST_SECOND)


class _Found:
    """What a recovery has met so far."""

    def __init__(self, undone_from: int) -> None:
        """Only what is missing behind the address `undone_from` can be lost."""
        self._undone_from = undone_from
        self.next_number: int | None = None
        self.undelivered = 0
        self.missing = 0
        self.torn_at: int | None = None

    def begin(self, first_number: int, address: int) -> None:
        """A segment says that it starts with this number."""
        self._expect(first_number, address)
        self.next_number = max(self.next_number or 0, first_number)

    def take(self, frame: Frame, address: int) -> bool:
        """Say whether the frame is new; what was written twice, for a failed sync, is met twice."""
        if self.next_number is not None and frame.number < self.next_number:
            return False
        self._expect(frame.number, address)
        self.next_number = frame.number + 1
        return True

    def end(self, next_number: int) -> None:
        """No more follows, and the cursor says how far numbers went."""
        if self.next_number is not None:
            self.missing += max(0, next_number - self.next_number)

    def _expect(self, number: int, address: int) -> None:
        if self.next_number is not None and address >= self._undone_from:
            self.missing += max(0, number - self.next_number)
