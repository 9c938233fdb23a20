"""One frozen Settings, parsed once from a mapping. Only the standard library: gunicorn.conf.py reads it too.

Every environment variable is a field with its type, default and meaning; docs/settings.md is written
from them (`python -m app.docs`).
"""

import ipaddress
import os
import sys
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from app import setting_kinds as kinds
from app.errors import SettingsError

ROOT: Final = Path(__file__).resolve().parent.parent
"""Where config/ stands; a checkout is run in place."""

_KIB: Final = 1024
_MIB: Final = 1024 * _KIB

LOG_LEVELS: Final = ("debug", "info", "warning", "error")


def _env(name: str, parser: kinds.Parser, default: Any, means: str, *, shown: str | None = None) -> Any:
    """Declare a setting. `shown` is the default in words, where the value does not say it."""
    takes, parse = parser
    return field(
        default=default, metadata={"env": name, "takes": takes, "parse": parse, "means": means, "shown": shown}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set, with units in the names."""

    redis_url: str | None = _env(
        "REDIS_URL",
        kinds.redis_url(),
        None,
        "Redis for the cache. Unset: an in-process store, for one worker.",
        shown="embedded store",
    )
    loki_url: str | None = _env(
        "LOKI_URL",
        kinds.url("http", "https"),
        None,
        "Grafana Loki's base address; pushes go to `/loki/api/v1/push`. Unset: NDJSON files under `DATA_DIR/logs/`.",
        shown="files",
    )
    data_dir: Path = _env(
        "DATA_DIR",
        kinds.directory(),
        ROOT / "var",
        "Undelivered events, dead letters, log files, the cache's key secret: all that must outlive a restart.",
        shown="`./var`",
    )
    config_dir: Path = _env(
        "CONFIG_DIR",
        kinds.directory(),
        ROOT / "config",
        "Where `detectors.toml`, `kpis.toml` and `cache.toml` are read from, at the start and at SIGHUP.",
        shown="`./config`",
    )
    host: str = _env("HOST", kinds.host(), "127.0.0.1", "The address to listen on.")
    port: int = _env("PORT", kinds.whole(1, 65535), 8114, "The port to listen on.")
    allow_anonymous: bool = _env(
        "ALLOW_ANONYMOUS",
        kinds.boolean(),
        False,  # noqa: FBT003 - a default is a value
        "Listen past loopback although nobody needs a key: everyone who reaches the port may do everything.",
    )
    web_concurrency: int | None = _env(
        "WEB_CONCURRENCY",
        kinds.whole(1, 64),
        None,
        "Worker processes. Without `REDIS_URL` each has a cache of its own, so more than one must be asked for.",
        shown="1 without `REDIS_URL`, else the number of CPUs",
    )
    log_level: str = _env("LOG_LEVEL", kinds.one_of(*LOG_LEVELS), "info", "What the service says on stderr of itself.")
    environment: str = _env("ENVIRONMENT", kinds.label(), "default", "The label `env` of every event in Loki.")

    loki_tenant: str | None = _env("LOKI_TENANT", kinds.label(), None, "Sent to Loki as `X-Scope-OrgID`.", shown="none")
    loki_connect_timeout_s: float = _env(
        "LOKI_CONNECT_TIMEOUT_S", kinds.decimal(0.01, 60), 1.0, "Seconds to connect to Loki."
    )
    loki_read_timeout_s: float = _env(
        "LOKI_READ_TIMEOUT_S", kinds.decimal(0.01, 300), 5.0, "Seconds to wait for Loki's answer to a push."
    )
    loki_max_line_bytes: int = _env(
        "LOKI_MAX_LINE_BYTES",
        kinds.whole(1024, 16 * _MIB),
        262_144,
        "The longest redacted line; a longer one is refused with 413. Loki's own `max_line_size` by default.",
    )
    loki_max_streams: int = _env(
        "LOKI_MAX_STREAMS",
        kinds.whole(1, 100_000),
        500,
        "Label sets a worker may make; then `service_name` and `event` become `other`.",
    )
    batch_max_bytes: int = _env(
        "BATCH_MAX_BYTES", kinds.whole(1024, 16 * _MIB), _MIB, "A batch is shipped at this size, before compression."
    )
    batch_max_events: int = _env(
        "BATCH_MAX_EVENTS", kinds.whole(1, 100_000), 5_000, "A batch is shipped at this number of events."
    )
    batch_max_age_s: float = _env(
        "BATCH_MAX_AGE_S",
        kinds.decimal(0, 60),
        1.0,
        "A batch is shipped when its oldest event is this old, in seconds.",
    )
    shipper_pool_size: int = _env(
        "SHIPPER_POOL_SIZE", kinds.whole(1, 64), 4, "Batches that are shipped at a time, one of each stream."
    )
    spool_max_bytes: int = _env(
        "SPOOL_MAX_BYTES",
        kinds.whole(64 * _KIB, 64 * 1024 * _MIB),
        1024 * _MIB,
        "What the files of undelivered events may take of the disk, a worker; past it `/log` answers 503.",
    )
    spool_sync: str = _env(
        "SPOOL_SYNC",
        kinds.one_of("group", "off"),
        "group",
        "`group`: an event is synced to disk before it is acknowledged, together with those that came meanwhile. "
        "`off`: only written, which survives SIGKILL, but no power loss.",
    )
    log_file_max_bytes: int = _env(
        "LOG_FILE_MAX_BYTES",
        kinds.whole(64 * _KIB, 64 * 1024 * _MIB),
        64 * _MIB,
        "Without Loki: a log file is closed and a new one begun at this size.",
    )

    redaction_audit_every: int = _env(
        "REDACTION_AUDIT_EVERY",
        kinds.whole(0, 1_000_000),
        100,
        "One event in so many is searched again before it is stored, for what redaction should have found; 0: none.",
    )

    event_max_bytes: int = _env(
        "EVENT_MAX_BYTES",
        kinds.whole(1024, 16 * _MIB),
        256 * _KIB,
        "The largest body of `/log` and `/redact`, and event of a batch.",
    )
    log_batch_max_bytes: int = _env(
        "LOG_BATCH_MAX_BYTES",
        kinds.whole(1024, 256 * _MIB),
        5 * _MIB,
        "The largest body of `/log/batch`, after decompression.",
    )
    log_batch_max_events: int = _env(
        "LOG_BATCH_MAX_EVENTS", kinds.whole(1, 1_000_000), 10_000, "The most events of one `/log/batch`."
    )
    event_id_memory_s: float = _env(
        "EVENT_ID_MEMORY_S",
        kinds.decimal(0, 86_400),
        600.0,
        "How long a worker knows a caller's own `event_id`, so that a retry is not a second event.",
    )
    event_id_memory_ids: int = _env(
        "EVENT_ID_MEMORY_IDS", kinds.whole(1, 10_000_000), 100_000, "How many such ids a worker knows at most."
    )

    cache_value_max_bytes: int = _env(
        "CACHE_VALUE_MAX_BYTES", kinds.whole(1024, 64 * _MIB), _MIB, "The largest `data` of a cache entry, as JSON."
    )
    cache_ttl_jitter: float = _env(
        "CACHE_TTL_JITTER",
        kinds.decimal(0, 0.5),
        0.0,
        "Shorten each time to live by up to this share, so that entries set together do not expire together.",
    )
    cache_key_secret: str | None = _env(
        "CACHE_KEY_SECRET",
        kinds.secret(),
        None,
        "Keys the digests that stand for cache keys in Redis; the same on every instance.",
        shown="made once, under `DATA_DIR`",
    )
    cache_key_secret_file: Path | None = _env(
        "CACHE_KEY_SECRET_FILE", kinds.directory(), None, "A file with that secret, instead.", shown="none"
    )
    pseudonym_keys_file: Path | None = _env(
        "PSEUDONYM_KEYS_FILE",
        kinds.directory(),
        None,
        "Keys of pseudonyms, a TOML file of `[[key]]` rows; the first signs. Unset: pseudonyms are plain redaction.",
        shown="none",
    )
    embedded_cache_max_entries: int = _env(
        "EMBEDDED_CACHE_MAX_ENTRIES",
        kinds.whole(1, 10_000_000),
        10_000,
        "Without Redis: entries that the store holds; then the oldest make room.",
    )
    embedded_cache_max_bytes: int = _env(
        "EMBEDDED_CACHE_MAX_BYTES",
        kinds.whole(1024, 64 * 1024 * _MIB),
        256 * _MIB,
        "Without Redis: bytes that the store holds; then the oldest make room.",
    )
    redis_pool_size: int = _env("REDIS_POOL_SIZE", kinds.whole(1, 1000), 20, "Connections to Redis, a worker.")
    redis_pool_timeout_s: float = _env(
        "REDIS_POOL_TIMEOUT_S", kinds.decimal(0.001, 10), 0.15, "Seconds to wait for a free connection."
    )
    redis_connect_timeout_s: float = _env(
        "REDIS_CONNECT_TIMEOUT_S", kinds.decimal(0.001, 10), 0.08, "Seconds to connect to Redis."
    )
    redis_read_timeout_s: float = _env(
        "REDIS_READ_TIMEOUT_S", kinds.decimal(0.001, 10), 0.08, "Seconds to wait for Redis's answer."
    )
    cache_deadline_s: float = _env(
        "CACHE_DEADLINE_S",
        kinds.decimal(0.01, 30),
        0.24,
        "Seconds for one cache operation in all, name look-up included; then a `get` is a degraded miss.",
    )

    kpi_window_s: float = _env(
        "KPI_WINDOW_S", kinds.decimal(5, 3600), 60.0, "The window of tokens/s and of `/kpis`' quantiles."
    )
    body_timeout_s: float = _env(
        "BODY_TIMEOUT_S",
        kinds.decimal(0.1, 300),
        10.0,
        "Seconds for a body to arrive; and for one read or write.",
    )
    keep_alive_s: int = _env(
        "KEEP_ALIVE_S", kinds.whole(1, 300), 15, "Seconds that an idle connection is kept, and that a head may take."
    )
    graceful_timeout_s: int = _env(
        "GRACEFUL_TIMEOUT_S",
        kinds.whole(6, 600),
        30,
        "Seconds that a stop may take; a third of it may go to delivering what waits.",
    )

    # Set by gunicorn.conf.py for its workers, not by people.
    worker_slot: int = _env("WORKER_SLOT", kinds.whole(0, 1023), 0, "")
    metrics_dir: Path | None = _env("PROMETHEUS_MULTIPROC_DIR", kinds.directory(), None, "")
    started_s: float | None = _env("SERVICE_STARTED_S", kinds.decimal(0, 1e12), None, "")

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the variables; raise SettingsError naming the one that does not fit and what it takes.

        A variable that is set to nothing counts as unset, as compose files write it.
        """
        values = {
            setting.name: _parse(setting, environ[setting.metadata["env"]])
            for setting in fields(cls)
            if environ.get(setting.metadata["env"], "")
        }
        settings = cls(**values)
        _check_together(settings)
        return settings

    @property
    def workers(self) -> int:
        """How many worker processes serve."""
        if self.web_concurrency is not None:
            return self.web_concurrency
        return (os.cpu_count() or 1) if self.redis_url else 1

    @property
    def bind(self) -> str:
        """The address as gunicorn takes it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def drain_s(self) -> float:
        """How long a stop may spend on delivering: a third, the rest is for requests in flight."""
        return self.graceful_timeout_s / 3


def documented() -> list["Field[Any]"]:
    """Return the settings that people set, in the order of docs/settings.md."""
    return [setting for setting in fields(Settings) if setting.metadata["means"]]


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach a host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def without_credentials(url: str) -> str:
    """Return a URL as it may be shown: without user, password, query and fragment."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return f"unix://{parts.path}"
    port = f":{parts.port}" if parts.port else ""
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{port}{parts.path}"


def _parse(setting: "Field[Any]", text: str) -> Any:
    try:
        return setting.metadata["parse"](text)
    except (ValueError, OverflowError, RuntimeError):
        # The value is not echoed: it may be a password that went into the wrong variable.
        raise SettingsError(f"{setting.metadata['env']}: takes {setting.metadata['takes']}") from None


def _check_together(settings: Settings) -> None:
    if not is_loopback(settings.host) and not settings.allow_anonymous:
        raise SettingsError(
            "HOST: takes a loopback address while there are no API keys; "
            "ALLOW_ANONYMOUS=true opens the service to everyone who reaches it"
        )
    if settings.cache_key_secret is not None and settings.cache_key_secret_file is not None:
        raise SettingsError("CACHE_KEY_SECRET_FILE: takes nothing while CACHE_KEY_SECRET is set")
    if 2 * settings.loki_max_line_bytes > settings.spool_max_bytes:
        raise SettingsError("SPOOL_MAX_BYTES: takes at least twice LOKI_MAX_LINE_BYTES")
    if settings.loki_max_line_bytes > settings.batch_max_bytes:
        raise SettingsError("BATCH_MAX_BYTES: takes at least LOKI_MAX_LINE_BYTES")


if __name__ == "__main__":
    # `make run` asks first: gunicorn reads some variables itself, and fails on them with a stack trace.
    try:
        Settings.from_env(os.environ)
    except SettingsError as exc:
        sys.exit(str(exc))
