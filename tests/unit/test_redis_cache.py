"""The cache: one contract over the embedded store and a real Redis, and what happens when Redis is away."""

from __future__ import annotations

import math
import select
import socket
import threading
import time
from contextlib import closing, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import orjson
import pytest
import redis

from app.adapters.embedded_bounds import EmbeddedBounds
from app.adapters.redis_cache import FORMAT, RedisCache, RedisLimits, connect, embedded
from app.core.keys import storage_digest
from app.errors import CacheAwayError
from app.ports import MISS, CacheEntry
from tests.harness.redis import RedisServer, require_redis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

NOW_S = 1_790_000_000.5
SECRET = b"a secret of tests"
LIMITS = RedisLimits(pool_size=4, pool_timeout_s=0.05, connect_timeout_s=0.08, read_timeout_s=0.08)
PATIENT = RedisLimits(pool_size=4, pool_timeout_s=5, connect_timeout_s=5, read_timeout_s=5)
DATA = {"response": "Hello", "n": [1, 2.5, None, True, 2**53 + 1], "deep": {"é\u2028\U0001f600": ""}}


class Store:
    """A cache under test, the client behind it, and how many collisions it has reported."""

    def __init__(self, client: redis.Redis, **options: Any) -> None:
        self.raw: Any = client
        self.collisions = 0
        self.cache = RedisCache(client, secret=SECRET, time_limit=nullcontext, on_collision=self._collide, **options)

    def _collide(self) -> None:
        self.collisions += 1

    def name(self) -> bytes:
        """The one name that the store holds."""
        (name,) = self.raw.keys("*")
        return bytes(name)

    def change(self, **members: Any) -> None:
        """Write the one envelope anew with some members otherwise; ... leaves a member out."""
        name = self.name()
        envelope = {**orjson.loads(self.raw.get(name)), **members}
        self.raw.set(name, orjson.dumps({key: value for key, value in envelope.items() if value is not ...}))


@pytest.fixture(scope="module")
def shared_server() -> Iterator[RedisServer]:
    """Start one redis-server for all tests that leave it running; skip where none is installed."""
    require_redis()
    with RedisServer() as server:
        yield server


