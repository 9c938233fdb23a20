"""`POST /log`, `POST /log/batch` and `POST /redact`: check, redact, keep, count, answer, in this order.

An event is answered with 200 only after the spool has it, and counted only then.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

import orjson

from app.audit import Audit, Draft
from app.core import strict_json
from app.core.events import LogEvent, Redacted, RedactedPayload, seal
from app.core.kpi import Observer
from app.core.loki import Streams
from app.core.problems import INVALID, problem
from app.core.recent import RecentIds
from app.core.redaction import redact
from app.core.rules import Rules
from app.core.strict_json import JsonFault
from app.errors import CallerError, InvalidError, NotJsonError, TooLargeError, TryLaterError
from app.handlers.reading import Reader
from app.handlers.reply import Caller, Reply, ok, reply_to
from app.handlers.schemas import LogRequest
from app.handlers.shown import Shown
from app.ports import Spool, Telemetry

UNKNOWN_EVENT: Final = "unknown"
"""The label of a refused event whose name was not read."""

_GZIP_CHUNK: Final = 64 * 1024

_BREATH_S: Final = 0.02
"""How long a batch is worked on before others may run; nothing of it is kept before its end."""

_POINTERS_BYTES: Final = 1 << 20
"""How long the pointers of one `/redact` may be together: each repeats the names on its way."""

_GZIP_MEMBERS: Final = 64
"""Shippers write one; a body of a quarter of a million empty ones would hold the worker for seconds."""

_NONE: Final[Sequence["_Sealed"]] = ()


@dataclass(frozen=True, slots=True)
class LogLimits:
    """Bytes and numbers past which a request is refused."""

    event_bytes: int
    line_bytes: int
    batch_bytes: int
    batch_events: int


@dataclass(frozen=True, slots=True)
class Clock:
    """Times and ids: `stamp_ns` is unique within the worker."""

    stamp_ns: Callable[[], int]
    monotonic_s: Callable[[], float]
    new_id: Callable[[], str]


class _Sealed(NamedTuple):
    """An event ready for the spool; `event` is its name as it is shown."""

    event: str
    event_id: str
    """The one that is answered and remembered; the entry has another where the caller's cannot be kept (`Audit`)."""
    entry: Redacted
    payload: RedactedPayload
    is_callers_id: bool


