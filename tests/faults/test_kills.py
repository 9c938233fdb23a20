"""SIGKILL at random instants under load: what was acknowledged is delivered, by whichever worker is left or comes."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.faults.kills_audit import faults_of_entries, faults_of_integrity, payload_bytes, unique_ids
from tests.faults.kills_load import Clients, Heard, event_of, marker_of
from tests.faults.sizes import KILLS, SEED
from tests.harness.load import wait_until
from tests.standins.loki import Entry, Fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import StartService
    from tests.harness.service import RunningService
    from tests.standins.loki import LokiStandIn

WORKERS = 2
CLIENTS = 6
GROUP_KILL_EVERY = 4  # kills, of which one is of the whole process group
OUTAGE_EVERY = 3  # kills, of which two come while Loki takes nothing, or not at once
MIN_WAIT_S, MAX_WAIT_S = 0.1, 1.9  # until the next kill: often a worker is killed while another still boots
READ_TIMEOUT_S = 1.0
SETTLE_S = 90.0  # to deliver all: the wait after many refusals may be long
QUIET_S = 5.0  # how long nothing may have come, and /readyz have shown nothing spooled, before the rest is given up
EMPTY_S = 20.0  # until what is delivered is deleted
ENV = {
    "WEB_CONCURRENCY": str(WORKERS),
    "BATCH_MAX_AGE_S": "0.05",
    "LOKI_READ_TIMEOUT_S": str(READ_TIMEOUT_S),
    # Little enough that a long outage meets the bound too: a 503 is no acknowledgement.
    "SPOOL_MAX_BYTES": str(2 << 20),
}


def _stumbling(seed: int) -> Callable[..., Fault | None]:
    """A script for Loki in a bad hour: each push meets its own fault, or none."""
    chance = random.Random(seed)
    faults = (
        None,
        None,
        Fault(reset=True),
        Fault(reset=True, store=True),
        Fault(status=503),
        Fault(status=500, store=True),
        Fault(status=429, headers={"Retry-After": "1"}),
        Fault(hang_s=0.3),
        Fault(hang_s=READ_TIMEOUT_S + 0.5),
    )
    return lambda *_: chance.choice(faults)


OUTAGES: dict[str, Callable[[LokiStandIn], None]] = {
    "500": lambda loki: loki.inject(Fault(status=500, text="boom"), times=None),
    "reset after storing": lambda loki: loki.inject(Fault(reset=True, store=True), times=None),
    "stored too late for the sender": lambda loki: loki.inject(Fault(hang_s=READ_TIMEOUT_S + 1), times=None),
    "stumbling": lambda loki: setattr(loki, "script", _stumbling(SEED)),
}


class Kill(NamedTuple):
    """One kill: of the whole process group or of a worker; `outage` sets in or goes on with it (None: Loki is well)."""

    is_group: bool
    outage: str | None


def _plan(kills: int, chance: random.Random) -> list[Kill]:
    """A quarter are group kills; two of three come in an outage; the last is a worker's, in an outage.

    The last backlog must be adopted by a worker that lives: no start comes after it.
    """
    last = kills - 1
    groups = {
        chance.randrange(start, min(start + GROUP_KILL_EVERY, last)) for start in range(0, last, GROUP_KILL_EVERY)
    }
    outages = [outage for _ in range(0, kills, len(OUTAGES)) for outage in chance.sample(list(OUTAGES), len(OUTAGES))]
    plan = [
        Kill(number in groups, outages[number // OUTAGE_EVERY] if number % OUTAGE_EVERY else None)
        for number in range(kills)
    ]
    return [*plan[:-1], Kill(is_group=False, outage=plan[-1].outage or outages[-1])]


class Killer:
    """Carries the plan out and counts; what must hold is asked elsewhere."""

    def __init__(self, service: RunningService, loki: LokiStandIn, clients: Clients, chance: random.Random) -> None:
        self._service = service
        self._loki = loki
        self._clients = clients
        self._chance = chance
        self._outage: str | None = None
        self.counts: Counter[str] = Counter()

    def carry_out(self, kill: Kill) -> None:
        """Set the weather, let a random time pass, kill."""
        if kill.outage != self._outage:
            self._loki.clear_faults()
            if kill.outage is not None:
                OUTAGES[kill.outage](self._loki)
            self._outage = kill.outage
        time.sleep(self._chance.uniform(MIN_WAIT_S, MAX_WAIT_S))  # the random instant
        self.counts["with a backlog"] += self._clients.acknowledged > len(self._loki.entries())
        if kill.is_group:
            self._service.kill()
            self._service.start()
            self.counts["groups"] += 1
            return
        wait_until(lambda: bool(self._service.worker_pids()), "there is a worker to kill")
        self._service.kill_worker(self._chance.choice(self._service.worker_pids()))
        self.counts["workers"] += 1


def _integrity(service: RunningService) -> dict[str, int] | None:
    status, answer = service.json("GET", "/readyz")
    assert status in {HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE}
    found: dict[str, int] | None = answer.get("integrity")
    return found


class Count(NamedTuple):
    """What is where by now, and what is wrong with it."""

    stored: set[str]
    letters: list[dict[str, Any]]
    lost: set[str]
    integrity_faults: list[str]


def _count(service: RunningService, loki: LokiStandIn, heard: Heard) -> Count:
    integrity = _integrity(service)  # before the rest: a figure that runs ahead of the truth is seen
    stored, letters = unique_ids(loki.entries()), _dead_letters(service)
    lost = heard.acknowledged.keys() - stored - {letter["event_id"] for letter in letters}
    faults = faults_of_integrity(integrity, acknowledged=len(heard.acknowledged), stored=len(stored), dead=len(letters))
    return Count(stored, letters, lost, faults)


def _settled(service: RunningService, loki: LokiStandIn, heard: Heard) -> Count:
    """Count once nothing waits and the figures are right; or when for a while nothing more has come, or in the end."""
    deadline_s = quiet_from_s = time.monotonic()
    deadline_s += SETTLE_S
    before = -1
    while True:
        count = _count(service, loki, heard)
        now_s = time.monotonic()
        if not (count.lost or count.integrity_faults) or now_s > deadline_s:
            return count
        spooled = (_integrity(service) or {}).get("spooled", 0)
        if spooled or len(count.stored) != before:
            quiet_from_s, before = now_s, len(count.stored)
        if now_s > quiet_from_s + QUIET_S:
            return count
        time.sleep(0.2)


def _dead_letters(service: RunningService) -> list[dict[str, Any]]:
    paths = sorted((service.data_dir / "dead-letters").glob("*.ndjson"))
    return [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]


def _segments(service: RunningService) -> list[str]:
    """The segment files that are there, as `slot/name`."""
    spool = service.data_dir / "spool"
    return sorted(str(path.relative_to(spool)) for path in spool.glob("*/*.seg"))


@pytest.mark.timeout(240 + 10 * KILLS)
def test_killed_at_any_instant_nothing_acknowledged_is_lost(start_service: StartService, loki: LokiStandIn) -> None:
    """20 SIGKILLs under load, Loki failing at most of them: each acknowledged event is stored once, as it was sent."""
    print(f"\nkills: seed {SEED}")  # noqa: T201 - for whatever breaks before the summary
    chance = random.Random(SEED)
    service = start_service(LOKI_URL=loki.url, **ENV)
    with Clients(service.port, clients=CLIENTS, seed=SEED) as clients:
        killer = Killer(service, loki, clients, chance)
        for kill in _plan(KILLS, chance):
            killer.carry_out(kill)
        heard = clients.stop()
    loki.clear_faults()
    count = _settled(service, loki, heard)

    entries = loki.entries()
    workers = sorted({entry.labels["worker"] for entry in entries})
    summary = (
        f"seed {SEED}: {KILLS} kills {dict(killer.counts)}, events {dict(heard.answers)}, "
        f"{len(heard.acknowledged)} acknowledged, {len(count.stored)} stored, "
        f"{len(count.letters)} dead, {len(count.lost)} lost, streams of workers {', '.join(workers)}"
    )
    faults = [
        *faults_of_entries(heard.acknowledged, entries, count.letters),
        *count.integrity_faults,
        *heard.wrong[:5],
    ]
    if len(workers) <= WORKERS and KILLS >= 2 * OUTAGE_EVERY:
        faults.append("no fresh event took another stream while a dead worker's backlog held its own")
    print(f"\nkills: {summary}, {len(faults)} faults")  # noqa: T201 - seen with -s
    assert not faults, "\n".join([summary, *faults])
    # Otherwise the run has shown less than it says.
    assert killer.counts["with a backlog"] >= KILLS // 4, summary
    assert heard.answers[200] > 10 * KILLS, summary
    # What a living worker writes to may stay, delivered, until it stops: what the dead have left must be gone.
    wait_until(lambda: len(_segments(service)) <= WORKERS, "the segments of dead workers are deleted", EMPTY_S)
    service.stop(timeout_s=60)
    assert _segments(service) == [], summary
    service.start()
    assert _settled(service, loki, heard).integrity_faults == [], f"after another start; {summary}"
    assert len(loki.entries()) == len(entries), f"stored more after another start; {summary}"


# The audit itself


def _entry(marker: str, event_id: str = "", *, ns: int = 1, worker: str = "0", line: str = "") -> Entry:
    event = event_of(marker)
    labels = {"service_name": event["payload"]["service"], "event": event["event"], "worker": worker}
    head = f'{{"event_id":"{event_id}","event":"{event["event"]}","received_at":"2026-01-01T00:00:00.000000001Z"'
    return Entry("fake", labels, ns, line or f'{head},"payload":{payload_bytes(marker)}}}', {})


def _alike() -> list[str]:
    """Markers of one client's events that share a stream and have no id of their own, in the order of sending."""
    events = {marker: event_of(marker) for marker in (marker_of(0, number) for number in range(100))}
    kinds = {marker: (event["event"], event["payload"]["service"]) for marker, event in events.items()}
    own = {marker for marker, event in events.items() if "event_id" in event}
    return [marker for marker, kind in kinds.items() if kind == ("tool_execution", "chat-ui") and marker not in own]


