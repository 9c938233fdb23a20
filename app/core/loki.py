"""Loki's push protocol: how a batch is written, and what an answer means.

Sources: Grafana Loki's HTTP API page ("Ingest logs"), pkg/validation/validate.go for the refusals'
words, and answers seen from a real Loki (main, August 2026).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import orjson

from app.core.events import Labels, Redacted
from app.core.verdicts import Delivered, Refused, Retry, TooLarge, Verdict

LABEL_VALUE: Final = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")
"""What a caller's word must look like to become a label's value; else it becomes `other`."""

OTHER: Final = "other"
UNKNOWN_SERVICE: Final = "unknown_service"
"""Loki's own word for an event without a service."""

MAX_RETRY_AFTER_S: Final = 300.0
"""A longer Retry-After is cut: an hour asked for by mistake must not fill the disk."""

# Reasons that concern single entries: Loki stores the rest of the batch. Matched from the start of its
# words, since its parse errors quote the push: a caller's text must not pass for a verdict. Upper and
# lower case differ between versions. Several reasons read `3 errors like: ...; 2 errors like: ...`.
_SEVERAL = re.compile(r"\d+ errors? like: ", re.IGNORECASE)
_ENTRY_REFUSALS: Final[Sequence[tuple[re.Pattern[str], str]]] = tuple(
    (re.compile(words, re.IGNORECASE | re.DOTALL), reason)
    for words, reason in (
        (r"entry for stream '.*' has timestamp too old: ", "too_old"),
        (r"entry for stream '.*' has timestamp too new: ", "too_new"),
        (r"entry with timestamp [^']* ignored, reason: 'entry too far behind", "too_far_behind"),
        (r"entry with timestamp [^']* ignored, reason: 'entry out of order", "too_far_behind"),
        (r"max entry size '\d+' bytes exceeded for stream ", "line_too_long"),
        (r"entry for stream '.*' has \d+ label names; limit ", "too_many_labels"),
        (r"stream '.*' has label name too long: ", "label_name_too_long"),
        (r"stream '.*' has label value too long: ", "label_value_too_long"),
        (r"stream '.*' has duplicate label name: ", "duplicate_label"),
        (r"stream '.*' has structured metadata too large: ", "metadata_too_large"),
        (r"stream '.*' has too many structured metadata labels: ", "metadata_too_many"),
    )
)

# Statuses that say: not the events' fault, an operator must mend something.
_OPERATOR_STATUSES: Final[Mapping[int, str]] = {
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
}


class Streams:
    """Gives each event its labels, and keeps the number of label sets bounded."""

    def __init__(self, *, env: str, worker: str, max_streams: int) -> None:
        """`worker` is the slot whose stream fresh events take; past `max_streams` sets, names become `other`."""
        self._env = env
        self._worker = worker
        self._max_streams = max_streams
        self._known: dict[tuple[str, str, str], Labels] = {}

    def labels(self, *, service: str | None, event: str, tenant: str) -> Labels:
        """Return the labels of an event, the same object for each event of a stream.

        Client strings are only ever values, and checked.
        """
        # What is known was checked when it came first.
        labels = self._known.get((UNKNOWN_SERVICE if service is None else service, event, tenant))
        return labels if labels is not None else self._checked(service, event, tenant)

    def _checked(self, service: str | None, event: str, tenant: str) -> Labels:
        service_name = UNKNOWN_SERVICE if service is None else label_value(service)
        wanted = (service_name, label_value(event), tenant)
        if wanted not in self._known and len(self._known) >= self._max_streams:
            wanted = (OTHER, OTHER, tenant)
        if wanted not in self._known:
            self._known[wanted] = (
                ("service_name", wanted[0]),
                ("event", wanted[1]),
                ("env", self._env),
                ("tenant", tenant),
                ("worker", self._worker),
            )
        return self._known[wanted]


def label_value(text: str) -> str:
    """Return the text if it is fit to be a label's value, else `other`."""
    return text if LABEL_VALUE.fullmatch(text) else OTHER


def encode(batch: Sequence[Redacted]) -> bytes:
    """Return the push body (JSON, not compressed), entries in order within each stream."""
    streams: dict[Labels, list[tuple[str, str]]] = {}
    for entry in batch:
        streams.setdefault(entry.labels, []).append((str(entry.timestamp_ns), entry.line.decode()))
    return orjson.dumps({"streams": [{"stream": dict(labels), "values": values} for labels, values in streams.items()]})


def classify(status: int, headers: Mapping[str, str], body: str) -> Verdict:
    """Return what Loki's answer to a push means (delivery.md, "The shipper")."""
    if status in (200, 204):
        return Delivered()
    if status == 413:  # noqa: PLR2004 - HTTP
        return TooLarge()
    if status == 400:  # noqa: PLR2004 - HTTP
        several = _SEVERAL.match(body)
        said = body[several.end() :] if several else body
        for words, reason in _ENTRY_REFUSALS:
            if words.match(said):
                return Refused(reason, body)
        # Not an entry's fault as far as we know: turning a backlog into dead letters would lose it.
        return Retry("bad_request")
    if status in _OPERATOR_STATUSES:
        return Retry(_OPERATOR_STATUSES[status])
    if status == 429:  # noqa: PLR2004 - HTTP
        return Retry("rate_limited", _retry_after_s(headers))
    return Retry(f"status_{status // 100}xx", _retry_after_s(headers))


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Retry-After in seconds; its date form is not asked for by Loki and is left to the backoff."""
    value = headers.get("Retry-After", "")
    return min(float(value), MAX_RETRY_AFTER_S) if value.isascii() and value.isdigit() else None
