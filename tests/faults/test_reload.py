"""SIGHUP with good tables and with broken ones: what changes, what stays, and that nothing ends or is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from app.settings import ROOT, Settings
from tests.harness.load import total, wait_until
from tests.harness.service import RunningService, ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import StartService
    from tests.standins.loki import LokiStandIn

SECRET = "ZEBRA-4711"
ROW = """
[[detector]]
name = "animal"
why = "A row of a test's own"
patterns = ['\\bZEBRA-\\d{4}\\b']
"""
BROKEN_ROW = ROW.replace("ZEBRA", "(ZEBRA")
STALE = "telemetry_cache_config_stale"


class Tables:
    """A config folder that a test may change."""

    def __init__(self, folder: Path) -> None:
        self.folder = shutil.copytree(ROOT / "config", folder)
        self._shipped = (folder / "detectors.toml").read_text(encoding="utf-8")

    def write(self, more: str) -> int:
        """Put `more` behind the shipped detectors, in place, as an editor may; return its first row's line."""
        (self.folder / "detectors.toml").write_text(self._shipped + more, encoding="utf-8")
        return self._shipped.count("\n") + 2


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    """Return a copy of config/."""
    return Tables(tmp_path / "tables")


def _hup(service: RunningService) -> None:
    """SIGHUP to the master, once all workers are up; wait until others have taken all places and read the tables."""
    _wait_until_all_are_up(service)
    before = service.worker_pids()
    os.kill(service.pid, signal.SIGHUP)
    wait_until(lambda: not any(map(_exists, before)), "the old workers have ended, and their master knows")
    _wait_until_all_are_up(service)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _wait_until_all_are_up(service: RunningService) -> None:
    """Wait for the figure to which each worker adds the same when it has read the tables; its end takes that away."""
    each = int(service.env.get("SPOOL_MAX_BYTES", Settings().spool_max_bytes))
    expected = int(service.env["WEB_CONCURRENCY"]) * each
    wait_until(
        lambda: total(service.metrics(), "telemetry_cache_spool_max_bytes") == expected,
        "all workers have read the tables",
    )


def _redacts(service: RunningService) -> bool:
    """Whether the row of the test's own is in use."""
    status, answer = service.json("POST", "/redact", {"note": f"a {SECRET} b"})
    assert status == 200
    return bool(answer["redacted"]["note"] == "a [REDACTED_ANIMAL] b")


def _configuration(service: RunningService) -> dict[str, Any]:
    """Return /readyz's row; the service accepts events whatever it says."""
    status, answer = service.json("GET", "/readyz")
    assert status == 200
    (row,) = [row for row in answer["checks"] if row["name"] == "configuration"]
    assert answer["status"] == ("ok" if row["state"] == "ok" else "degraded")
    return dict(row)


def _stale(service: RunningService) -> dict[str, float]:
    """Return the metric by file."""
    return {dict(labels)["file"]: value for (name, labels), value in service.metrics().items() if name == STALE}


def _faults_logged(service: RunningService) -> list[tuple[str, str, str]]:
    """Return (level, file, fault) of each line about a table."""
    lines = [json.loads(line) for line in service.stderr().splitlines()]
    told = [line for line in lines if "fault" in line]
    assert {line["message"] for line in told} <= {"a table cannot be used, its last good version is"}
    return [(line["level"], line["file"], line["fault"]) for line in told]


@contextmanager
def _light_load(service: RunningService) -> Iterator[list[str]]:
    """Log events the while, two clients with a connection for each event; yield the growing list of their ids."""
    ids: list[str] = []
    done = threading.Event()

    def log(client: int) -> None:
        number = 0
        while not done.wait(0.005):
            number += 1
            value = {"event": "a", "payload": {"n": number, "client": client, "note": SECRET}}
            status, answer = service.json("POST", "/log", value)
            assert status == 200, answer
            ids.append(answer["event_id"])

    with ThreadPoolExecutor(2) as pool:
        clients = [pool.submit(log, client) for client in range(2)]
        try:
            yield ids
        finally:
            done.set()
        for client in clients:
            client.result()