@pytest.fixture(params=["embedded", "redis"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Each store in turn, empty."""
    if request.param == "embedded":
        made = Store(embedded(), bounds=EmbeddedBounds(max_entries=1000, max_bytes=1_000_000))
    else:
        made = Store(connect(request.getfixturevalue("shared_server").url, PATIENT))
        made.raw.flushall()
    with closing(made.cache):
        yield made


# The contract


def test_what_was_never_set_is_a_miss(store: Store) -> None:
    """MISS and not None, which would be a value; and no collision."""
    assert store.cache.get("t", "k", NOW_S) is MISS
    assert store.collisions == 0


def test_what_was_set_is_got(store: Store) -> None:
    """The same JSON, with when it was stored and when it ends."""
    entry = store.cache.set("t", "k", DATA, 60, NOW_S)
    assert entry == CacheEntry(DATA, NOW_S, NOW_S + 60)
    assert store.cache.get("t", "k", NOW_S + 1) == entry


def test_setting_again_replaces_data_and_times(store: Store) -> None:
    """The last one wins, whole."""
    store.cache.set("t", "k", {"a": 1, "b": 2}, 3600, NOW_S)
    store.cache.set("t", "k", {"a": 3}, 60, NOW_S + 5)
    assert store.cache.get("t", "k", NOW_S + 6) == CacheEntry({"a": 3}, NOW_S + 5, NOW_S + 65)
    assert 50 < store.raw.ttl(store.name()) <= 60


@pytest.mark.parametrize("ttl_s", [1, 3600, 30 * 24 * 3600])
def test_the_store_itself_ends_an_entry(store: Store, ttl_s: int) -> None:
    """SET with EX in one step: an entry without an end would stay for ever."""
    store.cache.set("t", "k", {"a": 1}, ttl_s, NOW_S)
    assert 0 < store.raw.pttl(store.name()) <= ttl_s * 1000


def test_an_entry_past_its_end_is_a_miss(store: Store) -> None:
    """By our clock too, if the store has not noticed yet; that is no collision."""
    store.cache.set("t", "k", {"a": 1}, 60, NOW_S)
    assert isinstance(store.cache.get("t", "k", NOW_S + 59.9), CacheEntry)
    assert store.cache.get("t", "k", NOW_S + 60) is MISS
    assert store.cache.get("t", "k", NOW_S + 1000) is MISS
    assert store.collisions == 0


def test_delete_says_whether_there_was_something(store: Store) -> None:
    """Once true, then false."""
    store.cache.set("t", "k", {"a": 1}, 60, NOW_S)
    assert store.cache.delete("t", "k") is True
    assert store.cache.delete("t", "k") is False
    assert store.cache.get("t", "k", NOW_S) is MISS


def test_namespaces_are_apart(store: Store) -> None:
    """Knowing a key is not enough to read, replace or delete another tenant's entry."""
    store.cache.set("a", "k", {"of": "a"}, 60, NOW_S)
    assert store.cache.get("b", "k", NOW_S) is MISS
    assert store.cache.delete("b", "k") is False
    store.cache.set("b", "k", {"of": "b"}, 60, NOW_S)
    found = [store.cache.get(namespace, "k", NOW_S) for namespace in ("a", "b")]
    assert [entry.data for entry in found if isinstance(entry, CacheEntry)] == [{"of": "a"}, {"of": "b"}]


def test_keys_are_apart(store: Store) -> None:
    """Keys that look alike, or are long, or hold Redis' own signs."""
    keys = ["k", "K", "k ", "*", "{k}", "k:v", "tc:t:{k}:v", "é", "e\u0301", "k" * 4096, "k" * 4095]
    for number, key in enumerate(keys):
        store.cache.set("t", key, {"n": number}, 60, NOW_S)
    found = [store.cache.get("t", key, NOW_S) for key in keys]
    assert [entry.data["n"] for entry in found if isinstance(entry, CacheEntry)] == list(range(len(keys)))


def test_no_word_of_a_callers_is_in_a_name_or_an_envelope(store: Store) -> None:
    """Names show up in MONITOR, SLOWLOG and dumps; the key itself is nowhere."""
    key = "tool:ask:prompt:plum-jam#0123456789abcdef"
    store.cache.set("default", key, {"response": "quince"}, 60, NOW_S)
    store.cache.get("default", key, NOW_S)
    store.cache.get("default", "prune", NOW_S)
    digest = storage_digest(key, SECRET)
    assert store.name() == f"tc:default:{{{digest}}}:v".encode()
    value = store.raw.get(store.name())
    assert orjson.loads(value) == {
        "v": FORMAT,
        "d": digest,
        "data": {"response": "quince"},
        "stored_at": NOW_S,
        "expires_at": NOW_S + 60,
    }
    assert b"plum" not in value


@pytest.mark.parametrize(
    "members",
    [
        {"d": storage_digest("another", SECRET)},
        {"d": storage_digest("k", b"another secret of tests")},
        {"d": None},
        {"d": ...},
        {"v": FORMAT + 1},
        {"v": str(FORMAT)},
        {"v": ...},
        {"data": [1]},
        {"data": "text"},
        {"data": None},
        {"data": ...},
        {"stored_at": "soon"},
        {"stored_at": None},
        {"expires_at": [1]},
        {"expires_at": ...},
    ],
    ids=repr,
)
def test_an_envelope_that_is_not_the_keys_is_a_miss_and_counted(store: Store, members: dict[str, Any]) -> None:
    """Another key's reply on a pooled connection, another format, or a member that is none."""
    store.cache.set("t", "k", {"a": 1}, 60, NOW_S)
    store.change(**members)
    assert store.cache.get("t", "k", NOW_S) is MISS
    assert store.collisions == 1


@pytest.mark.parametrize(
    "garbage",
    [b"", b"\x00", b"\xff\xfe", b"null", b"7", b'"text"', b"[]", b"{}", b"{", b"[" * 5000, b"\x80\x04N.", b"NaN"],
    ids=lambda value: repr(value[:8]),
)
def test_garbage_is_a_miss_and_counted(store: Store, garbage: bytes) -> None:
    """What is no envelope at all is not handed out, and does not raise."""
    store.cache.set("t", "k", {"a": 1}, 60, NOW_S)
    store.raw.set(store.name(), garbage)
    assert store.cache.get("t", "k", NOW_S) is MISS
    assert store.collisions == 1
    store.cache.set("t", "k", {"a": 2}, 60, NOW_S)
    assert isinstance(store.cache.get("t", "k", NOW_S), CacheEntry)


@pytest.mark.parametrize("end", [math.inf, "Infinity", "nan", 1e308])
def test_an_end_that_is_no_time_never_raises(store: Store, end: object) -> None:
    """Whatever stands there, a get answers."""
    store.cache.set("t", "k", {"a": 1}, 60, NOW_S)
    store.change(expires_at=end)
    store.cache.get("t", "k", NOW_S)


def test_another_secret_finds_nothing(store: Store) -> None:
    """Digests are keyed: a dump of one installation says nothing to another."""
    store.cache.set("t", "k", {"a": 1}, 60, NOW_S)
    other = RedisCache(store.raw, secret=b"another secret of tests", time_limit=nullcontext, on_collision=lambda: None)
    assert other.get("t", "k", NOW_S) is MISS


def test_health_of_a_store_that_answers(store: Store) -> None:
    """`ok`, and a word that says which it is."""
    health = store.cache.health(NOW_S)
    assert (health.name, health.state) == ("cache", "ok")


# The embedded store


def test_the_embedded_store_is_bounded() -> None:
    """Others make room; what was just set is there."""
    store = Store(embedded(), bounds=EmbeddedBounds(max_entries=3, max_bytes=1_000_000))
    with closing(store.cache):
        for number in range(50):
            store.cache.set("t", f"k{number}", {"n": number}, 60, NOW_S)
            assert store.raw.dbsize() <= 3
            entry = store.cache.get("t", f"k{number}", NOW_S)
            assert isinstance(entry, CacheEntry)
            assert entry.data == {"n": number}


def test_the_embedded_store_is_bounded_in_bytes() -> None:
    """Few large entries are as much as many small ones; the newest is there, and a deleted one frees its bytes."""
    store = Store(embedded(), bounds=EmbeddedBounds(max_entries=1000, max_bytes=10_000))
    with closing(store.cache):
        for number in range(20):
            store.cache.set("t", f"k{number}", {"text": "x" * 3000}, 60, NOW_S)
            assert sum(len(store.raw.get(name)) for name in store.raw.keys("*")) <= 10_000
            assert isinstance(store.cache.get("t", f"k{number}", NOW_S), CacheEntry)
        store.cache.delete("t", "k19")
        store.cache.set("t", "another", {"text": "x" * 3000}, 60, NOW_S)
        assert store.raw.dbsize() == 3


def test_two_embedded_stores_share_nothing() -> None:
    """Each worker has its own."""
    one, other = (
        Store(embedded(), bounds=EmbeddedBounds(max_entries=3, max_bytes=1_000_000)),
        Store(embedded(), bounds=EmbeddedBounds(max_entries=3, max_bytes=1_000_000)),
    )
    with closing(one.cache), closing(other.cache):
        one.cache.set("t", "k", {"a": 1}, 60, NOW_S)
        assert other.cache.get("t", "k", NOW_S) is MISS


# Redis away


@pytest.fixture
def closed_port() -> Iterator[str]:
    """A port that refuses connections, and is nobody else's meanwhile: bound, but not listening."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"redis://127.0.0.1:{held.getsockname()[1]}/0"


@pytest.fixture
def mute_port() -> Iterator[str]:
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as held:
        yield f"redis://127.0.0.1:{held.getsockname()[1]}/0"


@pytest.fixture
def wrong_port() -> Iterator[str]:
    """A port where something else than Redis answers."""
    with socket.create_server(("127.0.0.1", 0)) as held:

        def answer() -> None:
            while True:
                try:
                    connection, _ = held.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1000)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield f"redis://127.0.0.1:{held.getsockname()[1]}/0"
        held.shutdown(socket.SHUT_RDWR)
        thread.join(5)


CALLS: dict[str, Callable[[RedisCache], object]] = {
    "get": lambda cache: cache.get("t", "k", NOW_S),
    "set": lambda cache: cache.set("t", "k", {"a": 1}, 60, NOW_S),
    "delete": lambda cache: cache.delete("t", "k"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
@pytest.mark.parametrize("port", ["closed_port", "mute_port", "wrong_port"])
def test_a_store_that_is_away_is_said_so_at_once(
    request: pytest.FixtureRequest, port: str, call: Callable[[RedisCache], object]
) -> None:
    """Every call raises CacheAwayError, within its three times, and nothing is tried twice."""
    store = Store(connect(request.getfixturevalue(port), LIMITS))
    with closing(store.cache):
        began_s = time.monotonic()
        with pytest.raises(CacheAwayError):
            call(store.cache)
        assert time.monotonic() - began_s < 2  # 0.21 s by its limits; redis-py's own defaults take 45 s


def test_health_of_a_store_that_is_away(closed_port: str) -> None:
    """`degraded` since it was first seen so, and never an exception."""
    store = Store(connect(closed_port, LIMITS))
    with closing(store.cache):
        states = [store.cache.health(NOW_S + second) for second in range(3)]
    assert [(health.state, health.since_s) for health in states] == [("degraded", NOW_S)] * 3


def test_redis_goes_and_comes_back(redis_server: RedisServer) -> None:
    """Paused, resumed, ended and started again: away and back, by itself."""
    clock = [0.0]
    store = Store(connect(redis_server.url, LIMITS), monotonic_s=lambda: clock[0])
    with closing(store.cache):
        store.cache.set("t", "k", {"a": 1}, 60, NOW_S)
        redis_server.pause()
        with pytest.raises(CacheAwayError):
            store.cache.get("t", "k", NOW_S)
        redis_server.resume()
        _until(lambda: isinstance(store.cache.get("t", "k", NOW_S), CacheEntry))
        redis_server.stop()
        for _ in range(8):
            clock[0] += 10
            with pytest.raises(CacheAwayError):
                store.cache.get("t", "k", NOW_S)
        redis_server.start()
        clock[0] += 10
        _until(lambda: store.cache.get("t", "k", NOW_S) is MISS)


def _until(check: Callable[[], bool]) -> None:
    """Ask until it is so; an answer may need a moment while the server wakes."""
    deadline_s = time.monotonic() + 10
    while True:
        try:
            if check():
                return
        except CacheAwayError:
            pass
        assert time.monotonic() < deadline_s


@pytest.mark.parametrize("poll", [None, select.poll], ids=["redis-py's look", "ours"])
def test_a_connection_that_was_closed_is_not_used(redis_server: RedisServer, poll: Any) -> None:
    """The server has ended it (a time-out of its own, a failover): it is seen before a command goes into the void."""
    store = Store(connect(redis_server.url, LIMITS, poll), monotonic_s=_steps())
    with closing(store.cache), closing(redis.Redis.from_url(redis_server.url)) as other:
        store.cache.set("t", "k", {"a": 1}, 60, NOW_S)
        other.client_kill_filter(_type="normal", skipme=True)
        for _ in range(3):
            assert isinstance(store.cache.get("t", "k", NOW_S), CacheEntry)


@pytest.mark.parametrize("poll", [None, select.poll], ids=["redis-py's look", "ours"])
def test_a_connection_with_something_left_in_it_is_not_used(redis_server: RedisServer, poll: Any) -> None:
    """A reply that nobody read would answer the next caller's question."""
    client = connect(redis_server.url, LIMITS, poll)
    with closing(client):
        client.set("one", "1")
        stale = client.connection_pool.get_connection()
        stale.send_command("GET", "one")
        assert stale.can_read(5)  # its answer has come
        client.connection_pool.release(stale)
        assert client.get("two") is None


def test_no_reply_is_handed_to_another_caller(redis_server: RedisServer) -> None:
    """After a time-out its connection is not used again: the late reply must not answer the next call."""
    store = Store(connect(redis_server.url, LIMITS), monotonic_s=_steps())
    with closing(store.cache):
        store.cache.set("t", "one", {"n": 1}, 60, NOW_S)
        store.cache.set("t", "two", {"n": 2}, 60, NOW_S)
        redis_server.pause()
        for _ in range(6):
            with pytest.raises(CacheAwayError):
                store.cache.get("t", "one", NOW_S)
        redis_server.resume()
        _until(lambda: isinstance(store.cache.get("t", "two", NOW_S), CacheEntry))
        for key, number in [("two", 2), ("one", 1)] * 20:
            entry = store.cache.get("t", key, NOW_S)
            assert isinstance(entry, CacheEntry)
            assert entry.data == {"n": number}
    assert store.collisions == 0


def _steps() -> Callable[[], float]:
    """A clock that is past every wait of the breaker's at each look."""
    times = iter(range(0, 10**9, 100))
    return lambda: float(next(times))


# The breaker


class FakeClient:
    """Counts calls, and fails while it is told to."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error
        self.calls = 0

    def mget(self, names: Sequence[str]) -> list[None]:
        self.calls += 1
        if self.error is not None:
            raise self.error
        return [None for _ in names]


@pytest.mark.parametrize(
    "error",
    [redis.ConnectionError(), redis.TimeoutError(), redis.BusyLoadingError("LOADING"), OSError(), CacheAwayError()],
    ids=repr,
)
def test_the_breaker_opens_and_recovers(error: Exception) -> None:
    """Five failures in a row, then nothing is asked for a second, then one call may try."""
    clock = [100.0]
    client: Any = FakeClient(error)
    store = Store(client, monotonic_s=lambda: clock[0])

    def get() -> object:
        return store.cache.get("t", "k", NOW_S)

    for _ in range(20):
        with pytest.raises(CacheAwayError):
            get()
    assert client.calls == 5
    clock[0] += 1.0
    for _ in range(3):
        with pytest.raises(CacheAwayError):
            get()
    assert client.calls == 6
    clock[0] += 1.0
    client.error = None
    assert [get() for _ in range(3)] == [MISS] * 3
    assert client.calls == 9


def test_look_ups_that_were_one_call_are_one_failure() -> None:
    """Thirty-two callers are told of it, and the breaker once."""
    client = FakeClient(redis.TimeoutError("slow"))
    shared: list[CacheAwayError] = []

    def join(ask: Callable[[Sequence[str]], Sequence[bytes | None]]) -> Callable[[str], bytes | None]:
        """Makes one call, and gives all later questions what it gave."""

        def one(name: str) -> bytes | None:
            if shared:
                raise shared[0]
            try:
                return ask([name])[0]
            except CacheAwayError as exc:
                shared.append(exc)
                raise

        return one

    store = Store(client, monotonic_s=lambda: 0.0, join=join)
    for _ in range(32):
        with pytest.raises(CacheAwayError):
            store.cache.get("t", "k", NOW_S)
    client.error = None
    shared.clear()
    assert store.cache.get("t", "k", NOW_S) is MISS


def test_a_crowd_of_our_own_does_not_open_it(redis_server: RedisServer) -> None:
    """All connections are in use: this call fails, and nothing is said of Redis."""
    client = connect(redis_server.url, RedisLimits(1, 0.01, 5, 5))
    store = Store(client, monotonic_s=lambda: 0.0)
    with closing(store.cache):
        held = client.connection_pool.get_connection()
        for _ in range(20):
            with pytest.raises(CacheAwayError):
                store.cache.get("t", "k", NOW_S)
        client.connection_pool.release(held)
        assert store.cache.get("t", "k", NOW_S) is MISS
        assert store.cache.health(NOW_S).state == "ok"


def test_an_error_that_is_an_answer_does_not_open_it() -> None:
    """A full store or a key of another type is this call's trouble, not that of the next."""
    client: Any = FakeClient(redis.ResponseError("WRONGTYPE"))
    store = Store(client, monotonic_s=lambda: 100.0)
    for _ in range(20):
        with pytest.raises(CacheAwayError):
            store.cache.get("t", "k", NOW_S)
    assert client.calls == 20


@pytest.mark.parametrize(
    "members",
    [
        {"stored_at": 1e300},
        {"stored_at": "1"},
        {"stored_at": True},
        {"expires_at": -1},
        {"expires_at": 1e300},
        {"v": True},
        {"v": 1.0},
        {"data": []},
        {"data": {"a": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}},
    ],
)
def test_an_envelope_that_we_never_wrote_is_a_miss(members: dict[str, Any]) -> None:
    """Whatever stands in Redis, a lookup gives an entry that can be shown, or none."""
    store = Store(embedded(), bounds=EmbeddedBounds(max_entries=10, max_bytes=1_000_000))
    with closing(store.cache):
        store.cache.set("t", "k", {"a": 1}, 60, NOW_S)
        store.change(**members)
        assert store.cache.get("t", "k", NOW_S) is MISS
        assert store.collisions == 1


def test_failures_with_a_success_between_them_do_not_open_it() -> None:
    """A slow reply now and then is no outage."""
    client: Any = FakeClient(None)
    store = Store(client, monotonic_s=lambda: 100.0)
    for _ in range(10):
        client.error = redis.TimeoutError()
        for _ in range(4):
            with pytest.raises(CacheAwayError):
                store.cache.get("t", "k", NOW_S)
        client.error = None
        assert store.cache.get("t", "k", NOW_S) is MISS
    assert client.calls == 50


def test_the_time_limit_bounds_a_call_and_counts_as_a_failure() -> None:
    """The look-up of Redis' name has no time-out of its own; what bounds the whole is asked for each call."""
    entered = []

    @contextmanager
    def limit() -> Iterator[None]:
        entered.append(1)
        yield
        raise CacheAwayError

    client: Any = FakeClient(None)
    cache = RedisCache(client, secret=SECRET, time_limit=limit, on_collision=lambda: None, monotonic_s=lambda: 100.0)
    for _ in range(7):
        with pytest.raises(CacheAwayError):
            cache.get("t", "k", NOW_S)
    assert (len(entered), client.calls) == (5, 5)


def test_a_miss_or_a_collision_is_no_failure() -> None:
    """Garbage in the store says that the store is there."""
    store = Store(embedded(), bounds=EmbeddedBounds(max_entries=10, max_bytes=1_000_000), monotonic_s=lambda: 100.0)
    with closing(store.cache):
        store.cache.set("t", "k", {"a": 1}, 60, NOW_S)
        store.raw.set(store.name(), b"garbage")
        for _ in range(10):
            assert store.cache.get("t", "k", NOW_S) is MISS
        assert store.cache.get("t", "other", NOW_S) is MISS
