"""What the inside asks of the outside. Adapters implement these; everything else knows only these."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
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
    ledger: "Ledger"


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


class Batch(Protocol):
    """The oldest events of one stream, taken from the spool; they stay in it until they are settled.

    One stream only: of a push with several, Loki's ingester answers for the last, and what it refuses
    of the others is lost behind a 204 (grafana/loki, pkg/ingester/instance.go).
    """

    @property
    def entries(self) -> Sequence[Redacted]:
        """Those that are not settled yet, in order."""
        ...

    @property
    def attempt(self) -> int:
        """How often the sink has refused this stream by itself, since it last took something of it."""
        ...

    def settle(self, count: int, *, dead: bool = False) -> None:
        """Forget the oldest `count`: they are delivered, or dead letters."""
        ...

    def release(self, *, attempt: int = 0, not_before_s: float = 0.0) -> None:
        """Let the stream be taken again, not before that time (monotonic)."""
        ...


@dataclass(frozen=True, slots=True)
class SpoolFigures:
    """What waits in one worker's hands."""

    size_bytes: int
    segments: int
    events: int
    oldest_s: float


@dataclass(frozen=True, slots=True)
class Ledger:
    """What became of all events that were ever accepted, over restarts; one spool folder, all workers."""

    accepted: int
    delivered: int
    spooled: int
    dead_lettered: int
    corrupt: int

    @property
    def difference(self) -> int:
        """What is unaccounted for: 0, or there is a fault."""
        return self.accepted - self.delivered - self.spooled - self.dead_lettered - self.corrupt

    def shown(self) -> dict[str, int]:
        """Return the figures by name."""
        return {**asdict(self), "difference": self.difference}


class Spool(Protocol):
    """Holds redacted events from acknowledgement to delivery."""

    def append(self, entries: Sequence[Redacted], now_s: float) -> None:
        """Keep all of `entries` or none, durably; raise TryLaterError. `now_s` is monotonic."""
        ...

    def take(self, now_s: float, *, flush: bool = False) -> "Batch | float":
        """Return a batch that is due, or the seconds until there may be one.

        With `flush` whatever waits is due, but for streams that were released for never.
        """
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

    def redacted(self, findings: Iterable[Finding], unasked: int) -> None:
        """Count what redaction found, and how much of it without asking the numbering plan that could have said no."""
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

    def delivered(self, lines: int, size_bytes: int, wall_s: float) -> None:
        """Count lines that the sink took at this time (epoch seconds), and their bytes."""
        ...

    def audited(self, leaks: Iterable[str]) -> None:
        """Count an event that was searched a second time, and the detectors that found something in it."""
        ...

    def push(self, result: str) -> None:
        """Count one request to the sink by what it said."""
        ...

    def retry(self, reason: str) -> None:
        """Count a batch that is kept and tried again."""
        ...

    def committed(self, events: int, sync_s: float) -> None:
        """Count a group of events that were written at once, and the seconds that their sync took."""
        ...

    def commit_failed(self, fault: str) -> None:
        """Count a group that the disk did not take."""
        ...

    def adopted(self) -> None:
        """Count a dead worker's slot that this one took over."""
        ...

    def corrupted(self, events: int) -> None:
        """Count spooled events that the disk lost."""
        ...

    def spool(self, figures: SpoolFigures, ledger: Ledger, dead_letters: int) -> None:
        """Show how much waits and for how long, and what became of all the rest."""
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
