"""A soak: a paced load while workers are recycled and Loki stumbles. Nothing is lost, and nothing grows.

One run, then a test for each promise about it. A minute by default; `make soak` asks for ten.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.faults import sizes
from tests.harness.load import Client, wait_until
from tests.harness.service import RunningService
from tests.standins.loki import Fault, LokiStandIn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ARRIVAL_S = 120.0
"""How long the last events may take once the load has ended and Loki is well: the backoff of an outage is in it."""

pytestmark = pytest.mark.timeout(sizes.SOAK_S + 2 * ARRIVAL_S + 120)

WARM_UP_S = 5.0
CLIENTS = 8
SINGLES, BATCHED = 10, 15
"""A beat: so many events one by one, and so many in one batch."""

BEAT_EVENTS = SINGLES + BATCHED
BEATS_A_CONNECTION = 10
"""Then a new one: a kept connection would stay with its worker, and a new worker would get none."""

OUTAGE_S = min(5.0, sizes.SOAK_RECYCLE_S / 4)
OUTAGES = (
    Fault(status=500, text="boom"),
    Fault(hang_s=OUTAGE_S),  # stored in the end, when nobody waits for the answer any more
    Fault(reset=True, store=True),
)

EVENTS = ("tool_execution", "response_generation", "soak")
SERVICES = ("pipelines-gateway", "web")
TEXTS = tuple(f"{word} " * 60 for word in ("bread", "bridge", "garden", "island", "letter", "music", "river"))

MAY_GROW_SHARE = 0.15  # seen: 0.01
MORE_FILES_OPEN = 2
"""Descriptors that are no sockets: fewer than the recycled workers, so that one leaked for each is found."""

MORE_SOCKETS = 8
"""Kept connections to Loki: each shipping greenlet may have one, those of an adopted backlog too."""

MORE_FILES, MORE_FILES_MEANWHILE = 8, 40
"""Files in DATA_DIR: another slot or two; and segments that an outage leaves unsent."""

SEGMENTS_AT_REST = 4


class Look(NamedTuple):
    """A process at an instant."""

    at_s: float
    age_s: float
    """Since it was first seen."""
    pid: int
    rss_bytes: int


class Descriptors(NamedTuple):
    """Open file descriptors of a process."""

    files: int
    sockets: int


class Rest(NamedTuple):
    """The service when it has nothing to do."""

    descriptors: dict[int, Descriptors]
    """By process; the master's too."""
    files: int
    """In DATA_DIR."""


