"""What a handler answers, who asked, and how errors become answers."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import orjson

from app.core import problems
from app.core.problems import ProblemType
from app.errors import CallerError, TryLaterError

JSON: Final = "application/json"

_log = logging.getLogger("telemetry_cache.handlers")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the tenant whose events and entries these are."""

    tenant: str


ANONYMOUS: Final = Caller(tenant="default")
"""Everyone, while there are no keys."""


_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class Reply(NamedTuple):
    """A status, headers and a body, ready to be sent."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = _NO_HEADERS


def ok(value: Any) -> Reply:
    """Return a 200 with a JSON value."""
    return Reply(200, orjson.dumps(value))


def refusal(kind: ProblemType, detail: str, errors: Mapping[str, Any] | None = None, **headers: str) -> Reply:
    """Return a problem. `headers` are written with `_` for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(kind.status, problems.render(kind, detail, errors), problems.CONTENT_TYPE, named)


def reply_to(error: Exception) -> Reply:
    """Return the answer to an error; what nobody foresaw is ours, and is logged without its words."""
    if isinstance(error, CallerError):
        return refusal(error.kind, error.detail, error.errors)
    if isinstance(error, TryLaterError):
        return refusal(error.kind, error.detail, Retry_After=str(error.retry_after_s))
    _log.error("a request failed", exc_info=error)
    return refusal(problems.INTERNAL, "a fault of ours; it was logged without your data")
