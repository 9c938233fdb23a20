#!/usr/bin/env python3
"""`make stack`: the parts of the compose file as processes on loopback, where no container engine is at hand.

redis-server, Prometheus and, where it is installed, prometheus-redis-exporter are Debian's packages; the service is
this checkout. Prometheus reads the compose stack's own configuration and rules, with other addresses as its targets.
Only the standard library.
"""

import argparse
import json
import os
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

from stack_part import LOOPBACK, POLL_S, START_S, Part, StackError, ask, redis_answers

ROOT: Final = Path(__file__).resolve().parent.parent
DEPLOY: Final = ROOT / "deploy"
EXPORTER: Final = "prometheus-redis-exporter"
NEEDED: Final = ("redis-server", "prometheus")
"""Programs without which nothing is started; each is the name of its Debian package too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Where everything listens and lies."""

    port: int
    redis_port: int
    prometheus_port: int
    redis_exporter_port: int
    data: Path
    loki_url: str | None

    @property
    def has_exporter(self) -> bool:
        """Redis' figures are worth having, and no reason to refuse."""
        return shutil.which(EXPORTER) is not None


def scrapes(prometheus_port: int) -> bool:
    """Tell whether Prometheus is ready and has scraped the service."""
    if ask(prometheus_port, "/-/ready") is None:
        return False
    body = ask(prometheus_port, "/api/v1/query?query=" + quote('up{job="telemetry-cache"} == 1'))
    return body is not None and bool(json.loads(body)["data"]["result"])


def prometheus_config(text: str, targets: Mapping[str, str]) -> str:
    """Return the compose stack's configuration with these targets, by job; a job without one is left out."""
    head, *jobs = re.split(r"(?m)^(?=  - job_name: )", text)
    head, rules = re.subn(r"(?m)^  - rules\.yml$", f"  - {json.dumps(str(DEPLOY / 'prometheus' / 'rules.yml'))}", head)
    parts = [head]
    for job in jobs:
        name = job.split("\n", 1)[0].removeprefix("  - job_name: ")
        if name in targets:
            changed, count = re.subn(r"targets: \[.*\]", f'targets: ["{targets[name]}"]', job)
            parts += [changed] * count
    if rules != 1 or len(parts) != 1 + len(targets):
        raise StackError("deploy/prometheus/prometheus.yml: a job's targets or its rule file stand elsewhere now")
    return "".join(parts)


def targets(options: Options) -> dict[str, str]:
    """What Prometheus is to scrape, by job."""
    found = {
        "telemetry-cache": f"{LOOPBACK}:{options.port}",
        "prometheus": f"{LOOPBACK}:{options.prometheus_port}",
    }
    if options.has_exporter:
        found["redis-exporter"] = f"{LOOPBACK}:{options.redis_exporter_port}"
    loki = urlsplit(options.loki_url or "")
    if loki.scheme == "http":  # the job asks without TLS
        found["loki"] = f"{loki.hostname}:{loki.port or 80}"
    return found


def parts(options: Options) -> list[Part]:
    """The processes in the order in which they start: Prometheus last, since its first scrape finds all there then."""
    data, logs = options.data, options.data / "logs"
    redis_url = f"redis://{LOOPBACK}:{options.redis_port}"
    graceful_s = os.environ.get("GRACEFUL_TIMEOUT_S", "")
    service = Part(
        name="service",
        command=[sys.executable, "-m", "gunicorn", "--config", "gunicorn.conf.py", "wsgi:app"],
        env={
            "HOST": LOOPBACK,
            "PORT": str(options.port),
            "REDIS_URL": f"{redis_url}/0",
            "DATA_DIR": str(data / "service"),
        },
        folder=ROOT,
        log=logs / "service.log",
        is_ready=lambda: ask(options.port, "/healthz") is not None,
        stop_s=(int(graceful_s) if graceful_s.isdecimal() else 30) + 5,
    )
    prometheus = Part(
        name="prometheus",
        command=[
            "prometheus",
            *("--config.file", str(data / "prometheus.yml"), "--storage.tsdb.path", str(data / "prometheus")),
            *("--web.listen-address", f"{LOOPBACK}:{options.prometheus_port}", "--storage.tsdb.retention.time", "7d"),
        ],
        folder=ROOT,
        log=logs / "prometheus.log",
        is_ready=lambda: scrapes(options.prometheus_port),
    )
    exporter = Part(
        name=EXPORTER,
        command=[
            EXPORTER,
            *("-redis.addr", redis_url, "-web.listen-address", f"{LOOPBACK}:{options.redis_exporter_port}"),
        ],
        folder=ROOT,
        log=logs / "redis-exporter.log",
        is_ready=lambda: ask(options.redis_exporter_port, "/health") is not None,
    )
    redis = Part(
        name="redis-server",
        command=[
            *("redis-server", str(DEPLOY / "redis" / "redis.conf"), "--dir", str(data / "redis")),
            *("--bind", LOOPBACK, "--port", str(options.redis_port)),
        ],
        folder=ROOT,
        log=logs / "redis.log",
        is_ready=lambda: redis_answers(options.redis_port),
    )
    return [redis, *([exporter] if options.has_exporter else []), service, prometheus]


