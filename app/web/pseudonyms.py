"""`/pseudonyms`."""

from typing import Final

from flask import Blueprint, Response, request

from app.handlers.pseudonyms import PseudonymHandler
from app.web.answers import send
from app.web.body import BodyReader

_MAX_BYTES: Final = 64 * 1024
"""Room for a value of 4,096 characters, each escaped as a surrogate pair (12 bytes)."""


def make_blueprint(handler: PseudonymHandler, bodies: BodyReader) -> Blueprint:
    """Return the route."""
    pseudonyms = Blueprint("pseudonyms", __name__)

    @pseudonyms.post("/pseudonyms")
    def find() -> Response:
        return send(handler.find(bodies.read(request.environ, max_bytes=_MAX_BYTES).raw))

    return pseudonyms