A, B, C = _alike()[:3]
TWO = [_entry(A, "evt_a", ns=1), _entry(B, "evt_b", ns=2)]
ACKNOWLEDGED = {"evt_a": A, "evt_b": B}

AUDITS: dict[str, tuple[list[Entry], list[dict[str, Any]], list[str]]] = {
    "all is well": (TWO, [], []),
    "one that nobody acknowledged": ([*TWO, _entry(C, "evt_c")], [], []),
    "lost": (TWO[:1], [], ["1 of 2 acknowledged and lost, such as evt_b"]),
    "buried": (TWO[:1], [{"event_id": "evt_b"}], ["1 dead letters although Loki refused none, such as evt_b"]),
    "twice, at another nanosecond": ([*TWO, _entry(B, "evt_b", ns=3)], [], ["1 stored more than once, such as evt_b"]),
    "twice, in another stream": (
        [*TWO, _entry(A, "evt_a", worker="1")],
        [],
        ["1 stored more than once, such as evt_a"],
    ),
    "under two ids": ([*TWO, _entry(B, "evt_z", ns=3)], [], [f"1 stored under two ids, such as {B}"]),
    "another's payload": (
        [TWO[0], _entry(A, "evt_b", ns=2)],
        [],
        ["1 not as they were sent, such as evt_b", f"1 stored under two ids, such as {A}"],
    ),
    "a line that is none of ours": (
        [*TWO, _entry(C, line="half a li")],
        [],
        ["1 not as they were sent, such as half a li"],
    ),
    "a space more": (
        [TWO[0], _entry(B, line=TWO[1].line.replace('"values":', '"values": '))],
        [],
        ["1 not as they were sent, such as evt_b"],
    ),
    "out of order": (
        [_entry(B, "evt_b"), _entry(A, "evt_a")],
        [],
        [f"1 out of order within a stream, such as {A}"],
    ),
    "in another order, in two streams": ([_entry(B, "evt_b"), _entry(A, "evt_a", worker="1")], [], []),
}


