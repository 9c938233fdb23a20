"""Every metric of the service's own, declared once. KPIs are the rows of `config/kpis.toml`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Declared:
    """One metric of the service's own."""

    name: str
    type: Literal["counter", "gauge"]
    unit: str
    help: str
    labels: tuple[str, ...] = ()
    multiprocess_mode: Literal["sum", "max"] = "sum"
    """How a gauge's values from several workers become one."""


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
    "Texts withheld whole because a detector failed on them",
)
REDACTION_AUDITS = Declared(
    "telemetry_cache_redaction_audits_total",
    "counter",
    "lines",
    "Delivered lines that were searched a second time, as they were stored (one in REDACTION_AUDIT_EVERY)",
)
REDACTION_LEAKS = Declared(
    "telemetry_cache_redaction_leaks_total",
    "counter",
    "findings",
    "What that second search found: always 0, or redaction is broken",
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
SPOOL_BYTES = Declared("telemetry_cache_spool_bytes", "gauge", "bytes", "What undelivered events take of the spool")
SPOOL_MAX_BYTES = Declared(
    "telemetry_cache_spool_max_bytes", "gauge", "bytes", "What the spool may hold: SPOOL_MAX_BYTES of each worker"
)
SPOOL_EVENTS = Declared("telemetry_cache_spool_events", "gauge", "events", "Undelivered events")
SPOOL_OLDEST = Declared(
    "telemetry_cache_spool_oldest_seconds", "gauge", "seconds", "Age of the oldest undelivered event", (), "max"
)

DECLARED: Final[Sequence[Declared]] = (
    EVENTS,
    REDACTIONS,
    REDACTION_FAILURES,
    REDACTION_AUDITS,
    REDACTION_LEAKS,
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
    SPOOL_BYTES,
    SPOOL_MAX_BYTES,
    SPOOL_EVENTS,
    SPOOL_OLDEST,
)

COUNTERS: Final = tuple(metric.name for metric in DECLARED if metric.type == "counter")
"""What a gauge in `config/kpis.toml` may divide."""
