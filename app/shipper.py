"""The shipper: takes batches from the spool and sees each through to its end.

Nothing is forgotten before the sink has it or the dead letters do. No HTTP, no threads, no clock.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from app.core.backlog import NEVER_S
from app.core.backoff import delay_s
from app.core.batching import halves
from app.core.events import Redacted
from app.core.verdicts import Delivered, Refused, Retry, TooLarge, Verdict
from app.errors import SinkError
from app.ports import Batch, DeadLetters, Health, LogSink, Spool, Telemetry

_log = logging.getLogger("telemetry_cache.shipper")

PROBE_EVERY_S: Final = 5.0
"""How often an idle shipper asks whether its sink is there, so that /readyz knows before an event does."""


@dataclass(slots=True)
class SinkState:
    """What the last dealings with a sink said; one for all shippers of it."""

    state: Literal["ok", "degraded"] = "ok"
    since_s: float = 0.0
    detail: str = "not asked yet"
    not_before_s: float = 0.0
    """No batch is sent before (monotonic)."""
    probed_s: float = float("-inf")
    _attempt: int = 0

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

    @property
    def is_backing_off(self) -> bool:
        """Whether the last batch failed."""
        return self._attempt > 0

    def back_off(self, now_s: float, rand: float, after_s: float) -> None:
        """Wait before the next batch, longer each time; shippers that fail side by side fail once."""
        if now_s >= self.not_before_s:
            self._attempt += 1
            self.not_before_s = now_s + delay_s(self._attempt, rand)
        self.not_before_s = max(self.not_before_s, now_s + after_s)

    def succeed(self) -> None:
        """The sink deals with batches: the next failure is the first again."""
        self._attempt = 0
        self.not_before_s = 0.0

    def health(self, name: str) -> Health:
        """Return the row for /readyz."""
        return Health(name, self.state, self.since_s, self.detail)


class Shipper:
    """Ships one batch at a time; several of them share a spool, a sink's state, and nothing else."""

    def __init__(
        self,
        spool: Spool,
        sink: LogSink,
        dead_letters: DeadLetters,
        telemetry: Telemetry,
        *,
        state: SinkState,
        rand: Callable[[], float],
        wall_s: Callable[[], float],
    ) -> None:
        """Everything that it needs from outside comes in here.

        `rand` gives [0, 1) for the backoff's jitter; `wall_s` gives epoch seconds for the state's `since`.
        """
        self._spool = spool
        self._sink = sink
        self._dead_letters = dead_letters
        self._telemetry = telemetry
        self._state = state
        self._rand = rand
        self._wall_s = wall_s

    def run_once(self, now_s: float, *, flush: bool = False) -> float | None:
        """Ship one batch if one is due; return the seconds until the next look.

        With `flush`, whatever waits is due at once, one attempt is made, and None says that there is
        nothing left that can be delivered now. `now_s` is monotonic.
        """
        if not flush and now_s < self._state.not_before_s:
            return self._state.not_before_s - now_s
        batch = self._spool.take(now_s, flush=flush)
        if isinstance(batch, float):
            return None if flush else self._idle(now_s, batch)
        attempt, not_before_s = batch.attempt, 0.0
        wait_s: float | None = 0.0
        try:
            retry = self._deliver(batch)
            if retry is None:
                attempt = 0
            elif flush:
                not_before_s = NEVER_S
                wait_s = 0.0 if retry.of_stream else None
            elif retry.of_stream:
                attempt += 1
                not_before_s = now_s + max(delay_s(attempt, self._rand()), retry.after_s or 0.0)
            else:
                self._state.back_off(now_s, self._rand(), retry.after_s or 0.0)
                wait_s = max(0.0, self._state.not_before_s - now_s)
        finally:
            batch.release(attempt=attempt, not_before_s=not_before_s)
        return wait_s

    def _idle(self, now_s: float, wait_s: float) -> float:
        if now_s - self._state.probed_s >= PROBE_EVERY_S:
            self._state.probed_s = now_s
            fault = self._sink.probe()
            if fault is not None or not self._state.is_backing_off:
                # What a push has found wrong, only a push can find right: /ready needs no token.
                self._state.note(fault, self._wall_s())
        return wait_s

    def _deliver(self, batch: Batch) -> Retry | None:
        """See a batch through; return the Retry that stopped it. What is done is settled, in order."""
        parts = [batch.entries]
        while parts:
            part = parts.pop()
            verdict = self._sink.send(part)
            self._note(verdict)
            if isinstance(verdict, Retry):
                return verdict
            if isinstance(verdict, Delivered):
                batch.settle(len(part))
                self._telemetry.delivered(len(part), sum(len(entry.line) for entry in part), self._wall_s())
            elif len(part) > 1:
                # Loki drops what it stored already (same stream, nanosecond and bytes), so that
                # sending the good ones again with each half makes no duplicates.
                first, second = halves(part)
                parts += (second, first)
            elif (stopped := self._bury(batch, part[0], verdict)) is not None:
                self._note(stopped)
                return stopped
        return None

    def _bury(self, batch: Batch, entry: Redacted, verdict: TooLarge | Refused) -> Retry | None:
        reason, detail = (
            (verdict.reason, verdict.detail) if isinstance(verdict, Refused) else ("too_large", "413 for one event")
        )
        try:
            self._dead_letters.add(entry, reason, detail)
        except SinkError:
            # Neither delivered nor kept as a dead letter: it stays in the spool.
            return Retry("dead_letters_failing", of_stream=True)
        batch.settle(1, dead=True)
        self._telemetry.delivery("dead_letter", reason, 1)
        return None

    def _note(self, verdict: Verdict) -> None:
        self._telemetry.push(verdict.result)
        if isinstance(verdict, Delivered):
            self._state.succeed()
        if not isinstance(verdict, Retry):
            self._state.note(None, self._wall_s())
            return
        self._telemetry.retry(verdict.reason)
        if not verdict.of_stream:
            self._state.note(verdict.reason, self._wall_s())
