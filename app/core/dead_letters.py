"""A dead letter: an event that its sink will never take, with the sink's reason, as one JSON object a line."""

from hashlib import sha256
from typing import Any, Final, NamedTuple

import orjson

from app.core import times
from app.core.events import Redacted

MAX_DETAIL: Final = 500
"""Characters of the sink's own words that are kept."""

_ID_DIGITS: Final = 16
_LAST_NS: Final = 2**63
_LAST_S: Final = 1e11


class Letter(NamedTuple):
    """An event, when (epoch seconds) and why it was laid aside. Everything to send it again as it was."""

    entry: Redacted
    reason: str
    detail: str
    at_s: float

    @property
    def letter_id(self) -> str:
        """What names it on the command line: the same event laid aside twice has one id."""
        labels, timestamp_ns, line, _ = self.entry
        return sha256(orjson.dumps([dict(labels), timestamp_ns, line.decode()])).hexdigest()[:_ID_DIGITS]

    def shown(self) -> dict[str, Any]:
        """Return all of it as JSON has it."""
        return {
            "id": self.letter_id,
            "at": times.rfc3339(self.at_s),
            "reason": self.reason,
            "detail": self.detail,
            "event_id": self.entry.event_id,
            "labels": dict(self.entry.labels),
            "timestamp_ns": str(self.entry.timestamp_ns),
            "line": self.entry.line.decode(),
            "metadata": orjson.loads(self.entry.metadata),
        }

    def pack(self) -> bytes:
        """Return the line that is kept, its newline included."""
        return orjson.dumps({**self.shown(), "at_s": self.at_s}, option=orjson.OPT_APPEND_NEWLINE)


def unpack(line: bytes) -> Letter | None:
    """Return the letter of a line, or None where it is none (a damaged disk, a person's editor)."""
    try:
        fields = orjson.loads(line)
        metadata = {"event_id": fields["event_id"], **fields["metadata"]}
        timestamp_ns, at_s = int(fields["timestamp_ns"]), float(fields["at_s"])
        if not (0 <= timestamp_ns < _LAST_NS and 0 <= at_s < _LAST_S):
            return None
        entry = Redacted(
            tuple((str(name), str(value)) for name, value in fields["labels"].items()),
            timestamp_ns,
            fields["line"].encode(),
            orjson.dumps({str(name): str(value) for name, value in metadata.items()}),
        )
        return Letter(entry, str(fields["reason"]), str(fields["detail"]), at_s)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def restamped(entry: Redacted, timestamp_ns: int, slot: int) -> Redacted:
    """Return the event for another stream and time, where Loki refuses its own; the line says when it came."""
    labels = tuple((name, str(slot) if name == "worker" else value) for name, value in entry.labels)
    return entry._replace(labels=labels, timestamp_ns=timestamp_ns)
