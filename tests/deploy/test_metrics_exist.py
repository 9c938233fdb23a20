"""A real service, scraped by a real Prometheus: what is documented, alerted on and drawn is there.

Redis and its exporter are real too; Loki is the stand-in, with a limit that makes dead letters.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from app.core.metrics import DECLARED
from tests.deploy.expressions import metrics, queries
from tests.deploy.servers import ROOT, Prometheus, RedisExporter, require
from tests.harness.load import play, wait_until
from tests.harness.redis import RedisServer, require_redis
from tests.harness.service import RunningService
from tests.standins.loki import Limits, LokiStandIn

if TYPE_CHECKING:
    from collections.abc import Iterator

# Of Prometheus itself: its verdict on a target, and its alerts while there are any.
PROMETHEUS_OWN = {"up", "ALERTS"}
ROUNDS_S = 60.0
LONGEST_LINE = 4_096

ANSWER = {"text": "Done.", "tokens": 150, "prompt_tokens": 12, "latency_ms": 900, "ttfb_ms": 250}
JOBS = [
    ("POST", "/log", {"event": "response_generation", "payload": {"args": {"model": "m"}, "response": ANSWER}}),
    ("POST", "/log", {"event": "response_generation", "payload": {"cache_hit": True, "latency_ms": 3}}),
    ("POST", "/log", {"event": "response_generation", "payload": {"response": {"tokens": -1}}}),
    ("POST", "/log", {"event": "content_repair", "payload": {"note": "mail bob@example.org"}}),
    ("POST", "/log", {"event": "policy_drift", "payload": {}}),
    ("POST", "/log", {"event": "tool_execution", "payload": {"note": "x" * 2 * LONGEST_LINE}}),
    ("POST", "/log", {"event": "Not a name", "payload": {}}),
    ("POST", "/cache/set", {"key": "k", "data": {"response": "r", "tokens": 9, "latency_ms": 90}, "ttl": 60}),
    ("GET", "/cache/get?key=k", None),
    ("GET", "/cache/get?key=none", None),
    ("DELETE", "/cache?key=none", None),
    ("GET", "/nothing", None),
    ("GET", "/readyz", None),
]


class Running(NamedTuple):
    """What runs."""

    service: RunningService
    prometheus: Prometheus
    exporter: RedisExporter

    def drive(self) -> None:
        """Play a little traffic that touches every metric."""
        tally = play(self.service.port, JOBS * 3, clients=2)
        assert not [answer for answer in tally.answers if answer[1] == "broken"]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Start everything; it has been scraped with some traffic behind it."""
    folder = tmp_path_factory.mktemp("metrics")
    require_redis()
    for program in ("prometheus", "prometheus-redis-exporter"):
        require(program)
    with ExitStack() as started:
        redis = started.enter_context(RedisServer())
        loki = started.enter_context(LokiStandIn(limits=Limits(max_line_bytes=LONGEST_LINE)))
        env = {"REDIS_URL": redis.url, "LOKI_URL": loki.url, "WEB_CONCURRENCY": "2", "BATCH_MAX_AGE_S": "0.05"}
        service = started.enter_context(
            RunningService({**env, "REDACTION_AUDIT_EVERY": "1"}, folder=folder / "service")
        )
        exporter = started.enter_context(RedisExporter(folder / "exporter", redis.port))
        jobs = {"telemetry-cache": service.port, "redis-exporter": exporter.port}
        prometheus = started.enter_context(Prometheus(folder / "prometheus", jobs))
        yield Running(service, prometheus, exporter)


def documented() -> dict[str, str]:
    """Return the metrics of docs/metrics.md with their types."""
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    return dict(re.findall(r"(?m)^\| `(\w+)` \| (histogram|counter|gauge) \|", page))


def series_names(name: str, kind: str) -> set[str]:
    return {f"{name}_{part}" for part in ("bucket", "sum", "count")} if kind == "histogram" else {name}


