"""Reading a request's body: what may be refused before a byte of it is read, and how long it may take."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from app.errors import BodyTimeoutError, LengthRequiredError, MediaTypeError, TooLargeError

JSON_TYPES: Final = ("application/json",)
NDJSON_TYPES: Final = ("application/x-ndjson", "application/ndjson", "application/jsonl")


class Body(NamedTuple):
    """The bytes as they came, and what the headers say of them."""

    raw: bytes
    media_type: str
    is_gzip: bool


@dataclass(frozen=True, slots=True)
class BodyReader:
    """Reads bodies."""

    timeout_s: float
    """How long the server's connection waits for one; then it raises TimeoutError."""

    def read(
        self,
        environ: Mapping[str, Any],
        *,
        max_bytes: int,
        media_types: tuple[str, ...] = JSON_TYPES,
        gzip: bool = False,
    ) -> Body:
        """Return the body; raise the refusal of what the headers ask for (411, 415, 413) or of its slowness (408)."""
        refuse_transfer_encoding(environ)
        media_type = _media_type(environ, media_types)
        is_gzip = _is_gzip(environ, allowed=gzip)
        length = int(environ.get("CONTENT_LENGTH") or 0)
        if length > max_bytes:
            raise TooLargeError(f"the body may have {max_bytes:,} bytes")
        try:
            raw: bytes = environ["wsgi.input"].read(length) if length else b""
        except TimeoutError:
            raise BodyTimeoutError(f"the body did not arrive within {self.timeout_s:g} s") from None
        if len(raw) < length:
            raise BodyTimeoutError("the body ended before its Content-Length")
        return Body(raw, media_type, is_gzip)


def refuse_transfer_encoding(environ: Mapping[str, Any]) -> None:
    """Raise LengthRequiredError for a body whose length is not said ahead."""
    if "HTTP_TRANSFER_ENCODING" in environ:
        raise LengthRequiredError("send Content-Length instead of Transfer-Encoding")


def _media_type(environ: Mapping[str, Any], allowed: tuple[str, ...]) -> str:
    media_type, *parameters = (part.strip().lower() for part in environ.get("CONTENT_TYPE", "").split(";"))
    if media_type not in allowed:
        raise MediaTypeError(f"send Content-Type: {' or '.join(allowed)}")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip().strip('"') not in ("utf-8", "utf8"):
            raise MediaTypeError("send the body in UTF-8")
    return str(media_type)


def _is_gzip(environ: Mapping[str, Any], *, allowed: bool) -> bool:
    coding = environ.get("HTTP_CONTENT_ENCODING", "").strip().lower()
    if coding in ("", "identity"):
        return False
    if coding in ("gzip", "x-gzip") and allowed:
        return True
    raise MediaTypeError("send no Content-Encoding" + (" but gzip" if allowed else ""))
