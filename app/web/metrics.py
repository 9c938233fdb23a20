"""`/metrics` and `/kpis`, and the HTTP metrics of every route.

prometheus-flask-exporter is a Flask extension, so it lives here and not among the adapters.
"""

import time
from typing import Any, Final

from flask import Blueprint, Flask, Request, Response, request
from prometheus_flask_exporter import PrometheusMetrics
from prometheus_flask_exporter.multiprocess import GunicornInternalPrometheusMetrics

from app.handlers.reply import ok
from app.ports import Telemetry
from app.web.answers import send

UNMATCHED: Final = "unmatched"
"""The label of every path that no route has: paths are the callers' words."""

_METHODS: Final = frozenset(["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"])


def make_blueprint(telemetry: Telemetry) -> Blueprint:
    """Return the routes."""
    metrics = Blueprint("metrics", __name__)

    @metrics.get("/metrics")
    def scrape() -> Response:
        body, content_type = telemetry.scrape(request.headers.get("Accept"))
        return Response(body, content_type=content_type)

    @metrics.get("/kpis")
    def kpis() -> Response:
        return send(ok(telemetry.figures(time.monotonic())))

    return metrics


def measure(app: Flask, registry: Any, *, several_processes: bool) -> None:
    """Count and time every request by method, URL rule and status, in the registry that /metrics shows."""
    app.before_request(_name_unknown_methods)
    kind = GunicornInternalPrometheusMetrics if several_processes else PrometheusMetrics
    kind.for_app_factory(path=None, group_by=url_rule, registry=registry).init_app(app)


def url_rule(asked: Request) -> str:
    """Return the rule that a request matched; the function's name is the label's."""
    return asked.url_rule.rule if asked.url_rule is not None else UNMATCHED


def _name_unknown_methods() -> None:
    """A method is the caller's word too; by now the router has seen it."""
    if request.method not in _METHODS:
        request.method = "OTHER"
