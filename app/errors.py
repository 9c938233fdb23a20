"""The error tree, split by who must act: the caller, the operator, or nobody (try again later)."""

from collections.abc import Mapping
from typing import Any

from app.core import problems
from app.core.problems import ProblemType


class TelemetryCacheError(Exception):
    """Anything that this service raises on purpose."""


class OperatorError(TelemetryCacheError):
    """A setting or a file of ours is wrong. The service does not start; the message is one line."""


class SettingsError(OperatorError):
    """An environment variable has a value that it does not take."""


class ConfigError(OperatorError):
    """A file under config/ is wrong; the message names file, place and fault."""


class CallerError(TelemetryCacheError):
    """The caller must change the request. `detail` and `errors` hold no value that was sent."""

    kind: ProblemType = problems.BAD_REQUEST

    def __init__(self, detail: str, errors: Mapping[str, Any] | None = None) -> None:
        """`errors` maps a field to what is wrong with it."""
        super().__init__(detail)
        self.detail = detail
        self.errors = errors


class NotJsonError(CallerError):
    """400: the body is not JSON that everyone reads alike."""

    kind = problems.NOT_JSON


class BodyTimeoutError(CallerError):
    """408: the body did not arrive in time."""

    kind = problems.REQUEST_TIMEOUT


class NoPseudonymKeysError(CallerError):
    """409: pseudonyms are asked for where there are no keys. Only the operator can change that: no 503."""

    kind = problems.NO_PSEUDONYM_KEYS


class LengthRequiredError(CallerError):
    """411: a body with Transfer-Encoding."""

    kind = problems.LENGTH_REQUIRED


class TooLargeError(CallerError):
    """413: a body, an event, a line or a cached value over its limit."""

    kind = problems.TOO_LARGE


class MediaTypeError(CallerError):
    """415: a Content-Type or Content-Encoding that the call does not take."""

    kind = problems.UNSUPPORTED_MEDIA_TYPE


class InvalidError(CallerError):
    """422: a field is missing, unknown, of the wrong type, or out of range."""

    kind = problems.INVALID


class NotCacheableError(CallerError):
    """422: an answer that must not be replayed."""

    kind = problems.NOT_CACHEABLE


class TryLaterError(TelemetryCacheError):
    """Nobody must act: the same request will do later. Answered with 503 and Retry-After."""

    kind: ProblemType = problems.SPOOL_FULL
    detail = "try again later"
    retry_after_s: int = 2


class SpoolFullError(TryLaterError):
    """The spool cannot keep another event; nothing of the request was kept."""

    detail = "the queue of undelivered events is full; nothing of this request was kept"


class SpoolFailingError(TryLaterError):
    """The spool's disk fails, or is not open yet; nothing of the request was kept."""

    detail = "the disk that undelivered events are kept on does not take them; nothing of this request was kept"


class DrainingError(TryLaterError):
    """The service is stopping and takes no more events."""

    detail = "the service is stopping; nothing of this request was kept"


class UncleanError(TryLaterError):
    """What is to be kept of an event holds what redaction takes out, even withheld whole; nothing was kept."""

    detail = "an event cannot be made fit to be kept, by a fault of ours; nothing of this request was kept"


class CacheAwayError(TryLaterError):
    """The cache store does not answer."""

    kind = problems.CACHE_AWAY
    detail = "the cache store does not answer"
    retry_after_s = 1


class SinkError(TelemetryCacheError):
    """A dead letter or an embedded log file could not be written."""
