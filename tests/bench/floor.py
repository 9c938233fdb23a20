"""The floor: a bare WSGI callable that reads the request and answers as many bytes as the service would.

Served by gunicorn with floor_conf.py. No framework, no JSON, no log: what is left is the server's own cost.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

ANSWER_BYTES = "Answer-Bytes"
"""The request header that says how long the answer is to be; the service is sent it too, and passes over it."""


def application(environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Read the body to its end and answer 200."""
    environ["wsgi.input"].read()
    body, headers = _answer(environ.get("HTTP_ANSWER_BYTES", "0"))
    start_response("200 OK", list(headers))
    return (body,)


@cache
def _answer(length: str) -> tuple[bytes, tuple[tuple[str, str], ...]]:
    return b"x" * int(length), (("Content-Type", "application/json"), ("Content-Length", length))
