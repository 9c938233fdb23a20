"""The cache's calls: find the key, ask the store, answer. A get fails open when the store is away, and is counted."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson

from app.core.cache_policy import CachePolicy, ToolPolicy, why_not_cacheable
from app.core.keys import ArgumentsError, cache_key, is_key
from app.core.times import rfc3339
from app.errors import (
    CacheAwayError,
    CallerError,
    InvalidError,
    NotCacheableError,
    TooLargeError,
    TryLaterError,
)
from app.handlers.reading import Reader
from app.handlers.reply import Caller, Reply, ok, reply_to
from app.handlers.schemas import (
    CacheGetRequest,
    CacheKeyRequest,
    CacheSetRequest,
    form_fault,
)
from app.ports import Cache, CacheEntry, Telemetry

MAX_QUERY_KEY_BYTES: Final = 1000
"""Longer keys go in the body of POST /cache/get (contract.md)."""

_MS: Final = 0.001


@dataclass(frozen=True, slots=True)
class _Named:
    """A key, and the policy of the tool that it was made for (None for a caller's own key)."""

    key: str
    policy: ToolPolicy | None


class CacheHandler:
    """What the cache's calls do."""

    def __init__(
        self,
        *,
        cache: Cache,
        telemetry: Telemetry,
        policy: CachePolicy,
        reader: Reader,
        value_bytes: int,
        ttl_jitter: float,
        wall_s: Callable[[], float],
        rand: Callable[[], float],
    ) -> None:
        """`value_bytes` bounds `data`; `wall_s` gives epoch seconds, `rand` [0, 1)."""
        self._cache = cache
        self._telemetry = telemetry
        self._policy = policy
        self._reader = reader
        self._value_bytes = value_bytes
        self._ttl_jitter = ttl_jitter
        self._wall_s = wall_s
        self._rand = rand
        self._get_schema = CacheGetRequest()
        self._set_schema = CacheSetRequest()
        self._key_schema = CacheKeyRequest()

    def get(self, query: bytes, caller: Caller) -> Reply:
        """Answer `GET /cache/get`."""
        try:
            key = self._query_key(query)
        except CallerError as exc:
            return reply_to(exc)
        return ok(self._lookup(key, caller))

    def post_get(self, body: bytes, caller: Caller) -> Reply:
        """Answer `POST /cache/get`: the same, and the key that was used."""
        try:
            named = self._named(self._reader.load(self._get_schema, self._reader.json(body)))
        except CallerError as exc:
            return reply_to(exc)
        return ok({**self._lookup(named.key, caller), "key": named.key})

    def set(self, body: bytes, caller: Caller) -> Reply:
        """Answer `POST /cache/set`."""
        try:
            request = self._reader.load(self._set_schema, self._reader.json(body))
            named = self._named(request)
            data = request["data"]
            self._check_data(named, data)
            ttl_s = self._ttl_s(request.get("ttl"), named)
            entry = self._stored(named.key, data, ttl_s, caller)
        except (CallerError, TryLaterError) as exc:
            return reply_to(exc)
        return ok({"status": "cached", "key": named.key, "expires_at": rfc3339(entry.expires_at_s)})

    def delete(self, query: bytes, caller: Caller) -> Reply:
        """Answer `DELETE /cache`."""
        try:
            key = self._query_key(query)
            deleted = self._deleted(key, caller)
        except (CallerError, TryLaterError) as exc:
            return reply_to(exc)
        return ok({"status": "deleted", "deleted": int(deleted)})

    def key(self, body: bytes) -> Reply:
        """Answer `POST /cache/key`; the store is not touched."""
        try:
            request = self._reader.load(self._key_schema, self._reader.json(body))
            key, readable = self._key_of(request["tool"], request["args"])
        except CallerError as exc:
            return reply_to(exc)
        return ok({"key": key, "readable": readable})

    def _lookup(self, key: str, caller: Caller) -> dict[str, Any]:
        now_s = self._wall_s()
        try:
            entry = self._cache.get(caller.tenant, key, now_s)
        except CacheAwayError:
            self._telemetry.lookup("degraded")
            return {"hit": False, "data": None, "degraded": True}
        if not isinstance(entry, CacheEntry):
            self._telemetry.lookup("miss")
            return {"hit": False, "data": None}
        self._telemetry.lookup("hit")
        self._count_saved(entry.data)
        # Rounded up: 0 would say that it is gone, and what was set for an hour a moment ago has an hour.
        ttl_remaining = max(0, math.ceil(entry.expires_at_s - now_s))
        stored_at = rfc3339(entry.stored_at_s)
        data = {"timestamp": stored_at, "ttl_remaining": ttl_remaining, **entry.data}
        return {"hit": True, "data": data, "stored_at": stored_at, "ttl_remaining": ttl_remaining}

    def _stored(self, key: str, data: dict[str, Any], ttl_s: int, caller: Caller) -> CacheEntry:
        try:
            entry = self._cache.set(caller.tenant, key, data, ttl_s, self._wall_s())
        except CacheAwayError:
            self._telemetry.cache_call("set", "away")
            raise
        self._telemetry.cache_call("set", "ok")
        return entry

    def _deleted(self, key: str, caller: Caller) -> bool:
        try:
            deleted = self._cache.delete(caller.tenant, key)
        except CacheAwayError:
            self._telemetry.cache_call("delete", "away")
            raise
        self._telemetry.cache_call("delete", "ok")
        return deleted

    def _named(self, request: dict[str, Any]) -> _Named:
        fault = form_fault(request)
        if fault is not None:
            raise self._reader.invalid(fault)
        if "key" in request:
            return _Named(request["key"], None)
        key, _ = self._key_of(request["tool"], request["args"])
        return _Named(key, self._policy.of(request["tool"]))

    def _key_of(self, tool: str, args: dict[str, Any]) -> tuple[str, str]:
        try:
            return cache_key(tool, args, self._policy.of(tool))
        except ArgumentsError as exc:
            raise self._reader.invalid({"args": [f"{exc}."]}) from None

    def _check_data(self, named: _Named, data: dict[str, Any]) -> None:
        if len(orjson.dumps(data)) > self._value_bytes:
            raise TooLargeError(f"data may have {self._value_bytes:,} bytes as JSON")
        reason = why_not_cacheable(named.policy, data) if named.policy is not None else None
        if reason is not None:
            raise NotCacheableError(reason)

    def _ttl_s(self, asked_s: int | None, named: _Named) -> int:
        policy = named.policy or self._policy.default
        ttl_s = asked_s if asked_s is not None else policy.ttl_s
        return max(1, round(ttl_s * (1 - self._ttl_jitter * self._rand())))

    def _count_saved(self, data: dict[str, Any]) -> None:
        tokens, latency_ms = _amount(data.get("tokens")), _amount(data.get("latency_ms"))
        if tokens or latency_ms:
            self._telemetry.saved(tokens, latency_ms * _MS)

    def _query_key(self, query: bytes) -> str:
        """The one `key` of a query, decoded strictly: two keys must not become one by replacement signs."""
        try:
            pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=16)
        except UnicodeDecodeError:
            raise CallerError("the query is not percent-encoded UTF-8") from None
        except ValueError:
            raise self._reader.invalid({"key": ["Exactly one."]}) from None
        unknown = [name for name, _ in pairs if name != "key"]
        if unknown:
            raise self._reader.invalid({name: ["Unknown parameter."] for name in unknown})
        if len(pairs) != 1:
            raise self._reader.invalid({"key": ["Exactly one."]})
        key = pairs[0][1]
        if not is_key(key) or len(key.encode()) > MAX_QUERY_KEY_BYTES:
            message = f"1 to {MAX_QUERY_KEY_BYTES:,} bytes without control characters; longer keys by POST /cache/get."
            raise InvalidError("the key does not fit", {"key": [message]})
        return key


def _amount(value: Any) -> float:
    """A number that may be added to a counter: finite, not negative, and no nonsense."""
    most = 1e12
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        return 0.0
    return float(value)
