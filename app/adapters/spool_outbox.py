"""What waits in the held slots, handed out a batch at a time: of one stream, oldest first, read back from disk."""

import logging
from collections.abc import Sequence
from typing import Final

from app.adapters.segments import Read
from app.adapters.spool_slot import Call, Quarantine, Slot
from app.core import frames
from app.core.backlog import NEVER_S, Place, Stream
from app.core.batching import BatchLimits
from app.core.events import Redacted
from app.ports import Batch, Telemetry

_log = logging.getLogger("telemetry_cache.spool")

_IDLE_S: Final = 1.0
_UNREADABLE_PAUSE_S: Final = 5.0


class SlotBatch:
    """The oldest events of a stream. Nobody else is given any of it before `release`."""

    def __init__(self, slot: Slot, stream: Stream, entries: Sequence[Redacted], now_s: float) -> None:
        """`entries` are the first of the stream's backlog; `now_s` is when they were taken."""
        self.entries = entries
        self.attempt = stream.attempt
        self._slot = slot
        self._stream = stream
        # What the limits left behind has waited as long; what came meanwhile has not.
        self._left_since_s = stream.since_s if len(stream) > len(entries) else now_s

    def settle(self, count: int, *, dead: bool = False) -> None:
        """Forget the oldest `count`: they are delivered, or dead letters."""
        self._slot.settle(self._slot.backlog.drop(self._stream, count, self._left_since_s), dead=dead)
        self.entries = self.entries[count:]

    def release(self, *, attempt: int = 0, not_before_s: float = 0.0) -> None:
        """Let the stream's next batch be taken, at that time; `attempt` counts its own failures."""
        self._stream.attempt = attempt
        self._stream.not_before_s = not_before_s
        self._slot.backlog.release(self._stream)


class Outbox:
    """The streams of all held slots."""

    def __init__(self, limits: BatchLimits, telemetry: Telemetry, *, offload: Call, quarantine: Quarantine) -> None:
        """Empty."""
        self._limits = limits
        self._telemetry = telemetry
        self._offload = offload
        self._quarantine = quarantine
        self._slots: list[Slot] = []
        self._turn = 0

    def add(self, slot: Slot) -> None:
        """Hand out what waits in this slot too."""
        self._slots.append(slot)

    def remove(self, slot: Slot) -> None:
        """Hand out nothing of this slot any more."""
        self._slots.remove(slot)

    def take(self, now_s: float, *, flush: bool) -> Batch | float:
        """Return a batch of the due stream whose last turn is longest ago, or the seconds until one may be due.

        With `flush` every stream is due at once, but for those that were released for never.
        """
        while True:
            due: tuple[Slot, Stream] | None = None
            wait_s = _IDLE_S
            for slot in self._slots:
                for stream in slot.backlog:
                    if stream.is_busy or not len(stream):
                        continue
                    due_in_s = stream.due_in_s(self._limits, now_s)
                    if flush and stream.not_before_s < NEVER_S:
                        due_in_s = 0.0
                    if due_in_s > 0:
                        wait_s = min(wait_s, due_in_s)
                    elif due is None or (stream.turn, stream.since_s) < (due[1].turn, due[1].since_s):
                        due = slot, stream
            if due is None:
                return wait_s
            self._turn += 1
            due[1].turn = self._turn
            batch = self._load(*due, now_s, NEVER_S if flush else now_s + _UNREADABLE_PAUSE_S)
            if batch is not None:
                return batch

    @property
    def held_back(self) -> int:
        """Streams that wait because the sink refused them by themselves."""
        return sum(1 for slot in self._slots for stream in slot.backlog if stream.attempt)

    def oldest_s(self, wall_s: float) -> float:
        """Return the age of the oldest event that waits, in seconds; 0 when none does."""
        seconds = [stream.oldest_second for slot in self._slots for stream in slot.backlog if len(stream)]
        return max(0.0, wall_s - min(seconds)) if seconds else 0.0

    def _load(self, slot: Slot, stream: Stream, now_s: float, or_not_before_s: float) -> SlotBatch | None:
        """Read the stream's oldest; None where that cannot be: it is then left alone, and others are looked at."""
        stream.is_busy = True
        try:
            places = stream.peek(self._limits)
            entries, damaged = _unpacked(places, self._offload(lambda: slot.read(places)))
        except OSError:
            _log.error("spooled events cannot be read")
            stream.not_before_s = or_not_before_s
            slot.backlog.release(stream)
            return None
        except BaseException:
            slot.backlog.release(stream)
            raise
        if not entries and damaged is not None:
            self._pass_over(slot, stream, places[0], damaged, now_s)
            return None
        return SlotBatch(slot, stream, entries, now_s)

    def _pass_over(self, slot: Slot, stream: Stream, place: Place, damaged: bytes, now_s: float) -> None:
        """Count a frame that was whole when it was written, and no longer is."""
        _log.error("a spooled event is damaged and lost")
        try:
            self._quarantine(f"{slot.number}-{place.address:016x}", damaged)
        except OSError:
            _log.warning("what is left of it could not be kept")
        slot.settle(slot.backlog.drop(stream, 1, now_s), corrupt=True)
        slot.backlog.release(stream)
        self._telemetry.corrupted(1)


def _unpacked(places: Sequence[Place], reads: Sequence[Read]) -> tuple[list[Redacted], bytes | None]:
    """The events up to the first damaged frame, and that frame's bytes if there is one."""
    entries: list[Redacted] = []
    left = iter(reads)
    read = Read(0, b"")
    for place in places:
        while place.address >= read.address + len(read.data):
            following = next(left, None)
            if following is None:
                return entries, b""
            read = following
        start = place.address - read.address
        entry = frames.entry_at(read.data, start, place.size)
        if entry is None:
            return entries, read.data[max(0, start) : max(0, start) + place.size]
        entries.append(entry)
    return entries, None