class Load:
    """Sends events at a pace. Keeps the ids that were acknowledged with their numbers, and nothing of the bodies."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self.acknowledged: dict[str, int] = {}
        self.refused: Counter[int | str] = Counter()
        """Events by status, or "broken": they may have been taken, and nobody was told so."""

    def run(self, seconds: float) -> None:
        """Load for so long; what a slow machine cannot send in time is left out, not made up for."""
        start_s = time.monotonic()
        with ThreadPoolExecutor(CLIENTS) as pool:
            for done in [pool.submit(self._client, first, start_s, start_s + seconds) for first in range(CLIENTS)]:
                done.result()

    def _client(self, first: int, start_s: float, end_s: float) -> None:
        turns = itertools.count(first, CLIENTS)
        while time.monotonic() < end_s:
            with Client(self._port) as client:
                for turn in itertools.islice(turns, BEATS_A_CONNECTION):
                    due_s = min(end_s, start_s + turn * BEAT_EVENTS / sizes.SOAK_EVENTS_PER_S)
                    time.sleep(max(0.0, due_s - time.monotonic()))
                    if time.monotonic() >= end_s:
                        break
                    self._beat(client)

    def _beat(self, client: Client) -> None:
        numbers = list(itertools.islice(self._numbers, BEAT_EVENTS))
        for number in numbers[:SINGLES]:
            self._send(client, "/log", _event(number), [number])
        self._send(client, "/log/batch", {"events": [_event(n) for n in numbers[SINGLES:]]}, numbers[SINGLES:])

    def _send(self, client: Client, path: str, value: dict[str, Any], numbers: Sequence[int]) -> None:
        status: int | str = "broken"
        ids: list[str] = []
        with suppress(OSError, http.client.HTTPException):  # a worker that ends cuts idle connections
            status, answer = client.json("POST", path, value)
            if status == http.HTTPStatus.OK:
                ids = answer.get("event_ids") or [answer["event_id"]]
        with self._lock:
            if ids:
                self.acknowledged.update(zip(ids, numbers, strict=True))
            else:
                self.refused[status] += len(numbers)


def _event(number: int) -> dict[str, Any]:
    payload = {
        "n": number,
        "service": SERVICES[number // len(EVENTS) % len(SERVICES)],
        "response": {"text": TEXTS[number % len(TEXTS)], "latency_ms": 250, "tokens": 150},
    }
    return {"event": EVENTS[number % len(EVENTS)], "payload": payload}


def _outage(at_s: float) -> Fault | None:
    """What befalls a push so long after the load began: an outage each period.

    Each other one begins shortly before a worker is recycled, and lasts for longer than that may spend on delivering.
    """
    number = int(at_s + OUTAGE_S / 4) // sizes.SOAK_RECYCLE_S
    begins_s = sizes.SOAK_RECYCLE_S * (number if number % 2 else number + 0.5) - OUTAGE_S / 4
    return OUTAGES[number % len(OUTAGES)] if number and begins_s <= at_s < begins_s + OUTAGE_S else None


@dataclass(repr=False)
class Soak:
    """The run: what was done, and what was seen."""

    service: RunningService
    loki: LokiStandIn
    load: Load
    master: int = 0
    steady: int = 0
    """The worker that is not recycled: what adopts the others' backlogs for as long as the run lasts."""
    recycled: list[int] = field(default_factory=list)
    workers: set[int] = field(default_factory=set)
    """All that were ever seen."""
    looks: list[Look] = field(default_factory=list)
    most_files: int = 0
    before: Rest = Rest({}, 0)
    after: Rest = Rest({}, 0)
    arrived: Counter[str] = field(default_factory=Counter)
    """By event id, as Loki holds them."""
    altered: list[str] = field(default_factory=list)
    """Ids under which another event arrived than was acknowledged."""
    integrity: dict[str, int] | None = None

    def run(self) -> None:
        """Warm up, look at what a service at rest takes, load, and wait until everything has arrived."""
        self.master, self.steady = self.service.pid, self.service.worker_pids()[0]
        self.load.run(WARM_UP_S)
        self._settle()
        self.before = self._rest()
        start_s = time.monotonic()
        self.loki.script = lambda *_: _outage(time.monotonic() - start_s)
        with ThreadPoolExecutor(1) as pool:
            loading = pool.submit(self.load.run, float(sizes.SOAK_S))
            while not loading.done():
                self._look()
                self._recycle_when_due(time.monotonic() - start_s)
                time.sleep(1.0)
            loading.result()
        self.loki.clear_faults()
        self._settle()
        self.after = self._rest()
        self._read_arrivals()

    def _recycle_when_due(self, at_s: float) -> None:
        is_due = at_s >= sizes.SOAK_RECYCLE_S * (len(self.recycled) + 1)
        born_s = {look.pid: look.at_s - look.age_s for look in self.looks}
        others = [pid for pid in self.service.worker_pids() if pid not in {self.steady, *self.recycled}]
        # One that was born this second may not have taken its place yet.
        ready = [pid for pid in others if time.monotonic() - born_s.get(pid, time.monotonic()) > 1.0]
        if is_due and ready and at_s < sizes.SOAK_S - OUTAGE_S:
            os.kill(ready[0], signal.SIGTERM)
            self.recycled.append(ready[0])

    def _look(self) -> None:
        workers = self.service.worker_pids()
        self.workers.update(workers)
        first_seen_s = {look.pid: look.at_s for look in reversed(self.looks)}
        now_s = time.monotonic()
        for pid in (self.master, *workers):
            with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                self.looks.append(Look(now_s, now_s - first_seen_s.get(pid, now_s), pid, _rss_bytes(pid)))
        self.most_files = max(self.most_files, _files_below(self.service.data_dir))

    def _settle(self) -> None:
        """Wait until Loki has all that was acknowledged and the service says that nothing waits; tests say if not."""
        deadline_s = time.monotonic() + ARRIVAL_S
        with suppress(TimeoutError):
            self.loki.wait_for(len(self.load.acknowledged), ARRIVAL_S)
        while time.monotonic() < deadline_s:
            self.integrity = self.service.json("GET", "/readyz")[1].get("integrity")
            held = len(self.loki.entries())
            if self.integrity is None or (not self.integrity["spooled"] and held >= len(self.load.acknowledged)):
                return
            time.sleep(0.5)

    def _rest(self) -> Rest:
        """Wait until two workers serve and hold as many descriptors as a second ago, three times in a row."""
        wait_until(
            lambda: len(pids := self.service.worker_pids()) == 2 and not {*pids} & {*self.recycled},
            "recycled workers have been replaced",
            60,
        )
        seen: list[dict[int, Descriptors]] = []
        while len(seen) < 20 and not (len(seen) > 2 and seen[-1] == seen[-2] == seen[-3]):
            time.sleep(1.0)
            seen.append({pid: _descriptors(pid) for pid in (self.master, *self.service.worker_pids())})
        return Rest(seen[-1], _files_below(self.service.data_dir))

    def _read_arrivals(self) -> None:
        for entry in self.loki.entries():
            line = json.loads(entry.line)
            event_id = line["event_id"]
            self.arrived[event_id] += 1
            if self.load.acknowledged.get(event_id, line["payload"]["n"]) != line["payload"]["n"]:
                self.altered.append(event_id)

    # What is asked of it

    def rss_of(self, pid: int, *, from_age_s: float = 0.0, to_age_s: float = float("inf")) -> float:
        """Return the median of a process's resident memory in bytes, within these ages; 0 where it was not seen."""
        found = [look.rss_bytes for look in self.looks if look.pid == pid and from_age_s <= look.age_s < to_age_s]
        return median(found) if found else 0.0

    def rss_thirds(self, pid: int) -> tuple[float, float]:
        """Return what a process held in the first and in the last third of the run."""
        third_s = sizes.SOAK_S / 3
        return self.rss_of(pid, to_age_s=third_s), self.rss_of(pid, from_age_s=2 * third_s)

    def rss_at_equal_age(self) -> tuple[float, float]:
        """Return what the first and the last of the recycled workers held in the last half of their lives."""
        ages = {"from_age_s": sizes.SOAK_RECYCLE_S / 2, "to_age_s": float(sizes.SOAK_RECYCLE_S)}
        found = [rss for pid in self.recycled if (rss := self.rss_of(pid, **ages))]
        return (found[0], found[-1]) if found else (0.0, 0.0)

    def __str__(self) -> str:
        """The report."""
        acknowledged = self.load.acknowledged
        lost = len(acknowledged.keys() - self.arrived.keys())
        per_s = len(acknowledged) / (sizes.SOAK_S + WARM_UP_S)
        before, after = (
            sorted(tuple(one) for pid, one in rest.descriptors.items() if pid != self.master)
            for rest in (self.before, self.after)
        )
        answers = dict(Counter(push.status for push in self.loki.pushes))
        return (
            f"soak of {sizes.SOAK_S} s: {len(acknowledged):,} events acknowledged ({per_s:,.0f}/s), "
            f"not acknowledged {dict(self.load.refused)}, lost {lost:,}, twice {self.twice:,}; "
            f"{len(self.recycled)} workers recycled; Loki answered {answers}; "
            f"RSS in MiB: steady worker {_mib(self.rss_thirds(self.steady))}, master "
            f"{_mib(self.rss_thirds(self.master))}, recycled at equal age {_mib(self.rss_at_equal_age())}; "
            f"workers' descriptors (files, sockets) {before} to {after}; files in DATA_DIR "
            f"{self.before.files} to {self.after.files}, at most {self.most_files}; integrity {self.integrity}"
        )

    @property
    def twice(self) -> int:
        """Events that Loki holds more than once."""
        return sum(number > 1 for number in self.arrived.values())


