"""deploy/stack.py as `make stack` runs it: up, used, ended; and what it refuses."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import quote

import pytest
import yaml

from tests.deploy.servers import DEPLOY, ROOT, answers, get, promtool, require
from tests.harness.load import Client, wait_until
from tests.harness.service import free_port, living_processes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType

SCRIPT = DEPLOY / "stack.py"
UP_S = 60.0
DOWN_S = 60.0
PORTS = ("PORT", "REDIS_PORT", "PROMETHEUS_PORT", "REDIS_EXPORTER_PORT")


class Stack(NamedTuple):
    """A stack that was started, and where its output goes."""

    process: subprocess.Popen[bytes]
    folder: Path
    ports: dict[str, int]

    def said(self, name: str = "out") -> str:
        """Return what it has written so far: `out` or `err`."""
        return (self.folder / name).read_text(encoding="utf-8", errors="replace")

    def wait_up(self) -> None:
        """Wait until it has printed its block."""
        wait_until(lambda: "all up" in self.said() or self.process.poll() is not None, "the stack is up", UP_S)
        assert self.process.poll() is None, self.said("err")

    def pid_of(self, words: str) -> int:
        """Return the process id of the part whose command has these words."""
        (pid,) = [
            one.pid for one in living_processes() if one.parent == self.process.pid and words in command_of(one.pid)
        ]
        return pid

    def sessions(self) -> set[int]:
        """Return the process groups of the parts: each has one of its own, its workers included."""
        return {one.group for one in living_processes() if one.parent == self.process.pid}


class StartStack(Protocol):
    """Starts a stack on free ports."""

    def __call__(self, **env: str) -> Stack:
        """Return it at once; it is ended with the test."""


def command_of(pid: int) -> str:
    command = ["ps", "-ww", "-o", "args=", "-p", str(pid)]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout


def up(stack: Stack, job: str) -> bool:
    """Tell whether Prometheus has scraped a job."""
    query = quote(f'up{{job="{job}"}} == 1')
    _, body = get(stack.ports["PROMETHEUS_PORT"], f"/api/v1/query?query={query}")
    return len(json.loads(body)["data"]["result"]) == 1


def is_gone(stack: Stack, groups: set[int]) -> bool:
    """Tell whether no process of these groups lives and nobody listens any more."""
    return not groups & {one.group for one in living_processes()} and not any(
        answers(port, "/") for port in stack.ports.values()
    )


@pytest.fixture
def start_stack(tmp_path: Path) -> Iterator[StartStack]:
    """Return a function that starts stacks."""
    for program in ("redis-server", "prometheus", "prometheus-redis-exporter"):
        require(program)
    with ExitStack() as started:

        def start(**env: str) -> Stack:
            with ExitStack() as held:
                probes = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in PORTS]
                ports = {name: probe.getsockname()[1] for name, probe in zip(PORTS, probes, strict=True)}
            with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
                process = subprocess.Popen(
                    [sys.executable, SCRIPT, "--data", str(tmp_path / "data")],
                    env=environment(**{**{name: str(port) for name, port in ports.items()}, **env}),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                )
            started.callback(end, process)
            return Stack(process, tmp_path, ports)

        yield start


def environment(**more: str) -> dict[str, str]:
    """Return what a person's shell would give it, and no setting of this test run's own."""
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **more}


def end(process: subprocess.Popen[bytes]) -> None:
    """End what a failed test has left: it ends its children."""
    with suppress(ProcessLookupError):
        process.terminate()
    process.wait(DOWN_S)


def refusal(*arguments: str, **env: str) -> str:
    """Run the script, which must refuse at once; return its one line."""
    command = [sys.executable, SCRIPT, *arguments]
    run = subprocess.run(command, env=environment(**env), capture_output=True, text=True, timeout=30, check=False)
    assert run.returncode == 1
    assert run.stdout == ""
    (line,) = run.stderr.splitlines()
    return line


@pytest.fixture(scope="module")
def module() -> ModuleType:
    """Import the script, which is in no package."""
    sys.path.insert(0, str(DEPLOY))
    try:
        spec = importlib.util.spec_from_file_location("deploy_stack", SCRIPT)
        assert spec is not None
        assert spec.loader is not None
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
    finally:
        sys.path.remove(str(DEPLOY))
    return loaded


def test_lives_and_ends(start_stack: StartStack) -> None:
    """It comes up, is scraped, takes an event, and SIGTERM ends all of it with 0, the event on disk."""
    stack = start_stack(WEB_CONCURRENCY="2")
    stack.wait_up()
    for port in stack.ports.values():
        assert str(port) in stack.said()
    assert up(stack, "telemetry-cache")
    wait_until(lambda: up(stack, "redis-exporter"), "Redis' exporter is scraped", UP_S)
    with Client(stack.ports["PORT"]) as client:
        status, answer = client.json("POST", "/log", {"event": "tool_execution", "payload": {}})
        assert status == 200
        assert client.json("GET", "/readyz")[1]["status"] == "ok"
    groups = stack.sessions()
    assert len(groups) == 4
    stack.process.send_signal(signal.SIGTERM)
    assert stack.process.wait(DOWN_S) == 0
    assert is_gone(stack, groups)
    stored = "".join(path.read_text() for path in (stack.folder / "data" / "service" / "logs").glob("*.ndjson"))
    assert answer["event_id"] in stored
    assert "killed" not in stack.said("err")
    last_words = {path.stem: path.stat().st_mtime_ns for path in (stack.folder / "data" / "logs").iterdir()}
    assert last_words["service"] < min(last_words["redis"], last_words["prometheus"])


def test_a_dead_part_ends_it(start_stack: StartStack) -> None:
    """When Prometheus is killed, the rest ends too, with a code that is not 0 and the name and log of the dead."""
    stack = start_stack(WEB_CONCURRENCY="1")
    stack.wait_up()
    groups = stack.sessions()
    os.kill(stack.pid_of("--config.file"), signal.SIGKILL)
    assert stack.process.wait(DOWN_S) == 1
    assert is_gone(stack, groups)
    assert "make stack: prometheus ended by itself (exit code -9); the end of" in stack.said("err")
    assert "Server is ready to receive web requests" in stack.said("err")


def test_a_part_that_cannot_start_ends_it(start_stack: StartStack) -> None:
    """A setting that the service refuses is shown, and what was started before is ended."""
    stack = start_stack(GRACEFUL_TIMEOUT_S="1")
    assert stack.process.wait(DOWN_S) == 1
    assert "service ended by itself" in stack.said("err")
    assert "GRACEFUL_TIMEOUT_S: takes a whole number, 6 to 600" in stack.said("err")
    assert stack.said() == ""
    assert is_gone(stack, set())


def test_a_signal_while_it_starts_ends_it(start_stack: StartStack, tmp_path: Path) -> None:
    """Ctrl-C does not wait until everything is up, which here it never is, and is no fault."""
    never_ready = tmp_path / "bin" / "prometheus"
    never_ready.parent.mkdir()
    never_ready.write_text("#!/bin/sh\nexec sleep 600\n")
    never_ready.chmod(0o755)
    stack = start_stack(WEB_CONCURRENCY="1", PATH=f"{never_ready.parent}:{os.environ['PATH']}")
    wait_until(lambda: len(stack.sessions()) == 4, "all four parts are started", UP_S)
    groups = stack.sessions()
    stack.process.send_signal(signal.SIGINT)
    assert stack.process.wait(DOWN_S) == 0
    assert is_gone(stack, groups)
    assert stack.said() == ""


DEAF = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if len(sys.argv) == 1:
    subprocess.Popen([sys.executable, __file__, "child"])
    print("ready", flush=True)
time.sleep(120)
"""


