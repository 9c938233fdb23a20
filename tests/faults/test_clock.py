"""The wall clock set back and ahead, by an hour and by eight days, while events are logged: none is lost.

What is stamped in a wrong time may be more than Loki takes (older than seven days, more than ten minutes ahead, an
hour behind its stream): then it is a dead letter with that reason. The stand-in keeps the true time.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import pytest

from tests.faults.test_loki_faults import BACK_S, QUICK, Accounts, some_events
from tests.harness.faketime import WallClock
from tests.harness.load import wait_until
from tests.standins.loki import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import StartService
    from tests.harness.service import RunningService
    from tests.standins.loki import LokiStandIn

HOUR_S = 3_600
JUMPS = {
    "an hour ahead": HOUR_S,
    "an hour back": -HOUR_S,
    "two hours back": -2 * HOUR_S,
    "eight days ahead": 8 * 24 * HOUR_S,
    "eight days back": -8 * 24 * HOUR_S,
}
REASONS = {"too_old", "too_new", "too_far_behind"}

jumps = pytest.mark.parametrize("jump_s", JUMPS.values(), ids=JUMPS.keys())


@pytest.fixture
def clock(tmp_path: Path) -> Iterator[WallClock]:
    """Give a clock that services can be started with."""
    with WallClock(tmp_path / "clock") as clock:
        yield clock


def _check_answers(service: RunningService, jump_s: float) -> None:
    """The service lives in the time that was set, and answers as ever."""
    status, headers, _ = service.request("GET", "/healthz")
    assert status == 200
    ahead = parsedate_to_datetime(headers["Date"]) - datetime.now(UTC)
    assert abs(ahead.total_seconds() - jump_s) < 120
    assert service.json("POST", "/cache/set", {"key": "k", "data": {"v": 1}})[0] == 200
    assert service.json("GET", "/cache/get?key=k")[1]["data"]["v"] == 1
    assert service.json("GET", "/readyz")[0] == 200
    assert service.json("GET", "/kpis")[0] == 200
    assert service.metrics()


def _settle(accounts: Accounts) -> None:
    """All that was acknowledged is in Loki, or a dead letter because of its time; no nanosecond was given twice."""
    loki = accounts.loki
    wait_until(
        lambda: len(loki.entries()) + len(accounts.buried()) >= len(accounts.sent), "all have left the spool", BACK_S
    )
    stored, buried = accounts.stored(), accounts.buried()
    assert stored.keys() | buried.keys() == accounts.sent.keys()
    assert {letter["reason"] for letter in buried.values()} <= REASONS
    stamps = {event_id: (entry.labels["worker"], entry.ns) for event_id, entry in stored.items()}
    stamps |= {event_id: (one["labels"]["worker"], int(one["timestamp_ns"])) for event_id, one in buried.items()}
    assert [stamp for stamp, times in Counter(stamps.values()).items() if times > 1] == []
    accounts.wait_for_account(dead_lettered=len(buried))


@jumps
def test_set_under_load(jump_s: float, clock: WallClock, start_service: StartService, loki: LokiStandIn) -> None:
    """The clock is set amid the requests of eight clients, and set right again: what has the true time arrives."""
    service = start_service(LOKI_URL=loki.url, **QUICK, **clock.env)
    workers = service.worker_pids()
    accounts = Accounts(service, loki)
    before = accounts.log_batches(some_events(300))
    with ThreadPoolExecutor(1) as pool:
        logging = pool.submit(accounts.log, some_events(1_000))
        loki.wait_for(400)
        clock.set(jump_s)
        logging.result(BACK_S)
    accounts.log_batches(some_events(300))
    _check_answers(service, jump_s)
    clock.set(0)
    after = accounts.log_batches(some_events(300)) + accounts.log(some_events(40))
    _check_answers(service, 0)
    _settle(accounts)
    assert accounts.stored().keys() >= {*before, *after}
    assert service.worker_pids() == workers


@jumps
def test_restarts_in_a_wrong_time(
    jump_s: float, clock: WallClock, start_service: StartService, loki: LokiStandIn
) -> None:
    """Loki is away, the clock is set, and the service stopped, killed and started: backlogs of both times leave."""
    service = start_service(LOKI_URL=loki.url, GRACEFUL_TIMEOUT_S="6", **QUICK, **clock.env)
    accounts = Accounts(service, loki)
    loki.stop()
    before = accounts.log_batches(some_events(300))
    clock.set(jump_s)
    accounts.log_batches(some_events(300))
    assert service.stop() == 0
    service.start()
    accounts.log_batches(some_events(300))
    _check_answers(service, jump_s)
    service.kill()
    service.start()
    accounts.log_batches(some_events(300))
    clock.set(0)
    after = accounts.log_batches(some_events(300))
    service.kill()
    service.start()
    loki.start()
    _settle(accounts)
    assert accounts.stored().keys() >= {*before, *after}


@jumps
def test_set_while_it_stops(jump_s: float, clock: WallClock, start_service: StartService, loki: LokiStandIn) -> None:
    """gunicorn reads the wall clock for its patience at a stop: short or long, the backlog stays and arrives."""
    service = start_service(LOKI_URL=loki.url, GRACEFUL_TIMEOUT_S="6", **QUICK, **clock.env)
    accounts = Accounts(service, loki)
    loki.inject(Fault(hang_s=600), times=None)
    accounts.log_batches(some_events(500))
    os.kill(service.pid, signal.SIGTERM)
    clock.set(jump_s)
    service.stop()
    clock.set(0)
    service.start()
    loki.clear_faults()
    accounts.log_batches(some_events(100))
    accounts.settle()


def test_small_steps_back(clock: WallClock, start_service: StartService, loki: LokiStandIn) -> None:
    """As a fast clock is mended, by less than a second in all: nanoseconds still rise, and order is kept."""
    service = start_service(LOKI_URL=loki.url, **QUICK, **clock.env)
    accounts = Accounts(service, loki)
    ids: list[str] = []
    for step in range(20):
        clock.set(-0.04 * step)
        ids += accounts.log_batches([{"event": "a", "payload": {"step": step, "n": n}} for n in range(50)])
    accounts.settle()
    stored = accounts.stored()
    assert [event_id for event_id, _ in sorted(stored.items(), key=lambda item: item[1].ns)] == ids
    _settle(accounts)


def test_clock_that_stands_still(clock: WallClock, start_service: StartService, loki: LokiStandIn) -> None:
    """Many events at what the clock calls the same instant: each has a nanosecond of its own, also when it goes on."""
    service = start_service(LOKI_URL=loki.url, **QUICK, **clock.env)
    accounts = Accounts(service, loki)
    clock.stop_at(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}")
    accounts.log_batches([{"event": "a", "payload": {"n": n}} for n in range(2_000)])
    accounts.log([{"event": "a", "payload": {"n": n}} for n in range(200)])
    clock.set(0)
    accounts.log([{"event": "a", "payload": {"n": n}} for n in range(200)])
    accounts.settle()
    _settle(accounts)