def _check_accounts(service: RunningService, ids: list[str], loki: LokiStandIn) -> None:
    """Every acknowledged event has arrived and is accounted for, and the counters have counted on."""
    wait_until(lambda: len({line["event_id"] for line in loki.lines()}) >= len(ids), "all events have arrived")
    assert {line["event_id"] for line in loki.lines()} == set(ids)
    assert total(service.metrics(), "telemetry_cache_events_total", outcome="accepted") == len(ids)

    def figures() -> tuple[int, ...]:
        integrity = service.json("GET", "/readyz")[1]["integrity"]
        return tuple(integrity[name] for name in ("accepted", "delivered", "difference", "corrupt"))

    # A worker knows of the others what they last wrote down, a moment ago.
    wait_until(lambda: figures() == (len(ids), len(ids), 0, 0), f"all {len(ids)} events are accounted for")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_new_row_works_after_sighup(
    workers: int, start_service: StartService, tables: Tables, loki: LokiStandIn
) -> None:
    """Under load: the new row redacts, no request fails, no event is lost, no counter goes back; and once more."""
    service = start_service(
        WEB_CONCURRENCY=str(workers), CONFIG_DIR=str(tables.folder), LOKI_URL=loki.url, BATCH_MAX_AGE_S="0.05"
    )
    banner = service.stdout()
    with _light_load(service) as ids:
        wait_until(lambda: len(ids) > 50, "there is load")
        assert not _redacts(service)
        tables.write(ROW)
        _hup(service)
        assert _redacts(service)
        tables.write("")
        _hup(service)
        assert not _redacts(service)
    _check_accounts(service, ids, loki)
    notes = {line["payload"]["note"] for line in loki.lines()}
    assert notes == {SECRET, "[REDACTED_ANIMAL]"}
    assert (_configuration(service)["state"], set(_stale(service).values())) == ("ok", {0.0})
    assert service.stdout() == banner
    assert "Traceback" not in service.stderr()
    assert '"where"' not in service.stderr()


def test_the_second_search_goes_by_the_new_table(
    start_service: StartService, tables: Tables, loki: LokiStandIn
) -> None:
    """What a new policy keeps is kept, and no leak: by the old table every event would be redacted again."""
    service = start_service(
        WEB_CONCURRENCY="1", CONFIG_DIR=str(tables.folder), LOKI_URL=loki.url, BATCH_MAX_AGE_S="0.05"
    )
    event = {"event": "chat", "payload": {"note": "mail bob@example.org"}}
    assert service.json("POST", "/log", event)[0] == 200
    tables.write('[[policy]]\nwhy = "Ours."\nevents = ["chat"]\nfields = ["note"]\naction = "keep"\n')
    _hup(service)
    assert service.json("POST", "/log", event)[0] == 200
    wait_until(lambda: len(loki.lines()) == 2, "both have arrived")
    assert [line["payload"]["note"] for line in loki.lines()] == ["mail [REDACTED_EMAIL]", "mail bob@example.org"]
    assert total(service.metrics(), "telemetry_cache_redaction_audits_total") == 2
    assert total(service.metrics(), "telemetry_cache_pii_leaks_total") == 0


def test_a_broken_row_ends_nothing(start_service: StartService, tables: Tables, loki: LokiStandIn) -> None:
    """Under load, SIGHUP with a broken row: the last good rules serve on, and it is said; mended, it is well again."""
    service = start_service(
        WEB_CONCURRENCY="2", CONFIG_DIR=str(tables.folder), LOKI_URL=loki.url, BATCH_MAX_AGE_S="0.05"
    )
    assert _stale(service) == {"detectors.toml": 0.0, "kpis.toml": 0.0, "cache.toml": 0.0}
    with _light_load(service) as ids:
        tables.write(ROW)
        _hup(service)
        line = tables.write(BROKEN_ROW)
        _hup(service)
        assert _redacts(service)
        row = _configuration(service)
        assert row["state"] == "degraded"
        assert row["detail"].startswith("detectors.toml is not used, but its last good version: ")
        assert f"line {line}: patterns: not RE2 syntax" in row["detail"]
        assert _stale(service) == {"detectors.toml": 1.0, "kpis.toml": 0.0, "cache.toml": 0.0}
        told = _faults_logged(service)
        assert len(told) == 2  # one for each worker
        assert {(level, file) for level, file, _ in told} == {("error", "detectors.toml")}
        assert all(fault.startswith(f"line {line}: patterns: ") for _, _, fault in told)
        # The pattern may be what is to be kept out of the log.
        assert "ZEBRA" not in row["detail"]
        assert "ZEBRA" not in service.stderr()

        # Once more while it is broken: the good version is still there.
        _hup(service)
        assert _redacts(service)

        tables.write(ROW)
        _hup(service)
        assert _configuration(service)["state"] == "ok"
        # The master hears of the end of the workers that were behind within a moment.
        wait_until(lambda: set(_stale(service).values()) == {0.0}, "no table is stale")
        assert _redacts(service)
    _check_accounts(service, ids, loki)