class LogHandler:
    """What the three calls do."""

    def __init__(
        self,
        *,
        rules: Rules,
        audit: Audit,
        observe: Observer,
        spool: Spool,
        telemetry: Telemetry,
        streams: Streams,
        recent: RecentIds,
        limits: LogLimits,
        clock: Clock,
        reader: Reader,
        breathe: Callable[[], None],
        ease: Callable[[], None],
    ) -> None:
        """Everything that it needs from outside comes in here.

        `breathe` lets other requests run meanwhile; `ease` waits a little where more comes in than is shipped.
        """
        self._rules = rules
        self._audit = audit
        self._observe = observe
        self._spool = spool
        self._telemetry = telemetry
        self._streams = streams
        self._recent = recent
        self._limits = limits
        self._clock = clock
        self._reader = reader
        self._breathe = breathe
        self._ease = ease
        self._schema = LogRequest()
        self._shown = Shown(rules, clock.new_id().encode())

    def log(self, body: bytes, caller: Caller) -> Reply:
        """Answer `POST /log`."""
        event = UNKNOWN_EVENT
        try:
            value = self._reader.json(body)
            checked = self._check(value)
            event = checked.event
            sealed = self._seal(checked, caller)
            self._keep([sealed], caller)
        except (CallerError, TryLaterError) as exc:
            self._telemetry.events([self._shown.event(event)], "refused")
            return reply_to(exc)
        self._ease()
        return ok({"status": "logged", "event_id": sealed.event_id, "redacted_fields": sealed.payload.fields})

    def log_batch(self, body: bytes, caller: Caller, *, ndjson: bool) -> Reply:
        """Answer `POST /log/batch`: one bad event never spoils the others; the spool takes all or none."""
        try:
            items = self._lines(body) if ndjson else self._events(body)
        except CallerError as exc:
            return reply_to(exc)
        try:
            good, event_ids, rejected = self._sealed(items, caller)
            if good:
                self._keep(good, caller)
        except TryLaterError as exc:
            self._count_refused(len(items))
            return reply_to(exc)
        self._count_refused(len(rejected))
        if not good:
            return _all_refused(rejected)
        self._ease()
        return ok({"status": "logged", "accepted": len(good), "event_ids": event_ids, "rejected": rejected})

    def redact(self, body: bytes) -> Reply:
        """Answer `POST /redact`: a dry run, nothing is stored or counted."""
        try:
            redacted = redact(self._reader.json(body), self._rules)
        except CallerError as exc:
            return reply_to(exc)
        rows, left_out = _shown_findings(redacted)
        more = {"findings_left_out": left_out} if left_out else {}
        return ok({"redacted": redacted.value, "findings": rows, **more})

    def decompress(self, raw: bytes) -> bytes:
        """Return a gzip body's content; TooLargeError as soon as it passes the limit, and not after."""
        limit = self._limits.batch_bytes
        inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        members = 1
        content = bytearray()
        while raw:
            try:
                content += inflater.decompress(raw, max(1, min(_GZIP_CHUNK, limit + 1 - len(content))))
            except zlib.error:
                raise NotJsonError("the body is not gzip, as its Content-Encoding says") from None
            if len(content) > limit:
                raise TooLargeError(f"a batch may have {limit:,} bytes after decompression")
            raw = inflater.unconsumed_tail
            if inflater.eof and inflater.unused_data:
                # A gzip file may have several members (RFC 1952, section 2.2); each costs a copy of the rest.
                members += 1
                if members > _GZIP_MEMBERS:
                    raise TooLargeError(f"a gzip body may have {_GZIP_MEMBERS} members")
                raw = inflater.unused_data
                inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        if not inflater.eof:
            raise NotJsonError("the gzip body ends too early")
        return bytes(content)

    def _check(self, value: Any) -> LogEvent:
        loaded = self._reader.load(self._schema, value)
        return LogEvent(loaded["event"], loaded["payload"], loaded.get("event_id"))

    def _check_item(self, item: "_Item") -> LogEvent:
        if item.fault is not None:
            raise item.fault
        if item.size_bytes > self._limits.event_bytes:
            raise TooLargeError(f"an event may have {self._limits.event_bytes:,} bytes")
        if not isinstance(item.value, dict):
            raise InvalidError("an event must be an object")
        return self._check(item.value)

    def _sealed(
        self, items: Sequence["_Item"], caller: Caller
    ) -> tuple[list[_Sealed], list[str | None], list[dict[str, Any]]]:
        """The good events of a batch; all events' ids, None for the others; and why those are rejected."""
        good: list[_Sealed] = []
        event_ids: list[str | None] = []
        rejected: list[dict[str, Any]] = []
        breath_s = self._clock.monotonic_s()
        for index, item in enumerate(items):
            if self._clock.monotonic_s() - breath_s > _BREATH_S:
                self._breathe()
                breath_s = self._clock.monotonic_s()
            try:
                sealed = self._seal(self._check_item(item), caller)
            except CallerError as exc:
                event_ids.append(None)
                rejected.append(_rejection(index, exc))
            else:
                event_ids.append(sealed.event_id)
                good.append(sealed)
        return good, event_ids, rejected

    def _seal(self, event: LogEvent, caller: Caller) -> _Sealed:
        payload = redact(event.payload, self._rules, event.event)
        if not isinstance(payload.value, dict):
            raise TooLargeError("the payload has more values than can be looked through")
        name = self._shown.event(event.event)
        event_id = self._clock.new_id() if event.event_id is None else self._shown.event_id(event.event_id)
        is_callers_id = event.event_id is not None
        received_ns = self._clock.stamp_ns()
        entry = self._entry(caller, received_ns, event_id, name, payload)
        if self._audit.is_due():
            draft = Draft(event.event, name, event_id, is_callers_id, payload)
            draft, entry = self._audit(draft, entry, partial(self._entry, caller, received_ns))
            name, payload = draft.event, draft.payload
        return _Sealed(name, event_id, entry, payload, is_callers_id)

    def _entry(self, caller: Caller, received_ns: int, event_id: str, event: str, payload: RedactedPayload) -> Redacted:
        """What is kept; TooLargeError past the line's bound."""
        service = payload.value.get("service") if isinstance(payload.value, dict) else None
        service = service if isinstance(service, str) else None
        entry = seal(
            event_id=event_id,
            event=event,
            labels=self._streams.labels(service=service, event=event, tenant=caller.tenant),
            received_ns=received_ns,
            payload=payload,
        )
        if len(entry.line) > self._limits.line_bytes:
            raise TooLargeError(f"the redacted line may have {self._limits.line_bytes:,} bytes")
        return entry

    def _keep(self, events: Sequence[_Sealed], caller: Caller) -> None:
        """Append what is new; then count it. TryLaterError: nothing of it was kept, nothing is remembered."""
        now_s = self._clock.monotonic_s()
        fresh, repeated = events, _NONE
        if any(sealed.is_callers_id for sealed in events):
            fresh, repeated = self._parted(events, caller, now_s)
        try:
            # Also where nothing is new: a caller's first try may be on its way to the disk, and this one must not be
            # answered before it is there.
            self._spool.append([sealed.entry for sealed in fresh], now_s)
        except BaseException:
            for sealed in fresh:
                if sealed.is_callers_id:
                    self._recent.discard(caller.tenant, sealed.event_id)
            raise
        self._count_kept(fresh)
        orphans = [one for one in repeated if not self._recent.knows(caller.tenant, one.event_id)]
        if orphans:
            # The try that they repeat was not kept after all.
            self._keep(orphans, caller)
        if len(repeated) > len(orphans):
            self._telemetry.events([sealed.event for sealed in repeated if sealed not in orphans], "duplicate")

    def _count_kept(self, fresh: Sequence[_Sealed]) -> None:
        self._telemetry.events([sealed.event for sealed in fresh], "accepted")
        self._telemetry.redacted(
            [found for sealed in fresh for found in sealed.payload.findings],
            sum([sealed.payload.unasked for sealed in fresh]),
        )
        for sealed in fresh:
            value = sealed.payload.value
            # A payload that is withheld measures nothing.
            seen = self._observe(sealed.event, value if isinstance(value, dict) else {})
            self._telemetry.observe(seen.observations, seen.unusable)

    def _parted(
        self, events: Sequence[_Sealed], caller: Caller, now_s: float
    ) -> tuple[Sequence[_Sealed], Sequence[_Sealed]]:
        """The events that are new, and those whose id a caller has given before."""
        fresh: list[_Sealed] = []
        repeated: list[_Sealed] = []
        for sealed in events:
            is_new = not sealed.is_callers_id or self._recent.add(caller.tenant, sealed.event_id, now_s)
            (fresh if is_new else repeated).append(sealed)
        return fresh, repeated

    def _count_refused(self, number: int) -> None:
        self._telemetry.events([UNKNOWN_EVENT] * number, "refused")

    def _events(self, body: bytes) -> list["_Item"]:
        """The events of a JSON batch. A fault within one event is that event's alone."""
        try:
            document, sound = strict_json.decode(body)
        except JsonFault as exc:
            raise self._reader.not_json(exc.fault) from None
        events = document
        if isinstance(document, dict):
            unknown = {name: value for name, value in document.items() if name != "events"}
            events = document.get("events")
            self._check_around(unknown)
            if unknown:
                raise self._reader.invalid({name: ["Unknown field."] for name in unknown})
        if not isinstance(events, list):
            self._check_around(events)
            raise InvalidError("a batch is {events: [...]} or an array", {"events": ["Not an array."]})
        self._check_number(len(events))
        return [self._item(event, sound=sound) for event in events]

    def _check_around(self, value: Any) -> None:
        """What is no event is judged with the document."""
        try:
            strict_json.check(value)
        except JsonFault as exc:
            raise self._reader.not_json(exc.fault) from None

    def _item(self, event: Any, *, sound: bool) -> "_Item":
        try:
            if not sound:
                strict_json.check(event)
            written = orjson.dumps(event)
            if sound and strict_json.may_be_deep(written):
                strict_json.check(event)
        except JsonFault as exc:
            return _Item(None, 0, self._reader.not_json(exc.fault))
        return _Item(event, len(written), None)

    def _lines(self, body: bytes) -> list["_Item"]:
        """The events of an NDJSON batch; empty lines are passed over."""
        lines = [line for line in body.split(b"\n") if line.strip(b" \t\r")]
        self._check_number(len(lines))
        return [self._line(line) for line in lines]

    def _line(self, line: bytes) -> "_Item":
        if len(line) > self._limits.event_bytes:
            return _Item(None, len(line), None)
        try:
            return _Item(self._reader.json(line), len(line), None)
        except NotJsonError as exc:
            return _Item(None, len(line), exc)

    def _check_number(self, number: int) -> None:
        most = self._limits.batch_events
        if not 1 <= number <= most:
            raise InvalidError(f"a batch has 1 to {most:,} events", {"events": [f"1 to {most:,} events."]})


class _Item(NamedTuple):
    """One event of a batch as it was read, or why it could not be."""

    value: Any
    size_bytes: int
    fault: NotJsonError | None


def _shown_findings(redacted: RedactedPayload) -> tuple[list[dict[str, Any]], int]:
    """The findings as rows, and how many are left out because their pointers together would dwarf the value."""
    rows: list[dict[str, Any]] = []
    room = _POINTERS_BYTES
    for found in redacted.findings:
        pointer = found.pointer
        room -= len(pointer)
        if room < 0:
            break
        rows.append({"pointer": pointer, "detector": found.detector, "action": found.action, "length": found.length})
    return rows, len(redacted.findings) - len(rows)


def _rejection(index: int, error: CallerError) -> dict[str, Any]:
    row = {"index": index, "type": error.kind.uri, "title": error.kind.title, "detail": error.detail}
    if error.errors is not None:
        row["errors"] = error.errors
    return row


def _all_refused(rejected: Sequence[dict[str, Any]]) -> Reply:
    members = problem(INVALID, "every event of the batch was refused; `rejected` says why")
    return Reply(INVALID.status, orjson.dumps({**members, "rejected": rejected}), "application/problem+json")
