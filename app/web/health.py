"""`/healthz`: does it serve. `/readyz`: can it accept events."""

from collections.abc import Callable

from flask import Blueprint, Response
from orjson import dumps

from app.core.times import rfc3339
from app.handlers.reply import Reply, ok
from app.ports import Readiness
from app.web.answers import send


def make_blueprint(readiness: Callable[[], Readiness]) -> Blueprint:
    """Return the routes."""
    health = Blueprint("health", __name__)

    @health.get("/healthz")
    def healthz() -> Response:
        return send(ok({"status": "ok"}))

    @health.get("/readyz")
    def readyz() -> Response:
        ready = readiness()
        rows = [
            {"name": row.name, "state": row.state, "since": rfc3339(row.since_s), "detail": row.detail}
            for row in ready.checks
        ]
        body = dumps({"status": ready.status, "checks": rows, "integrity": ready.ledger.shown()})
        return send(Reply(503 if ready.status == "unavailable" else 200, body))

    return health
