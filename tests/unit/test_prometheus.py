"""Prometheus: what is counted shows up in a scrape, of one process or of several merged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from app.adapters.prometheus import MAX_EVENT_NAMES, LabelCap, PrometheusTelemetry
from app.core.events import Finding, Observation
from app.core.kpi_table import load_kpis
from app.core.metrics import COUNTERS, DECLARED
from app.core.redaction import FAILED
from app.ports import Ledger, SpoolFigures
from app.settings import ROOT

if TYPE_CHECKING:
    from pathlib import Path

KPIS = load_kpis((ROOT / "config" / "kpis.toml").read_text(encoding="utf-8"), COUNTERS)
TTFB = "telemetry_cache_ttfb_seconds"
TOKENS = "telemetry_cache_generated_tokens_total"
SECONDS = "telemetry_cache_generation_seconds_total"
RATE = "telemetry_cache_tokens_per_second"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Clock:
    """Monotonic seconds that a test moves."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def telemetry(clock: Clock) -> PrometheusTelemetry:
    return PrometheusTelemetry(KPIS, slot=0, metrics_dir=None, window_s=60, started_s=clock.now_s, monotonic_s=clock)


def scraped(telemetry: PrometheusTelemetry) -> Series:
    body, _ = telemetry.scrape(None)
    return series(body.decode())


def series(text: str) -> Series:
    samples = [sample for family in parse_text(text) for sample in family.samples]
    found = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}
    assert len(found) == len(samples), "a series stands twice"
    return found


