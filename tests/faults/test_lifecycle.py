"""Starting, refusing to start, stopping, being killed, starting again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.harness.load import Client, play, wait_until
from tests.harness.service import free_port

if TYPE_CHECKING:
    from tests.conftest import StartService
    from tests.harness.service import RunningService
    from tests.standins.loki import LokiStandIn

ROOT = Path(__file__).resolve().parents[2]


def _start_fails(tmp_path: Path, *arguments: str, **env: str) -> str:
    """Start where it must not start; return what it said on stderr."""
    ended = subprocess.run(
        [Path(sys.executable).parent / "gunicorn", "--config", "gunicorn.conf.py", *arguments, "wsgi:app"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "DATA_DIR": str(tmp_path / "data"), "PORT": str(free_port()), **env},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode != 0
    assert "Traceback" not in ended.stderr + ended.stdout
    return ended.stderr


BAD_VARIABLES = {
    "PORT": ("http", "takes a whole number"),
    "HOST": ("0.0.0.0", "ALLOW_ANONYMOUS=true"),
    "REDIS_URL": ("localhost:6379", "redis://"),
    "LOKI_URL": ("loki:3100", "http://"),
    "LOG_LEVEL": ("loud", "debug, info, warning, error"),
    "SPOOL_MAX_BYTES": ("1G", "a whole number"),
    "ALLOW_ANONYMOUS": ("maybe", "true or false"),
    "CACHE_KEY_SECRET": ("short", "16 to 64"),
}


@pytest.mark.parametrize(("name", "value", "takes"), [(n, *v) for n, v in BAD_VARIABLES.items()], ids=BAD_VARIABLES)
def test_bad_variable_stops_the_start(name: str, value: str, takes: str, tmp_path: Path) -> None:
    """One line that names the variable and what it takes, and not the value."""
    (line,) = _start_fails(tmp_path, **{name: value}).strip().splitlines()
    assert line.startswith(f"{name}: ")
    assert takes in line
    assert value not in line or value == "0.0.0.0"


def test_make_run_names_a_bad_worker_number() -> None:
    """gunicorn itself would fail on WEB_CONCURRENCY with a stack trace; what `make run` asks first does not."""
    ended = subprocess.run(
        [sys.executable, "-m", "app.settings"],
        cwd=ROOT,
        env={"WEB_CONCURRENCY": "many"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (1, "WEB_CONCURRENCY: takes a whole number, 1 to 64\n")


def test_more_workers_without_redis_are_refused(tmp_path: Path) -> None:
    """`gunicorn --workers 2` without REDIS_URL would make two caches by accident."""
    assert "set REDIS_URL, or WEB_CONCURRENCY=2" in _start_fails(tmp_path, "--workers", "2")


@pytest.mark.parametrize(
    ("name", "row", "fault"),
    [
        ("detectors.toml", '[[detector]]\nname = "mine"\nwhy = "w"\npatterns = ["("]\n', "line 1: patterns"),
        ("kpis.toml", '[[kpi]]\nname = "mine"\ntype = "sum"\nhelp = "h"\nunit = "u"\n', "line 1: kpi 1 (mine): type"),
        ("cache.toml", "[default]\nttl = 0\n", "line 1: [default] ttl"),
    ],
)
def test_bad_row_stops_the_start(name: str, row: str, fault: str, tmp_path: Path) -> None:
    """A bad row of a file under config/ is named with its place and fault."""
    config = tmp_path / "config"
    shutil.copytree(ROOT / "config", config)
    (config / name).write_text(row)
    assert f"{name}: {fault}" in _start_fails(tmp_path, CONFIG_DIR=str(config))


def test_data_dir_that_is_none(tmp_path: Path) -> None:
    """A DATA_DIR that cannot be written to is named at the start, not at the first event."""
    (tmp_path / "file").write_text("")
    assert _start_fails(tmp_path, DATA_DIR=str(tmp_path / "file")).splitlines()[-1].startswith("DATA_DIR: ")


def test_second_start(start_service: StartService, tmp_path: Path) -> None:
    """A second start on the same port or folder ends in words, and takes nothing from the first: its metrics stand."""
    service = start_service()
    play(service.port, [("POST", "/log", {"event": "a", "payload": {}})] * 10)
    assert "Connection in use" in _start_fails(tmp_path, PORT=str(service.port))
    said = _start_fails(tmp_path, DATA_DIR=str(service.data_dir), PORT=str(service.port))
    assert said.splitlines()[-1] == "DATA_DIR: takes a folder that no other service uses"
    assert service.json("GET", "/kpis")[1]["counts"]["events"]["accepted"] == 10


def test_command_line_cannot_open_the_service(tmp_path: Path) -> None:
    """gunicorn's own --bind past loopback is refused like HOST."""
    assert "ALLOW_ANONYMOUS=true" in _start_fails(tmp_path, "--bind", f"0.0.0.0:{free_port()}")


