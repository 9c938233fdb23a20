"""Every kind of refusal: a stable slug, its status, a title, and the text of its page.

RFC 9457 `application/problem+json`. A `detail` says what was wrong, where, and what would be right;
it never holds a value that a caller sent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

CONTENT_TYPE: Final = "application/problem+json"


@dataclass(frozen=True, slots=True)
class ProblemType:
    """One kind of refusal and what its page under `/problems/` says."""

    slug: str
    status: int
    title: str
    explanation: str

    @property
    def uri(self) -> str:
        """The value of `type`."""
        return f"/problems/{self.slug}"


BAD_REQUEST = ProblemType(
    "bad-request",
    400,
    "The request is not HTTP that this service reads",
    "The request line, a header or the framing of the body is malformed. Send HTTP/1.1 as RFC 9112 has it.",
)
NOT_JSON = ProblemType(
    "not-json",
    400,
    "The body is not JSON",
    "Bodies are one JSON document in UTF-8 without a byte order mark. What two readers could understand "
    "differently is refused: a duplicate key, NaN and Infinity (and 1e999), an integer outside -2^63 to 2^63 - 1, "
    "half of a surrogate pair, and more than 32 levels of nesting. In a batch each event is judged by itself.",
)
NOT_FOUND = ProblemType(
    "not-found",
    404,
    "There is nothing at this path",
    "The calls that exist are listed at /docs and in /openapi.json.",
)
METHOD_NOT_ALLOWED = ProblemType(
    "method-not-allowed",
    405,
    "This path does not take this method",
    "The Allow header of the answer lists the methods that the path takes.",
)
REQUEST_TIMEOUT = ProblemType(
    "request-timeout",
    408,
    "The body did not arrive in time",
    "A body must arrive whole within BODY_TIMEOUT_S seconds, so that slow senders cannot hold the service.",
)
NO_PSEUDONYM_KEYS = ProblemType(
    "no-pseudonym-keys",
    409,
    "There are no pseudonyms here",
    "The request is sound, but the service has no keys to make pseudonyms with, so what it logs holds none either. "
    "Whoever runs it can set PSEUDONYM_KEYS_FILE; until then the same request is refused again.",
)
LENGTH_REQUIRED = ProblemType(
    "length-required",
    411,
    "The body came without a length",
    "A body needs Content-Length. Transfer-Encoding (chunked) is refused, because a chunked body that passes the limit "
    "would be cut silently. Calls without a body need no length.",
)
TOO_LARGE = ProblemType(
    "too-large",
    413,
    "The body is too large",
    "An event may have 256 KiB, and its redacted line LOKI_MAX_LINE_BYTES; a batch 5 MiB after decompression; "
    "a cached value 1 MiB. Send less, or in parts.",
)
URI_TOO_LONG = ProblemType(
    "uri-too-long",
    414,
    "The request line is too long",
    "A request line may have 8,190 bytes. Keys of more than 1,000 bytes go in the body of POST /cache/get.",
)
UNSUPPORTED_MEDIA_TYPE = ProblemType(
    "unsupported-media-type",
    415,
    "The body is of a type that this call does not take",
    "Send Content-Type: application/json (UTF-8). POST /log/batch also takes application/x-ndjson, and "
    "Content-Encoding: gzip; no other call takes an encoded body.",
)
INVALID = ProblemType(
    "invalid",
    422,
    "The body does not fit the schema",
    "A field is missing, unknown, of the wrong type or out of range. `errors` lists the fields and what each takes; "
    "/openapi.json holds the schema.",
)
NOT_CACHEABLE = ProblemType(
    "not-cacheable",
    422,
    "This answer must not be replayed",
    "Through {tool, args} the cache keeps only whole, successful answers: no error, no empty answer, none that was cut "
    "off, and none of a tool that config/cache.toml marks as having side effects.",
)
HEADERS_TOO_LARGE = ProblemType(
    "headers-too-large",
    431,
    "The header fields are too large",
    "A request may have 100 header fields of at most 8,190 bytes each.",
)
INTERNAL = ProblemType(
    "internal",
    500,
    "The service failed",
    "A fault of ours, counted and logged without your data. An event that was not answered with 200 was not accepted.",
)
NOT_IMPLEMENTED = ProblemType(
    "not-implemented",
    501,
    "This transfer coding is not understood",
    "The only framing of a body that this service reads is Content-Length.",
)
SPOOL_FULL = ProblemType(
    "spool-full",
    503,
    "The event cannot be kept now",
    "The queue of events that Loki has not taken yet is full (SPOOL_MAX_BYTES, or the disk), the disk fails, or the "
    "service is stopping. Nothing was kept. "
    "Send it again after Retry-After seconds.",
)
CACHE_AWAY = ProblemType(
    "cache-away",
    503,
    "The cache store is away",
    "Redis does not answer. A get is a degraded miss meanwhile; send a set or delete again after Retry-After seconds.",
)

PROBLEM_TYPES: Final[Sequence[ProblemType]] = (
    BAD_REQUEST,
    NOT_JSON,
    NOT_FOUND,
    METHOD_NOT_ALLOWED,
    REQUEST_TIMEOUT,
    NO_PSEUDONYM_KEYS,
    LENGTH_REQUIRED,
    TOO_LARGE,
    URI_TOO_LONG,
    UNSUPPORTED_MEDIA_TYPE,
    INVALID,
    NOT_CACHEABLE,
    HEADERS_TOO_LARGE,
    INTERNAL,
    NOT_IMPLEMENTED,
    SPOOL_FULL,
    CACHE_AWAY,
)


def problem(kind: ProblemType, detail: str, errors: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the problem's members (RFC 9457, section 3.1)."""
    members: dict[str, Any] = {"type": kind.uri, "title": kind.title, "status": kind.status, "detail": detail}
    if errors is not None:
        members["errors"] = errors
    return members


def render(kind: ProblemType, detail: str, errors: Mapping[str, Any] | None = None) -> bytes:
    """Return the problem as the bytes of a body."""
    return orjson.dumps(problem(kind, detail, errors))
