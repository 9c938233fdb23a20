"""What bodies look like: marshmallow checks them, and apispec writes the OpenAPI document from the same classes.

Messages never hold the value. A field's name that is not ours is the caller's own word: whoever shows
the messages redacts the names first.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from marshmallow import Schema, ValidationError, fields, validate

from app.core.cache_policy import MAX_TTL_S, MIN_TTL_S
from app.core.keys import MAX_KEY_BYTES, is_key
from app.core.pseudonyms import MARK_PATTERN
from app.core.times import is_time

EVENT_NAME: Final = r"^[a-z][a-z0-9_.-]{0,63}$"
EVENT_ID: Final = r"^[A-Za-z0-9_-]{1,64}$"
MAX_TOOL: Final = 256
MAX_VALUE: Final = 4096
"""Characters of a value to find the pseudonyms of: more than any identifier has."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def _payload_faults(payload: Mapping[str, Any]) -> dict[str, list[str]]:
    """The payload is the caller's own, but for the two fields that we read by themselves."""
    errors: dict[str, list[str]] = {}
    timestamp, service = payload.get("timestamp"), payload.get("service")
    if timestamp is not None and not is_time(timestamp):
        errors["timestamp"] = ["RFC 3339, or epoch seconds or milliseconds."]
    if service is not None and not isinstance(service, str):
        errors["service"] = ["Not a string."]
    return errors


class JsonObject(fields.Field[dict[str, Any]]):
    """Any JSON object, taken as it is."""

    default_error_messages = {"invalid": "Not an object."}  # noqa: RUF012 - marshmallow's way

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> dict[str, Any]:  # noqa: ARG002
        if not isinstance(value, dict):
            raise self.make_error("invalid")
        return value

    def _validate(self, value: Any) -> None:
        """Nothing more: marshmallow would build an empty chain of validators for every value."""


class Payload(JsonObject):
    """An event's payload."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> dict[str, Any]:
        payload = super()._deserialize(value, attr, data, **kwargs)
        faults = _payload_faults(payload)
        if faults:
            raise ValidationError(faults)
        return payload


class Whole(fields.Integer):
    """A JSON integer: neither "5", nor 5.0, nor true."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> int:
        if type(value) is not int:
            raise self.make_error("invalid")
        return super()._deserialize(value, attr, data, **kwargs)


class Word(fields.String):
    """A string that a pattern decides, without the chain of validators that marshmallow builds for every value."""

    def __init__(self, pattern: str, message: str, **options: Any) -> None:
        """`pattern` must match the whole; the OpenAPI document shows it as it is."""
        super().__init__(**{**options, "metadata": {**options.get("metadata", {}), "pattern": pattern}})
        self._pattern = re.compile(pattern.removesuffix("$") + r"\Z")
        self._message = message

    def _validate(self, value: str) -> None:
        if self._pattern.match(value) is None:
            raise ValidationError(self._message)


def _check_key(value: str) -> None:
    if not is_key(value):
        raise ValidationError(f"1 to {MAX_KEY_BYTES:,} bytes, without control characters.")


def _check_tool(value: str) -> None:
    if not 1 <= len(value) <= MAX_TOOL or _CONTROL.search(value):
        raise ValidationError(f"1 to {MAX_TOOL} characters, without control characters.")


_PAYLOAD: Final = {
    "description": "Any object. `timestamp` (RFC 3339, or epoch seconds or milliseconds) and `service` (a string, the "
    "label `service_name`) are checked where they stand; numbers such as `response.latency_ms`, `response.ttfb_ms`, "
    "`response.tokens`, `repairs` and `drift_incidents` feed the KPIs."
}


class LogRequest(Schema):
    """Body of `POST /log`, and one event of a batch."""

    event = Word(
        EVENT_NAME,
        "[a-z][a-z0-9_.-]{0,63}: lower-case letters, digits, `_`, `.` and `-`, 64 at most.",
        required=True,
        metadata={"description": "An open vocabulary.", "example": "tool_execution"},
    )
    payload = Payload(required=True, metadata={"type": "object", **_PAYLOAD})
    event_id = Word(
        EVENT_ID,
        "[A-Za-z0-9_-]{1,64}.",
        metadata={"description": "Your own id: a retry with it is the same event."},
    )