def value(found: Series, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


LEDGER = Ledger(accepted=10, delivered=6, spooled=3, dead_lettered=1, corrupt=0)


# One process


def test_every_declared_metric_is_there_from_the_start(telemetry: PrometheusTelemetry) -> None:
    """With its help and type, so that alerts and dashboards need not wait for the first event."""
    body, content_type = telemetry.scrape(None)
    assert content_type.startswith("text/plain")
    families = {family.name: family for family in parse_text(body.decode())}
    for metric in (*DECLARED, *KPIS):
        name = metric.name.removesuffix("_total")
        family = families.get(name) or families[metric.name]
        assert (family.type, family.documentation) == (metric.type, metric.help)


def test_the_specifications_names_are_in_the_scrape(telemetry: PrometheusTelemetry) -> None:
    """To the letter, whatever suffixes the client library adds."""
    telemetry.observe([Observation(TTFB, 0.7)], [])
    found = scraped(telemetry)
    for edge in ("0.1", "0.5", "1.0", "2.0", "5.0", "+Inf"):
        assert (f"{TTFB}_bucket", frozenset({("le", edge)})) in found
    for name in (
        *(f"{TTFB}_sum", f"{TTFB}_count", RATE, "telemetry_cache_repair_rate_total"),
        *("telemetry_cache_drift_incidents_total", "telemetry_cache_cache_hit_rate"),
    ):
        assert (name, frozenset()) in found


def test_what_is_counted_is_shown(telemetry: PrometheusTelemetry) -> None:
    """Each method of the port, once, with the series that it moves."""
    telemetry.events(["tool_execution"], "accepted")
    telemetry.events(["tool_execution"], "accepted")
    telemetry.events(["tool_execution"], "duplicate")
    telemetry.redacted([Finding((None, "a"), "email", "redact", 9), Finding((None, "b"), FAILED, "redact", 9)], 4)
    for result, times in (("hit", 3), ("miss", 1), ("degraded", 5)):
        for _ in range(times):
            telemetry.lookup(result)
    telemetry.saved(150, 0.25)
    telemetry.cache_call("set", "ok")
    telemetry.cache_call("delete", "away")
    telemetry.cache_collision()
    telemetry.delivered(100, 12_345, 1_790_000_000.5)
    for leaks in ([], ["email", "email"], []):
        telemetry.audited(leaks)
    telemetry.delivery("dead_letter", "too_old", 2)
    telemetry.push("delivered")
    telemetry.push("rate_limited")
    found = scraped(telemetry)
    prefix = "telemetry_cache_"
    assert value(found, f"{prefix}events_total", event="tool_execution", outcome="accepted") == 2
    assert value(found, f"{prefix}events_total", event="tool_execution", outcome="duplicate") == 1
    assert value(found, f"{prefix}redactions_total", detector="email", action="redact") == 1
    assert value(found, f"{prefix}redactions_total", detector=FAILED, action="redact") == 1
    assert value(found, f"{prefix}redaction_failures_total") == 1
    assert value(found, f"{prefix}delivered_bytes_total") == 12_345
    assert value(found, f"{prefix}redaction_unasked_total") == 4
    assert value(found, f"{prefix}redaction_audits_total") == 3
    assert value(found, f"{prefix}pii_leaks_total", detector="email") == 2
    assert value(found, f"{prefix}cache_hits_total") == 3
    assert value(found, f"{prefix}cache_misses_total") == 1
    assert value(found, f"{prefix}cache_degraded_total") == 5
    assert value(found, f"{prefix}cache_hit_rate") == 0.75
    assert value(found, f"{prefix}cache_saved_tokens_total") == 150
    assert value(found, f"{prefix}cache_saved_seconds_total") == 0.25
    assert value(found, f"{prefix}cache_sets_total", result="ok") == 1
    assert value(found, f"{prefix}cache_sets_total", result="away") == 0
    assert value(found, f"{prefix}cache_deletes_total", result="away") == 1
    assert value(found, f"{prefix}cache_collisions_total") == 1
    assert value(found, f"{prefix}delivery_events_total", outcome="delivered", reason="ok") == 100
    assert value(found, f"{prefix}delivery_events_total", outcome="dead_letter", reason="too_old") == 2
    assert value(found, f"{prefix}pushes_total", result="rate_limited") == 1


def test_the_spools_dealings_are_shown(telemetry: PrometheusTelemetry) -> None:
    """Each method about the spool and the sink, once, with the series that it moves."""
    telemetry.delivered(100, 12_345, 1_790_000_000.5)
    telemetry.retry("rate_limited")
    telemetry.committed(12, 0.002)
    telemetry.commit_failed("disk full")
    telemetry.adopted()
    telemetry.corrupted(4)
    found = scraped(telemetry)
    prefix = "telemetry_cache_"
    assert value(found, f"{prefix}retries_total", reason="rate_limited") == 1
    assert value(found, f"{prefix}push_events_bucket", le="100.0") == 1
    assert value(found, f"{prefix}push_events_bucket", le="10.0") == 0
    assert value(found, f"{prefix}last_delivery_timestamp_seconds") == 1_790_000_000.5
    assert value(found, f"{prefix}spool_commits_total", result="ok") == 1
    assert value(found, f"{prefix}spool_commits_total", result="disk full") == 1
    assert value(found, f"{prefix}spool_commit_events_sum") == 12
    assert value(found, f"{prefix}spool_sync_seconds_sum") == 0.002
    assert value(found, f"{prefix}spool_adoptions_total") == 1
    assert value(found, f"{prefix}spool_corrupt_events_total") == 4


def test_observations_reach_their_metrics(telemetry: PrometheusTelemetry) -> None:
    """Histograms, counters and labels; what was unusable is counted by metric."""
    telemetry.observe(
        [
            Observation(TTFB, 0.3),
            Observation(TTFB, 7.0),
            Observation("telemetry_cache_repair_rate_total", 3),
            Observation("gen_ai_client_token_usage", 150, ("output", "llama2")),
        ],
        [TTFB, TTFB],
    )
    found = scraped(telemetry)
    assert value(found, f"{TTFB}_bucket", le="0.25") == 0
    assert value(found, f"{TTFB}_bucket", le="0.5") == 1
    assert value(found, f"{TTFB}_bucket", le="+Inf") == 2
    assert value(found, f"{TTFB}_sum") == pytest.approx(7.3)
    assert value(found, "telemetry_cache_repair_rate_total") == 3
    usage = {"gen_ai_token_type": "output", "gen_ai_request_model": "llama2"}
    assert value(found, "gen_ai_client_token_usage_sum", **usage) == 150
    assert value(found, "telemetry_cache_kpi_unusable_total", metric=TTFB) == 2


def test_what_waits_is_shown(telemetry: PrometheusTelemetry) -> None:
    """A worker's files and events, and the whole folder's ledger, which adds up."""
    telemetry.spool(SpoolFigures(size_bytes=150, segments=2, events=3, oldest_s=30.0), LEDGER, 7)
    found = scraped(telemetry)
    names = [f"telemetry_cache_spool_{name}" for name in ("bytes", "segments", "events", "oldest_seconds")]
    assert [value(found, name) for name in names] == [150, 2, 3, 30]
    assert value(found, "telemetry_cache_dead_letters") == 7
    states = ("accepted", "delivered", "spooled", "dead_lettered", "corrupt", "difference")
    shown = [value(found, "telemetry_cache_integrity_events", state=state) for state in states]
    assert shown == [10, 6, 3, 1, 0, 0]


def test_what_is_unaccounted_for_is_the_difference() -> None:
    """An event that is nowhere shows."""
    assert LEDGER.difference == 0
    assert replace(LEDGER, accepted=12).difference == 2


def test_a_scrape_may_ask_for_openmetrics(telemetry: PrometheusTelemetry) -> None:
    """Prometheus does, and the document is whole: it ends with `# EOF`."""
    telemetry.events(["e"], "accepted")
    telemetry.observe([Observation("gen_ai_client_token_usage", 150, ("output", 'a"b\\c'))], [])
    body, content_type = telemetry.scrape(OPENMETRICS)
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
    assert {family.name for family in parse_openmetrics(body.decode())} > {TTFB, RATE}


# Bounds


def test_a_cap_lets_the_first_values_through() -> None:
    """Then `other`; what was let through once stays."""
    cap = LabelCap(2)
    assert [cap(text) for text in ("a", "b", "c", "a", "d", "b")] == ["a", "b", "other", "a", "other", "b"]


def test_event_names_are_capped(telemetry: PrometheusTelemetry) -> None:
    """An open vocabulary must not become a million series."""
    for number in range(3 * MAX_EVENT_NAMES):
        telemetry.events([f"event_{number}"], "accepted")
    found = {key: count for key, count in scraped(telemetry).items() if key[0] == "telemetry_cache_events_total"}
    assert len(found) <= MAX_EVENT_NAMES + 4
    assert sum(found.values()) == 3 * MAX_EVENT_NAMES


def test_values_past_the_cap_are_not_remembered(telemetry: PrometheusTelemetry) -> None:
    """Model names are the callers' words: ten thousand of them take no room."""
    for number in range(10_000):
        telemetry.observe([Observation("gen_ai_client_token_usage", 1, ("output", f"model-{number}"))], [])
    assert sum(len(held) for held in vars(telemetry).values() if isinstance(held, dict)) < 500


def test_models_are_capped(telemetry: PrometheusTelemetry) -> None:
    """50 models by config/kpis.toml, then `other`, and nothing is lost."""
    name = "gen_ai_server_time_to_first_token_seconds"
    for number in range(200):
        telemetry.observe([Observation(name, 0.1, (f"model-{number}",))], [])
    counts = {key: count for key, count in scraped(telemetry).items() if key[0] == f"{name}_count"}
    assert len(counts) == 51
    assert value(counts, f"{name}_count", gen_ai_request_model="other") == 150


# Windowed figures


def test_tokens_per_second_are_those_of_the_window(telemetry: PrometheusTelemetry, clock: Clock) -> None:
    """What was generated before the window does not count, and nothing at all is 0."""
    assert value(scraped(telemetry), RATE) == 0
    telemetry.observe([Observation(TOKENS, 1000), Observation(SECONDS, 10)], [])
    assert value(scraped(telemetry), RATE) == 100
    for _ in range(20):
        telemetry.snapshot(clock.now_s)
        clock.now_s += 5
    assert value(scraped(telemetry), RATE) == 0
    telemetry.observe([Observation(TOKENS, 60), Observation(SECONDS, 3)], [])
    assert value(scraped(telemetry), RATE) == 20
    assert value(scraped(telemetry), TOKENS) == 1060


def test_figures_for_people(telemetry: PrometheusTelemetry, clock: Clock) -> None:
    """Plain numbers: counts over the service's life, quantiles over the window, null where nothing was counted."""
    before: Any = telemetry.figures(clock.now_s)
    assert before["window_s"] == 60
    assert before["kpis"][RATE] is None
    assert before["kpis"]["telemetry_cache_cache_hit_rate"] is None
    assert before["kpis"][TTFB] == {"count": 0, "p50": None, "p95": None, "p99": None}
    telemetry.observe([Observation(TTFB, 0.3)] * 4, [])
    telemetry.events(["a"], "accepted")
    telemetry.events(["b"], "accepted")
    telemetry.events(["b"], "refused")
    telemetry.lookup("hit")
    telemetry.delivery("dead_letter", "too_old", 2)
    after: Any = telemetry.figures(clock.now_s)
    assert after["kpis"][TTFB]["count"] == 4
    assert after["kpis"][TTFB]["p50"] == pytest.approx(0.375)
    assert after["kpis"]["telemetry_cache_cache_hit_rate"] == 1
    assert after["counts"]["events"] == {"accepted": 2, "duplicate": 0, "refused": 1}
    assert after["counts"]["cache_hits"] == 1
    assert after["counts"]["delivery_events"] == {"delivered": 0, "dead_letter": 2}
    assert json.loads(json.dumps(after)) == after
    for _ in range(20):
        telemetry.snapshot(clock.now_s)
        clock.now_s += 5
    later: Any = telemetry.figures(clock.now_s)
    assert later["kpis"][TTFB] == {"count": 0, "p50": None, "p95": None, "p99": None}
    assert later["kpis"]["telemetry_cache_cache_hit_rate"] == 1


# Several processes


WORKER = """
import sys
from pathlib import Path
from app.adapters.prometheus import PrometheusTelemetry
from app.core.events import Observation
from app.core.kpi_table import load_kpis
from app.core.metrics import COUNTERS
from app.ports import Ledger, SpoolFigures

slot, folder, action = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
kpis = load_kpis(Path(sys.argv[4]).read_text(encoding="utf-8"), COUNTERS)
telemetry = PrometheusTelemetry(
    kpis, slot=slot, metrics_dir=folder, window_s=60, started_s=0.0, monotonic_s=lambda: 30.0
)


if action == "work":
    telemetry.events(["e"], "accepted")
    telemetry.lookup("hit")
    telemetry.lookup("miss" if slot else "hit")
    telemetry.observe([
        Observation("telemetry_cache_ttfb_seconds", 0.3 + slot),
        Observation("telemetry_cache_generated_tokens_total", 90),
        Observation("telemetry_cache_generation_seconds_total", 3 - slot),
        Observation("gen_ai_client_token_usage", 7, ("output", "m")),
    ], [])
    telemetry.spool(SpoolFigures(100 * (slot + 1), 1, slot + 1, 10.0 + slot), Ledger(9, 9, 0, 0, 0), 5)
elif action == "scrape":
    sys.stdout.buffer.write(telemetry.scrape(None)[0])
elif action == "figures":
    import json
    print(json.dumps(telemetry.figures(30.0)))
"""


def worker(folder: Path, slot: int, action: str) -> str:
    """Run a worker process of a slot to its end; return what it prints."""
    config = str(ROOT / "config" / "kpis.toml")
    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(slot), str(folder), action, config],
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder), "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_workers_are_merged_and_a_restart_goes_on(tmp_path: Path) -> None:
    """Two slots, one of them restarted once: counters are sums, files are named by slot, any worker shows all."""
    for slot in (0, 1):
        worker(tmp_path, slot, "work")
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files
    worker(tmp_path, 1, "work")
    assert sorted(path.name for path in tmp_path.iterdir()) == files

    found = series(worker(tmp_path, 2, "scrape"))
    assert value(found, "telemetry_cache_events_total", event="e", outcome="accepted") == 3
    assert value(found, "telemetry_cache_cache_hits_total") == 4
    assert value(found, "telemetry_cache_cache_hit_rate") == pytest.approx(4 / 6)
    assert value(found, f"{TTFB}_count") == 3
    assert value(found, f"{TTFB}_bucket", le="0.5") == 1
    assert value(found, f"{TTFB}_bucket", le="+Inf") == 3
    assert value(found, f"{TTFB}_sum") == pytest.approx(0.3 + 1.3 + 1.3)
    assert value(found, RATE) == pytest.approx(270 / 7)
    usage = {"gen_ai_token_type": "output", "gen_ai_request_model": "m"}
    assert value(found, "gen_ai_client_token_usage_sum", **usage) == 21
    assert [value(found, f"telemetry_cache_spool_{name}") for name in ("bytes", "events", "oldest_seconds")] == [
        300,
        3,
        11,
    ]
    assert value(found, "telemetry_cache_dead_letters") == 5
    assert value(found, "telemetry_cache_integrity_events", state="accepted") == 9
    assert not [name for name, labels in found if dict(labels).keys() & {"pid"}]

    figures = json.loads(worker(tmp_path, 2, "figures"))
    assert figures["counts"]["events"] == {"accepted": 3, "duplicate": 0, "refused": 0}
    assert figures["kpis"][TTFB]["count"] == 3
    assert figures["kpis"][RATE] == pytest.approx(270 / 7)
