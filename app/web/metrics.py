"""`/metrics` and `/kpis`, and the HTTP metrics of every route.

prometheus-flask-exporter is a Flask extension, so it lives here and not among the adapters.
"""

import time
from collections.abc import Callable
from functools import cache
from time import perf_counter
from typing import Any, Final

from flask import Blueprint, Flask, Request, Response, request
from prometheus_flask_exporter import Counter, Histogram, PrometheusMetrics
from prometheus_flask_exporter.multiprocess import GunicornInternalPrometheusMetrics

from app.handlers.reply import ok
from app.ports import Telemetry
from app.web.answers import send

UNMATCHED: Final = "unmatched"
"""The label of every path that no route has: paths are the callers' words."""

OTHER_METHOD: Final = "OTHER"
"""The label of every method that no RFC names: a method is the caller's word too."""

_METHODS: Final = frozenset(["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"])


class TimedRequest(Request):
    """A request that knows when it came."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As werkzeug's."""
        self.began_s = perf_counter()
        super().__init__(*args, **kwargs)


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
    app.request_class = TimedRequest
    kind = _GunicornHttpMetrics if several_processes else _HttpMetrics
    kind.for_app_factory(path=None, registry=registry).init_app(app)


class _HttpMetrics(PrometheusMetrics):  # type: ignore[misc]
    """The exporter, with hooks of ours around each request.

    Its own find their series anew for each request, by way of a dozen context-local look-ups: 30 us, where these take
    5. Names, labels and buckets are its own.
    """

    def export_defaults(self, *_: Any, app: Flask, **__: Any) -> None:
        """Declare the metrics and hang the hooks into the application."""
        self.info("flask_exporter_info", "Information about the Prometheus Flask exporter", version=self.version)
        seconds = Histogram(
            "flask_http_request_duration_seconds",
            "Flask HTTP request duration in seconds",
            ("method", "url_rule", "status"),
            registry=self.registry,
        )
        total = Counter(
            "flask_http_request_total", "Total number of HTTP requests", ("method", "status"), registry=self.registry
        )

        @cache
        def series(method: str, rule: str, status: int) -> tuple[Callable[[float], None], Callable[[], None]]:
            return seconds.labels(method, rule, status).observe, total.labels(method, status).inc

        def end(response: Response) -> Response:
            asked: TimedRequest = request._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 - once, not six times
            rule = asked.url_rule.rule if asked.url_rule is not None else UNMATCHED
            method = asked.method if asked.method in _METHODS else OTHER_METHOD
            observe, count = series(method, rule, response.status_code)
            observe(perf_counter() - asked.began_s)
            count()
            return response

        app.after_request(end)


class _GunicornHttpMetrics(_HttpMetrics, GunicornInternalPrometheusMetrics):  # type: ignore[misc]
    """The same where several processes serve."""
