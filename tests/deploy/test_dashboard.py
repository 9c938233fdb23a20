"""The Grafana dashboard against Grafana's JSON model, as far as it shows without a Grafana."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest
import yaml

from tests.deploy.expressions import DASHBOARD, dashboard, metrics, panels, queries
from tests.deploy.servers import DEPLOY

ROWS = ["KPIs", "Request rate", "Latency", "Cache", "Errors", "Storage", "Delivery"]
COLUMNS = 24
PROVISIONING = DEPLOY / "grafana" / "provisioning"

EXPRESSIONS = {
    "up": {"up"},
    'sum by (le, url_rule) (rate(a_bucket{b=~"c|d"}[5m])) > 2': {"a_bucket"},
    "x:y / on (job) group_left (z) w offset 1h": {"x:y", "w"},
    'histogram_quantile(0.95, a) or vector(0) unless b{e="f{g}"}': {"a", "b"},
    "1e3 * a_total": {"a_total"},
}


@pytest.mark.parametrize(("expression", "names"), EXPRESSIONS.items(), ids=EXPRESSIONS)
def test_reading_of_expressions(expression: str, names: set[str]) -> None:
    """The tests' own reading of PromQL finds metrics and nothing else."""
    assert metrics(expression) == names


def test_is_a_dashboard_of_grafana_11_and_12() -> None:
    """The classic model, which 12 reads too; refreshed, editable, with a name that links can keep."""
    board = dashboard()
    assert board["schemaVersion"] >= 39
    assert board["id"] is None
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", board["uid"])
    assert board["editable"] is True
    assert board["refresh"] == "10s"


def test_rows_are_those_of_the_specification_and_ours() -> None:
    """Request rate, latency, cache, errors and storage; KPIs above, delivery below."""
    assert [panel["title"] for panel in dashboard()["panels"] if panel["type"] == "row"] == ROWS


def test_panels_lie_side_by_side() -> None:
    """No panel reaches past the grid or over another, and ids are given once."""
    all_ = dashboard()["panels"]
    assert len({panel["id"] for panel in all_}) == len(all_)
    taken: set[tuple[int, int]] = set()
    for panel in all_:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= COLUMNS
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    tops = [panel["gridPos"]["y"] for panel in all_]
    assert all(upper <= lower for upper, lower in pairwise(tops))


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: f"{panel['id']} {panel['title']}")
def test_panel_is_whole(panel: dict[str, Any]) -> None:
    """Each says what it shows and in which unit, and takes its data source from a variable."""
    assert panel["type"] in {"timeseries", "stat"}
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"][0]["value"] is None
    assert panel["datasource"] in ({"type": "prometheus", "uid": "${datasource}"}, {"type": "loki", "uid": "${loki}"})
    assert [target["refId"] for target in panel["targets"]] == [chr(65 + i) for i in range(len(panel["targets"]))]
    for target in panel["targets"]:
        assert target["datasource"] == panel["datasource"]
        assert target["expr"]
        assert target["legendFormat"]


def test_no_instance_is_written_down() -> None:
    """Everything of the service's is chosen by the instance variable, and no address stands in the file."""
    assert not re.search(r"\d+\.\d+\.\d+\.\d+|localhost|:\d{4}\b", DASHBOARD.read_text(encoding="utf-8"))
    for panel in panels():
        for target in panel["targets"]:
            selectors = re.findall(r"\{([^}]*job=\"telemetry-cache\"[^}]*)\}", target["expr"])
            assert all('instance=~"$instance"' in selector for selector in selectors), panel["title"]


def test_names_of_shared_metrics_come_with_their_job() -> None:
    """Other services count requests under the same name."""
    for title, expression in queries():
        for name in metrics(expression) - {"ALERTS"}:
            assert len(re.findall(rf"\b{name}\b", expression)) == expression.count(f'{name}{{job="'), title


def test_data_sources_are_provisioned() -> None:
    """The variables begin with the data sources that are provisioned, by their fixed uids."""
    text = (PROVISIONING / "datasources" / "datasources.yml").read_text(encoding="utf-8")
    provisioned = {(source["type"], source["uid"]) for source in yaml.safe_load(text)["datasources"]}
    variables = [one for one in dashboard()["templating"]["list"] if one["type"] == "datasource"]
    assert {(one["query"], one["current"]["value"]) for one in variables} == provisioned


def test_dashboards_are_provisioned_from_where_compose_mounts_them(compose: dict[str, Any]) -> None:
    """The provider's folder is the one that holds this file in the container."""
    text = (PROVISIONING / "dashboards" / "dashboards.yml").read_text(encoding="utf-8")
    (provider,) = yaml.safe_load(text)["providers"]
    mount = f"./{DASHBOARD.parent.relative_to(DEPLOY)}:{provider['options']['path']}:ro"
    assert mount in compose["services"]["grafana"]["volumes"]
    assert "./grafana/provisioning:/etc/grafana/provisioning:ro" in compose["services"]["grafana"]["volumes"]
    home = compose["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/{DASHBOARD.name}"
