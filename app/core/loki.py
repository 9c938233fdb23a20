"""Loki's push protocol: how a batch is written, and what an answer means.

Sources: Grafana Loki's HTTP API page ("Ingest logs"), pkg/validation/validate.go for the refusals'
words, and answers seen from a real Loki (main, August 2026).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

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


class _Row(NamedTuple):
    """An answer: its status and, for a 400, how its words begin; and what it means."""

    status: int
    words: str
    verdict: Verdict


_VERDICTS: Final[Sequence[_Row]] = (
    _Row(200, "", Delivered()),
    _Row(204, "", Delivered()),
    # Reasons that concern single entries: Loki stores the rest of the batch (pkg/distributor validates each entry and
    # pushes the valid ones; pkg/ingester/stream.go the same). Source of each text: pkg/validation/validate.go, the
    # last two of "ignored": pkg/ingester/stream.go; the first, third and fifth were seen from a running Loki.
    _Row(400, r"entry for stream '.*' has timestamp too old: ", Refused("too_old", "")),
    _Row(400, r"entry for stream '.*' has timestamp too new: ", Refused("too_new", "")),
    _Row(400, r"entry with timestamp [^']* ignored, reason: 'entry too far behind", Refused("too_far_behind", "")),
    _Row(400, r"entry with timestamp [^']* ignored, reason: 'entry out of order", Refused("too_far_behind", "")),
    _Row(400, r"max entry size '\d+' bytes exceeded for stream ", Refused("line_too_long", "")),
    _Row(400, r"entry for stream '.*' has \d+ label names; limit ", Refused("too_many_labels", "")),
    _Row(400, r"stream '.*' has label name too long: ", Refused("label_name_too_long", "")),
    _Row(400, r"stream '.*' has label value too long: ", Refused("label_value_too_long", "")),
    _Row(400, r"stream '.*' has duplicate label name: ", Refused("duplicate_label", "")),
    _Row(400, r"stream '.*' has structured metadata too large: ", Refused("metadata_too_large", "")),
    _Row(400, r"stream '.*' has too many structured metadata labels: ", Refused("metadata_too_many", "")),
    # Any other 400 is not an entry's fault as far as we know: turning a backlog into dead letters would lose it. It may
    # be one stream's, so the others go on.
    _Row(400, "", Retry("bad_request", of_stream=True)),
    # Not the events' fault, and an operator must mend something (Loki's gateway and auth; a wrong address).
    _Row(401, "", Retry("unauthorized")),
    _Row(403, "", Retry("forbidden")),
    _Row(404, "", Retry("not_found")),
    _Row(408, "", Retry("timeout")),
    # Server's gRPC limit, or a gateway's for bodies.
    _Row(413, "", TooLarge()),
    # A rate or the number of streams (pkg/validation: "Per stream rate limit exceeded", "Maximum active stream limit
    # exceeded", "Ingestion rate limit exceeded"): it may be this stream's alone. With a Retry-After it is for all.
    _Row(429, "", Retry("rate_limited", of_stream=True)),
)
"""What Loki's answers mean; the first row that fits counts. Whatever has no row is `status_Nxx`: kept, and tried again.

The words of a 400 are matched from their start, since Loki's parse errors quote the push: a caller's text must not
pass for a verdict. Upper and lower case differ between versions.
"""

_PATTERNS: Final = [(row, re.compile(row.words, re.IGNORECASE | re.DOTALL)) for row in _VERDICTS]

_SEVERAL: Final = re.compile(r"\d+ errors? like: ", re.IGNORECASE)
"""Several reasons read `3 errors like: ...; 2 errors like: ...`."""


class Streams:
    """Gives each event its labels, and keeps the number of label sets bounded."""

    def __init__(self, *, env: str, max_streams: int) -> None:
        """Past `max_streams` sets, names become `other`."""
        self._env = env
        self._worker = ""
        self._max_streams = max_streams
        self._known: dict[tuple[str, str, str], Labels] = {}

    def use_slot(self, slot: int) -> None:
        """Let fresh events take this slot's streams: the lowest that no live worker and no unsent event has."""
        self._worker = str(slot)
        self._known.clear()

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


def encode(batch: Sequence[Redacted], *, metadata: bool = False) -> bytes:
    """Return the push body (JSON, not compressed), entries in order within each stream.

    With `metadata` each entry has its structured metadata, which Loki takes from 3.0 on.
    """
    streams: dict[Labels, list[tuple[Any, ...]]] = {}
    for entry in batch:
        value = (str(entry.timestamp_ns), entry.line.decode())
        streams.setdefault(entry.labels, []).append((*value, orjson.Fragment(entry.metadata)) if metadata else value)
    return orjson.dumps({"streams": [{"stream": dict(labels), "values": values} for labels, values in streams.items()]})


def classify(status: int, headers: Mapping[str, str], body: str) -> Verdict:
    """Return what Loki's answer to a push means (delivery.md, "The shipper")."""
    several = _SEVERAL.match(body)
    said = body[several.end() :] if several else body
    after_s = _retry_after_s(headers)
    for row, words in _PATTERNS:
        if row.status == status and words.match(said):
            if isinstance(row.verdict, Refused):
                return replace(row.verdict, detail=body)
            if isinstance(row.verdict, Retry) and after_s is not None:
                return Retry(row.verdict.reason, after_s)
            return row.verdict
    return Retry(f"status_{status // 100}xx", after_s)


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Retry-After in seconds; its date form is not asked for by Loki and is left to the backoff."""
    value = headers.get("Retry-After", "")
    return min(float(value), MAX_RETRY_AFTER_S) if value.isascii() and value.isdigit() else None
