"""gunicorn's settings and hooks. No third-party import here: metric files must be named before one happens."""

import os
import shutil
import sys
import tempfile
import time
from typing import Any

from app.banner import banner
from app.errors import ConfigError, SettingsError
from app.settings import Settings

try:
    settings = Settings.from_env(os.environ)
except SettingsError as exc:
    sys.exit(str(exc))

bind = settings.bind
workers = settings.workers
worker_class = "app.server.Worker"
logger_class = "app.server.Logger"
loglevel = settings.log_level
keepalive = settings.keep_alive_s
graceful_timeout = settings.graceful_timeout_s
timeout = 30
# A queue of new connections; nothing is gained by more than the kernel keeps (net.core.somaxconn).
backlog = 2048
limit_request_line = 8190
limit_request_fields = 100
limit_request_field_size = 8190
control_socket_disable = True

_metrics_dir = settings.data_dir / "metrics" / str(settings.port)
# prometheus_client reads this when it is first imported, which is in the workers.
os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_metrics_dir)


def on_starting(server: Any) -> None:
    """Refuse what the settings could not see: workers asked for on the command line, a bad row in config/."""
    from app.config_files import load  # noqa: PLC0415 - it imports re2

    asked = server.cfg.workers
    if asked > 1 and not settings.redis_url and settings.web_concurrency is None:
        sys.exit(f"workers: {asked} would each have a cache of their own; set REDIS_URL, or WEB_CONCURRENCY={asked}")
    try:
        load(settings.config_dir)
    except ConfigError as exc:
        sys.exit(str(exc))
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=settings.data_dir).close()
    except OSError as exc:
        sys.exit(f"DATA_DIR: takes a folder that can be written to ({type(exc).__name__})")


def when_ready(server: Any) -> None:
    """Empty the metric files, once the address is ours and before a worker is born; then say what runs."""
    if server.worker_age == 0:
        shutil.rmtree(_metrics_dir, ignore_errors=True)
        os.environ["SERVICE_STARTED_S"] = repr(time.monotonic())
    _metrics_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    print(banner(settings), flush=True)  # noqa: T201 - the one block that a person reads


def pre_fork(server: Any, worker: Any) -> None:
    """Give the worker the lowest free slot: it names its metric files and its streams in Loki."""
    taken = {sibling.slot for sibling in server.WORKERS.values()}
    worker.slot = next(slot for slot in range(len(taken) + 1) if slot not in taken)


def post_fork(server: Any, worker: Any) -> None:  # noqa: ARG001 - gunicorn's signature
    """Tell the worker its slot, before the application is imported."""
    os.environ["WORKER_SLOT"] = str(worker.slot)


def post_worker_init(worker: Any) -> None:
    """Start the background greenlets: only here is everything patched."""
    worker.services().start()


def worker_exit(server: Any, worker: Any) -> None:  # noqa: ARG001 - gunicorn's signature
    """Deliver what waits. This hook can run in the master too, which has nothing to deliver."""
    services = worker.services() if worker.pid == os.getpid() else None
    if services is not None:
        services.close(settings.drain_s)
