"""PromQL as far as the tests must read it: which metrics an expression names. What is valid, Prometheus says."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from tests.deploy.servers import DEPLOY

if TYPE_CHECKING:
    from collections.abc import Iterator

DASHBOARD = DEPLOY / "grafana" / "dashboards" / "telemetry-cache.json"
WORDS = {"and", "or", "unless", "by", "without", "on", "ignoring", "offset", "bool", "group_left", "group_right"}

# What Grafana puts in the place of its variables, as the test's Prometheus wants it: a scrape a second.
VARIABLES = {"$__rate_interval": "30s", "$__range": "1m", "$instance": ".*"}


def metrics(expression: str) -> set[str]:
    """Return the names of the metrics in an expression: what is no string, label, duration, function or word."""
    text = re.sub(r'"(?:[^"\\]|\\.)*"', "", expression)
    text = re.sub(r"\{[^}]*\}|\[[^]]*\]", " ", text)
    text = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", text)
    text = re.sub(r"\boffset\s+\w+", " ", text)
    names = re.findall(r"(?<![\w.:])([a-zA-Z_:][\w:]*)\b(?!\s*\()", text)
    return set(names) - WORDS


def dashboard() -> dict[str, Any]:
    """Return the dashboard."""
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return loaded


def panels() -> list[dict[str, Any]]:
    """Return the dashboard's panels, rows apart."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def queries() -> Iterator[tuple[str, str]]:
    """Yield (panel's title, expression) of all that Prometheus is asked, variables filled in."""
    for panel in panels():
        if panel["datasource"]["type"] == "prometheus":
            for target in panel["targets"]:
                expression = target["expr"]
                for variable, value in VARIABLES.items():
                    expression = expression.replace(variable, value)
                yield panel["title"], expression
