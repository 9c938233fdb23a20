"""What the inside asks of the outside. Adapters implement these; everything else knows only these."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from app.core.events import Finding, Observation, Redacted
from app.core.verdicts import Verdict


class _Miss:
    """The type of MISS."""

    def __repr__(self) -> str:
        return "MISS"


MISS: Final = _Miss()
"""No entry: None would be a value."""


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """What was stored under a key, and its times in epoch seconds."""

    data: dict[str, Any]
    stored_at_s: float
    expires_at_s: float


@dataclass(frozen=True, slots=True)
class Health:
    """The state of a dependency: `since_s` is epoch seconds; `detail` holds no secret."""

    name: str
    state: Literal["ok", "degraded", "failing"]
    since_s: float
    detail: str


@dataclass(frozen=True, slots=True)
class Readiness:
    """What `/readyz` says: `unavailable` only when this instance cannot accept events."""

    status: Literal["ok", "degraded", "unavailable"]
    checks: tuple[Health, ...]


class Cache(Protocol):
    """A store of JSON objects with a time to live, apart by namespace. Raises CacheAwayError."""

    def get(self, namespace: str, key: str, now_s: float) -> CacheEntry | _Miss:
        """Return the entry of a key, or MISS."""
        ...

    def set(self, namespace: str, key: str, data: dict[str, Any], ttl_s: int, now_s: float) -> CacheEntry:
        """Store `data` for `ttl_s` seconds and return the entry as stored."""
        ...

    def delete(self, namespace: str, key: str) -> bool:
        """Delete the entry; say whether there was one."""
        ...

    def health(self, now_s: float) -> Health:
        """Ask the store whether it is there; never raises."""
        ...


class Lane(Protocol):
    """A first-in-first-out part of the spool: one batch of it is under way at a time."""

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait to be pushed."""
        ...

    @property
    def held_bytes(self) -> int:
        """What they take of the spool's bound."""
        ...

    @property
    def queued_events(self) -> int:
        """Events that wait."""
        ...

    @property
    def oldest_s(self) -> float:
        """When the oldest waiting event was appended (monotonic seconds; 0 when none waits)."""
        ...

    def peek(self, max_bytes: int, max_events: int) -> Sequence[Redacted]:
        """Return the oldest events of one stream within both bounds, at least one where any waits; they stay.

        One stream only: of a push with several, Loki's ingester answers for the last, and what it refuses
        of the others is lost behind a 204 (grafana/loki, pkg/ingester/instance.go).
        """
        ...

    def ack(self, count: int) -> None:
        """Forget the oldest `count` events of the last peek's stream: they are delivered, or dead letters."""
        ...


class Spool(Protocol):
    """Holds redacted events from acknowledgement to delivery."""

    def append(self, entries: Sequence[Redacted], now_s: float) -> None:
        """Keep all of `entries` or none; raise SpoolFullError. `now_s` is monotonic."""
        ...

    def lanes(self) -> Sequence[Lane]:
        """Return the lanes; entries of one stream always take the same one."""
        ...


class LogSink(Protocol):
    """Where events are delivered to."""

    def send(self, batch: Sequence[Redacted]) -> Verdict:
        """Deliver a batch and say what became of it; never raises."""
        ...

    def probe(self) -> str | None:
        """Ask whether the sink is there at all: None when it is, else a word for what is wrong."""
        ...


class DeadLetters(Protocol):
    """Where events go that the sink will never take."""

    def add(self, entry: Redacted, reason: str, detail: str) -> None:
        """Keep an event with the sink's reason, durably; raise SinkError."""
        ...


CacheResult = Literal["hit", "miss", "degraded"]
Outcome = Literal["accepted", "duplicate", "refused"]


class Telemetry(Protocol):
    """What the service counts. Label values are bounded by the adapter."""

    def events(self, names: Sequence[str], outcome: Outcome) -> None:
        """Count events, by their names, as they were answered."""
        ...

    def observe(self, observations: Iterable[Observation], unusable: Iterable[str]) -> None:
        """Take an event's KPI observations; count the metrics whose value could not be used."""
        ...

    def redacted(self, findings: Iterable[Finding]) -> None:
        """Count what redaction found."""
        ...

    def lookup(self, result: CacheResult) -> None:
        """Count a cache lookup."""
        ...

    def saved(self, tokens: float, seconds: float) -> None:
        """Count what a cache hit saved its caller."""
        ...

    def cache_call(self, operation: Literal["set", "delete"], result: Literal["ok", "away"]) -> None:
        """Count a change of the cache."""
        ...

    def cache_collision(self) -> None:
        """Count an entry whose envelope was not that of the key asked for."""
        ...

    def delivery(self, outcome: Literal["delivered", "dead_letter"], reason: str, count: int) -> None:
        """Count events that left the spool."""
        ...

    def delivered(self, lines: int, size_bytes: int) -> None:
        """Count lines that the sink took, and their bytes."""
        ...

    def audited(self, lines: int, leaks: Iterable[str]) -> None:
        """Count lines that were searched a second time, and the detectors that found something in them."""
        ...

    def push(self, result: str) -> None:
        """Count one request to the sink by what it said."""
        ...

    def spool(self, lanes: Sequence[Lane], now_s: float) -> None:
        """Show how much waits and for how long."""
        ...

    def scrape(self, accept: str | None) -> tuple[bytes, str]:
        """Return (body, content type) of a Prometheus scrape, all workers merged."""
        ...

    def snapshot(self, now_s: float) -> None:
        """Keep the merged counters for windowed figures."""
        ...

    def figures(self, now_s: float) -> Mapping[str, Any]:
        """Return the KPIs as plain numbers, for people and scripts."""
        ...
