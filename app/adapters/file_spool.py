"""The spool on disk: an event is in a synced file before anybody hears that it was taken.

This is the side that writes and keeps: the slots that this process holds, their bound, adoption, deletion. What waits
is handed out by `spool_outbox`.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from app.adapters.spool_folder import NO_ROOM, SpoolFolder
from app.adapters.spool_outbox import Outbox
from app.adapters.spool_slot import Call, Slot, Written
from app.core import frames
from app.core.batching import BatchLimits
from app.core.cursors import Cursor
from app.core.events import Redacted
from app.errors import DrainingError, SpoolFailingError, SpoolFullError
from app.ports import Batch, Ledger, SpoolFigures, Telemetry

_log = logging.getLogger("telemetry_cache.spool")

_SEGMENTS: Final = 16
_MAX_SEGMENT_BYTES: Final = 16 * 1024 * 1024
_MIN_SEGMENT_BYTES: Final = 16 * 1024

_ADOPT_EVERY_S: Final = 0.25
_SAVE_EVERY_S: Final = 0.5
_PROBE_EVERY_S: Final = 1.0
_KEEP_EVERY_S: Final = 0.2
_BETWEEN_PIECES_S: Final = 0.001

Entries = Sequence[Redacted]
Request = tuple[Entries, float]
"""What is to be kept, and when it came (monotonic seconds)."""
Group = Callable[[Callable[[Sequence[Request]], None]], Callable[[Request], None]]
"""Makes, of what commits several requests at once, what commits one."""


class SlotOpened(Protocol):
    """Hears which slot fresh events go to."""

    def __call__(self, slot: int) -> None:
        """`slot` is the value of the label `worker`."""


class FileSpool:
    """The slots under `folder` that this process holds: its own, and those that it adopted."""

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int,
        max_streams: int,
        sync: bool,
        limits: BatchLimits,
        telemetry: Telemetry,
        group: Group,
        commit: Call,
        offload: Call,
        on_open: SlotOpened,
    ) -> None:
        """Open nothing yet.

        `max_bytes` bounds the files that this process holds; `limits` say when a batch is due and how large it is;
        `commit` and `offload` run blocking calls, each on a thread of its own.
        """
        self._max_bytes = max_bytes
        self._segment_bytes = max(_MIN_SEGMENT_BYTES, min(_MAX_SEGMENT_BYTES, max_bytes // _SEGMENTS))
        self._folder = SpoolFolder(folder, segment_bytes=self._segment_bytes, max_streams=max_streams, sync=sync)
        self._sync = sync
        self._telemetry = telemetry
        self._submit = group(self._commit)
        self._on_thread = commit
        self._offload = offload
        self._on_open = on_open
        self._own: Slot | None = None
        self._adopted: list[Slot] = []
        self._recovering: list[tuple[Slot, Iterator[None]]] = []
        self._outbox = Outbox(limits, telemetry, offload=offload, quarantine=self._quarantine)
        self._reserved_bytes = 0
        self._disk_fault: str | None = None
        self._was_full = False
        self._is_closed = False
        self._adopt_due_s = self._save_due_s = self._probe_due_s = 0.0

    # Life

    def open(self, *, adopt: bool = True) -> None:
        """Take a slot of our own, and adopt those that nobody holds on the way; OSError: there is no room for it."""
        self._folder.make()
        number = 0
        while self._own is None:
            slot = self._folder.make_and_take(number)
            if slot is not None and not slot.has_segments:
                # Nothing to look through; but what the cursor says that waited is gone.
                for _ in slot.recover(self._offload, self._quarantine):
                    pass
                self._telemetry.corrupted(slot.lost)
                self._own = slot
                self._outbox.add(slot)
            elif slot is not None:
                self._adopt(slot) if adopt else slot.close()
            number += 1
        self._on_open(self._own.number)

    def close(self) -> None:
        """Take nothing more; what waits can still be taken and settled."""
        self._is_closed = True

    def release(self) -> None:
        """Write down how far things are, delete what is delivered, and let go of every slot."""
        for slot in self._held():
            slot.seal()
            self._save(slot, sync=True)
            self._delete_delivered(slot)
            self._outbox.remove(slot)
            slot.close()
        self._own, self._adopted, self._recovering = None, [], []

    # The port

    def append(self, entries: Entries, now_s: float) -> None:
        """Return when all of `entries` are on disk; DrainingError, SpoolFullError, SpoolFailingError: none is."""
        if self._is_closed:
            raise DrainingError
        size = sum([frames.size_bytes(entry) for entry in entries])
        if self._own is None:
            raise SpoolFailingError
        if size and self.held_bytes + self._reserved_bytes + size > self._max_bytes:
            self._was_full = True
            raise SpoolFullError
        self._reserved_bytes += size
        try:
            self._submit((entries, now_s))
        except TimeoutError as exc:
            # The disk hangs. What is on its way may be kept all the same: the caller's retry is then a second event.
            self._disk_fault = "disk hangs"
            raise SpoolFailingError from exc
        finally:
            self._reserved_bytes -= size

    def take(self, now_s: float, *, flush: bool = False) -> Batch | float:
        """Return a batch that is due, or the seconds until there may be one."""
        return self._outbox.take(now_s, flush=flush)

    # What it says of itself

    @property
    def slot(self) -> int:
        """The slot that fresh events go to."""
        return self._own.number if self._own is not None else -1

    @property
    def held_bytes(self) -> int:
        """What the held slots' files take of the disk."""
        own = self._own.size_bytes if self._own is not None else 0
        return own + sum([slot.size_bytes for slot in self._adopted]) if self._adopted else own

    @property
    def fault(self) -> str | None:
        """Why events are not taken, in a word, or None."""
        if self._was_full and self.held_bytes + self._reserved_bytes <= self._max_bytes - self._segment_bytes:
            self._was_full = False
        if self._own is None:
            return self._disk_fault or "not opened yet"
        return self._disk_fault or ("full" if self._was_full else None)

    @property
    def is_crowded(self) -> bool:
        """Whether more than half of the bound is taken: time to ship rather than to take in."""
        return self.held_bytes > self._max_bytes // 2

    @property
    def held_back(self) -> int:
        """Streams that the sink refused by themselves at their last try."""
        return self._outbox.held_back

    def figures(self, wall_s: float) -> SpoolFigures:
        """Return what waits here."""
        held = self._held()
        return SpoolFigures(
            size_bytes=sum(slot.size_bytes for slot in held),
            segments=sum(slot.segment_count for slot in held),
            events=sum(slot.backlog.events for slot in held),
            oldest_s=self._outbox.oldest_s(wall_s),
        )

    def ledger(self) -> Ledger:
        """Add up every slot on disk: those of others, and those not yet known wholly, as their cursors say."""
        held = {slot.number: slot for slot in self._held() if slot.is_ready}
        others = [self._folder.cursor(number) for number in self._folder.numbers() if number not in held]
        return _added_up([*(slot.cursor for slot in held.values()), *(one for one in others if one is not None)])

    def note_requeued(self, count: int) -> None:
        """Say that so many of the events to come were dead letters before: the ledger counts nothing twice."""
        if self._own is not None:
            self._own.totals = self._own.totals._replace(requeued=self._own.totals.requeued + count)
            self._save(self._own, sync=True)

    # Keeping, again and again

    def keep(self, now_s: float) -> float:
        """Do one piece of what must be done besides; return the seconds until the next."""
        if self._is_closed:
            return _KEEP_EVERY_S
        if self._own is None:
            self._open_again()
        if now_s >= self._adopt_due_s:
            self._adopt_due_s = now_s + _ADOPT_EVERY_S
            self._adopt_the_dead()
        if self._recover_piece():
            return _BETWEEN_PIECES_S
        self._probe(now_s)
        if self._own is not None and self._own.writes_in_vain:
            with suppress(SpoolFullError, SpoolFailingError, TimeoutError):
                self._submit(((), now_s))
        is_save_due = now_s >= self._save_due_s
        if is_save_due:
            self._save_due_s = now_s + _SAVE_EVERY_S
        for slot in self._held():
            if is_save_due and not slot.is_saved:
                self._save(slot, sync=False)
            self._clear(slot)
        return _KEEP_EVERY_S

    def _open_again(self) -> None:
        try:
            self.open()
        except OSError as exc:
            self._disk_fault = _fault_of(exc)

    def _adopt_the_dead(self) -> None:
        held = {slot.number for slot in self._held()}
        for number in self._folder.numbers():
            if number in held or not self._folder.has_segments(number):
                continue
            with suppress(OSError):
                slot = self._folder.take(number)
                if slot is not None:
                    self._adopt(slot)

    def _adopt(self, slot: Slot) -> None:
        if not slot.has_segments:
            slot.close()
            return
        _log.warning("adopting spool slot %d: %d segments", slot.number, slot.segment_count)
        self._adopted.append(slot)
        self._outbox.add(slot)
        self._recovering.append((slot, slot.recover(self._offload, self._quarantine)))
        self._telemetry.adopted()

    def _recover_piece(self) -> bool:
        """Look through a piece of an adopted slot; say whether there is more to look through."""
        if not self._recovering:
            return False
        slot, pieces = self._recovering[0]
        try:
            next(pieces)
        except StopIteration:
            self._recovering.pop(0)
            self._telemetry.corrupted(slot.lost)
            return bool(self._recovering)
        return True

    def _probe(self, now_s: float) -> None:
        """Find out whether there is room again, so that it shows before an event comes."""
        own = self._own
        if own is None or self._disk_fault is None or now_s < self._probe_due_s:
            return
        self._probe_due_s = now_s + _PROBE_EVERY_S
        try:
            self._on_thread(own.probe)
        except OSError as exc:
            self._disk_fault = _fault_of(exc)
        else:
            self._disk_fault = None

    def _save(self, slot: Slot, *, sync: bool) -> None:
        if slot.is_ready:
            with suppress(OSError):
                cursor = slot.cursor
                self._offload(lambda: slot.save(cursor, sync=sync))

    def _clear(self, slot: Slot) -> None:
        """Delete what is delivered; let go of an adopted slot that has nothing left."""
        self._delete_delivered(slot)
        if slot is not self._own and slot.is_ready and not slot.has_segments:
            self._adopted.remove(slot)
            self._outbox.remove(slot)
            slot.close()

    def _delete_delivered(self, slot: Slot) -> None:
        finished = slot.finished()
        if finished:
            with suppress(OSError):
                cursor = slot.cursor
                self._offload(lambda: slot.save(cursor, sync=self._sync))
                self._offload(lambda: slot.remove(finished))

    # Committing

    def _commit(self, requests: Sequence[Request]) -> None:
        """Write and sync the entries of several requests at once; all of them or none."""
        own = self._own
        if own is None:
            raise SpoolFailingError
        if own.writes_in_vain:
            own.seal()
        entries = [entry for request, _ in requests for entry in request]
        if not entries:
            return
        now_s = requests[-1][1]
        buffers = [frames.pack(entry, own.next_number + at) for at, entry in enumerate(entries)]
        try:
            own.is_writing = True
            written: Written = self._on_thread(lambda: own.write(buffers))
        except OSError as exc:
            own.is_writing = False
            self._disk_fault = _fault_of(exc)
            self._telemetry.commit_failed(self._disk_fault)
            raise (SpoolFullError if exc.errno in NO_ROOM else SpoolFailingError) from exc
        self._disk_fault = None
        own.committed(
            written,
            [
                (frames.stream_key(entry.labels), entry.timestamp_ns, len(buffer))
                for entry, buffer in zip(entries, buffers, strict=True)
            ],
            now_s,
        )
        own.is_writing = False
        self._telemetry.committed(len(entries), written.sync_s)

    def _held(self) -> list[Slot]:
        return [*([self._own] if self._own is not None else []), *self._adopted]

    def _quarantine(self, name: str, data: bytes) -> None:
        self._offload(lambda: self._folder.quarantine(name, data))


def _fault_of(exc: OSError) -> str:
    return "disk full" if exc.errno in NO_ROOM else "disk failing"


def _added_up(cursors: Sequence[Cursor]) -> Ledger:
    requeued = sum(cursor.totals.requeued for cursor in cursors)
    return Ledger(
        accepted=sum(cursor.next_number for cursor in cursors) - requeued,
        delivered=sum(cursor.totals.delivered for cursor in cursors),
        spooled=sum(cursor.spooled for cursor in cursors),
        dead_lettered=sum(cursor.totals.dead for cursor in cursors) - requeued,
        corrupt=sum(cursor.totals.corrupt for cursor in cursors),
    )
