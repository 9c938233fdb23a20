"""Prometheus: counts what happens, and the scrape that merges all workers'.

A worker's values live in files named by its slot, so that one put in another's place goes on with
them: a worker that dies takes nothing away, and a scrape does not slow with restarts.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Lock
from typing import Any, Final, Literal, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values
from prometheus_client import metrics as client_metrics
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from app.adapters import metric_files
from app.core.events import Finding, Observation
from app.core.figures import Figures
from app.core.kpi import OTHER, Kpi
from app.core.metrics import (
    COLLISIONS,
    CONFIG_STALE,
    DEAD_LETTERS,
    DECLARED,
    DEGRADED,
    DELETES,
    DELIVERED_BYTES,
    DELIVERY,
    EVENTS,
    HITS,
    INTEGRITY,
    KPI_UNUSABLE,
    LAST_DELIVERY,
    MISSES,
    PII_LEAKS,
    PUSH_EVENTS,
    PUSHES,
    REDACTION_AUDITS,
    REDACTION_FAILURES,
    REDACTION_UNASKED,
    REDACTIONS,
    RETRIES,
    SAVED_SECONDS,
    SAVED_TOKENS,
    SETS,
    SPOOL_ADOPTIONS,
    SPOOL_BYTES,
    SPOOL_COMMIT_EVENTS,
    SPOOL_COMMITS,
    SPOOL_CORRUPT,
    SPOOL_EVENTS,
    SPOOL_MAX_BYTES,
    SPOOL_OLDEST,
    SPOOL_SEGMENTS,
    SPOOL_SYNC_SECONDS,
    Declared,
)
from app.core.redaction import FAILED
from app.ports import CacheResult, Ledger, Outcome, SpoolFigures

T = TypeVar("T")

MAX_EVENT_NAMES: Final = 100
"""Event names that become label values in one worker; then `other`."""


class LabelCap:
    """Lets the first `cap` values of a label through; the rest become `other`."""

    def __init__(self, cap: int) -> None:
        """None seen yet."""
        self._cap = cap
        self._seen: set[str] = set()

    def __call__(self, value: str) -> str:
        """Return the value to use."""
        if value in self._seen:
            return value
        if len(self._seen) >= self._cap:
            return OTHER
        self._seen.add(value)
        return value


class PrometheusTelemetry:
    """Counts what happens, and answers scrapes for all workers."""

    def __init__(
        self,
        kpis: Sequence[Kpi],
        *,
        slot: int,
        metrics_dir: Path | None,
        window_s: float,
        started_s: float,
        detectors: Iterable[str] = (),
        spool_max_bytes: int = 0,
        lock: Callable[[], AbstractContextManager[object]] = Lock,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`metrics_dir` holds all workers' files, or is None where one process serves alone.

        The series of `detectors` (their names) are there from the start: an alert must see a first leak as a rise.
        `lock` makes the locks under which the library counts.
        """
        # Under gevent, fifteen `threading.Lock`s a request cost as much as reading its JSON.
        client_metrics.Lock = values.Lock = lock  # type: ignore[attr-defined,assignment]
        if metrics_dir is not None:
            metric_files.install(slot, lock())
        self.registry = CollectorRegistry()
        self._metrics_dir = metrics_dir
        self._figures = Figures(kpis, window_s=window_s, started_s=started_s)
        self._monotonic_s = monotonic_s
        self._own: dict[str, Any] = {metric.name: _declare(metric, self.registry) for metric in DECLARED}
        self._by_kpi: dict[str, Any] = {kpi.name: _declare_kpi(kpi, self.registry) for kpi in kpis if kpi.sources}
        self._caps = {kpi.name: tuple(LabelCap(cap) for cap in kpi.label_caps) for kpi in kpis}
        self._event_names = LabelCap(MAX_EVENT_NAMES)
        self._children: dict[tuple[str, ...], Any] = {}
        self._recorders: dict[tuple[str, tuple[str, ...]], Callable[[float], None]] = {}
        for labels in (("accepted",), ("duplicate",), ("refused",)):
            self._child(EVENTS, "unknown", *labels)
        for result in ("ok", "away"):
            self._child(SETS, result)
            self._child(DELETES, result)
        self._child(DELIVERY, "delivered", "ok")
        self._child(PUSHES, "delivered")
        self._child(SPOOL_COMMITS, "ok")
        self._child(RETRIES, "connection")
        for detector in detectors:
            self._child(PII_LEAKS, detector)
        self._own[SPOOL_MAX_BYTES.name].set(spool_max_bytes)

    def events(self, names: Sequence[str], outcome: Outcome) -> None:
        """Count events as they were answered."""
        for event, times in _counted(names).items():
            self._child(EVENTS, self._event_names(event), outcome).inc(times)

    def observe(self, observations: Iterable[Observation], unusable: Iterable[str]) -> None:
        """Take KPI observations."""
        for seen in observations:
            record = self._recorders.get((seen.metric, seen.labels)) or self._recorder(seen.metric, seen.labels)
            record(seen.value)
        for name in unusable:
            self._child(KPI_UNUSABLE, name).inc()

    def redacted(self, findings: Iterable[Finding], unasked: int) -> None:
        """Count findings by detector and action, and those that no numbering plan was asked about."""
        if unasked:
            self._own[REDACTION_UNASKED.name].inc(unasked)
        for (detector, action), times in _counted([(found.detector, found.action) for found in findings]).items():
            if detector == FAILED:
                self._own[REDACTION_FAILURES.name].inc(times)
            self._child(REDACTIONS, detector, action).inc(times)

    def lookup(self, result: CacheResult) -> None:
        """Count a cache lookup."""
        metric = {"hit": HITS, "miss": MISSES, "degraded": DEGRADED}[result]
        self._own[metric.name].inc()

    def saved(self, tokens: float, seconds: float) -> None:
        """Count what a hit saved."""
        self._own[SAVED_TOKENS.name].inc(tokens)
        self._own[SAVED_SECONDS.name].inc(seconds)

    def cache_call(self, operation: Literal["set", "delete"], result: Literal["ok", "away"]) -> None:
        """Count a set or a delete."""
        self._child(SETS if operation == "set" else DELETES, result).inc()

    def cache_collision(self) -> None:
        """Count an envelope that did not match."""
        self._own[COLLISIONS.name].inc()

    def delivery(self, outcome: Literal["delivered", "dead_letter"], reason: str, count: int) -> None:
        """Count events that left the spool."""
        self._child(DELIVERY, outcome, reason).inc(count)

    def delivered(self, lines: int, size_bytes: int, wall_s: float) -> None:
        """Count lines that the sink took."""
        self.delivery("delivered", "ok", lines)
        self._own[DELIVERED_BYTES.name].inc(size_bytes)
        self._own[PUSH_EVENTS.name].observe(lines)
        self._own[LAST_DELIVERY.name].set(wall_s)

    def audited(self, leaks: Iterable[str]) -> None:
        """Count an event searched again, and what was found in it by detector."""
        self._own[REDACTION_AUDITS.name].inc()
        for detector in leaks:
            self._child(PII_LEAKS, detector).inc()

    def push(self, result: str) -> None:
        """Count one request to the sink."""
        self._child(PUSHES, result).inc()

    def retry(self, reason: str) -> None:
        """Count a batch that is kept."""
        self._child(RETRIES, reason).inc()

    def committed(self, events: int, sync_s: float) -> None:
        """Count a group that was written at once."""
        self._child(SPOOL_COMMITS, "ok").inc()
        self._own[SPOOL_COMMIT_EVENTS.name].observe(events)
        self._own[SPOOL_SYNC_SECONDS.name].observe(sync_s)

    def commit_failed(self, fault: str) -> None:
        """Count a group that was not."""
        self._child(SPOOL_COMMITS, fault).inc()

    def adopted(self) -> None:
        """Count a slot that was taken over."""
        self._own[SPOOL_ADOPTIONS.name].inc()

    def corrupted(self, events: int) -> None:
        """Count spooled events that the disk lost."""
        self._own[SPOOL_CORRUPT.name].inc(events)

    def spool(self, figures: SpoolFigures, ledger: Ledger, dead_letters: int) -> None:
        """Show what waits, and what became of the rest."""
        self._own[SPOOL_BYTES.name].set(figures.size_bytes)
        self._own[SPOOL_SEGMENTS.name].set(figures.segments)
        self._own[SPOOL_EVENTS.name].set(figures.events)
        self._own[SPOOL_OLDEST.name].set(figures.oldest_s)
        self._own[DEAD_LETTERS.name].set(dead_letters)
        for state, events in ledger.shown().items():
            self._child(INTEGRITY, state).set(events)

    def configured(self, file: str, *, stale: bool) -> None:
        """Show whether a file under config/ is used as it stands, or by its last good version."""
        self._child(CONFIG_STALE, file).set(stale)

    def scrape(self, accept: str | None) -> tuple[bytes, str]:
        """Return (body, content type), in the format that the scraper prefers."""
        registry = CollectorRegistry()
        registry.register(_Merged(self))
        try:
            encode, content_type = choose_encoder(accept or "")
        except (TypeError, ValueError):
            # A version that is no number: the library compares without asking.
            encode, content_type = choose_encoder("")
        return encode(registry), content_type

    def snapshot(self, now_s: float) -> None:
        """Keep the merged counters for windowed figures."""
        self._figures.snapshot(now_s, _samples(self.merged()))

    def figures(self, now_s: float) -> Mapping[str, Any]:
        """Return the KPIs as plain numbers: counters over the service's life, histograms over the window."""
        return self._figures.shown(now_s, _samples(self.merged()))

    def merged(self) -> Iterator[Metric]:
        """All workers' metrics as one."""
        if self._metrics_dir is None:
            yield from self.registry.collect()
        else:
            yield from MultiProcessCollector(CollectorRegistry(), str(self._metrics_dir)).collect()

    def ratios(self, metrics: Iterable[Metric]) -> Iterator[GaugeMetricFamily]:
        """The gauges that are quotients."""
        for kpi, value in self._figures.ratios(self._monotonic_s(), _samples(metrics)):
            yield GaugeMetricFamily(kpi.name, kpi.help, value=value)

    def _recorder(self, name: str, labels: tuple[str, ...]) -> Callable[[float], None]:
        """What takes a value of a KPI's series; remembered for label values that are within their caps."""
        capped = tuple(cap(value) for cap, value in zip(self._caps[name], labels, strict=True))
        metric = self._by_kpi[name].labels(*capped) if labels else self._by_kpi[name]
        record: Callable[[float], None] = (
            metric.observe if isinstance(metric, Histogram) else metric.set if isinstance(metric, Gauge) else metric.inc
        )
        if capped == labels:
            self._recorders[name, labels] = record
        return record

    def _child(self, metric: Declared, *labels: str) -> Any:
        """The series of some label values, looked up once."""
        key = (metric.name, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self._own[metric.name].labels(*labels)
        return child


class _Merged(Collector):
    """What a scrape sees: the merged metrics, and the quotients of them."""

    def __init__(self, telemetry: PrometheusTelemetry) -> None:
        self._telemetry = telemetry

    def describe(self) -> Iterable[Metric]:
        """Nothing ahead of time: else the registry would collect once more to learn the names."""
        return ()

    def collect(self) -> Iterator[Metric]:
        metrics = list(self._telemetry.merged())
        yield from metrics
        yield from self._telemetry.ratios(metrics)


def _counted(things: Iterable[T]) -> dict[T, int]:
    """How often each occurs; collections.Counter takes longer to make than to count the one event of most requests."""
    counts: dict[T, int] = {}
    for thing in things:
        counts[thing] = counts.get(thing, 0) + 1
    return counts


def _declare(metric: Declared, registry: CollectorRegistry) -> Any:
    if metric.type == "counter":
        return Counter(metric.name, metric.help, metric.labels, registry=registry)
    if metric.type == "histogram":
        return Histogram(metric.name, metric.help, metric.labels, registry=registry, buckets=metric.buckets)
    return Gauge(metric.name, metric.help, metric.labels, registry=registry, multiprocess_mode=metric.multiprocess_mode)


def _declare_kpi(kpi: Kpi, registry: CollectorRegistry) -> Any:
    if kpi.type == "histogram":
        return Histogram(kpi.name, kpi.help, kpi.labels, registry=registry, buckets=kpi.buckets)
    if kpi.type == "counter":
        return Counter(kpi.name, kpi.help, kpi.labels, registry=registry)
    return Gauge(kpi.name, kpi.help, kpi.labels, registry=registry, multiprocess_mode="mostrecent")


def _samples(metrics: Iterable[Metric]) -> Iterator[Sample]:
    return (sample for metric in metrics for sample in metric.samples)
