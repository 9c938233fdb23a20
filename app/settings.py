"""One frozen Settings, parsed once from a mapping. Only the standard library: gunicorn.conf.py reads it too.

Every environment variable is a field with its type, default and meaning; docs/settings.md is written
from them (`python -m app.docs`).
"""

import ipaddress
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from app.errors import SettingsError

ROOT: Final = Path(__file__).resolve().parent.parent
"""Where config/ stands; a checkout is run in place."""

_KIB: Final = 1024
_MIB: Final = 1024 * _KIB

REDIS_SCHEMES: Final = ("redis", "rediss", "unix")
LOG_LEVELS: Final = ("debug", "info", "warning", "error")

Parser = tuple[str, Callable[[str], Any]]
"""What a variable takes, in words, and the function that reads it (ValueError where it does not fit)."""


def _whole(low: int, high: int) -> Parser:
    def parse(text: str) -> int:
        number = int(text) if text.isascii() and text.isdigit() else -1
        if not low <= number <= high:
            raise ValueError
        return number

    return f"a whole number, {low:,} to {high:,}", parse


def _decimal(low: float, high: float) -> Parser:
    def parse(text: str) -> float:
        number = float(text)
        if not low <= number <= high:
            raise ValueError
        return number

    return f"a number, {low:g} to {high:g}", parse


def _one_of(*words: str) -> Parser:
    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError
        return text.lower()

    return "one of " + ", ".join(words), parse


def _boolean() -> Parser:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}

    def parse(text: str) -> bool:
        if text.lower() not in words:
            raise ValueError
        return words[text.lower()]

    return "true or false", parse


def _url(*schemes: str) -> Parser:
    def parse(text: str) -> str:
        parts = urlsplit(text)
        if parts.scheme not in schemes or not (parts.hostname or (parts.scheme == "unix" and parts.path)):
            raise ValueError
        _ = parts.port  # raises ValueError for a port that is none
        return text

    return "a URL, " + " or ".join(f"`{scheme}://…`" for scheme in schemes), parse


def _text(takes: str, *, max_length: int = 256) -> Parser:
    def parse(text: str) -> str:
        if not text or len(text) > max_length or not text.isprintable():
            raise ValueError
        return text

    return takes, parse


def _secret() -> Parser:
    def parse(text: str) -> str:
        if not 16 <= len(text.encode()) <= 64 or not text.isprintable():  # noqa: PLR2004 - what BLAKE2b takes as a key
            raise ValueError
        return text

    return "16 to 64 bytes", parse


def _label() -> Parser:
    def parse(text: str) -> str:
        if not 1 <= len(text) <= 64 or not all(sign.isascii() and (sign.isalnum() or sign in "_.:-") for sign in text):  # noqa: PLR2004
            raise ValueError
        return text

    return "1 to 64 of letters, digits and `_.:-`", parse


def _directory() -> Parser:
    def parse(text: str) -> Path:
        if not text or "\0" in text:
            raise ValueError
        return Path(text).expanduser().resolve()

    return "a path", parse


