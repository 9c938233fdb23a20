"""The second search: one event in so many is searched again, in the very bytes that are about to be kept.

Redaction that works leaves nothing to find. A finding is a leak: counted and alerted on, never shown, and not kept.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import orjson

from app.core.events import Finding, Redacted, RedactedPayload, traced
from app.core.redaction import FAILED, redact
from app.core.rules import Rules
from app.core.walk import WITHHELD
from app.errors import UncleanError
from app.ports import Telemetry

_CALLERS_LABELS: Final = ("service_name", "event")
"""The labels that a caller's words become; the others are the operator's and ours."""

_ASKED_OF: Final = "phone"
"""The detector that asks numbering plans, and past a bound (`core.redaction`) goes without their answer."""


Seal = Callable[[str, str, RedactedPayload], Redacted]
"""Makes an entry of an event's id, its name as it is shown, and its payload; it may raise where that is too long."""


class Draft(NamedTuple):
    """What an entry has from its caller."""

    event_type: str
    """As it was sent: policies go by it. Never kept."""
    event: str
    event_id: str
    is_callers_id: bool
    payload: RedactedPayload


class Audit:
    """Searches one event in so many before it is kept, and lets nothing through that it finds."""

    def __init__(self, rules: Rules, telemetry: Telemetry, *, every: int, new_id: Callable[[], str]) -> None:
        """`every` 1 looks at all events, 0 at none; `new_id` gives an id for one of a caller's that cannot be kept."""
        self._rules = rules
        self._telemetry = telemetry
        self._every = every
        self._new_id = new_id
        self._passed = 0

    def is_due(self) -> bool:
        """Say whether it is this event's turn; the one call that every event pays for."""
        self._passed += 1
        if self._passed != self._every:
            return False
        self._passed = 0
        return True

    def __call__(self, draft: Draft, entry: Redacted, seal: Seal) -> tuple[Draft, Redacted]:
        """Return what may be kept, with what it was made of: what came, or that redacted again, or a bare event.

        What is not clean after the second redaction either, or cannot be judged because something fails, is withheld
        whole, and kept: refused, the event would be lost, for its caller can do nothing about it. UncleanError: even
        what is withheld holds a finding, so that it cannot have been made of its draft.
        """
        try:
            searched = self._search(draft, entry)
            self._telemetry.audited(searched.leaks)
            if searched.is_clean:
                return draft, entry
            mended = self._mended(draft, searched)
            again = seal(mended.event_id, mended.event, mended.payload)
            if self._search(mended, again).is_clean:
                return mended, again
        except Exception:  # noqa: BLE001 - fail closed: what cannot be judged is withheld, and counted with its finding
            return self._withheld(draft, seal)
        return self._withheld(draft, seal)

    def _search(self, draft: Draft, entry: Redacted) -> "_Searched":
        """Each part as redaction would have it: the payload by its type's policies, what stands around it by the rest.

        The words of a payload that labels and metadata repeat are judged there, by their names and policies.
        """
        line = orjson.loads(entry.line)
        payload, event, event_id = line.pop("payload"), line.pop("event"), line.pop("event_id")
        if draft.is_callers_id or event_id != draft.event_id:
            line["event_id"] = event_id
        said = {"event_id": event_id, **traced(payload)}
        metadata = {name: value for name, value in orjson.loads(entry.metadata).items() if value != said.get(name)}
        words = (event, payload.get("service") if isinstance(payload, dict) else None)
        labels = [value for name, value in entry.labels if name in _CALLERS_LABELS and value not in words]
        return _Searched(
            redact(payload, self._rules, draft.event_type),
            redact(event, self._rules),
            redact([line, metadata, labels], self._rules),
        )

    def _mended(self, draft: Draft, searched: "_Searched") -> Draft:
        """The draft with what was found in its entry replaced."""
        first, again = draft.payload, searched.payload
        findings = (*[self._renamed(found) for found in first.findings], *again.findings)
        mended = draft._replace(
            event=str(searched.event.value),
            payload=RedactedPayload(again.value, findings, first.unasked + again.unasked),
        )
        if any(found.field == "event_id" for found in searched.around.findings):
            return mended._replace(event_id=self._new_id(), is_callers_id=False)
        return mended

    def _renamed(self, found: Finding) -> Finding:
        """A finding of the first redaction, whose field may bear a name that leaks."""
        name = found.field
        return found if name is None else found._replace(place=(None, str(redact(name, self._rules).value)))

    def _withheld(self, draft: Draft, seal: Seal) -> tuple[Draft, Redacted]:
        """A bare event: its entry holds no word of its caller's."""
        payload = RedactedPayload(WITHHELD, (Finding((None, "payload"), FAILED, "redact", 0),), draft.payload.unasked)
        event_id = self._new_id() if draft.is_callers_id else draft.event_id
        withheld = Draft(draft.event_type, WITHHELD, event_id, is_callers_id=False, payload=payload)
        entry = seal(withheld.event_id, withheld.event, withheld.payload)
        if self._is_unclean(withheld, entry):
            raise UncleanError
        return withheld, entry

    def _is_unclean(self, draft: Draft, entry: Redacted) -> bool:
        try:
            return not self._search(draft, entry).is_clean
        except Exception:  # noqa: BLE001 - a search that fails is no evidence against an entry without a caller's word
            return False


class _Searched(NamedTuple):
    """What the second search found in the parts of an entry, and how they read without it."""

    payload: RedactedPayload
    event: RedactedPayload
    around: RedactedPayload

    @property
    def leaks(self) -> list[str]:
        """The detectors of what redaction missed; that a detector failed says nothing of it."""
        return [name for name in self._names() if name != FAILED]

    @property
    def is_clean(self) -> bool:
        """Whether there is nothing to replace."""
        return not self._names()

    def _names(self) -> list[str]:
        """The detectors of what was found, but for numbers that no plan was asked about: the first search did ask.

        What the plans do not know stays in the text; where that has become shorter, fewer questions may be left.
        """
        names = [found.detector for part in self for found in part.findings]
        for _ in range(min(sum(part.unasked for part in self), names.count(_ASKED_OF))):
            names.remove(_ASKED_OF)
        return names
