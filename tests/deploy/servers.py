"""Prometheus' own programs for tests: promtool, a real Prometheus, a real prometheus-redis-exporter."""

from __future__ import annotations

import http.client
import json
import math
import os
import shutil
import subprocess
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import pytest
import yaml

from tests.harness.load import wait_until
from tests.harness.service import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
ASK_TIMEOUT_S = 5.0
STOP_TIMEOUT_S = 20.0

PACKAGES = {
    "promtool": "prometheus",
    "prometheus": "prometheus",
    "prometheus-redis-exporter": "prometheus-redis-exporter",
    "redis-server": "redis-server",
}


def require(program: str) -> str:
    """Return the path of a program; without it, skip the test, or fail it where CI=true."""
    path = shutil.which(program)
    if path is None:
        reason = f"{program} is not installed (Debian: apt-get install {PACKAGES[program]})"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(f"{reason}, and CI must run every test")
        pytest.skip(reason)
    return path


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run promtool in deploy/prometheus; the caller looks at how it ended."""
    command = [require("promtool"), *map(str, arguments)]
    return subprocess.run(command, cwd=DEPLOY / "prometheus", capture_output=True, text=True, timeout=60, check=False)


def get(port: int, path: str) -> tuple[int, bytes]:
    """Return status and body from a port of this machine; OSError or HTTPException where nobody answers."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=ASK_TIMEOUT_S)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()


def answers(port: int, path: str) -> bool:
    """Tell whether a GET is answered with 200."""
    try:
        return get(port, path)[0] == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False


class Daemon:
    """A server on a free port of 127.0.0.1, its output in a file; ended with the `with` block."""

    def __init__(self, folder: Path, ready_path: str) -> None:
        self.port = free_port()
        self.folder = folder
        self._ready_path = ready_path
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """Return how it is started."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        try:
            wait_until(self._is_ready, f"{type(self).__name__} answers", 30)
        except BaseException:
            self.__exit__()
            raise
        return self

    @property
    def _log(self) -> Path:
        return self.folder / "log.txt"

    def _is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"{type(self).__name__} ended:\n{self._log.read_text(errors='replace')}")
        return answers(self.port, self._ready_path)

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class RedisExporter(Daemon):
    """A real prometheus-redis-exporter."""

    def __init__(self, folder: Path, redis_port: int) -> None:
        super().__init__(folder, "/health")
        self._redis = f"redis://127.0.0.1:{redis_port}"

    def command(self) -> list[str]:
        return [
            *(require("prometheus-redis-exporter"), "-redis.addr", self._redis),
            *("-web.listen-address", f"127.0.0.1:{self.port}"),
        ]


class Prometheus(Daemon):
    """A real Prometheus with deploy/prometheus' configuration and rules, other targets, and a scrape a second."""

    def __init__(self, folder: Path, ports: Mapping[str, int]) -> None:
        """`ports` are of 127.0.0.1, by job; its own is added, other jobs are left out."""
        super().__init__(folder, "/-/ready")
        self._ports = {**ports, "prometheus": self.port}

    def command(self) -> list[str]:
        config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
        config["global"].update(scrape_interval="1s", scrape_timeout="1s", evaluation_interval="1s")
        config["rule_files"] = [str(DEPLOY / "prometheus" / name) for name in config["rule_files"]]
        config["scrape_configs"] = [
            {**job, "static_configs": [{"targets": [f"127.0.0.1:{self._ports[job['job_name']]}"]}]}
            for job in config["scrape_configs"]
            if job["job_name"] in self._ports
        ]
        path = self.folder / "prometheus.yml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return [
            *(require("prometheus"), "--config.file", str(path), "--storage.tsdb.path", str(self.folder / "data")),
            *("--web.listen-address", f"127.0.0.1:{self.port}"),
        ]

    def api(self, path: str) -> Any:
        """Return the data of an answer of /api/v1; AssertionError with its words for an error."""
        status, body = get(self.port, f"/api/v1/{path}")
        answer = json.loads(body)
        assert status == http.HTTPStatus.OK, f"{path}: {answer}"
        return answer["data"]

    def query(self, expression: str) -> list[float]:
        """Return the values of an instant query that are numbers."""
        found = self.api(f"query?query={quote(expression)}")["result"]
        return [value for series in found if not math.isnan(value := float(series["value"][1]))]

    def names(self) -> set[str]:
        """Return the names of all metrics that were scraped."""
        return set(self.api("label/__name__/values"))
