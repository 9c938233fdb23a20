"""The values that flow from a request to Loki.

Raw words stop at `redact`: `Redacted` can only be made by `seal` from a `RedactedPayload`, and
only `Redacted` crosses the Spool and LogSink ports.

What is made several times an event is a NamedTuple: a frozen dataclass takes three times as long to make.
"""

from typing import Any, Final, NamedTuple

import orjson

from app.core.times import rfc3339_ns

Labels = tuple[tuple[str, str], ...]
"""A Loki stream's labels, in a fixed order."""

Metadata = bytes
"""What an event can be found by besides its labels (Loki's structured metadata): a JSON object of strings."""

_TRACED: Final = ("trace_id", "request_id")
"""Members of a payload, or of its `metadata`, that become structured metadata."""

_MAX_TRACED: Final = 128
"""Characters; an id that is longer is none (W3C's trace ids have 32)."""


class LogEvent(NamedTuple):
    """What a caller sent to `/log`, checked but not yet redacted. Never stored, never shown."""

    event: str
    payload: dict[str, Any]
    event_id: str | None = None


Place = tuple["Place", str | int] | None
"""Where a value stands, innermost step first: (its container's place, name or index); None for the whole document.

Places are shared, so that a thousand findings below one long name hold that name once.
"""


class Finding(NamedTuple):
    """One thing that redaction found: where (by redacted names), what, and what was done."""

    place: Place
    detector: str
    action: str
    length: int
    """Characters replaced; the value itself is not kept."""

    @property
    def pointer(self) -> str:
        """The JSON pointer (RFC 6901). As long as all the names on the way: made when it is asked for."""
        steps: list[str] = []
        place = self.place
        while place is not None:
            steps.append(str(place[1]).replace("~", "~0").replace("/", "~1"))
            place = place[0]
        return "".join(f"/{step}" for step in reversed(steps))

    @property
    def field(self) -> str | None:
        """The leaf field's name; None for a document without names."""
        place = self.place
        while place is not None:
            if isinstance(place[1], str):
                return place[1]
            place = place[0]
        return None


class RedactedPayload(NamedTuple):
    """A JSON value after redaction, and what was found in it."""

    value: Any
    findings: tuple[Finding, ...]
    unasked: int = 0
    """How many phone numbers were replaced without asking their country's plan: there were too many to ask."""

    @property
    def fields(self) -> list[str]:
        """The leaf field names, unique, in document order (contract.md, contradiction 2)."""
        return list(dict.fromkeys(found.field for found in self.findings if found.field is not None))


class Redacted(NamedTuple):
    """One event as it is kept and sent: labels, nanosecond and line are fixed for good.

    Loki drops an entry as a duplicate when these three are the same, so no re-send may alter them.
    """

    labels: Labels
    timestamp_ns: int
    line: bytes
    metadata: Metadata

    @property
    def event_id(self) -> str:
        """The id that was answered; the line has it too."""
        return str(orjson.loads(self.metadata)["event_id"])


class Observation(NamedTuple):
    """One value for one metric: in the metric's own unit, with its label values in declared order."""

    metric: str
    value: float
    labels: tuple[str, ...] = ()


def line_of(event_id: str, event: str, received_ns: int, payload: RedactedPayload) -> bytes:
    """Return the log line: one JSON object (delivery.md, "The line")."""
    return orjson.dumps(
        {
            "event_id": event_id,
            "event": event,
            "received_at": rfc3339_ns(received_ns),
            "payload": payload.value,
        }
    )


def seal(*, event_id: str, event: str, labels: Labels, received_ns: int, payload: RedactedPayload) -> Redacted:
    """Fix a redacted event's labels, nanosecond, line bytes and metadata."""
    metadata = orjson.dumps({"event_id": event_id, **traced(payload.value)})
    return Redacted(labels, received_ns, line_of(event_id, event, received_ns, payload), metadata)


def traced(payload: Any) -> dict[str, str]:
    """Return what a redacted payload says that becomes structured metadata; nothing of one that is withheld."""
    if not isinstance(payload, dict):
        return {}
    nested = payload.get("metadata")
    nested = nested if isinstance(nested, dict) else {}
    found: dict[str, str] = {}
    for name in _TRACED:
        value = payload.get(name, nested.get(name))
        if isinstance(value, str) and 0 < len(value) <= _MAX_TRACED:
            found[name] = value
    return found
