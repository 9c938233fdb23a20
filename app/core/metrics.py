"""Every metric of the service's own, declared once. KPIs are the rows of `config/kpis.toml`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Declared:
    """One metric of the service's own."""

    name: str
    type: Literal["counter", "gauge", "histogram"]
    unit: str
    help: str
    labels: tuple[str, ...] = ()
    multiprocess_mode: Literal["livesum", "livemax", "max", "mostrecent"] = "livesum"
    """How a gauge's values from several workers become one; `live…`: of those workers that are there."""
    buckets: tuple[float, ...] = ()


EVENTS = Declared(
    "telemetry_cache_events_total",
    "counter",
    "events",
    "Events by name and by how they were answered: accepted, duplicate (an event_id seen before), refused",
    ("event", "outcome"),
)
REDACTIONS = Declared(
    "telemetry_cache_redactions_total", "counter", "findings", "What redaction found and did", ("detector", "action")
)
REDACTION_FAILURES = Declared(
    "telemetry_cache_redaction_failures_total",
    "counter",
    "texts",
    "Texts withheld whole because a detector failed on them, and payloads that the second search could not clean",
)
REDACTION_UNASKED = Declared(
    "telemetry_cache_redaction_unasked_total",
    "counter",
    "findings",
    "What looks like a telephone number and was redacted without asking a numbering plan: too many in one event",
)
REDACTION_AUDITS = Declared(
    "telemetry_cache_redaction_audits_total",
    "counter",
    "events",
    "Events that were searched a second time, in the bytes about to be stored (one in REDACTION_AUDIT_EVERY)",
)
PII_LEAKS = Declared(
    "telemetry_cache_pii_leaks_total",
    "counter",
    "findings",
    "What that second search found, and kept from being stored: always 0, or redaction is broken",
    ("detector",),
)
KPI_UNUSABLE = Declared(
    "telemetry_cache_kpi_unusable_total",
    "counter",
    "values",
    "Values for a KPI that were no finite number from 0 to 10^12",
    ("metric",),
)
HITS = Declared("telemetry_cache_cache_hits_total", "counter", "lookups", "Cache lookups that found an entry")
MISSES = Declared("telemetry_cache_cache_misses_total", "counter", "lookups", "Cache lookups that found none")
DEGRADED = Declared(
    "telemetry_cache_cache_degraded_total",
    "counter",
    "lookups",
    "Cache lookups answered as a miss because Redis was away",
)
COLLISIONS = Declared(
    "telemetry_cache_cache_collisions_total",
    "counter",
    "entries",
    "Entries not handed out because their envelope was not that of the key asked for",
)
SETS = Declared(
    "telemetry_cache_cache_sets_total", "counter", "calls", "Entries set, or not because Redis was away", ("result",)
)
DELETES = Declared(
    "telemetry_cache_cache_deletes_total",
    "counter",
    "calls",
    "Deletes done, or not because Redis was away",
    ("result",),
)
SAVED_TOKENS = Declared(
    "telemetry_cache_cache_saved_tokens_total", "counter", "tokens", "data.tokens of every hit: not generated again"
)
SAVED_SECONDS = Declared(
    "telemetry_cache_cache_saved_seconds_total",
    "counter",
    "seconds",
    "data.latency_ms of every hit: not waited for again",
)
DELIVERY = Declared(
    "telemetry_cache_delivery_events_total",
    "counter",
    "events",
    "Events that left the spool: delivered, or dead letters by reason",
    ("outcome", "reason"),
)
DELIVERED_BYTES = Declared(
    "telemetry_cache_delivered_bytes_total", "counter", "bytes", "Lines that the sink took, before compression"
)
PUSHES = Declared(
    "telemetry_cache_pushes_total", "counter", "pushes", "Batches pushed to the sink, by what it said", ("result",)
)
PUSH_EVENTS = Declared(
    "telemetry_cache_push_events",
    "histogram",
    "events",
    "Events of a batch that the sink took",
    buckets=(1, 10, 100, 500, 1000, 2500, 5000),
)
RETRIES = Declared(
    "telemetry_cache_retries_total", "counter", "batches", "Batches that are kept and tried again, by why", ("reason",)
)
LAST_DELIVERY = Declared(
    "telemetry_cache_last_delivery_timestamp_seconds",
    "gauge",
    "seconds",
    "When the sink last took something (epoch); 0 when nothing yet",
    (),
    "max",
)
DEAD_LETTERS = Declared(
    "telemetry_cache_dead_letters",
    "gauge",
    "events",
    "Dead letters that lie there now (`flask --app wsgi dead-letters list`)",
    (),
    "mostrecent",
)
SPOOL_BYTES = Declared("telemetry_cache_spool_bytes", "gauge", "bytes", "What the spool's files take of the disk")
SPOOL_MAX_BYTES = Declared(
    "telemetry_cache_spool_max_bytes", "gauge", "bytes", "What they may take: SPOOL_MAX_BYTES of each worker"
)
SPOOL_SEGMENTS = Declared("telemetry_cache_spool_segments", "gauge", "files", "Files that undelivered events are in")
SPOOL_EVENTS = Declared("telemetry_cache_spool_events", "gauge", "events", "Undelivered events")
SPOOL_OLDEST = Declared(
    "telemetry_cache_spool_oldest_seconds", "gauge", "seconds", "Age of the oldest undelivered event", (), "livemax"
)
SPOOL_COMMITS = Declared(
    "telemetry_cache_spool_commits_total",
    "counter",
    "commits",
    "Groups of events written and synced at once, or not: `disk full`, `disk failing`",
    ("result",),
)
SPOOL_COMMIT_EVENTS = Declared(
    "telemetry_cache_spool_commit_events",
    "histogram",
    "events",
    "Events of a group",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 1000, 10_000),
)
SPOOL_SYNC_SECONDS = Declared(
    "telemetry_cache_spool_sync_seconds",
    "histogram",
    "seconds",
    "How long fdatasync took (0 with SPOOL_SYNC=off)",
    buckets=(0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5),
)
SPOOL_ADOPTIONS = Declared(
    "telemetry_cache_spool_adoptions_total", "counter", "slots", "Slots of dead workers that were taken over"
)
SPOOL_CORRUPT = Declared(
    "telemetry_cache_spool_corrupt_events_total",
    "counter",
    "events",
    "Acknowledged events that the disk lost or spoilt: always 0, or the disk is broken",
)
INTEGRITY = Declared(
    "telemetry_cache_integrity_events",
    "gauge",
    "events",
    "All events ever, over restarts: accepted = delivered + spooled + dead_lettered + corrupt + difference",
    ("state",),
    "mostrecent",
)
CONFIG_STALE = Declared(
    "telemetry_cache_config_stale",
    "gauge",
    "files",
    "1: the file under config/ cannot be used, and a worker uses its last good version; 0: it is used as it stands",
    ("file",),
    "livemax",
)

DECLARED: Final[Sequence[Declared]] = (
    EVENTS,
    REDACTIONS,
    REDACTION_FAILURES,
    REDACTION_UNASKED,
    REDACTION_AUDITS,
    PII_LEAKS,
    KPI_UNUSABLE,
    HITS,
    MISSES,
    DEGRADED,
    COLLISIONS,
    SETS,
    DELETES,
    SAVED_TOKENS,
    SAVED_SECONDS,
    DELIVERY,
    DELIVERED_BYTES,
    PUSHES,
    PUSH_EVENTS,
    RETRIES,
    LAST_DELIVERY,
    DEAD_LETTERS,
    SPOOL_BYTES,
    SPOOL_MAX_BYTES,
    SPOOL_SEGMENTS,
    SPOOL_EVENTS,
    SPOOL_OLDEST,
    SPOOL_COMMITS,
    SPOOL_COMMIT_EVENTS,
    SPOOL_SYNC_SECONDS,
    SPOOL_ADOPTIONS,
    SPOOL_CORRUPT,
    INTEGRITY,
    CONFIG_STALE,
)

COUNTERS: Final = tuple(metric.name for metric in DECLARED if metric.type == "counter")
"""What a gauge in `config/kpis.toml` may divide."""
