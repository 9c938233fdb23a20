"""What was acknowledged against what is stored: pure functions that return faults in words, none if all is well."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from tests.faults.kills_load import event_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.standins.loki import Entry

SHOWN: Final = 3
"""How many examples of a fault are named."""

_HEAD: Final = re.compile(
    r'\{"event_id":"(?P<event_id>[A-Za-z0-9_-]{1,64})","event":"(?P<event>[a-z_]+)",'
    r'"received_at":"[0-9TZ:.+-]+","payload":(?P<payload>.*)\}',
    re.DOTALL,
)
_MARKER: Final = re.compile(r'\{"marker":"(?P<marker>[a-j]+-[a-j]+)"')


def payload_bytes(marker: str) -> str:
    """The payload that was sent, as it must stand in the line: compact JSON, names in their order."""
    return json.dumps(event_of(marker)["payload"], ensure_ascii=False, separators=(",", ":"))


def faults_of_entries(
    acknowledged: Mapping[str, str], entries: Sequence[Entry], letters: Iterable[Mapping[str, Any]]
) -> list[str]:
    """Say what is lost, altered, stored twice, out of order, or buried although Loki refused none of it.

    `acknowledged` gives markers by event id; `entries` are Loki's after its deduplication, in order of arrival;
    `letters` are the dead letters.
    """
    stored: dict[str, list[Entry]] = defaultdict(list)
    altered, markers = [], defaultdict(set)
    for entry in entries:
        found = _HEAD.fullmatch(entry.line)
        named = _MARKER.match(found["payload"]) if found else None
        if found is None or named is None:
            altered.append(entry.line[:120])
            continue
        event_id = found["event_id"]
        stored[event_id].append(entry)
        markers[named["marker"]].add(event_id)
        if not _is_as_sent(found, acknowledged.get(event_id, named["marker"]), entry):
            altered.append(event_id)
    buried = [letter["event_id"] for letter in letters]
    lost = acknowledged.keys() - stored.keys() - set(buried)
    return [
        *_fault("acknowledged and lost", sorted(lost), len(acknowledged)),
        *_fault("not as they were sent", altered),
        *_fault("stored more than once", [event_id for event_id, found in stored.items() if len(found) > 1]),
        *_fault("stored under two ids", [marker for marker, event_ids in markers.items() if len(event_ids) > 1]),
        *_fault("out of order within a stream", _out_of_order(acknowledged, entries)),
        *_fault("dead letters although Loki refused none", buried),
    ]


def faults_of_integrity(integrity: Mapping[str, int] | None, *, acknowledged: int, stored: int, dead: int) -> list[str]:
    """Say where /readyz's figures are not what was counted outside: events acknowledged, stored (unique) and dead."""
    if integrity is None:
        return ["/readyz shows no integrity"]
    expected = {"accepted": stored + dead, "delivered": stored, "dead_lettered": dead}
    expected |= {"spooled": 0, "corrupt": 0, "difference": 0}
    off = {name: number for name, number in expected.items() if integrity.get(name) != number}
    faults = [f"/readyz shows {dict(integrity)}, and it should show {off}"] if off else []
    if integrity.get("accepted", 0) < acknowledged:
        faults.append(f"/readyz shows fewer events accepted than the {acknowledged} that were acknowledged")
    return faults


def unique_ids(entries: Iterable[Entry]) -> set[str]:
    """The event ids of stored lines."""
    return {found["event_id"] for entry in entries if (found := _HEAD.fullmatch(entry.line))}


def _is_as_sent(found: re.Match[str], marker: str, entry: Entry) -> bool:
    """Whether line and labels are those of the event with this marker, byte for byte."""
    sent = event_of(marker)
    return (
        found["payload"] == payload_bytes(marker)
        and sent.get("event_id") in {None, found["event_id"]}
        and sent["event"] == found["event"] == entry.labels.get("event")
        and entry.labels.get("service_name") == sent["payload"]["service"]
    )


def _out_of_order(acknowledged: Mapping[str, str], entries: Iterable[Entry]) -> list[str]:
    """Acknowledged events that came to their stream behind one that the same client sent after their answer.

    A marker ends with its number in the client's own order. Only for the acknowledged the order is known.
    """
    newest: dict[tuple[object, str], str] = {}
    late = []
    for entry in entries:
        found = _HEAD.fullmatch(entry.line)
        marker = acknowledged.get(found["event_id"]) if found else None
        if marker is None:
            continue
        stream = (frozenset(entry.labels.items()), marker.partition("-")[0])
        if marker < newest.get(stream, ""):
            late.append(marker)
        newest[stream] = max(marker, newest.get(stream, ""))
    return late


def _fault(what: str, examples: Sequence[str], of: int | None = None) -> list[str]:
    if not examples:
        return []
    number = f"{len(examples)} of {of}" if of is not None else f"{len(examples)}"
    return [f"{number} {what}, such as {', '.join(examples[:SHOWN])}"]
