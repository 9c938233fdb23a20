"""The spool in memory: bounded, first in first out within a stream. A SIGKILL loses what waits in it."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

from app.core.events import Labels, Redacted
from app.errors import DrainingError, SpoolFullError


@dataclass(slots=True)
class Held:
    """Bytes of memory that all lanes hold."""

    bytes: int = 0


class MemoryLane:
    """The events of the streams that fall to this lane; the stream whose head is oldest is served first."""

    def __init__(self, held: "Held") -> None:
        """Empty; `held` is what all lanes hold together."""
        self._held = held
        self._streams: dict[Labels, deque[tuple[float, Redacted]]] = {}
        self._peeked: Labels | None = None
        self.queued_bytes = 0
        self.queued_events = 0
        self.held_bytes = 0

    @property
    def oldest_s(self) -> float:
        """When the oldest was appended (monotonic seconds), or 0."""
        return min((waiting[0][0] for waiting in self._streams.values()), default=0.0)

    def append(self, entry: Redacted, now_s: float) -> None:
        """Put an event behind the others of its stream."""
        self._streams.setdefault(entry.labels, deque()).append((now_s, entry))
        self.queued_bytes += entry.size_bytes
        self.queued_events += 1
        self.held_bytes += entry.memory_bytes
        self._held.bytes += entry.memory_bytes

    def peek(self, max_bytes: int, max_events: int) -> Sequence[Redacted]:
        """Return the oldest events of one stream within both bounds, at least one where any waits."""
        if not self._streams:
            return ()
        self._peeked = min(self._streams, key=lambda labels: self._streams[labels][0][0])
        batch: list[Redacted] = []
        size = 0
        for _, entry in self._streams[self._peeked]:
            size += entry.size_bytes
            if batch and (size > max_bytes or len(batch) >= max_events):
                break
            batch.append(entry)
        return batch

    def ack(self, count: int) -> None:
        """Forget the oldest `count` of the stream that was peeked at last."""
        if self._peeked is None:
            return
        waiting = self._streams[self._peeked]
        for _ in range(count):
            _, entry = waiting.popleft()
            self.queued_bytes -= entry.size_bytes
            self.queued_events -= 1
            self.held_bytes -= entry.memory_bytes
            self._held.bytes -= entry.memory_bytes
        if not waiting:
            del self._streams[self._peeked]
            self._peeked = None


class MemorySpool:
    """Lanes that share one bound in bytes of memory."""

    def __init__(self, *, max_bytes: int, lanes: int) -> None:
        """`lanes` are shipped side by side; a stream always takes the same one."""
        self._max_bytes = max_bytes
        self._held = Held()
        self._lanes = [MemoryLane(self._held) for _ in range(lanes)]
        self._by_stream: dict[Labels, MemoryLane] = {}
        self._closed = False
        self._refused = False

    def append(self, entries: Sequence[Redacted], now_s: float) -> None:
        """Keep all or none; raise SpoolFullError, or DrainingError once closed."""
        if self._closed:
            raise DrainingError
        size = sum(entry.memory_bytes for entry in entries)
        self._refused = size + self._held.bytes > self._max_bytes
        if self._refused:
            raise SpoolFullError
        for entry in entries:
            self._lane_of(entry.labels).append(entry, now_s)

    def lanes(self) -> Sequence[MemoryLane]:
        """Return the lanes."""
        return self._lanes

    def close(self) -> None:
        """Take nothing more; what waits can still be peeked at and acknowledged."""
        self._closed = True

    @property
    def is_full(self) -> bool:
        """Whether not even a small event fits, or the last call found no room and little has come free since."""
        room = self._max_bytes - self._held.bytes
        return room < _SMALL_EVENT_BYTES or (self._refused and room < self._max_bytes * _ROOM_AGAIN)

    @property
    def is_crowded(self) -> bool:
        """Whether more than half of the bound is taken: time to ship rather than to take in."""
        return self._held.bytes > self._max_bytes // 2

    def _lane_of(self, labels: Labels) -> MemoryLane:
        lane = self._by_stream.get(labels)
        if lane is None:
            # crc32, not hash(): the same stream takes the same lane in every process and after a restart.
            lane = self._by_stream[labels] = self._lanes[crc32(repr(labels).encode()) % len(self._lanes)]
        return lane


_SMALL_EVENT_BYTES = 1024
_ROOM_AGAIN = 0.1
"""The share of the bound that must be free before a spool that refused is called well."""