def check(options: Options) -> None:
    """Refuse, before anything is started, what cannot come to a good end."""
    missing = [program for program in NEEDED if shutil.which(program) is None]
    if missing:
        names = " ".join(missing)
        raise StackError(f"{' and '.join(missing)} not found (Debian: apt-get install {names})")
    ports = {
        "--port or PORT": options.port,
        "--redis-port or REDIS_PORT": options.redis_port,
        "--prometheus-port or PROMETHEUS_PORT": options.prometheus_port,
    }
    if options.has_exporter:
        ports["--redis-exporter-port or REDIS_EXPORTER_PORT"] = options.redis_exporter_port
    with ExitStack() as held:
        for setting, port in ports.items():
            probe = held.enter_context(socket.socket())
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
                probe.listen()
            except (OSError, OverflowError):
                other = f"stop that, or choose another with {setting}"
                raise StackError(f"port {port} is taken, perhaps by Debian's own service: {other}") from None


def prepare(options: Options) -> None:
    """Make the folders, and Prometheus' configuration."""
    for name in ("logs", "service", "prometheus", "redis"):
        (options.data / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    source = (DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
    (options.data / "prometheus.yml").write_text(prometheus_config(source, targets(options)), encoding="utf-8")


def block(options: Options) -> str:
    """What a person reads when all is up."""
    loki = urlsplit(options.loki_url or "")
    sink = f"{loki.scheme}://{loki.hostname}:{loki.port or ''}".rstrip(":")
    exporter = f"http://{LOOPBACK}:{options.redis_exporter_port}/metrics"
    rows = {
        "service": f"http://{LOOPBACK}:{options.port}  (try it: /docs, figures: /metrics, /kpis)",
        "prometheus": f"http://{LOOPBACK}:{options.prometheus_port}  (alerts: /alerts, targets: /targets)",
        "redis": f"redis://{LOOPBACK}:{options.redis_port}",
        "exporter": exporter if options.has_exporter else f"off (Debian: apt-get install {EXPORTER})",
        "events": sink if options.loki_url else f"{options.data / 'service' / 'logs'}/*.ndjson (no LOKI_URL)",
        "logs": str(options.data / "logs"),
    }
    lines = "".join(f"  {name:<12}{text}\n" for name, text in rows.items())
    return f"Telemetry Cache stack: all up\n{lines}  Ctrl-C ends all of it, the service first.\n"


def stop_signals() -> list[int]:
    """Return a list to which the signals that ask for a stop are added, from now on."""
    came: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: came.append(number))
    return came


def check_alive(running: Sequence[Part]) -> None:
    """Raise, with its last words, when a part has ended by itself."""
    for part in running:
        if part.has_ended():
            raise part.failure(f"ended by itself (exit code {part.stop()})")


def start(part: Part, started: Sequence[Part], asked: list[int]) -> None:
    """Start a part and wait until it is ready, or a stop is asked for."""
    sys.stderr.write(f"starting {part.name} ...\n")
    part.start()
    deadline_s = time.monotonic() + START_S
    while not part.is_ready() and not asked:
        check_alive([part, *started])
        if time.monotonic() > deadline_s:
            raise part.failure(f"was not ready within {START_S:.0f} s")
        time.sleep(POLL_S)


def run(options: Options) -> None:
    """Start all, wait for a signal or a death, end all."""
    check(options)
    prepare(options)
    in_order = parts(options)
    asked = stop_signals()
    try:
        for number, part in enumerate(in_order):
            if not asked:
                start(part, in_order[:number], asked)
        if not asked:
            sys.stdout.write(block(options))
            sys.stdout.flush()
        while not asked:
            check_alive(in_order)
            time.sleep(POLL_S)
    finally:
        # The service before what it needs, the rest backwards; a part that has been stopped is not stopped again.
        first = [part for part in in_order if part.name == "service"]
        for part in (*first, *reversed(in_order)):
            if part.stop() == -signal.SIGKILL:
                sys.stderr.write(f"{part.name} did not end by itself and was killed\n")


def options_from(arguments: Sequence[str], environ: Mapping[str, str]) -> Options:
    """Read the flags, and the environment where a flag is not given."""
    parser = argparse.ArgumentParser(prog="make stack", description=(__doc__ or "").split("\n", 1)[0])
    for flag, default, what in (
        ("port", 8114, "the service"),
        ("redis-port", 6379, "redis-server"),
        ("prometheus-port", 9090, "Prometheus"),
        ("redis-exporter-port", 9121, EXPORTER),
    ):
        variable = flag.replace("-", "_").upper()
        parser.add_argument(
            f"--{flag}",
            type=int,
            default=environ.get(variable) or default,
            help=f"where {what} listens on {LOOPBACK} ({variable}, {default})",
        )
    parser.add_argument("--data", type=Path, default=ROOT / "var" / "stack", help="a folder for all data (var/stack)")
    flags = vars(parser.parse_args(arguments))
    return Options(**{**flags, "data": flags["data"].resolve()}, loki_url=environ.get("LOKI_URL") or None)


if __name__ == "__main__":
    try:
        run(options_from(sys.argv[1:], os.environ))
    except StackError as exc:
        sys.exit(f"make stack: {exc}")
