"""Which events wait, by stream, and which stream is due next: positions only, the events stand on disk.

An event takes 16 bytes here, so that a spool of a gigabyte is known by some tens of megabytes of memory.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import Final, NamedTuple

from app.core.batching import BatchLimits

_COMPACT_AT: Final = 4096
"""Delivered positions are cut off when there are so many, and more than those that wait."""

NEVER_S: Final = float("inf")
LONG_AGO_S: Final = float("-inf")


class Place(NamedTuple):
    """Where a frame stands: its address in its slot, and its length."""

    address: int
    size: int


class Stream:
    """The undelivered events of one stream, in order. One batch of it is under way at a time."""

    __slots__ = (
        "_addresses",
        "_first",
        "_seconds",
        "_sizes",
        "attempt",
        "is_busy",
        "key",
        "not_before_s",
        "since_s",
        "size_bytes",
        "turn",
    )

    def __init__(self, key: bytes) -> None:
        """`key` is the stream's labels as frames have them."""
        self.key = key
        self.size_bytes = 0
        self.is_busy = False
        self.since_s = 0.0
        """Since when its head is the head (monotonic)."""
        self.not_before_s = 0.0
        self.turn = 0
        """When it had its last turn, counted in turns."""
        self.attempt = 0
        """Failures since the last success, that were this stream's alone."""
        self._addresses = array("Q")
        self._sizes = array("I")
        self._seconds = array("I")
        self._first = 0

    def __len__(self) -> int:
        return len(self._addresses) - self._first

    @property
    def head(self) -> int:
        """The address of the oldest."""
        return self._addresses[self._first]

    @property
    def oldest_second(self) -> int:
        """When the oldest was acknowledged: epoch seconds."""
        return self._seconds[self._first]

    def add(self, place: Place, second: int, now_s: float) -> None:
        """Put a frame behind the others; addresses rise."""
        if not len(self):
            self.since_s = now_s
        self._addresses.append(place.address)
        self._sizes.append(place.size)
        self._seconds.append(second)
        self.size_bytes += place.size

    def peek(self, limits: BatchLimits) -> list[Place]:
        """Return the oldest within the limits, at least one."""
        sizes = self._sizes[self._first : self._first + limits.max_events]
        fit = max(1, bisect_right(list(accumulate(sizes)), limits.max_bytes))
        return list(map(Place._make, zip(self._addresses[self._first : self._first + fit], sizes, strict=False)))

    def drop(self, count: int, now_s: float) -> list[int]:
        """Forget the oldest `count`; return their addresses."""
        end = self._first + count
        self.size_bytes -= sum(self._sizes[self._first : end])
        gone = self._addresses[self._first : end].tolist()
        self._first = end
        self.since_s = now_s
        if self._first >= _COMPACT_AT and self._first > len(self):
            for column in (self._addresses, self._sizes, self._seconds):
                del column[: self._first]
            self._first = 0
        return gone

    def due_in_s(self, limits: BatchLimits, now_s: float) -> float:
        """Return the seconds until its head is due; 0 when it is due now."""
        wait_s = limits.wait_s(
            queued_bytes=self.size_bytes, queued_events=len(self), oldest_s=self.since_s, now_s=now_s
        )
        return max(wait_s, self.not_before_s - now_s)


class Backlog:
    """The streams of one slot that have undelivered events, or had some lately."""

    def __init__(self) -> None:
        """Empty."""
        self._streams: dict[bytes, Stream] = {}
        self.events = 0

    def __iter__(self) -> Iterator[Stream]:
        return iter(self._streams.values())

    def add(self, key: bytes, place: Place, second: int, now_s: float) -> None:
        """Put a frame behind the others of its stream."""
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = Stream(key)
        stream.add(place, second, now_s)
        self.events += 1

    def drop(self, stream: Stream, count: int, now_s: float) -> list[int]:
        """Forget the oldest `count` of a stream; return their addresses."""
        gone = stream.drop(count, now_s)
        self.events -= count
        return gone

    def release(self, stream: Stream) -> None:
        """No batch of it is under way any more; an empty stream is forgotten."""
        stream.is_busy = False
        if not len(stream):
            self._streams.pop(stream.key, None)

    def heads(self) -> dict[bytes, int]:
        """Return for every stream the address of its oldest."""
        return {stream.key: stream.head for stream in self if len(stream)}
