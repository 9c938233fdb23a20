"""The composition root: the one place that knows every adapter. Constructors start nothing."""

import logging
import random
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from app import config_files
from app.adapters.dead_letter_files import DeadLetterFiles, DeadLetterFolder
from app.adapters.embedded_bounds import EmbeddedBounds
from app.adapters.file_sink import FileSink
from app.adapters.file_spool import FileSpool, Group
from app.adapters.loki_http import LokiHttp, MetadataSupport
from app.adapters.prometheus import PrometheusTelemetry
from app.adapters.pseudonym_keys import read_pseudonyms
from app.adapters.redis_cache import RedisCache, RedisLimits, connect, embedded
from app.adapters.secret_file import read_or_make_secret, read_secret
from app.adapters.spool_slot import Call
from app.audit import Audit
from app.config_files import Config
from app.core.batching import BatchLimits
from app.core.dead_letters import Letter, restamped
from app.core.kpi import Observer
from app.core.loki import Streams
from app.core.pseudonyms import PseudonymKey, Pseudonyms
from app.core.recent import RecentIds
from app.core.redaction import redact
from app.core.rules import Rules
from app.errors import CacheAwayError, ConfigError, OperatorError, TryLaterError
from app.handlers.cache import CacheHandler
from app.handlers.logs import Clock, LogHandler, LogLimits
from app.handlers.pseudonyms import PseudonymHandler
from app.handlers.reading import Reader
from app.ports import Health, Readiness
from app.runtime.grouped import Grouped
from app.runtime.joined import Joined
from app.runtime.limits import TimeLimit
from app.runtime.loops import Runtime, Step
from app.runtime.one_thread import OneThread
from app.runtime.plain import plain_lock, plain_poll
from app.settings import Settings
from app.shipper import Shipper, SinkState

_log = logging.getLogger("telemetry_cache.services")

SNAPSHOT_EVERY_S: Final = 5.0
"""How finely windowed figures look back (kpis.md, "Several workers")."""

_ID_BYTES: Final = 16
"""128 random bits, as a UUID has, without its form."""
_IDS_DRAWN: Final = 256

_LOOKUP_CALLS: Final = 2
_LOOKUPS_A_CALL: Final = 32
"""Look-ups that come at the same time are one MGET. Two under way keep a fast Redis busy; of 32 values of 1 MiB, one
reply is still no more than a worker can hold."""

_COMMIT_WAIT_S: Final = 10.0
"""How long a caller waits for the disk before he hears that it does not take his event."""

_UNBOUNDED: Final = 1 << 50
"""For what a person asks to have sent again."""

_GAUGES_EVERY_S: Final = 0.5
_CLOSE_RESERVE_S: Final = 1.0

# One second: a smaller step back of the clock is taken for drift, a larger one for a new truth.
_US: Final = 1_000
_DRIFT_US: Final = 1_000_000


class Stamps:
    """Nanoseconds of the wall clock, none given twice, however often the clock is set back (less than 1,000 times)."""

    def __init__(self, clock_ns: Callable[[], int] = time.time_ns) -> None:
        """`clock_ns` gives epoch nanoseconds."""
        self._clock_ns = clock_ns
        self._last_us = 0
        self._steps_back = 0

    def __call__(self) -> int:
        """Return the next stamp."""
        now_us = self._clock_ns() // _US
        if 0 <= self._last_us - now_us < _DRIFT_US:
            now_us = self._last_us + 1
        elif now_us < self._last_us:
            # The same microseconds come again: this time they end in another number.
            self._steps_back = (self._steps_back + 1) % _US
        self._last_us = now_us
        return now_us * _US + self._steps_back


