"""What a caller calls an event, as it is stored and answered: names and ids too can hold personal data."""

import hashlib
from typing import Final

from app.core.redaction import redact
from app.core.rules import Rules

_EVENTS: Final = 1000
"""Event names that are remembered: an open vocabulary."""


class Shown:
    """One worker's; `key` makes the ids that stand in for others."""

    def __init__(self, rules: Rules, key: bytes) -> None:
        self._rules = rules
        self._key = key
        self._events: dict[str, str] = {}

    def event(self, event: str) -> str:
        """Return the event's name redacted: an open vocabulary can hold a phone number."""
        shown = self._events.get(event)
        if shown is None:
            if len(self._events) >= _EVENTS:
                self._events.clear()
            shown = self._events[event] = str(redact(event, self._rules).value)
        return shown

    def event_id(self, event_id: str) -> str:
        """Return the caller's id, or another in the place of one that redaction would not leave.

        The same for the same id, so that a retry is still known; keyed, so that nobody finds it by trying all.
        """
        if not redact({"event_id": event_id}, self._rules).findings:
            return event_id
        return f"evt_{hashlib.blake2b(event_id.encode(), key=self._key, digest_size=16).hexdigest()}"
