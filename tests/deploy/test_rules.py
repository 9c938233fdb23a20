"""deploy/prometheus: the configuration and the alerts, by Prometheus' own tool, and their runbooks."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.deploy.expressions import metrics
from tests.deploy.servers import DEPLOY, ROOT, promtool

RUNBOOKS = ROOT / "docs" / "runbooks"
ALERTS = (
    *("HighTimeToFirstByte", "LowCacheHitRate", "HighErrorRate", "PiiAfterRedaction"),  # the specification's
    *(
        "TelemetryCacheDown",
        "SinkRefusing",
        "BacklogOld",
        "SpoolNearlyFull",
        "EventsLost",
        "DeadLettersGrowing",
        "RedisAway",
        "ConfigStale",
    ),
    "RedactionFailing",
)


@pytest.fixture(scope="module")
def cases() -> list[dict[str, Any]]:
    """Return each look at an alert in rules_test.yml."""
    tests = yaml.safe_load((DEPLOY / "prometheus" / "rules_test.yml").read_text(encoding="utf-8"))["tests"]
    return [case for test in tests for case in test["alert_rule_test"]]


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "--lint", "all", "--lint-fatal", "rules.yml"),
        ("test", "rules", "rules_test.yml"),
    ],
    ids=["config", "rules", "their tests"],
)
def test_promtool_is_content(arguments: tuple[str, ...]) -> None:
    """Prometheus' own tool accepts the configuration and the rules, and the rules' tests pass."""
    run = promtool(*arguments)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "SUCCESS" in run.stdout


def test_alerts_are_those_that_are_meant(alerts: dict[str, Any]) -> None:
    """The specification's four and the operator's eight."""
    assert tuple(alerts) == ALERTS


@pytest.mark.parametrize("name", ALERTS)
def test_alert_is_shown_firing_and_not_firing(name: str, cases: list[dict[str, Any]]) -> None:
    """rules_test.yml has both for every alert."""
    shown = {bool(case.get("exp_alerts")) for case in cases if case["alertname"] == name}
    assert shown == {True, False}


@pytest.mark.parametrize("name", ALERTS)
def test_alert_says_what_a_person_needs(name: str, alerts: dict[str, Any]) -> None:
    """How long, how bad, what, and where it says what to do."""
    alert = alerts[name]
    assert alert["for"].endswith("m")
    assert alert["labels"] in ({"severity": "warning"}, {"severity": "critical"})
    assert set(alert["annotations"]) == {"summary", "description", "runbook"}
    assert alert["annotations"]["runbook"] == f"docs/runbooks/{name}.md"
    assert "{{" not in alert["annotations"]["summary"]  # one alert has one summary, whatever its labels


@pytest.mark.parametrize("name", ALERTS)
def test_alert_reads_this_service_alone(name: str, alerts: dict[str, Any]) -> None:
    """Each selector names the job: other services of the suite count requests under the same name."""
    expression = alerts[name]["expr"]
    named = metrics(expression)
    assert named
    for metric in named:
        assert len(re.findall(rf"\b{metric}\b", expression)) == expression.count(f'{metric}{{job="telemetry-cache"')


def test_runbooks_belong_to_alerts() -> None:
    """There is a page for each alert, and none for another."""
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == set(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_runbook_says_what_it_means_and_what_to_do(name: str) -> None:
    """Each page has its alert's name as its title, and the same three parts."""
    text = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {name}\n")
    places = [text.index(part) for part in ("**Means.**", "**Look.**", "**Do.**")]
    assert places == sorted(places)