def test_the_page_has_every_declared_metric() -> None:
    """What this file reads from docs/metrics.md is what app/core/metrics.py declares, and more."""
    assert {metric.name for metric in DECLARED} < set(documented())
    assert {"flask_http_request_total", "telemetry_cache_ttfb_seconds"} < set(documented())


def test_targets_are_up(running: Running) -> None:
    """Prometheus scrapes the service, Redis' exporter and itself without an error."""

    def up() -> bool:
        return running.prometheus.query("up") == [1.0, 1.0, 1.0]

    wait_until(up, "all three targets are up", ROUNDS_S)
    targets = running.prometheus.api("targets")["activeTargets"]
    assert {target["labels"]["job"] for target in targets} == {"telemetry-cache", "redis-exporter", "prometheus"}
    assert [target["lastError"] for target in targets] == ["", "", ""]


def test_every_documented_metric_has_series(running: Running) -> None:
    """After traffic of every kind, none of docs/metrics.md is missing in Prometheus."""
    wanted = {name for metric in documented().items() for name in series_names(*metric)}

    def missing() -> set[str]:
        running.drive()
        return wanted - running.prometheus.names()

    wait_until(lambda: not missing(), "every documented metric has series", ROUNDS_S)


def test_leaks_have_their_series_before_the_first(running: Running) -> None:
    """Every detector's counter of leaks is there, at 0: an alert sees the first one as a rise."""
    found = {
        dict(labels)["detector"]: value
        for (name, labels), value in running.service.metrics().items()
        if name == "telemetry_cache_pii_leaks_total"
    }
    assert {"email", "phone"} < set(found)
    assert set(found.values()) == {0.0}


def test_alerts_and_panels_name_metrics_that_exist(running: Running, alerts: dict[str, Any]) -> None:
    """Whatever a rule or a panel names is in a real /metrics: ours or Redis' exporter's."""
    expressions = [alert["expr"] for alert in alerts.values()] + [expression for _, expression in queries()]
    named = {name for expression in expressions for name in metrics(expression)} - PROMETHEUS_OWN
    redis_names = {name for name in named if name.startswith("redis_")}
    assert redis_names
    wait_until(lambda: named <= running.prometheus.names(), f"Prometheus knows {sorted(named)}", ROUNDS_S)
    ours = {name for name, _ in running.service.metrics()}
    assert named - redis_names <= ours


def test_rules_are_evaluated_without_error(running: Running, alerts: dict[str, Any]) -> None:
    """Prometheus has loaded every rule, has evaluated it, and found no fault in it."""

    def evaluated() -> bool:
        groups = running.prometheus.api("rules")["groups"]
        rules = {rule["name"]: rule for group in groups for rule in group["rules"]}
        assert set(rules) == set(alerts)
        assert not [rule["lastError"] for rule in rules.values() if rule.get("lastError")]
        return all(rule["health"] == "ok" for rule in rules.values())

    wait_until(evaluated, "every rule is evaluated", ROUNDS_S)
    for alert in alerts.values():
        running.prometheus.query(alert["expr"])


def test_panels_show_something(running: Running) -> None:
    """With traffic, every query of the dashboard gives numbers."""
    empty = list(queries())
    assert len(empty) > 30

    def none_is_empty() -> bool:
        running.drive()
        empty[:] = [(title, expr) for title, expr in empty if not running.prometheus.query(expr)]
        return not empty

    try:
        wait_until(none_is_empty, "every panel shows something", ROUNDS_S)
    except AssertionError:
        pytest.fail(f"no numbers for {empty}")


def test_dead_letters_alert_fires(running: Running) -> None:
    """The rule for dead letters fires in a real Prometheus for the lines that the stand-in refused."""

    def firing() -> bool:
        running.drive()
        alerts = running.prometheus.api("alerts")["alerts"]
        return any(
            (one["labels"]["alertname"], one["labels"].get("reason"), one["state"])
            == ("DeadLettersGrowing", "line_too_long", "firing")
            for one in alerts
        )

    wait_until(firing, "DeadLettersGrowing fires", ROUNDS_S)