def test_a_part_that_will_not_end_is_killed(module: ModuleType, tmp_path: Path) -> None:
    """What ignores SIGTERM is killed after its time, and so is what it has started."""
    script = tmp_path / "deaf.py"
    script.write_text(DEAF)
    part = module.Part(
        name="deaf",
        command=[sys.executable, str(script)],
        folder=tmp_path,
        log=tmp_path / "log",
        is_ready=lambda: True,
        stop_s=0.2,
    )
    part.start()
    try:
        group = part.process.pid
        wait_until(lambda: part.log.read_text() == "ready\n", "it is deaf", UP_S)
        assert [one.group for one in living_processes()].count(group) == 2
    finally:
        code = part.stop()
    assert code == -signal.SIGKILL
    wait_until(lambda: group not in {one.group for one in living_processes()}, "all of its group is gone", UP_S)
    assert part.stop() == 0


def test_missing_programs_are_named(tmp_path: Path) -> None:
    """Without the servers it says in one line what to install, and starts nothing."""
    line = refusal("--data", str(tmp_path / "data"), PATH=str(tmp_path))
    expected = "redis-server and prometheus not found (Debian: apt-get install redis-server prometheus)"
    assert line == f"make stack: {expected}"
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("name", ["PORT", "REDIS_PORT", "PROMETHEUS_PORT"])
def test_a_taken_port_is_named(name: str, tmp_path: Path) -> None:
    """It says in one line which port another has, and how to choose one; nothing is started."""
    require("redis-server")
    require("prometheus")
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        free = {port: str(free_port()) for port in PORTS}
        line = refusal("--data", str(tmp_path / "data"), **{**free, name: str(taken)})
    assert line.startswith(f"make stack: port {taken} is taken")
    assert line.endswith(name)
    assert not (tmp_path / "data").exists()


