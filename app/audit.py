"""The second search: one delivered line in so many is searched again, as it was stored.

Redaction that works leaves nothing to find; a finding here is a leak, counted and alerted on, and never shown.
"""

from collections.abc import Sequence

import orjson

from app.core.events import Redacted
from app.core.redaction import redact
from app.core.rules import Rules
from app.ports import Telemetry


class Audit:
    """Searches every so many lines; what is found is only counted, by detector."""

    def __init__(self, rules: Rules, telemetry: Telemetry, *, every: int) -> None:
        """`every` 1 looks at all lines, 0 at none."""
        self._rules = rules
        self._telemetry = telemetry
        self._every = every
        self._passed = 0

    def __call__(self, batch: Sequence[Redacted]) -> None:
        """Look at those lines of a batch whose turn it is."""
        if not self._every:
            return
        turns = range(self._every - 1 - self._passed, len(batch), self._every)
        self._passed = (self._passed + len(batch)) % self._every
        if turns:
            self._telemetry.audited(len(turns), [found for turn in turns for found in self._found(batch[turn].line)])

    def _found(self, line: bytes) -> list[str]:
        # The payload by its event type's policies, as it was redacted; what stands around it by the rest.
        entry = orjson.loads(line)
        payload = entry.pop("payload", None)
        found = (*redact(entry, self._rules).findings, *redact(payload, self._rules, entry.get("event")).findings)
        return [finding.detector for finding in found]
