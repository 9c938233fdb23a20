"""A full disk, and a full spool: 503 for what finds no room, nothing else harmed, and well again by itself.

The disk is a small tmpfs, once for the spool alone and once for all of DATA_DIR: then the metric files lie on it too,
and a worker that writes to a mapped file without room behind it would die of SIGBUS.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.test_loki_faults import BACK_S, LONG, LONG_LINE, QUICK, Accounts
from tests.harness.load import wait_until
from tests.harness.service import RunningService, ServiceError
from tests.harness.tmpfs import Disk, small_disk
from tests.standins.loki import Fault, Limits, LokiStandIn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.conftest import StartService

DISK_BYTES = 8 * 1024 * 1024
LARGER_THAN_THE_DISK = str(64 * DISK_BYTES)
AGAIN_S = 5.0
"""Within this the service takes events again, once there is room."""
SETTLED_S = 1.5
"""What has been full for so long stays full: nothing is on its way any more that would make room."""
REFUSAL = "DATA_DIR: "
"""How the one line begins that a service may end with instead of starting on a full disk."""

SMALL = {"event": "small", "payload": {}}


@pytest.fixture(params=["spool", "everything"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """Give the spool, or all of DATA_DIR, a small disk. Asked for before the service, it outlives it."""
    data_dir = tmp_path / "data"
    with small_disk(data_dir / "spool" if request.param == "spool" else data_dir, DISK_BYTES) as disk:
        yield disk


def _env(disk: Disk, loki: LokiStandIn | None = None) -> dict[str, str]:
    data_dir = disk.folder.parent if disk.folder.name == "spool" else disk.folder
    loki_url = {} if loki is None else {"LOKI_URL": loki.url}
    return {"DATA_DIR": str(data_dir), "SPOOL_MAX_BYTES": LARGER_THAN_THE_DISK, **loki_url, **QUICK}


def _offer(accounts: Accounts, events: Sequence[dict[str, Any]]) -> bool:
    """Send events in one request; it is accepted whole, or refused with 503 and Retry-After, and nothing else."""
    path, value = ("/log", events[0]) if len(events) == 1 else ("/log/batch", events)
    status, headers, body = accounts.service.request(
        "POST", path, json.dumps(value), {"Content-Type": "application/json"}
    )
    answer = json.loads(body)
    if status == 200:
        ids = [answer["event_id"]] if path == "/log" else answer["event_ids"]
        accounts.note(list(zip(ids, events, strict=True)))
        return True
    assert status == 503, (status, answer)
    assert int(headers["Retry-After"]) >= 1
    assert answer["status"] == 503
    return False


def _fill_with_events(accounts: Accounts, most_bytes: int) -> None:
    """Log until not even a small event is taken: batches where there is room for one, else large ones, then small ones.

    What was on its way to Loki as it went away may still leave, and makes room again: full is what stays full.
    """
    text = "word " * 800
    taken_bytes = number = 0
    full_since_s = time.monotonic()
    while time.monotonic() - full_since_s < SETTLED_S:
        for size in (50, 1, 0):
            number += 1
            events = [{"event": "a", "payload": {"n": number, "text": text}}] * size or [SMALL]
            if _offer(accounts, events):
                taken_bytes += len(json.dumps(events))
                assert taken_bytes <= most_bytes, "more was acknowledged than there is room for"
                full_since_s = time.monotonic()
                break
        else:
            time.sleep(0.02)


def _check_full(accounts: Accounts, workers: Sequence[int]) -> None:
    """Everything but logging works, for as long as there is no room; and /readyz says what is wrong."""
    service = accounts.service
    wait_until(lambda: service.json("GET", "/readyz")[0] == 503, "/readyz says unavailable")
    for number in range(30):
        assert not _offer(accounts, [SMALL])
        assert not _offer(accounts, [SMALL] * 20)
        assert service.json("GET", "/healthz") == (200, {"status": "ok"})
        # New names make new series, which take room in the metric files.
        key = f"key-{number}"
        assert service.json("POST", "/cache/set", {"key": key, "data": {"n": number}})[0] == 200
        assert service.json("GET", f"/cache/get?key={key}")[1]["data"]["n"] == number
        assert service.json("DELETE", f"/cache?key={key}")[0] in (200, 204)
        assert service.json("POST", "/redact", {"mail": "bob@example.org"})[0] == 200
        assert service.json("POST", "/log", {"event": f"new_{number}", "payload": 1})[0] == 422
        assert service.json("GET", "/nowhere")[0] == 404
        assert service.json("GET", "/kpis")[0] == 200
    assert service.metrics()
    status, answer = service.json("GET", "/readyz")
    assert (status, answer["status"]) == (503, "unavailable")
    assert {check["name"]: check["state"] for check in answer["checks"]}["spool"] == "failing"
    assert service.worker_pids() == workers


def _check_accepts_again(accounts: Accounts, workers: Sequence[int]) -> None:
    """There is room now: within a moment events are taken, by the same worker, and /readyz is well."""
    deadline_s = time.monotonic() + AGAIN_S
    while not _offer(accounts, [SMALL]):
        assert time.monotonic() < deadline_s, f"there is room, and for {AGAIN_S} s nothing was taken"
        time.sleep(0.05)
    wait_until(lambda: accounts.service.json("GET", "/readyz")[0] == 200, "/readyz is well")
    accounts.log_batches([{"event": "after", "payload": {"n": n}} for n in range(200)])
    assert accounts.service.worker_pids() == workers
    # A full disk is no surprise: the log has no stack trace of it, neither as JSON nor plainly.
    said = accounts.service.stderr()
    assert '"where"' not in said
    assert [line for line in said.splitlines() if not line.startswith(("{", REFUSAL))] == []


def test_filled_by_events(disk: Disk, start_service: StartService, loki: LokiStandIn) -> None:
    """Loki is away until the disk is full: 503s, all that was acknowledged arrives, and its room is used again."""
    service = start_service(**_env(disk, loki))
    accounts = Accounts(service, loki)
    workers = service.worker_pids()
    for _ in range(2):
        loki.inject(Fault(status=503), times=None)
        _fill_with_events(accounts, 2 * DISK_BYTES)
        _check_full(accounts, workers)
        accounts.wait_for_account(spooled=len(accounts.sent) - len(loki.entries()))
        loki.clear_faults()
        loki.wait_for(len(accounts.sent), BACK_S)
        wait_until(lambda: disk.free_bytes > DISK_BYTES // 4, "what was delivered leaves the disk")
        _check_accepts_again(accounts, workers)
        accounts.settle()


def test_filled_by_a_foreign_file(disk: Disk, start_service: StartService, loki: LokiStandIn) -> None:
    """Loki is well and somebody else takes the room: 503s, until there is some again."""
    service = start_service(**_env(disk, loki))
    accounts = Accounts(service, loki)
    workers = service.worker_pids()
    accounts.log_batches([{"event": "before", "payload": {"n": n}} for n in range(500)])
    accounts.settle()
    for _ in range(2):
        _take_all_room(accounts, disk)
        _check_full(accounts, workers)
        accounts.settle()
        disk.make_room()
        _check_accepts_again(accounts, workers)
        accounts.settle()


def _take_all_room(accounts: Accounts, disk: Disk) -> None:
    """Fill the disk until it stays full and no event is taken: what is delivered meanwhile makes room again."""
    quiet_since_s = deadline_s = time.monotonic()
    while time.monotonic() - quiet_since_s < SETTLED_S:
        assert time.monotonic() < deadline_s + BACK_S, f"the disk is full, and after {BACK_S} s events are still taken"
        disk.fill()
        if _offer(accounts, [SMALL]) or disk.free_bytes:
            quiet_since_s = time.monotonic()
        time.sleep(0.02)


def test_spool_bound_on_a_roomy_disk(start_service: StartService, loki: LokiStandIn) -> None:
    """SPOOL_MAX_BYTES reached again and again: 503 each time, and well again when Loki has taken the backlog."""
    bound = 1024 * 1024
    service = start_service(LOKI_URL=loki.url, SPOOL_MAX_BYTES=str(bound), **QUICK)
    accounts = Accounts(service, loki)
    workers = service.worker_pids()
    for _ in range(3):
        loki.inject(Fault(status=503), times=None)
        _fill_with_events(accounts, 2 * bound)
        _check_full(accounts, workers)
        spool = [path for path in (service.data_dir / "spool").rglob("*") if path.is_file()]
        assert 0 < sum(path.stat().st_blocks * 512 for path in spool) < 2 * bound
        loki.clear_faults()
        loki.wait_for(len(accounts.sent), BACK_S)
        _check_accepts_again(accounts, workers)
        accounts.settle()


def test_dead_letters_wait_for_room(disk: Disk, start_service: StartService, loki: LokiStandIn) -> None:
    """Loki refuses entries while there is no room for dead letters: they are kept in the spool until there is."""
    loki.limits = Limits(max_line_bytes=LONG_LINE)
    loki.inject(Fault(status=503), times=None)
    service = start_service(**_env(disk, loki))
    accounts = Accounts(service, loki)
    workers = service.worker_pids()
    bad = accounts.log([{"event": "bad", "payload": {"n": n, **LONG}} for n in range(10)])
    accounts.log_batches([{"event": f"good_{n % 5}", "payload": {"n": n}} for n in range(500)])
    _take_all_room(accounts, disk)
    loki.clear_faults()
    loki.wait_for(500, BACK_S)
    wait_until(lambda: any(push.status == 400 for push in loki.pushes), "Loki has refused some", BACK_S)
    disk.make_room()
    _check_accepts_again(accounts, workers)
    accounts.settle(bad)
    assert {letter["reason"] for letter in accounts.buried().values()} == {"line_too_long"}


def test_without_loki(disk: Disk, start_service: StartService) -> None:
    """The log files find no room either: what was acknowledged is kept in the spool until they do."""
    service = start_service(**_env(disk))
    accounts = Accounts(service, LokiStandIn())
    workers = service.worker_pids()
    accounts.log_batches([{"event": "before", "payload": {"n": n}} for n in range(500)])
    for _ in range(2):
        _take_all_room(accounts, disk)
        _check_full(accounts, workers)
        disk.make_room()
        _check_accepts_again(accounts, workers)
        accounts.wait_for_account()
    logged = [path.read_text() for path in (service.data_dir / "logs").glob("*.ndjson")]
    written = Counter(json.loads(line)["event_id"] for text in logged for line in text.splitlines())
    assert written.keys() == accounts.sent.keys()
    assert accounts.buried() == {}


def test_start_on_a_full_disk(disk: Disk, tmp_path: Path, loki: LokiStandIn) -> None:
    """It serves, with 503 for events until there is room; or it says in one line why not, and ends."""
    disk.fill()
    with _started_or_refused(disk, tmp_path / "service", loki) as service:
        accounts = Accounts(service, loki)
        workers = service.worker_pids()
        if disk.ballast.exists():
            _take_all_room(accounts, disk)
            _check_full(accounts, workers)
            disk.make_room()
        _check_accepts_again(accounts, workers)
        accounts.settle()


def test_killed_and_started_on_a_full_disk(disk: Disk, start_service: StartService, loki: LokiStandIn) -> None:
    """A backlog has filled the disk when the service is killed: started again it leaves, and nobody need make room."""
    loki.inject(Fault(status=503), times=None)
    service = start_service(**_env(disk, loki))
    accounts = Accounts(service, loki)
    _fill_with_events(accounts, 2 * DISK_BYTES)
    _take_all_room(accounts, disk)
    service.kill()
    service.start()
    workers = service.worker_pids()
    _take_all_room(accounts, disk)
    _check_full(accounts, workers)
    loki.clear_faults()
    loki.wait_for(len(accounts.sent), BACK_S)
    wait_until(lambda: disk.free_bytes > DISK_BYTES // 4, "what was delivered leaves the disk")
    _check_accepts_again(accounts, workers)
    accounts.settle()


@contextmanager
def _started_or_refused(disk: Disk, folder: Path, loki: LokiStandIn) -> Iterator[RunningService]:
    """Start on the full disk; if that is refused in words, give it room and start again."""
    service = RunningService(_env(disk, loki), folder=folder)
    try:
        service.start()
    except ServiceError as refused:
        said = service.stderr()
        in_one_line = "Traceback" not in said and said.splitlines()[-1].startswith(REFUSAL)
        if not in_one_line or not str(refused).startswith("the service ended while it started"):
            raise
        disk.make_room()
        service.start()
    try:
        yield service
    finally:
        service.close()