def options(module: ModuleType, loki_url: str | None) -> Any:
    return module.options_from([], {"PORT": "8001", "LOKI_URL": loki_url or ""})


TARGETS = {
    "files": (None, None),
    "Loki without a port": ("http://loki.example", "loki.example:80"),
    "Loki with one": ("http://user:secret@127.0.0.1:3100/path", "127.0.0.1:3100"),
    "Loki behind TLS": ("https://loki.example", None),
}


@pytest.mark.parametrize(("loki_url", "target"), TARGETS.values(), ids=TARGETS)
def test_configuration_is_the_compose_stacks(
    module: ModuleType, tmp_path: Path, loki_url: str | None, target: str | None
) -> None:
    """Only targets and the rules' path differ from deploy/prometheus/prometheus.yml, and Prometheus accepts it."""
    chosen = options(module, loki_url)
    ours = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    text = module.prometheus_config(
        (DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"), module.targets(chosen)
    )
    (tmp_path / "prometheus.yml").write_text(text, encoding="utf-8")
    assert promtool("check", "config", tmp_path / "prometheus.yml").returncode == 0
    derived = yaml.safe_load(text)
    assert derived.pop("rule_files") == [str(DEPLOY / "prometheus" / name) for name in ours.pop("rule_files")]
    addresses = {job["job_name"]: job.pop("static_configs")[0]["targets"] for job in derived["scrape_configs"]}
    for job in ours["scrape_configs"]:
        del job["static_configs"]
    ours["scrape_configs"] = [job for job in ours["scrape_configs"] if job["job_name"] in addresses]
    assert derived == ours
    assert addresses["telemetry-cache"] == ["127.0.0.1:8001"]
    assert addresses.get("loki") == ([target] if target else None)
    assert "secret" not in module.block(chosen)


@pytest.mark.parametrize("change", [("targets:", "target_groups:"), ("- rules.yml", "- others.yml")])
def test_configuration_that_it_cannot_read_is_refused(module: ModuleType, change: tuple[str, str]) -> None:
    """When the compose file's configuration changes its form, the stack says so rather than scrape something else."""
    text = (DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8").replace(*change)
    with pytest.raises(module.StackError):
        module.prometheus_config(text, {"telemetry-cache": "127.0.0.1:8001"})


def test_the_folder_is_not_tracked() -> None:
    """What the stack writes lies where git does not look."""
    assert "var/\n" in (ROOT / ".gitignore").read_text(encoding="utf-8")
