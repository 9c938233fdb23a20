"""The shipper: takes batches from a lane of the spool and sees each through to its end.

Nothing is forgotten before the sink has it or the dead letters do. No HTTP, no threads, no clock.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from app.core.backoff import delay_s
from app.core.batching import BatchLimits, halves
from app.core.events import Redacted
from app.core.verdicts import Delivered, Refused, Retry, TooLarge, Verdict
from app.errors import SinkError
from app.ports import DeadLetters, Health, Lane, LogSink, Telemetry

_log = logging.getLogger("telemetry_cache.shipper")

PROBE_EVERY_S: Final = 5.0
"""How often an idle shipper asks whether its sink is there, so that /readyz knows before an event does."""

IDLE_S: Final = 1.0


@dataclass(slots=True)
class SinkState:
    """What the last dealings with a sink said; one for all lanes of it."""

    state: Literal["ok", "degraded"] = "ok"
    since_s: float = 0.0
    detail: str = "not asked yet"

    def note(self, fault: str | None, now_s: float) -> None:
        """Take note of how a push or a probe went; `now_s` is epoch seconds."""
        state: Literal["ok", "degraded"] = "degraded" if fault else "ok"
        if fault and state != self.state:
            _log.warning("the sink takes nothing: %s", fault)
        elif state != self.state:
            _log.warning("the sink takes events again")
        if state != self.state or not self.since_s:
            self.state, self.since_s = state, now_s
        self.detail = fault or "answers"

    def health(self, name: str) -> Health:
        """Return the row for /readyz."""
        return Health(name, self.state, self.since_s, self.detail)


class Shipper:
    """Ships one lane: one batch at a time, in order."""

    def __init__(
        self,
        lane: Lane,
        sink: LogSink,
        dead_letters: DeadLetters,
        telemetry: Telemetry,
        *,
        limits: BatchLimits,
        state: SinkState,
        audit: Callable[[Sequence[Redacted]], None],
        rand: Callable[[], float],
        wall_s: Callable[[], float],
    ) -> None:
        """Everything that it needs from outside comes in here.

        `audit` looks at what was delivered; `rand` gives [0, 1) for the backoff's jitter; `wall_s` gives epoch
        seconds for the state's `since`.
        """
        self._lane = lane
        self._sink = sink
        self._dead_letters = dead_letters
        self._telemetry = telemetry
        self._limits = limits
        self._state = state
        self._audit = audit
        self._rand = rand
        self._wall_s = wall_s
        self._attempt = 0
        self._not_before_s = 0.0
        self._probed_s = float("-inf")

    def run_once(self, now_s: float, *, flush: bool = False) -> float | None:
        """Ship one batch if one is due; return the seconds until the next look.

        With `flush`, whatever waits is due at once, one attempt is made, and None says that there is
        nothing left that can be delivered now. `now_s` is monotonic.
        """
        if not self._lane.queued_events:
            return None if flush else self._idle(now_s)
        wait_s = 0.0 if flush else max(self._not_before_s - now_s, self._due_in_s(now_s))
        if wait_s > 0:
            return wait_s
        retry = self._deliver(self._lane.peek(self._limits.max_bytes, self._limits.max_events))
        if retry is None:
            self._attempt = 0
            return 0.0
        self._attempt += 1
        pause_s = max(delay_s(self._attempt, self._rand()), retry.after_s or 0.0)
        self._not_before_s = now_s + pause_s
        return None if flush else pause_s

    def _due_in_s(self, now_s: float) -> float:
        return self._limits.wait_s(
            queued_bytes=self._lane.queued_bytes,
            queued_events=self._lane.queued_events,
            oldest_s=self._lane.oldest_s,
            now_s=now_s,
        )

    def _idle(self, now_s: float) -> float:
        if now_s - self._probed_s >= PROBE_EVERY_S:
            self._probed_s = now_s
            self._state.note(self._sink.probe(), self._wall_s())
        return IDLE_S

    def _deliver(self, batch: Sequence[Redacted]) -> Retry | None:
        """See a batch through; return the Retry that stopped it. What is done is acknowledged, in order."""
        parts = [batch]
        while parts:
            part = parts.pop()
            verdict = self._sink.send(part)
            self._note(verdict)
            if isinstance(verdict, Retry):
                return verdict
            if isinstance(verdict, Delivered):
                self._lane.ack(len(part))
                self._telemetry.delivered(len(part), sum(len(entry.line) for entry in part))
                self._audit(part)
            elif len(part) > 1:
                # Loki drops what it stored already (same stream, nanosecond and bytes), so that
                # sending the good ones again with each half makes no duplicates.
                first, second = halves(part)
                parts += (second, first)
            elif (stopped := self._bury(part[0], verdict)) is not None:
                self._note(stopped)
                return stopped
        return None

    def _bury(self, entry: Redacted, verdict: TooLarge | Refused) -> Retry | None:
        reason, detail = (
            (verdict.reason, verdict.detail) if isinstance(verdict, Refused) else ("too_large", "413 for one event")
        )
        try:
            self._dead_letters.add(entry, reason, detail)
        except SinkError:
            # Neither delivered nor kept as a dead letter: it stays in the spool.
            return Retry("dead_letters_failing")
        self._lane.ack(1)
        self._telemetry.delivery("dead_letter", reason, 1)
        return None

    def _note(self, verdict: Verdict) -> None:
        self._telemetry.push(verdict.result)
        self._state.note(verdict.reason if isinstance(verdict, Retry) else None, self._wall_s())