class Services:
    """Everything that serves one worker, and its life."""

    def __init__(self, settings: Settings) -> None:
        """Build; nothing is connected, opened or started, but the files that hold metrics, secrets and keys."""
        config = config_files.load(settings.config_dir, config_files.kept(settings.data_dir))
        started_s = settings.started_s if settings.started_s is not None else time.monotonic()
        self._settings = settings
        keys_file = settings.pseudonym_keys_file
        self.pseudonyms = read_pseudonyms(keys_file) if keys_file is not None else None
        rules = self._rules(config.rules)
        self._started_wall_s = time.time()
        self._draining_since_s: float | None = None
        self._runtime = Runtime()
        self.telemetry = PrometheusTelemetry(
            config.kpis,
            slot=settings.worker_slot,
            metrics_dir=settings.metrics_dir,
            window_s=settings.kpi_window_s,
            started_s=started_s,
            detectors=rules.names,
            spool_max_bytes=settings.spool_max_bytes,
            lock=plain_lock,
        )
        self._stale = config.stale
        self._show_config(config)
        new_id = _event_ids().__next__
        self._streams = Streams(env=settings.environment, max_streams=settings.loki_max_streams)
        self._offload = OneThread()
        # Commits have a thread of their own: nothing else that is slow may hold up an answer.
        self.spool = self._file_spool(
            partial(Grouped, wait_s=_COMMIT_WAIT_S),
            commit=OneThread(),
            offload=self._offload,
            max_bytes=settings.spool_max_bytes,
        )
        self.letters = DeadLetterFolder(settings.data_dir / "dead-letters")
        self._dead_letters = DeadLetterFiles(
            settings.data_dir / "dead-letters",
            settings.worker_slot,
            clean=lambda text: str(redact(text, rules).value),
            offload=self._offload,
            wall_s=time.time,
        )
        # One file is written by one greenlet; pushes to Loki go side by side.
        metadata = MetadataSupport()
        self._sinks = [self._sink(metadata) for _ in range(settings.shipper_pool_size if settings.loki_url else 1)]
        self._sink_state = SinkState()
        self.shippers = [self._shipper(sink) for sink in self._sinks]
        self._cache = self._cache_store()
        reader = Reader(rules)
        self.log = LogHandler(
            rules=rules,
            audit=Audit(rules, self.telemetry, every=settings.redaction_audit_every, new_id=new_id),
            observe=Observer(config.kpis),
            spool=self.spool,
            telemetry=self.telemetry,
            streams=self._streams,
            recent=RecentIds(settings.event_id_memory_ids, settings.event_id_memory_s),
            limits=LogLimits(
                event_bytes=settings.event_max_bytes,
                line_bytes=settings.loki_max_line_bytes,
                batch_bytes=settings.log_batch_max_bytes,
                batch_events=settings.log_batch_max_events,
            ),
            clock=Clock(stamp_ns=Stamps(), monotonic_s=time.monotonic, new_id=new_id),
            reader=reader,
            breathe=self._runtime.breathe,
            ease=lambda: self._runtime.ease(self._is_crowded),
        )
        self.cache = CacheHandler(
            cache=self._cache,
            telemetry=self.telemetry,
            policy=config.cache,
            reader=reader,
            value_bytes=settings.cache_value_max_bytes,
            ttl_jitter=settings.cache_ttl_jitter,
            wall_s=time.time,
            rand=random.random,
        )

        self.pseudonym_finder = PseudonymHandler(pseudonyms=self.pseudonyms, names=rules.names, reader=reader)

    @property
    def settings(self) -> Settings:
        """The settings that all this was built from."""
        return self._settings

    def start(self) -> None:
        """Open the spool and start the background greenlets."""
        self.spool.keep(time.monotonic())
        steps: list[Step] = [self._shipping(shipper) for shipper in self.shippers]
        self._runtime.start([*steps, self._keeping, self._housekeeping()])

    def drain(self) -> None:
        """Take no more events; what waits is still delivered by `close`."""
        if self._draining_since_s is None:
            self._draining_since_s = time.time()

    def close(self, deadline_s: float) -> None:
        """Deliver what waits within `deadline_s` seconds; the rest stays on disk, for the next start."""
        self.drain()
        self.spool.close()
        self._runtime.close(max(0.0, deadline_s - _CLOSE_RESERVE_S))
        self._show_spool()
        self.spool.release()
        for closable in (*self._sinks, self._dead_letters, self._cache):
            closable.close()

    def requeue(self, letters: Sequence[Letter], *, restamp: bool) -> None:
        """Put dead letters into a slot that nobody holds, for a worker to adopt; raise OperatorError.

        Outside of a worker only: it blocks.
        """
        spool = self._file_spool(
            lambda deal: lambda request: deal([request]), commit=_directly, offload=_directly, max_bytes=_UNBOUNDED
        )
        stamp_ns = Stamps()
        try:
            spool.open(adopt=False)
            entries = [letter.entry for letter in letters]
            if restamp:
                entries = [restamped(entry, stamp_ns(), spool.slot) for entry in entries]
            spool.append(entries, time.monotonic())
            spool.note_requeued(len(entries))
        except (OSError, TryLaterError) as exc:
            raise OperatorError("the spool takes no events; nothing was re-queued") from exc
        finally:
            spool.release()

    def readiness(self) -> Readiness:
        """Ask the dependencies. Only what keeps this worker from accepting events makes it unavailable."""
        now_s = time.time()
        letters = Health("dead_letters", "ok", self._started_wall_s, f"{self._offload(self.letters.count)} events")
        checks = (
            self._spool_health(now_s),
            self._sink_health(),
            self._cache.health(now_s),
            letters,
            self._config_health(),
        )
        ledger = self.spool.ledger()
        if checks[0].state == "failing":
            return Readiness("unavailable", checks, ledger)
        return Readiness("degraded" if any(check.state != "ok" for check in checks) else "ok", checks, ledger)

    def _is_crowded(self) -> bool:
        """Whether callers should be slowed down a little; where the sink takes nothing, that would not help."""
        return self.spool.is_crowded and self._sink_state.state == "ok"

    def _spool_health(self, now_s: float) -> Health:
        if self._draining_since_s is not None:
            return Health("spool", "failing", self._draining_since_s, "the service is stopping")
        if (fault := self.spool.fault) is not None:
            return Health("spool", "failing", now_s, fault)
        return Health("spool", "ok", self._started_wall_s, "takes events")

    def _sink_health(self) -> Health:
        health = self._sink_state.health("sink")
        if health.state == "ok" and (streams := self.spool.held_back):
            return replace(health, state="degraded", detail=f"refuses {streams} streams; the others go on")
        return health

    def _rules(self, rules: Rules) -> Rules:
        """The table with its keys: pseudonyms are an operator's, digests have a key in any case."""
        digests = self.pseudonyms
        if digests is None and rules.policies:
            secret = read_or_make_secret(self._settings.data_dir / "digest.key")
            digests = Pseudonyms([PseudonymKey("local", secret)])
        return replace(rules, pseudonyms=self.pseudonyms, digests=digests)

    def _show_config(self, config: Config) -> None:
        stale = {row.file for row in config.stale}
        for file in config.texts:
            self.telemetry.configured(file, stale=file in stale)
        for row in config.stale:
            _log.error("a table cannot be used, its last good version is", extra={"file": row.file, "fault": row.fault})

    def _config_health(self) -> Health:
        if not self._stale:
            return Health("configuration", "ok", self._started_wall_s, "the files as they stand")
        detail = "; ".join(f"{row.file} is not used, but its last good version: {row.fault}" for row in self._stale)
        return Health("configuration", "degraded", self._started_wall_s, detail)

    def _shipping(self, shipper: Shipper) -> Step:
        return lambda now_s, stopping: shipper.run_once(now_s, flush=stopping)

    def _keeping(self, now_s: float, stopping: bool) -> float | None:  # noqa: FBT001 - the runtime's signature
        return None if stopping else self.spool.keep(now_s)

    def _housekeeping(self) -> Step:
        snapshot_due_s = 0.0

        def step(now_s: float, stopping: bool) -> float | None:  # noqa: FBT001 - the runtime's signature
            nonlocal snapshot_due_s
            if stopping:
                return None
            self._show_spool()
            if now_s >= snapshot_due_s:
                snapshot_due_s = now_s + SNAPSHOT_EVERY_S
                self.telemetry.snapshot(now_s)
            return _GAUGES_EVERY_S

        return step

    def _show_spool(self) -> None:
        letters = self._offload(self.letters.count)
        self.telemetry.spool(self.spool.figures(time.time()), self.spool.ledger(), letters)

    def _file_spool(self, group: Group, *, commit: Call, offload: Call, max_bytes: int) -> FileSpool:
        settings = self._settings
        return FileSpool(
            settings.data_dir / "spool",
            max_bytes=max_bytes,
            max_streams=settings.loki_max_streams,
            sync=settings.spool_sync != "off",
            limits=BatchLimits(settings.batch_max_bytes, settings.batch_max_events, settings.batch_max_age_s),
            telemetry=self.telemetry,
            group=group,
            commit=commit,
            offload=offload,
            on_open=self._streams.use_slot,
        )

    def _shipper(self, sink: LokiHttp | FileSink) -> Shipper:
        return Shipper(
            self.spool,
            sink,
            self._dead_letters,
            self.telemetry,
            state=self._sink_state,
            rand=random.random,
            wall_s=time.time,
        )

    def _sink(self, metadata: MetadataSupport) -> LokiHttp | FileSink:
        settings = self._settings
        if settings.loki_url:
            return LokiHttp(
                settings.loki_url,
                tenant=settings.loki_tenant,
                connect_timeout_s=settings.loki_connect_timeout_s,
                read_timeout_s=settings.loki_read_timeout_s,
                metadata=metadata,
                time_limit=lambda: TimeLimit(
                    settings.loki_connect_timeout_s + settings.loki_read_timeout_s, TimeoutError()
                ),
            )
        return FileSink(
            settings.data_dir / "logs",
            settings.worker_slot,
            max_bytes=settings.log_file_max_bytes,
            offload=self._offload,
        )

    def _cache_store(self) -> RedisCache:
        settings = self._settings
        limits = RedisLimits(
            settings.redis_pool_size,
            settings.redis_pool_timeout_s,
            settings.redis_connect_timeout_s,
            settings.redis_read_timeout_s,
        )
        return RedisCache(
            connect(settings.redis_url, limits, plain_poll) if settings.redis_url else embedded(),
            secret=_cache_secret(settings),
            time_limit=lambda: TimeLimit(settings.cache_deadline_s, CacheAwayError()),
            on_collision=self.telemetry.cache_collision,
            join=lambda ask: Joined(ask, calls=_LOOKUP_CALLS, most=_LOOKUPS_A_CALL),
            bounds=None
            if settings.redis_url
            else EmbeddedBounds(
                max_entries=settings.embedded_cache_max_entries, max_bytes=settings.embedded_cache_max_bytes
            ),
        )


def _directly(call: Callable[[], Any]) -> Any:
    return call()


def _event_ids() -> Iterator[str]:
    """Ids without end, of 128 random bits each; the kernel is asked for many at a time."""
    while True:
        digits = secrets.token_hex(_ID_BYTES * _IDS_DRAWN)
        for start in range(0, len(digits), 2 * _ID_BYTES):
            yield f"evt_{digits[start : start + 2 * _ID_BYTES]}"


def _cache_secret(settings: Settings) -> bytes:
    if settings.cache_key_secret is not None:
        return settings.cache_key_secret.encode()
    try:
        if settings.cache_key_secret_file is not None:
            return read_secret(settings.cache_key_secret_file)
        return read_or_make_secret(settings.data_dir / "cache-key.secret")
    except (OSError, ValueError) as exc:
        variable = "CACHE_KEY_SECRET_FILE" if settings.cache_key_secret_file is not None else "DATA_DIR"
        raise ConfigError(f"{variable}: the cache key secret cannot be read or made ({type(exc).__name__})") from exc
