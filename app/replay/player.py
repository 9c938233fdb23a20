"""The three passes over the rows: ask and log, store, recall. How a row is written stands in event.py."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app.replay.batch import MAX_BODY_BYTES, Turn, batch_body, cut_bodies, group_by_prompt, split_turns
from app.replay.client import Client, encode
from app.replay.event import Run, Timing, entry, log_event, lookup
from app.replay.findings import DryRun, redacted_fields
from app.replay.pool import run_pass
from app.replay.progress import Progress
from app.replay.rows import Row
from app.replay.verdict import Found, Kept, Outcome, is_stored, judge_batch, judge_event, judge_lookup

PASSES = 3


@dataclass(frozen=True, slots=True)
class Logged:
    """The first pass of one row.

    found: the first look-up, never WRONG: what an earlier run left there is not this run's to judge.
    latency_ms: of that look-up. touched: names of what redaction changed, () for nothing, None where the
    service did not say.
    """

    row: Row
    found: Found
    latency_ms: float
    outcome: Outcome
    touched: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Stored:
    """The second pass for the rows of one prompt.

    rows: in the order in which they were set. stored: how many of the sets were acknowledged. expected: the
    answer that was acknowledged last, which is the one to find again.
    """

    rows: tuple[Row, ...]
    stored: int
    expected: str


@dataclass(frozen=True, slots=True)
class Recalled:
    """The third pass of one row."""

    row: Row
    found: Found


@dataclass(frozen=True, slots=True)
class Played:
    """What all three passes came to, each in the order of the rows."""

    logged: tuple[Logged, ...]
    stored: tuple[Stored, ...]
    recalled: tuple[Recalled, ...]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A row that was looked up, and the event that tells of it."""

    row: Row
    found: Found
    latency_ms: float
    event: Mapping[str, Any]

    def logged(self, outcome: Outcome, touched: tuple[str, ...] | None) -> Logged:
        return Logged(self.row, self.found, self.latency_ms, outcome, touched)


class Player:
    """Plays rows through the service, with as many threads as there are clients.

    batch_size: events in a batch, at most. stop: set to end the run early.
    """

    def __init__(
        self, run: Run, batch_size: int, clients: Sequence[Client], progress: Progress, stop: threading.Event
    ) -> None:
        self._run = run
        self._batch_size = batch_size
        self._clients = clients
        self._progress = progress
        self._stop = stop
        self._dry_run = DryRun()

    def play(self, rows: Sequence[Row]) -> Played:
        """Play all rows; every `set` is done before the first answer is asked for again.

        That order is what shows two prompts on one key: set and got one by one, each would find its own
        answer. Raises UnreachableError where the service stops answering.
        """
        logged = self._log_all(rows)
        stored = self._store_all(rows, [result.latency_ms for result in logged])
        return Played(tuple(logged), tuple(stored), tuple(self._recall_all(stored)))

    def _log_all(self, rows: Sequence[Row]) -> list[Logged]:
        self._progress.begin("ask and log")
        turns = split_turns(rows, self._batch_size)
        logged = run_pass(self._clients, turns, self._play_turn, self._stop)
        return sorted(logged, key=lambda result: result.row.number)

    def _store_all(self, rows: Sequence[Row], latencies_ms: Sequence[float]) -> list[Stored]:
        self._progress.begin("store")
        groups = ([(row, latencies_ms[row.number]) for row in group] for group in group_by_prompt(rows))
        stored = run_pass(self._clients, groups, self._store, self._stop)
        return sorted(stored, key=lambda result: result.rows[0].number)

    def _recall_all(self, stored: Sequence[Stored]) -> list[Recalled]:
        self._progress.begin("recall")
        expected = ((row, result.expected) for result in stored for row in result.rows)
        recalled = run_pass(self._clients, expected, self._recall, self._stop)
        return sorted(recalled, key=lambda result: result.row.number)

    def _play_turn(self, client: Client, turn: Turn) -> list[Logged]:
        asked = [self._ask(client, row) for row in turn.rows]
        if turn.batch_number is None:
            logged = [self._log_one(client, row) for row in asked]
        else:
            logged = self._log_batch(client, asked, turn.batch_number)
        self._progress.advance(len(logged))
        return logged

    def _ask(self, client: Client, row: Row) -> _Asked:
        answer = client.post("/cache/get", lookup(row, self._run))
        timing = Timing(answer.ttfb_ms, answer.latency_ms)
        event = log_event(row, self._run, timing, datetime.now(UTC))
        return _Asked(row, judge_lookup(answer, None), answer.latency_ms, event)

    def _log_one(self, client: Client, asked: _Asked) -> Logged:
        answer = client.post("/log", asked.event)
        outcome = judge_event(answer, asked.event["event_id"])
        if outcome.kept is not Kept.LOGGED:
            return asked.logged(outcome, None)
        payload = asked.event["payload"]
        fields = redacted_fields(answer, payload)
        # `/log` names fields only; the dry run also says which detector it was.
        return asked.logged(outcome, fields and (self._dry_run.ask(client, payload) or fields))

    def _log_batch(self, client: Client, asked: Sequence[_Asked], number: int) -> list[Logged]:
        lines = [encode(row.event) for row in asked]
        logged: list[Logged] = []
        for start, end in cut_bodies([len(line) for line in lines], MAX_BODY_BYTES):
            answer = client.post_body("/log/batch", *batch_body(lines[start:end], number))
            outcomes = judge_batch(answer, [row.event["event_id"] for row in asked[start:end]])
            logged += map(self._ask_dry_run, [client] * len(outcomes), asked[start:end], outcomes)
        return logged

    def _ask_dry_run(self, client: Client, asked: _Asked, outcome: Outcome) -> Logged:
        # `/log/batch` does not tell what it redacted.
        is_logged = outcome.kept is Kept.LOGGED
        return asked.logged(outcome, self._dry_run.ask(client, asked.event["payload"]) if is_logged else None)

    def _store(self, client: Client, timed_rows: Sequence[tuple[Row, float]]) -> list[Stored]:
        rows = tuple(row for row, _ in timed_rows)
        answers = [client.post("/cache/set", entry(row, self._run, ms)) for row, ms in timed_rows]
        stored = [row.answer for row, answer in zip(rows, answers, strict=True) if is_stored(answer)]
        self._progress.advance(len(rows))
        return [Stored(rows, len(stored), (stored or [rows[-1].answer])[-1])]

    def _recall(self, client: Client, task: tuple[Row, str]) -> list[Recalled]:
        row, expected = task
        answer = client.post("/cache/get", lookup(row, self._run))
        self._progress.advance(1)
        return [Recalled(row, judge_lookup(answer, expected))]
