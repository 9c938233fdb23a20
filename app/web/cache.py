"""`/cache/get`, `/cache/set`, `/cache/key`, `DELETE /cache`."""

from typing import Final

from flask import Blueprint, Response, request

from app.handlers.cache import CacheHandler
from app.handlers.reply import ANONYMOUS
from app.web.answers import send
from app.web.body import BodyReader

_ENVELOPE_BYTES: Final = 64 * 1024
"""What a set's body may have besides `data`: a key of 4,096 bytes, escaped, or the arguments it is made from."""

_ESCAPED: Final = 2
"""How much longer than UTF-8 a client may write `data`: an escaped Chinese character has six bytes for three."""


def make_blueprint(handler: CacheHandler, bodies: BodyReader, *, value_bytes: int) -> Blueprint:
    """Return the routes; `value_bytes` bounds `data`, and with it the bodies."""
    cache = Blueprint("cache", __name__)
    max_bytes = value_bytes + _ENVELOPE_BYTES
    max_set_bytes = _ESCAPED * value_bytes + _ENVELOPE_BYTES

    @cache.get("/cache/get")
    def get() -> Response:
        return send(handler.get(request.query_string, ANONYMOUS))

    @cache.post("/cache/get")
    def post_get() -> Response:
        return send(handler.post_get(bodies.read(request.environ, max_bytes=max_bytes).raw, ANONYMOUS))

    @cache.post("/cache/set")
    def set_() -> Response:
        return send(handler.set(bodies.read(request.environ, max_bytes=max_set_bytes).raw, ANONYMOUS))

    @cache.delete("/cache")
    def delete() -> Response:
        return send(handler.delete(request.query_string, ANONYMOUS))

    @cache.post("/cache/key")
    def key() -> Response:
        return send(handler.key(bodies.read(request.environ, max_bytes=max_bytes).raw))

    return cache