def _mib(pair: tuple[float, float]) -> str:
    return f"{pair[0] / 2**20:.1f} to {pair[1] / 2**20:.1f}"


def _rss_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    line = next((line for line in status.splitlines() if line.startswith("VmRSS:")), None)
    if line is None:  # a zombie has no memory
        raise ProcessLookupError(pid)
    return int(line.split()[1]) * 1024


def _descriptors(pid: int) -> Descriptors:
    targets = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            targets.append(str(path.readlink()))
    sockets = sum(target.startswith("socket:") for target in targets)
    return Descriptors(len(targets) - sockets, sockets)


def _files_below(folder: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(folder))


@pytest.fixture(scope="module")
def soak(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Soak]:
    """Run the soak once; the service is still there, at rest."""
    env = {
        "WEB_CONCURRENCY": "2",
        "LOKI_READ_TIMEOUT_S": "1",
        "GRACEFUL_TIMEOUT_S": "6",  # 2 s of it for delivering: less than what is left of the outage
        "KPI_WINDOW_S": "5",  # what is kept for a window is all there early in the run
        "SPOOL_SYNC": "group",
    }
    with (
        LokiStandIn() as loki,
        RunningService({**env, "LOKI_URL": loki.url}, folder=tmp_path_factory.mktemp("soak")) as service,
    ):
        run = Soak(service, loki, Load(service.port))
        run.run()
        print(f"\n{run}", flush=True)  # noqa: T201 - for whoever runs it by hand, with -s
        yield run