def test_secret_file_that_is_missing(tmp_path: Path) -> None:
    """One line, before the service says that it runs."""
    said = _start_fails(tmp_path, CACHE_KEY_SECRET_FILE=str(tmp_path / "none")).splitlines()[-1]
    assert said.startswith("CACHE_KEY_SECRET_FILE: ")


def test_bad_pseudonym_keys(tmp_path: Path) -> None:
    """One line that names file, row and fault, before the service says that it runs, and no secret."""
    path = tmp_path / "keys.toml"
    said = _start_fails(tmp_path, PSEUDONYM_KEYS_FILE=str(path)).splitlines()[-1]
    assert said == "PSEUDONYM_KEYS_FILE: takes a file that can be read (FileNotFoundError)"
    path.write_text('[[key]]\nid = "k1"\nsecret = "c0ffee"\n')
    said = _start_fails(tmp_path, PSEUDONYM_KEYS_FILE=str(path))
    assert said.splitlines()[-1].startswith(f"PSEUDONYM_KEYS_FILE: {path}, row 1: secret takes ")
    assert "c0ffee" not in said


@pytest.mark.parametrize("stuck", ["does not read", "does not send"])
def test_stop_with_a_stuck_client(stuck: str, start_service: StartService, loki: LokiStandIn) -> None:
    """A client that neither reads nor sends cannot make a stop lose what was acknowledged."""
    service = start_service(LOKI_URL=loki.url, BATCH_MAX_AGE_S="60", GRACEFUL_TIMEOUT_S="9", BODY_TIMEOUT_S="60")
    service.json("POST", "/cache/set", {"key": "k", "data": {"text": "x" * 900_000}})
    ids = [service.json("POST", "/log", {"event": "a", "payload": {"n": n}})[1]["event_id"] for n in range(20)]
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
        if stuck == "does not read":
            connection.sendall(b"GET /cache/get?key=k HTTP/1.1\r\nHost: x\r\n\r\n" * 40)
        else:
            connection.sendall(
                b"POST /log HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
            )
        assert service.json("GET", "/healthz")[0] == 200
        assert service.stop(timeout_s=20) == 0
    assert sorted(line["event_id"] for line in loki.lines()) == sorted(ids)


def test_client_that_does_not_read_is_let_go(start_service: StartService) -> None:
    """A write waits BODY_TIMEOUT_S and no longer: connections that take nothing do not pile up."""
    service = start_service(BODY_TIMEOUT_S="0.5")
    service.json("POST", "/cache/set", {"key": "k", "data": {"text": "x" * 900_000}})
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
        connection.sendall(b"GET /cache/get?key=k HTTP/1.1\r\nHost: x\r\n\r\n" * 40)
        _wait_until_closed(service, connection.getsockname()[1])


def _wait_until_closed(service: RunningService, port: int) -> None:
    """Wait until no established connection of the service's has this port at its other end."""
    ends = f"{service.port:04X}", f"{port:04X}"

    def is_closed() -> bool:
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return not any((row[1][-4:], row[2][-4:], row[3]) == (*ends, "01") for row in rows)

    wait_until(is_closed, "the service has closed the connection")


