"""`/log`, `/log/batch`, `/redact`."""

from flask import Blueprint, Response, request

from app.handlers.logs import LogHandler
from app.handlers.reply import ANONYMOUS
from app.web.answers import send
from app.web.body import JSON_TYPES, NDJSON_TYPES, BodyReader


def make_blueprint(handler: LogHandler, bodies: BodyReader, *, event_bytes: int, batch_bytes: int) -> Blueprint:
    """Return the routes; the two sizes bound their bodies."""
    logs = Blueprint("logs", __name__)

    @logs.post("/log")
    def log() -> Response:
        return send(handler.log(bodies.read(request.environ, max_bytes=event_bytes).raw, ANONYMOUS))

    @logs.post("/log/batch")
    def log_batch() -> Response:
        body = bodies.read(request.environ, max_bytes=batch_bytes, media_types=(*JSON_TYPES, *NDJSON_TYPES), gzip=True)
        raw = handler.decompress(body.raw) if body.is_gzip else body.raw
        return send(handler.log_batch(raw, ANONYMOUS, ndjson=body.media_type in NDJSON_TYPES))

    @logs.post("/redact")
    def redact() -> Response:
        return send(handler.redact(bodies.read(request.environ, max_bytes=event_bytes).raw))

    return logs