def _env(name: str, parser: Parser, default: Any, means: str, *, shown: str | None = None) -> Any:
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
        _url(*REDIS_SCHEMES),
        None,
        "Redis for the cache. Unset: an in-process store, for one worker.",
        shown="embedded store",
    )
    loki_url: str | None = _env(
        "LOKI_URL",
        _url("http", "https"),
        None,
        "Grafana Loki's base address; pushes go to `/loki/api/v1/push`. Unset: NDJSON files under `DATA_DIR/logs/`.",
        shown="files",
    )
    data_dir: Path = _env(
        "DATA_DIR",
        _directory(),
        ROOT / "var",
        "What must outlive a restart: log files, dead letters, the cache's key secret, metric files.",
        shown="`./var`",
    )
    config_dir: Path = _env(
        "CONFIG_DIR",
        _directory(),
        ROOT / "config",
        "Where `detectors.toml`, `kpis.toml` and `cache.toml` are read from.",
        shown="`./config`",
    )
    host: str = _env("HOST", _text("a host name or address"), "127.0.0.1", "The address to listen on.")
    port: int = _env("PORT", _whole(1, 65535), 8114, "The port to listen on.")
    allow_anonymous: bool = _env(
        "ALLOW_ANONYMOUS",
        _boolean(),
        False,  # noqa: FBT003 - a default is a value
        "Listen past loopback although nobody needs a key: everyone who reaches the port may do everything.",
    )
    web_concurrency: int | None = _env(
        "WEB_CONCURRENCY",
        _whole(1, 64),
        None,
        "Worker processes. Without `REDIS_URL` each has a cache of its own, so more than one must be asked for.",
        shown="1 without `REDIS_URL`, else the number of CPUs",
    )
    log_level: str = _env("LOG_LEVEL", _one_of(*LOG_LEVELS), "info", "What the service says on stderr of itself.")
    environment: str = _env("ENVIRONMENT", _label(), "default", "The label `env` of every event in Loki.")

    loki_tenant: str | None = _env("LOKI_TENANT", _label(), None, "Sent to Loki as `X-Scope-OrgID`.", shown="not sent")
    loki_connect_timeout_s: float = _env(
        "LOKI_CONNECT_TIMEOUT_S", _decimal(0.01, 60), 1.0, "Seconds to connect to Loki."
    )
    loki_read_timeout_s: float = _env(
        "LOKI_READ_TIMEOUT_S", _decimal(0.01, 300), 5.0, "Seconds to wait for Loki's answer to a push."
    )
    loki_max_line_bytes: int = _env(
        "LOKI_MAX_LINE_BYTES",
        _whole(1024, 16 * _MIB),
        262_144,
        "The longest redacted line; a longer one is refused with 413. Loki's own `max_line_size` by default.",
    )
    loki_max_streams: int = _env(
        "LOKI_MAX_STREAMS",
        _whole(1, 100_000),
        500,
        "Label sets a worker may make; then `service_name` and `event` become `other`.",
    )
    batch_max_bytes: int = _env(
        "BATCH_MAX_BYTES", _whole(1024, 16 * _MIB), _MIB, "A batch is shipped at this size, before compression."
    )
    batch_max_events: int = _env(
        "BATCH_MAX_EVENTS", _whole(1, 100_000), 5_000, "A batch is shipped at this number of events."
    )
    batch_max_age_s: float = _env(
        "BATCH_MAX_AGE_S", _decimal(0, 60), 1.0, "A batch is shipped when its oldest event is this many seconds old."
    )
    shipper_pool_size: int = _env(
        "SHIPPER_POOL_SIZE", _whole(1, 64), 4, "Greenlets that ship; each has its own streams and connection."
    )
    spool_max_bytes: int = _env(
        "SPOOL_MAX_BYTES",
        _whole(64 * _KIB, 64 * 1024 * _MIB),
        64 * _MIB,
        "Undelivered events a worker holds, in memory; past it `/log` answers 503.",
    )
    log_file_max_bytes: int = _env(
        "LOG_FILE_MAX_BYTES",
        _whole(64 * _KIB, 64 * 1024 * _MIB),
        64 * _MIB,
        "Without Loki: a log file is closed and a new one begun at this size.",
    )

    event_max_bytes: int = _env(
        "EVENT_MAX_BYTES",
        _whole(1024, 16 * _MIB),
        256 * _KIB,
        "The largest body of `/log` and `/redact`, and event of a batch.",
    )
    log_batch_max_bytes: int = _env(
        "LOG_BATCH_MAX_BYTES",
        _whole(1024, 256 * _MIB),
        5 * _MIB,
        "The largest body of `/log/batch`, after decompression.",
    )
    log_batch_max_events: int = _env(
        "LOG_BATCH_MAX_EVENTS", _whole(1, 1_000_000), 10_000, "The most events of one `/log/batch`."
    )
    event_id_memory_s: float = _env(
        "EVENT_ID_MEMORY_S",
        _decimal(0, 86_400),
        600.0,
        "How long a worker knows a caller's own `event_id`, so that a retry is not a second event.",
    )
    event_id_memory_ids: int = _env(
        "EVENT_ID_MEMORY_IDS", _whole(1, 10_000_000), 100_000, "How many such ids a worker knows at most."
    )

    cache_value_max_bytes: int = _env(
        "CACHE_VALUE_MAX_BYTES", _whole(1024, 64 * _MIB), _MIB, "The largest `data` of a cache entry, as JSON."
    )
    cache_ttl_jitter: float = _env(
        "CACHE_TTL_JITTER",
        _decimal(0, 0.5),
        0.0,
        "Shorten each time to live by up to this share, so that entries set together do not expire together.",
    )
    cache_key_secret: str | None = _env(
        "CACHE_KEY_SECRET",
        _secret(),
        None,
        "Keys the digests that stand for cache keys in Redis; the same on every instance.",
        shown="made once, under `DATA_DIR`",
    )
    cache_key_secret_file: Path | None = _env(
        "CACHE_KEY_SECRET_FILE", _directory(), None, "A file with that secret, instead.", shown="none"
    )
    embedded_cache_max_entries: int = _env(
        "EMBEDDED_CACHE_MAX_ENTRIES",
        _whole(1, 10_000_000),
        10_000,
        "Without Redis: entries that the store holds; then others make room, as with Redis's `allkeys-random`.",
    )
    redis_pool_size: int = _env("REDIS_POOL_SIZE", _whole(1, 1000), 20, "Connections to Redis, a worker.")
    redis_pool_timeout_s: float = _env(
        "REDIS_POOL_TIMEOUT_S", _decimal(0.001, 10), 0.05, "Seconds to wait for a free connection."
    )
    redis_connect_timeout_s: float = _env(
        "REDIS_CONNECT_TIMEOUT_S", _decimal(0.001, 10), 0.08, "Seconds to connect to Redis."
    )
    redis_read_timeout_s: float = _env(
        "REDIS_READ_TIMEOUT_S", _decimal(0.001, 10), 0.08, "Seconds to wait for Redis's answer."
    )
    cache_deadline_s: float = _env(
        "CACHE_DEADLINE_S",
        _decimal(0.01, 30),
        0.24,
        "Seconds for one cache operation in all, name look-up included; then a `get` is a degraded miss.",
    )

    kpi_window_s: float = _env(
        "KPI_WINDOW_S", _decimal(5, 3600), 60.0, "The window of tokens/s and of `/kpis`' quantiles."
    )
    body_timeout_s: float = _env("BODY_TIMEOUT_S", _decimal(0.1, 300), 10.0, "Seconds for a body to arrive; then 408.")
    keep_alive_s: int = _env(
        "KEEP_ALIVE_S", _whole(1, 300), 15, "Seconds that an idle connection is kept, and that a head may take."
    )
    graceful_timeout_s: int = _env(
        "GRACEFUL_TIMEOUT_S",
        _whole(3, 600),
        30,
        "Seconds that a stop may take; a third of it may go to delivering what waits.",
    )

    # Set by gunicorn.conf.py for its workers, not by people.
    worker_slot: int = _env("WORKER_SLOT", _whole(0, 1023), 0, "")
    metrics_dir: Path | None = _env("PROMETHEUS_MULTIPROC_DIR", _directory(), None, "")
    started_s: float | None = _env("SERVICE_STARTED_S", _decimal(0, 1e12), None, "")

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
    if settings.loki_max_line_bytes > settings.batch_max_bytes:
        raise SettingsError("BATCH_MAX_BYTES: takes at least LOKI_MAX_LINE_BYTES")


if __name__ == "__main__":
    # `make run` asks first: gunicorn reads some variables itself, and fails on them with a stack trace.
    try:
        Settings.from_env(os.environ)
    except SettingsError as exc:
        sys.exit(str(exc))