class LogBatchRequest(Schema):
    """Body of `POST /log/batch`; a bare array of events and NDJSON are taken too."""

    events = fields.List(fields.Nested(LogRequest), required=True, validate=validate.Length(min=1))


class RedactResponseFinding(Schema):
    """One thing that redaction found."""

    pointer = fields.String(required=True, metadata={"description": "JSON pointer (RFC 6901), of redacted names"})
    detector = fields.String(required=True)
    action = fields.String(required=True)
    length = fields.Integer(required=True, metadata={"description": "Characters replaced"})


class RedactResponse(Schema):
    """Answer of `POST /redact`."""

    redacted = fields.Raw(required=True, metadata={"description": "The value, redacted"})
    findings = fields.List(fields.Nested(RedactResponseFinding), required=True)
    findings_left_out = fields.Integer(
        metadata={"description": "How many more there are; only where the pointers would pass 1 MiB together"}
    )


class LogResponse(Schema):
    """Answer of `POST /log`."""

    status = fields.String(required=True, validate=validate.Equal("logged"))
    event_id = fields.String(required=True)
    redacted_fields = fields.List(fields.String(), required=True)


class Rejected(Schema):
    """Why one event of a batch was refused."""

    index = fields.Integer(required=True, metadata={"description": "Place in the batch, from 0"})
    type = fields.String(required=True, metadata={"description": "A problem type, as a refusal has it"})
    title = fields.String(required=True)
    detail = fields.String(required=True)
    errors = fields.Dict(metadata={"description": "Field -> messages, where the type is /problems/invalid"})


class LogBatchResponse(Schema):
    """Answer of `POST /log/batch`."""

    status = fields.String(required=True, validate=validate.Equal("logged"))
    accepted = fields.Integer(required=True)
    event_ids = fields.List(fields.String(allow_none=True), required=True)
    rejected = fields.List(fields.Nested(Rejected), required=True)


class PseudonymsRequest(Schema):
    """Body of `POST /pseudonyms`."""

    detector = fields.String(
        required=True,
        metadata={"description": "A detector or field rule of config/detectors.toml", "example": "user_id"},
    )
    value = fields.String(
        required=True,
        validate=validate.Length(min=1, max=MAX_VALUE, error=f"1 to {MAX_VALUE:,} characters."),
        metadata={"description": "As a person writes it", "example": "user123"},
    )


class Pseudonym(Schema):
    """What stands for a value under one key."""

    key = fields.String(required=True, metadata={"description": "The key's id"})
    pseudonym = fields.String(required=True, metadata={"pattern": f"^{MARK_PATTERN}$"})


class PseudonymsResponse(Schema):
    """Answer of `POST /pseudonyms`."""

    detector = fields.String(required=True)
    pseudonyms = fields.List(
        fields.Nested(Pseudonym), required=True, metadata={"description": "Of the key that signs now first"}
    )


_KEY = {"description": f"1 to {MAX_KEY_BYTES:,} bytes, without control characters", "minLength": 1}
_ONE_FORM = "Either `key`, or `tool` and `args`."


class CallForm(Schema):
    """A cache entry's name: a key of the caller's, or a call to make one from."""

    key = fields.String(validate=_check_key, metadata=_KEY)
    tool = fields.String(validate=_check_tool, metadata={"example": "generate_response"})
    args = JsonObject(metadata={"type": "object"})


class CacheGetRequest(CallForm):
    """Body of `POST /cache/get`. Either `key`, or `tool` and `args`."""


class CacheSetRequest(CallForm):
    """Body of `POST /cache/set`. Either `key`, or `tool` and `args`."""

    data = JsonObject(required=True, metadata={"type": "object", "description": "What to keep; 1 MiB at most"})
    ttl = Whole(
        validate=validate.Range(min=MIN_TTL_S, max=MAX_TTL_S, error=f"{MIN_TTL_S} to {MAX_TTL_S} seconds."),
        metadata={"description": "Seconds to live; 3600 (or the tool's own, config/cache.toml) where it is missing"},
    )


