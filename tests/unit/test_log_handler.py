"""The log calls, without HTTP: what is done in which order, and when a caller is slowed down."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from app.core.kpi import Observer
from app.core.loki import Streams
from app.core.recent import RecentIds
from app.errors import SpoolFullError
from app.handlers.logs import Clock, LogHandler, LogLimits
from app.handlers.reading import Reader
from app.handlers.reply import ANONYMOUS

if TYPE_CHECKING:
    from collections.abc import Sequence

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
            observe=Observer(()),
            spool=self,
            telemetry=self._telemetry(),
            streams=Streams(env="test", worker="0", max_streams=10),
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

    def lanes(self) -> Sequence[Any]:
        return ()

    def _telemetry(self) -> Any:
        bench = self

        class Telemetry:
            def events(self, names: Sequence[str], outcome: str) -> None:
                bench.steps += [outcome] * len(names)

            def redacted(self, findings: Sequence[Any]) -> None: ...

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
