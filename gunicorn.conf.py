"""gunicorn's settings and hooks. No third-party import here: metric files must be named before one happens."""

import fcntl
import gc
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from typing import Any

from app.banner import banner
from app.errors import OperatorError, SettingsError
from app.settings import Settings, is_loopback

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
# Slow and idle connections cost a greenlet each; they must not use up the places of the others.
worker_connections = 4096
limit_request_line = 8190
limit_request_fields = 100
limit_request_field_size = 8190
# Whatever is written goes by way of our own socket, which gathers it and bounds its time.
sendfile = False
# No header of a client's changes which path is served.
forwarder_headers = ""
control_socket_disable = True

# What of a stop is left when a worker has waited for its requests, besides delivering (`drain_s`): ending them.
_ENDING_S = 2.5
_OPEN_FILES = 65_536
# Python's own 700, 10, 10 make it look some hundred times a second at what is mostly freed by itself.
_GC_THRESHOLDS = (10_000, 20, 20)
_LOCK_WAIT_S = 5.0
# A worker's six metric files (app/adapters/metric_files.py). No more is asked for: a disk that is full of our own
# backlog must not keep us from delivering it.
_ROOM_BYTES = 6 * 256 * 1024

_metrics_dir = settings.data_dir / "metrics"
# prometheus_client reads this when it is first imported, which is in the workers.
os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_metrics_dir)


def on_starting(server: Any) -> None:
    """Refuse, in one line, what the settings by themselves could not see."""
    try:
        _check_command_line(server.cfg)
        # The texts that the tables were last loaded from; what a later one that is broken falls back on.
        server.tables = _check_files()
        # Held by the master for its life; its workers let go of it.
        server.data_dir_lock = _lock_data_dir()
    except OperatorError as exc:
        sys.exit(str(exc))
    _allow_open_files()


def when_ready(server: Any) -> None:
    """Empty the metric files, once the address is ours and before a worker is born; then say what runs."""
    if server.worker_age == 0:
        shutil.rmtree(_metrics_dir, ignore_errors=True)
        os.environ["SERVICE_STARTED_S"] = repr(time.monotonic())
    _metrics_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Here there is room for it, even where the disk was full of our own backlog.
    _keep_tables(server)
    print(banner(settings), flush=True)  # noqa: T201 - the one block that a person reads


def on_reload(server: Any) -> None:
    """SIGHUP: keep the tables that load, before workers are born that read them. Must not raise: that ends everything.

    gunicorn has read this file again, but runs neither `on_starting` nor `when_ready`: lock, address and metric files
    stay as they are. A table that does not load is named by the workers, in the log and at /readyz.
    """
    from app.config_files import load  # noqa: PLC0415 - it imports re2

    server.tables = load(settings.config_dir, server.tables).texts
    _keep_tables(server)


def pre_fork(server: Any, worker: Any) -> None:
    """Give the worker the lowest free slot: it names its metric files and its streams in Loki."""
    taken = {sibling.slot for sibling in server.WORKERS.values()}
    worker.slot = next(slot for slot in range(len(taken) + 1) if slot not in taken)


def post_fork(server: Any, worker: Any) -> None:
    """Tell the worker its slot, before the application is imported, and what it may take of a stop."""
    # Until it has handlers of its own it has the master's, which would swallow a signal.
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(name, signal.SIG_DFL)
    os.close(server.data_dir_lock)
    os.environ["WORKER_SLOT"] = str(worker.slot)
    worker.connections.io_timeout_s = settings.body_timeout_s
    worker.connections.keep_alive_s = float(settings.keep_alive_s)
    # In this process only: the master still counts to the whole, and then kills.
    wait_s = settings.graceful_timeout_s - settings.drain_s - _ENDING_S
    worker.cfg.set("graceful_timeout", max(0, int(wait_s)))


def post_worker_init(worker: Any) -> None:
    """Start the background greenlets: only here is everything patched."""
    worker.services().start()
    # What is there now stays: the collector of cycles need not look through it again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


def worker_exit(server: Any, worker: Any) -> None:  # noqa: ARG001 - gunicorn's signature
    """Deliver what waits. This hook can run in the master too, which has nothing to deliver."""
    services = worker.services() if worker.pid == os.getpid() else None
    if services is not None:
        services.close(settings.drain_s)


def child_exit(server: Any, worker: Any) -> None:  # noqa: ARG001 - gunicorn's signature
    """Forget what the worker showed of itself (the gauges `live…`): who takes over its backlog shows that too.

    Emptied, not deleted: a full disk might not give the room again. The first four bytes say how much is in use.
    """
    for path in _metrics_dir.glob(f"gauge_live*_{worker.slot}.db"):
        with suppress(OSError), path.open("r+b") as file:
            file.write(bytes(4))


def _check_command_line(cfg: Any) -> None:
    """gunicorn's own options can ask for what the settings would refuse."""
    for address in cfg.address:
        if isinstance(address, tuple) and not is_loopback(address[0]) and not settings.allow_anonymous:
            raise SettingsError(f"bind: {address[0]} is no loopback address; that needs ALLOW_ANONYMOUS=true")
    if cfg.workers > 1 and not settings.redis_url and settings.web_concurrency is None:
        raise SettingsError(
            f"workers: {cfg.workers} would each have a cache of their own; "
            f"set REDIS_URL, or WEB_CONCURRENCY={cfg.workers}"
        )


def _check_files() -> Any:
    """The tables under config/ and the secrets can be read, DATA_DIR can be written to; return the tables' texts."""
    from app.adapters.pseudonym_keys import read_pseudonyms  # noqa: PLC0415 - only the master asks
    from app.adapters.secret_file import read_secret  # noqa: PLC0415 - only the master asks
    from app.config_files import load  # noqa: PLC0415 - it imports re2

    tables = load(settings.config_dir).texts
    if settings.cache_key_secret_file is not None:
        try:
            read_secret(settings.cache_key_secret_file)
        except (OSError, ValueError) as exc:
            raise SettingsError("CACHE_KEY_SECRET_FILE: takes a file of 16 to 64 bytes that can be read") from exc
    if settings.pseudonym_keys_file is not None:
        read_pseudonyms(settings.pseudonym_keys_file)
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=settings.data_dir).close()
        _metrics_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        freed = sum(path.stat().st_size for path in _metrics_dir.rglob("*.db"))
        room = shutil.disk_usage(settings.data_dir).free + freed
    except OSError as exc:
        raise SettingsError(f"DATA_DIR: takes a folder that can be written to ({type(exc).__name__})") from exc
    if room < _ROOM_BYTES * settings.workers:
        needed = _ROOM_BYTES * settings.workers // 1024
        raise SettingsError(f"DATA_DIR: takes a folder whose disk has {needed:,} KiB of room, for metric files")
    return tables


def _keep_tables(server: Any) -> None:
    """Keep the tables' texts under DATA_DIR, for workers that find a broken one. Without: the older copies stay."""
    from app.config_files import keep  # noqa: PLC0415 - it imports re2

    try:
        keep(settings.data_dir, server.tables)
    except OSError:
        server.log.exception("the good versions of the tables cannot be kept under DATA_DIR")


def _lock_data_dir() -> int:
    """Return the open lock: two services that write the same files would cut each other's lines."""
    lock = os.open(settings.data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline_s = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            # A master that was killed a moment ago may not be gone yet.
            if time.monotonic() > deadline_s:
                raise SettingsError("DATA_DIR: takes a folder that no other service uses") from exc
            time.sleep(0.1)
        else:
            return lock


def _allow_open_files() -> None:
    """A connection is an open file, and the usual limit of 1,024 is less than a worker may hold."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