def test_every_acknowledged_event_arrives_once(soak: Soak) -> None:
    """Each event that was answered 200 is in Loki, once, as it was acknowledged; recycled workers lost none."""
    missing = soak.load.acknowledged.keys() - soak.arrived.keys()
    assert not missing, f"{len(missing)} acknowledged events are missing: {soak}"
    assert soak.twice == 0, str(soak)
    assert soak.altered == []


def test_the_load_was_one(soak: Soak) -> None:
    """The run shows something only if most of the load was taken, Loki did fail, and workers did end and come back."""
    planned = sizes.SOAK_EVENTS_PER_S * (sizes.SOAK_S + WARM_UP_S)
    assert len(soak.load.acknowledged) >= planned / 2, str(soak)
    assert soak.recycled
    assert {push.status for push in soak.loki.pushes} - {204}


def test_no_worker_died_of_itself(soak: Soak) -> None:
    """Workers ended only where they were told to, and each was replaced by one."""
    assert len(soak.workers) == 2 + len(soak.recycled), str(soak)
    assert soak.steady in soak.after.descriptors
    assert soak.master in soak.after.descriptors


def test_integrity_balances(soak: Soak) -> None:
    """What was accepted was delivered, over all workers that ever lived; nothing waits, nothing is amiss."""
    assert soak.integrity is not None, "/readyz shows no integrity"
    arrived = len(soak.arrived)
    nothing = dict.fromkeys(("spooled", "dead_lettered", "corrupt", "difference"), 0)
    assert soak.integrity == {"accepted": arrived, "delivered": arrived, **nothing}


def test_memory_is_flat(soak: Soak) -> None:
    """No process holds more late than early: the lasting worker, the master, the last of the recycled workers."""
    for first, last in (soak.rss_thirds(soak.steady), soak.rss_thirds(soak.master), soak.rss_at_equal_age()):
        assert last <= first * (1 + MAY_GROW_SHARE), str(soak)


def test_descriptors_are_flat(soak: Soak) -> None:
    """At rest no process has more files and sockets open than before, the newest workers included."""
    before = [one for pid, one in soak.before.descriptors.items() if pid != soak.master]
    for pid, now in soak.after.descriptors.items():
        then = [soak.before.descriptors[pid]] if pid in soak.before.descriptors else before
        assert now.files <= max(one.files for one in then) + MORE_FILES_OPEN, str(soak)
        assert now.sockets <= max(one.sockets for one in then) + MORE_SOCKETS, str(soak)


def test_files_are_bounded(soak: Soak) -> None:
    """What is delivered leaves the disk: DATA_DIR holds as many files as at first, and few more in an outage."""
    assert soak.most_files <= soak.before.files + MORE_FILES_MEANWHILE, str(soak)
    assert soak.after.files <= soak.before.files + MORE_FILES, str(soak)
    assert len(list(soak.service.data_dir.glob("spool/*/*.seg"))) <= SEGMENTS_AT_REST