def test_a_worker_that_dies_while_a_table_is_broken(start_service: StartService, tables: Tables) -> None:
    """SIGKILL of a worker, no SIGHUP, with every table broken, then gone: the next one serves all the same."""
    tables.write(ROW)
    service = start_service(WEB_CONCURRENCY="1", CONFIG_DIR=str(tables.folder))
    for spoil in _SPOILERS:
        spoil(tables)
        (pid,) = service.worker_pids()
        service.kill_worker(pid)
        wait_until(lambda: _stale(service) == dict.fromkeys(("detectors.toml", "kpis.toml", "cache.toml"), 1.0), "1")
        assert _configuration(service)["state"] == "degraded"
        assert _redacts(service)
        assert service.json("POST", "/log", {"event": "a", "payload": {}})[0] == 200
    assert service.stop() == 0


def _break_all(tables: Tables) -> None:
    tables.write(BROKEN_ROW)
    (tables.folder / "kpis.toml").write_text("[[kpi]]\n")
    (tables.folder / "cache.toml").write_text("[default\n")


def _remove_all(tables: Tables) -> None:
    shutil.rmtree(tables.folder)


_SPOILERS: tuple[Callable[[Tables], None], ...] = (_break_all, _remove_all)


def test_copies_that_somebody_took_away(start_service: StartService, tables: Tables) -> None:
    """The master has them in memory, and writes them anew at SIGHUP, before a worker needs one."""
    tables.write(ROW)
    service = start_service(WEB_CONCURRENCY="1", CONFIG_DIR=str(tables.folder))
    shutil.rmtree(service.data_dir / "config")
    _break_all(tables)
    _hup(service)
    assert _configuration(service)["state"] == "degraded"
    assert _redacts(service)
    copies = sorted((service.data_dir / "config").iterdir())
    assert [(path.name, path.stat().st_mode & 0o777) for path in copies] == [
        ("cache.toml", 0o600),
        ("detectors.toml", 0o600),
        ("kpis.toml", 0o600),
    ]


def test_a_start_with_a_broken_table_is_refused(start_service: StartService, tables: Tables) -> None:
    """Also where there is a good copy, for a person is there to mend it: one line with file, line and fault."""
    service = start_service(CONFIG_DIR=str(tables.folder), LOG_LEVEL="error")
    assert service.stop() == 0
    line = tables.write(BROKEN_ROW)
    assert service.stderr() == ""
    with pytest.raises(ServiceError, match="ended while it started"):
        service.start()
    (said,) = service.stderr().splitlines()
    assert said.startswith(f"{tables.folder / 'detectors.toml'}: line {line}: patterns: not RE2 syntax")
    tables.write("")
    service.start()
    assert _configuration(service)["state"] == "ok"


def test_figures_of_workers_that_are_gone_do_not_count(start_service: StartService) -> None:
    """With Loki away, what waits is shown once after SIGHUP: not again by the worker that waited before."""
    service = start_service(WEB_CONCURRENCY="2", LOKI_URL="http://127.0.0.1:9", SPOOL_MAX_BYTES="10000000")
    for number in range(20):
        assert service.json("POST", "/log", {"event": "a", "payload": {"n": number}})[0] == 200
    for _ in range(2):
        _hup(service)

        def figures() -> tuple[float, float]:
            samples = service.metrics()
            return (
                total(samples, "telemetry_cache_spool_events"),
                total(samples, "telemetry_cache_spool_max_bytes"),
            )

        wait_until(lambda: figures() == (20.0, 20_000_000.0), "20 events wait, in the room of two workers")