@pytest.mark.parametrize(("entries", "letters", "expected"), AUDITS.values(), ids=AUDITS)
def test_audit(entries: list[Entry], letters: list[dict[str, Any]], expected: list[str]) -> None:
    """Each kind of loss and damage is found and named, and nothing else is."""
    assert faults_of_entries(ACKNOWLEDGED, entries, letters) == expected


@pytest.mark.parametrize(
    ("integrity", "faults"),
    [
        ({"accepted": 5, "delivered": 4, "spooled": 0, "dead_lettered": 1, "corrupt": 0, "difference": 0}, 0),
        ({"accepted": 6, "delivered": 4, "spooled": 0, "dead_lettered": 1, "corrupt": 0, "difference": 1}, 1),
        ({"accepted": 5, "delivered": 4, "spooled": 1, "dead_lettered": 0, "corrupt": 0, "difference": 0}, 1),
        ({"accepted": 2, "delivered": 1, "spooled": 0, "dead_lettered": 1, "corrupt": 0, "difference": 0}, 2),
        (None, 1),
    ],
)
def test_audit_of_integrity(integrity: dict[str, int] | None, faults: int) -> None:
    """The service's own figures are held against what was counted outside."""
    assert len(faults_of_integrity(integrity, acknowledged=3, stored=4, dead=1)) == faults
