"""The log calls, without HTTP: what is done in which order, and when a caller is slowed down."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from app.audit import Audit
from app.core.kpi import Observer
from app.core.loki import Streams
from app.core.recent import RecentIds
from app.errors import SpoolFullError
from app.handlers.logs import Clock, LogHandler, LogLimits
from app.handlers.reading import Reader
from app.handlers.reply import ANONYMOUS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from app.core.events import Redacted
    from app.core.rules import Rules

EVENT = {"event": "e", "payload": {"note": "mail bob@example.org"}}


class Bench:
    """A handler whose spool and telemetry write down what is asked of them."""

    def __init__(self, rules: Rules, *, full: bool = False) -> None:
        self.steps: list[str] = []
        self.kept: list[Redacted] = []
        self.full = full
        self.handler = LogHandler(
            rules=rules,
            audit=Audit(rules, self._telemetry(), every=0, new_id=lambda: "evt_1"),
            observe=Observer(()),
            spool=self,
            telemetry=self._telemetry(),
            streams=Streams(env="test", max_streams=10),
            recent=RecentIds(10, 60),
            limits=LogLimits(event_bytes=10_000, line_bytes=10_000, batch_bytes=100_000, batch_events=10),
            clock=Clock(stamp_ns=lambda: 1, monotonic_s=lambda: 1.0, new_id=lambda: "evt_1"),
            reader=Reader(rules),
            breathe=lambda: None,
            ease=lambda: self.steps.append("ease"),
        )

    def append(self, entries: Sequence[Redacted], now_s: float) -> None:
        assert now_s == 1.0
        if self.full:
            raise SpoolFullError
        self.steps.append("keep")
        self.kept += entries

    def take(self, now_s: float, *, flush: bool = False) -> float:
        raise AssertionError(now_s, flush)

    def _telemetry(self) -> Any:
        bench = self

        class Telemetry:
            def events(self, names: Sequence[str], outcome: str) -> None:
                bench.steps += [outcome] * len(names)

            def redacted(self, findings: Sequence[Any], unasked: int) -> None: ...

            def observe(self, observations: Sequence[Any], unusable: Sequence[str]) -> None: ...

        return Telemetry()


@pytest.mark.parametrize("is_batch", [False, True], ids=["log", "batch"])
def test_an_event_is_kept_then_counted_then_the_crowd_is_minded(rules: Rules, *, is_batch: bool) -> None:
    """And what is kept is redacted."""
    bench = Bench(rules)
    if is_batch:
        reply = bench.handler.log_batch(json.dumps([EVENT]).encode(), ANONYMOUS, ndjson=False)
    else:
        reply = bench.handler.log(json.dumps(EVENT).encode(), ANONYMOUS)
    assert reply.status == 200
    assert bench.steps == ["keep", "accepted", "ease"]
    assert b"[REDACTED_EMAIL]" in bench.kept[0].line
    assert b"bob" not in bench.kept[0].line


@pytest.mark.parametrize("is_batch", [False, True], ids=["log", "batch"])
def test_what_is_not_kept_is_refused_at_once(rules: Rules, *, is_batch: bool) -> None:
    """A full spool is said without a wait; nothing is counted as accepted."""
    bench = Bench(rules, full=True)
    body = json.dumps([EVENT] if is_batch else EVENT).encode()
    reply = bench.handler.log_batch(body, ANONYMOUS, ndjson=False) if is_batch else bench.handler.log(body, ANONYMOUS)
    assert reply.status == 503
    assert bench.steps == ["refused"]


def test_a_faulty_event_is_refused_at_once(rules: Rules) -> None:
    """Neither kept nor waited for."""
    bench = Bench(rules)
    assert bench.handler.log(b'{"event": "e"}', ANONYMOUS).status == 422
    assert bench.steps == ["refused"]


class SlowBench(Bench):
    """A spool that is asked again while an append is under way, and may fail."""

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        self.meanwhile: Callable[[], None] = lambda: None
        self.fails = 0

    def append(self, entries: Sequence[Redacted], now_s: float) -> None:
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        if self.fails and entries:
            self.fails -= 1
            raise SpoolFullError
        super().append(entries, now_s)


MINE = json.dumps({**EVENT, "event_id": "mine-1"}).encode()


def test_a_repeated_event_is_kept_once(rules: Rules) -> None:
    """The same id again is answered as before, and nothing new is kept."""
    bench = Bench(rules)
    assert [bench.handler.log(MINE, ANONYMOUS).status for _ in range(3)] == [200] * 3
    assert len(bench.kept) == 1
    assert bench.steps.count("accepted") == 1
    assert bench.steps.count("duplicate") == 2


def test_a_repeat_asks_the_spool_before_it_is_answered(rules: Rules) -> None:
    """Its first try may be on its way to the disk: an answer from memory could be a promise that nobody keeps."""
    bench = SlowBench(rules)
    steps: list[str] = []
    bench.meanwhile = lambda: steps.append(
        f"{bench.handler.log(MINE, ANONYMOUS).status} after {bench.steps.count('keep')}"
    )
    assert bench.handler.log(MINE, ANONYMOUS).status == 200
    assert steps == ["200 after 1"]
    assert [entry.event_id for entry in bench.kept] == ["mine-1"]


def test_a_repeat_whose_first_try_failed_is_kept_itself(rules: Rules) -> None:
    """The first is refused while the second waits: the second must not be answered as its duplicate."""
    bench = SlowBench(rules)
    answers: list[int] = []

    def first_fails() -> None:
        # As a caller's retry sees it: known when it came, and forgotten when its own append returns.
        bench.meanwhile = lambda: None
        bench.handler._recent.discard("default", "mine-1")  # noqa: SLF001 - what the first try's failure does

    bench.handler._recent.add("default", "mine-1", 1.0)  # noqa: SLF001 - the first try is under way
    bench.meanwhile = first_fails
    answers.append(bench.handler.log(MINE, ANONYMOUS).status)
    assert answers == [200]
    assert [entry.event_id for entry in bench.kept] == ["mine-1"]


def test_what_was_not_kept_is_not_remembered(rules: Rules) -> None:
    """A retry after a 503 is kept."""
    bench = SlowBench(rules)
    bench.fails = 1
    assert [bench.handler.log(MINE, ANONYMOUS).status for _ in range(2)] == [503, 200]
    assert [entry.event_id for entry in bench.kept] == ["mine-1"]


@pytest.mark.parametrize("given", ["user4711-click", "DE89370400440532013000", "GHP".lower() + "_" + "a1B2c3" * 6])
@pytest.mark.parametrize("is_batch", [False, True], ids=["log", "batch"])
def test_an_id_that_holds_what_is_personal_is_replaced(rules: Rules, given: str, *, is_batch: bool) -> None:
    """Neither line nor metadata nor answer have it; a retry with it is still the same event."""
    bench = Bench(rules)
    event = {**EVENT, "event_id": given}
    answers = []
    for _ in range(2):
        if is_batch:
            reply = bench.handler.log_batch(json.dumps([event]).encode(), ANONYMOUS, ndjson=False)
            answers.append(json.loads(reply.body)["event_ids"][0])
        else:
            reply = bench.handler.log(json.dumps(event).encode(), ANONYMOUS)
            answers.append(json.loads(reply.body)["event_id"])
    (kept,) = bench.kept
    assert answers == [kept.event_id, kept.event_id]
    assert kept.event_id.startswith("evt_")
    assert given not in repr(kept)


@pytest.mark.parametrize(
    "given", ["mine-1", "evt_1234567890", "4711", "550e8400-e29b-41d4-a716-446655440000", "1756895400000"]
)
def test_any_other_id_is_kept_as_it_is(rules: Rules, given: str) -> None:
    """An id of an event is no person's (docs/redaction.md), and its caller looks for it."""
    bench = Bench(rules)
    reply = bench.handler.log(json.dumps({**EVENT, "event_id": given}).encode(), ANONYMOUS)
    assert json.loads(reply.body)["event_id"] == bench.kept[0].event_id == given