class CacheKeyRequest(Schema):
    """Body of `POST /cache/key`."""

    tool = fields.String(required=True, validate=_check_tool)
    args = JsonObject(required=True, metadata={"type": "object"})


class CacheKeyResponse(Schema):
    """Answer of `POST /cache/key`."""

    key = fields.String(required=True)
    readable = fields.String(required=True, metadata={"description": "The part of the key that a person can read"})


class CacheGetResponse(Schema):
    """Answer of a lookup."""

    hit = fields.Boolean(required=True)
    data = fields.Dict(
        required=True,
        allow_none=True,
        metadata={"description": "What was stored, with `timestamp` and `ttl_remaining` where it had no such fields"},
    )
    stored_at = fields.String(metadata={"description": "RFC 3339 UTC; of a hit"})
    ttl_remaining = fields.Integer(metadata={"description": "Whole seconds, never negative; of a hit"})
    degraded = fields.Boolean(metadata={"description": "true: the store was away, and this is no real miss"})
    key = fields.String(metadata={"description": "The key that was used; of POST /cache/get"})


class CacheSetResponse(Schema):
    """Answer of `POST /cache/set`."""

    status = fields.String(required=True, validate=validate.Equal("cached"))
    key = fields.String(required=True)
    expires_at = fields.String(required=True, metadata={"description": "RFC 3339 UTC"})


class CacheDeleteResponse(Schema):
    """Answer of `DELETE /cache`."""

    status = fields.String(required=True, validate=validate.Equal("deleted"))
    deleted = fields.Integer(required=True, validate=validate.OneOf([0, 1]))


class HealthResponse(Schema):
    """Answer of `/healthz`."""

    status = fields.String(required=True, validate=validate.Equal("ok"))


class ReadyCheck(Schema):
    """One dependency's state."""

    name = fields.String(required=True)
    state = fields.String(required=True, validate=validate.OneOf(["ok", "degraded", "failing"]))
    since = fields.String(required=True, metadata={"description": "RFC 3339 UTC"})
    detail = fields.String(required=True)


class Integrity(Schema):
    """What became of every event ever accepted, over restarts: accepted is the sum of the others."""

    accepted = fields.Integer(required=True)
    delivered = fields.Integer(required=True)
    spooled = fields.Integer(required=True)
    dead_lettered = fields.Integer(required=True)
    corrupt = fields.Integer(required=True, metadata={"description": "Lost by the disk: 0, or it is broken"})
    difference = fields.Integer(required=True, metadata={"description": "Unaccounted for: 0, or there is a fault"})


class ReadyResponse(Schema):
    """Answer of `/readyz`: 503 when `unavailable`."""

    status = fields.String(required=True, validate=validate.OneOf(["ok", "degraded", "unavailable"]))
    checks = fields.List(fields.Nested(ReadyCheck), required=True)
    integrity = fields.Nested(Integrity, required=True)


class KpisResponse(Schema):
    """Answer of `/kpis`."""

    window_s = fields.Float(required=True, metadata={"description": "Seconds that quantiles and rates look back"})
    kpis = fields.Dict(
        required=True,
        metadata={"description": "By metric: a number, null where nothing was counted, or {count, p50, p95, p99}"},
    )
    counts = fields.Dict(required=True, metadata={"description": "The service's own counters, all workers"})


class Problem(Schema):
    """A refusal (RFC 9457)."""

    type = fields.String(required=True, metadata={"description": "A path of this service that explains it"})
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    errors = fields.Dict(metadata={"description": "Field -> messages"})
    rejected = fields.List(
        fields.Nested(Rejected), metadata={"description": "Of a batch whose events were all refused"}
    )


def form_fault(body: Mapping[str, Any]) -> dict[str, list[str]] | None:
    """Say what is wrong with how a cache entry is named: exactly one of the two forms is right."""
    by_key = "key" in body
    by_call = "tool" in body or "args" in body
    if by_key and by_call:
        return {"key": [_ONE_FORM]}
    if by_key:
        return None
    missing = [name for name in ("tool", "args") if name not in body]
    if not by_call:
        return {"key": [_ONE_FORM]}
    return {name: [_ONE_FORM] for name in missing} or None