def test_signal_while_a_worker_boots(start_service: StartService) -> None:
    """SIGTERM to a worker that has no handlers of its own yet ends it; it is not swallowed until a SIGKILL."""
    service = start_service(GRACEFUL_TIMEOUT_S="20")
    for _ in range(3):
        wait_until(lambda: len(service.worker_pids()) == 1, "there is a worker")
        (pid,) = service.worker_pids()
        service.kill_worker(pid)
        wait_until(lambda old=pid: service.worker_pids() not in ([], [old]), "another worker is born")
        (born, *_) = service.worker_pids()
        os.kill(born, signal.SIGTERM)
        wait_until(lambda new=born: new not in service.worker_pids(), "the signalled worker has ended")
    wait_until(lambda: service.json("GET", "/healthz")[0] == 200, "a worker serves")
    assert service.stop(timeout_s=10) == 0


def test_banner(start_service: StartService) -> None:
    """One block on stdout: address, store, sink, and what is off; stderr holds one JSON object a line."""
    service = start_service()
    said = service.stdout()
    for words in ("Telemetry Cache", f"http://127.0.0.1:{service.port}", "embedded", "logs/*.ndjson", "API keys"):
        assert said.count(words) == 1
    for line in service.stderr().splitlines():
        assert {"time", "level", "message"} <= set(json.loads(line))


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_stop_is_quick_and_quiet(sig: signal.Signals, start_service: StartService) -> None:
    """With an idle kept connection open and events waiting, a stop ends well, loses none and prints no stack trace."""
    service = start_service(BATCH_MAX_AGE_S="60", KEEP_ALIVE_S="300", GRACEFUL_TIMEOUT_S="20")
    with Client(service.port) as client:
        ids = [client.json("POST", "/log", {"event": "a", "payload": {"n": n}})[1]["event_id"] for n in range(20)]
        assert service.stop(sig, timeout_s=10) == 0
    lines = (service.data_dir / "logs" / "0.ndjson").read_text().splitlines()
    assert [json.loads(line)["event_id"] for line in lines] == ids
    assert "Traceback" not in service.stderr()
    assert '"where"' not in service.stderr()


def test_killed_and_started_again(start_service: StartService) -> None:
    """After SIGKILL of everything the same folder serves again, and the log file holds whole lines only."""
    service = start_service(BATCH_MAX_AGE_S="0")
    play(service.port, [("POST", "/log", {"event": "a", "payload": {"n": n}}) for n in range(100)])
    service.kill()
    path = service.data_dir / "logs" / "0.ndjson"
    with path.open("ab") as file:
        file.write(b'{"half a line')
    service.restart()
    status, answer = service.json("POST", "/log", {"event": "after", "payload": {}})
    assert status == 200
    wait_until(lambda: answer["event_id"] in path.read_text(), "the event is in the file")
    assert all(json.loads(line)["event"] in ("a", "after") for line in path.read_text().splitlines())


def test_cache_keys_outlive_a_restart(start_service: StartService) -> None:
    """The key secret is made once, for its owner alone, so that an entry in Redis is found after a restart."""
    service = start_service()
    path = service.data_dir / "cache-key.secret"
    secret = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    service.restart()
    assert path.read_bytes() == secret


def test_reload(start_service: StartService) -> None:
    """SIGHUP puts new workers in the place of the old ones; counters go on, and requests are answered throughout."""
    service = start_service(WEB_CONCURRENCY="1", BATCH_MAX_AGE_S="0")
    play(service.port, [("POST", "/log", {"event": "a", "payload": {}})] * 50)
    before = service.worker_pids()
    os.kill(service.pid, signal.SIGHUP)
    sent = 0
    while set(service.worker_pids()) & set(before):
        # Each on a connection of its own: the old worker goes on accepting for a moment.
        assert service.json("POST", "/log", {"event": "a", "payload": {}})[0] == 200
        sent += 1
    assert sent > 0
    assert service.json("GET", "/kpis")[1]["counts"]["events"]["accepted"] == 50 + sent


def test_slow_body_does_not_hold_the_worker(start_service: StartService) -> None:
    """Many senders that stall in their body: others are served meanwhile, and the slow ones get 408."""
    service = start_service(BODY_TIMEOUT_S="0.5")
    head = b"POST /log HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    slow = [socket.create_connection(("127.0.0.1", service.port), timeout=10) for _ in range(100)]
    try:
        for connection in slow:
            connection.sendall(head)
        assert service.json("GET", "/healthz") == (200, {"status": "ok"})
        for connection in slow:
            assert connection.recv(4096).startswith(b"HTTP/1.1 408 ")
    finally:
        for connection in slow:
            connection.close()
