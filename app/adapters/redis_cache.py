"""The cache in Redis, and in fakeredis when there is no Redis: the only redis import.

A key in Redis is `tc:<namespace>:{<digest>}:v`: no word of a caller's. The value is a JSON envelope
that carries the digest again, and what does not match it is not handed out: pooled connections have
given one caller another's reply before (redis-py#1134).
"""

import logging
import select
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Any, Final

import fakeredis
import orjson
import redis
from redis.backoff import NoBackoff
from redis.connection import DefaultParser
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from app.adapters.breaker import Breaker
from app.adapters.embedded_bounds import EmbeddedBounds
from app.core.keys import storage_digest
from app.core.strict_json import JsonFault, check, may_be_deep
from app.errors import CacheAwayError
from app.ports import MISS, CacheEntry, Health, _Miss

FORMAT: Final = 1
"""Version of the envelope; an entry of another is a miss."""

_log = logging.getLogger("telemetry_cache.cache")

_LATEST_S: Final = 1e11
"""The year 5138: a later time is none that we wrote."""

_ALL_IN_USE: Final = ("No connection available.",)
"""What redis-py's pool says when no connection came free: a crowd of our own, and no word about Redis."""

_FAILURES: Final = 5
_OPEN_S: Final = 1.0
"""Calls that fail in a row, and how long the next ones are not tried then."""


@dataclass(frozen=True, slots=True)
class RedisLimits:
    """Bounds of the pool; one operation takes at most the sum of the three times, name look-up apart."""

    pool_size: int
    pool_timeout_s: float
    connect_timeout_s: float
    read_timeout_s: float


AskMany = Callable[[Sequence[str]], Sequence[bytes | None]]
AskOne = Callable[[str], bytes | None]
"""Names in Redis to raw values: of many, of one."""

Poll = Callable[[], Any]
"""Makes something like select.poll()."""


def connect(url: str, limits: RedisLimits, poll: Poll | None = None) -> "redis.Redis":
    """Return a client with a blocking pool. Nothing is connected yet, and nothing is ever retried.

    `poll` looks at a connection without waiting, before each use of it; redis-py's own where None is given.
    """
    pool = redis.BlockingConnectionPool.from_url(
        url,
        parser_class=DefaultParser if poll is None else _parser(poll),
        max_connections=limits.pool_size,
        timeout=limits.pool_timeout_s,
        socket_connect_timeout=limits.connect_timeout_s,
        socket_timeout=limits.read_timeout_s,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        # Each of these would be another round trip on a new connection, inside the same 250 ms.
        driver_info=None,
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
    )
    return redis.Redis(connection_pool=pool)


def _parser(poll: Poll) -> type[Any]:
    class Parser(DefaultParser):  # type: ignore[misc,valid-type]
        """redis-py's, but for how it looks whether a pooled connection is still sound.

        It polls each one before use, for nought seconds. What gevent puts in the place of select.poll takes 20 us for
        that; the kernel's takes 2. Whatever there is to see is judged as before.
        """

        def can_read(self, timeout: float = 0) -> bool:
            if timeout == 0 and self._reader is not None and not self._reader.has_data() and _is_plain(self._sock):
                looked = poll()
                looked.register(self._sock, select.POLLIN)
                if not looked.poll(0):
                    return False
            return bool(super().can_read(timeout))

    return Parser


def _is_plain(sock: Any) -> bool:
    """Whether what the kernel has is all there is: TLS keeps decrypted bytes of its own."""
    return not hasattr(sock, "pending")


def embedded() -> "redis.Redis":
    """Return a client of a store inside this process."""
    return fakeredis.FakeRedis(server=fakeredis.FakeServer())


class _CountedError(CacheAwayError):
    """The store failed, and the breaker knows: of look-ups that were one call, each is told so."""


class RedisCache:
    """JSON objects with a time to live, in Redis or in its likeness."""

    def __init__(
        self,
        client: "redis.Redis",
        *,
        secret: bytes,
        time_limit: Callable[[], AbstractContextManager[object]],
        on_collision: Callable[[], None],
        join: Callable[[AskMany], AskOne] | None = None,
        bounds: EmbeddedBounds | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`time_limit` bounds one operation in all; `bounds` hold an embedded store.

        `join` makes one call of the look-ups that come at the same time; without it each is a call.
        """
        self._client = client
        self._look_up: AskOne = (lambda name: self._get_all([name])[0]) if join is None else join(self._get_all)
        self._secret = secret
        self._time_limit = time_limit
        self._on_collision = on_collision
        self._bounds = bounds
        self._monotonic_s = monotonic_s
        self._breaker = Breaker(_FAILURES, _OPEN_S)
        self._fault: str | None = None
        self._since_s: float | None = None
        """Since when it is as it is, in epoch seconds, as far as health was asked."""

    def get(self, namespace: str, key: str, now_s: float) -> CacheEntry | _Miss:
        """Return the entry of a key, or MISS; raise CacheAwayError."""
        digest = storage_digest(key, self._secret)
        raw = self._in_time(lambda: self._look_up(_name(namespace, digest)))
        if raw is None:
            return MISS
        entry = _open_envelope(raw, digest)
        if entry is None:
            self._on_collision()
            return MISS
        return entry if entry.expires_at_s > now_s else MISS

    def set(self, namespace: str, key: str, data: dict[str, Any], ttl_s: int, now_s: float) -> CacheEntry:
        """Store `data` for `ttl_s` seconds; raise CacheAwayError."""
        digest = storage_digest(key, self._secret)
        entry = CacheEntry(data, now_s, now_s + ttl_s)
        name, envelope = _name(namespace, digest), _envelope(entry, digest)
        self._in_time(lambda: self._ask(lambda: self._put(name, envelope, ttl_s)))
        return entry

    def delete(self, namespace: str, key: str) -> bool:
        """Delete the entry and say whether there was one; raise CacheAwayError."""
        name = _name(namespace, storage_digest(key, self._secret))
        return bool(self._in_time(lambda: self._ask(lambda: self._remove(name))))

    def health(self, now_s: float) -> Health:
        """Ask the store whether it is there."""
        with suppress(CacheAwayError):
            self._in_time(lambda: self._ask(self._client.ping))
        self._since_s = self._since_s or now_s
        if self._fault is not None:
            return Health("cache", "degraded", self._since_s, f"does not answer ({self._fault})")
        return Health("cache", "ok", self._since_s, "embedded" if self._bounds is not None else "answers")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _get_all(self, names: Sequence[str]) -> Sequence[bytes | None]:
        """The raw values of these names, in their order; None for one that is not there."""
        found: list[Any] = self._ask(lambda: self._client.mget(names))
        return found

    def _put(self, name: str, envelope: bytes, ttl_s: int) -> None:
        if self._bounds is not None and (gone := self._bounds.add(name, len(envelope))):
            self._client.delete(*gone)
        self._client.set(name, envelope, ex=ttl_s)

    def _remove(self, name: str) -> Any:
        if self._bounds is not None:
            self._bounds.discard(name)
        return self._client.delete(name)

    def _in_time(self, call: Callable[[], Any]) -> Any:
        """Make an operation of the cache within its limit in time; do not try while the circuit is open."""
        if not self._breaker.allows(self._monotonic_s()):
            raise CacheAwayError
        try:
            with self._time_limit():
                answer = call()
        except _CountedError:
            raise
        except CacheAwayError as exc:
            self._failed(exc)
            raise
        self._breaker.succeeded()
        self._note(None)
        return answer

    def _ask(self, call: Callable[[], Any]) -> Any:
        """Call the store, once for all who ask; translate what it raises, and count it once."""
        try:
            return call()
        except redis.ResponseError as exc:
            # An answer, if a bad one (a full store, a key of another type): the store is there.
            self._breaker.succeeded()
            raise _CountedError from exc
        except redis.ConnectionError as exc:
            if exc.args != _ALL_IN_USE:
                self._failed(exc)
            raise _CountedError from exc
        except (redis.RedisError, OSError) as exc:
            self._failed(exc)
            raise _CountedError from exc

    def _failed(self, exc: Exception) -> None:
        self._breaker.failed_at(self._monotonic_s())
        self._note(type(exc).__name__)

    def _note(self, fault: str | None) -> None:
        """Say once that the store went away, and once that it is back."""
        if fault is not None and self._fault is None:
            _log.warning("the cache store is away: %s", fault)
        elif fault is None and self._fault is not None:
            _log.warning("the cache store answers again")
        if (fault is None) != (self._fault is None):
            self._since_s = None
        self._fault = fault


def _name(namespace: str, digest: str) -> str:
    return f"tc:{namespace}:{{{digest}}}:v"


def _envelope(entry: CacheEntry, digest: str) -> bytes:
    return orjson.dumps(
        {
            "v": FORMAT,
            "d": digest,
            "data": entry.data,
            "stored_at": entry.stored_at_s,
            "expires_at": entry.expires_at_s,
        }
    )


def _open_envelope(raw: Any, digest: str) -> CacheEntry | None:
    """Return the entry, or None when the envelope is not the one of this digest."""
    try:
        envelope = orjson.loads(raw)
        data, times = envelope["data"], (envelope["stored_at"], envelope["expires_at"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    version = envelope.get("v")
    ours = type(version) is int and version == FORMAT and envelope.get("d") == digest
    if not ours or not isinstance(data, dict) or not all(map(_is_epoch_s, times)):
        return None
    try:
        # What we stored nests 32 levels at most; deeper is another's, and could not be written out.
        if may_be_deep(raw):
            check(data)
    except JsonFault:
        return None
    return CacheEntry(data, *times)


def _is_epoch_s(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < _LATEST_S
