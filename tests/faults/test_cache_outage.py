"""Redis away: a get is a counted degraded miss, a set says so, /log never waits, and it all recovers by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.harness.load import play, total, wait_until

if TYPE_CHECKING:
    from tests.conftest import StartService
    from tests.harness.redis import RedisServer
    from tests.harness.service import RunningService

MISS = {"hit": False, "data": None}
DEGRADED = {**MISS, "degraded": True}


def _check_degraded(service: RunningService) -> None:
    assert service.json("GET", "/cache/get?key=k") == (200, DEGRADED)
    for method, path, value in (("POST", "/cache/set", {"key": "k", "data": {}}), ("DELETE", "/cache?key=k", None)):
        status, headers, body = service.request(
            method, path, b'{"key":"k","data":{}}' if value else None, {"Content-Type": "application/json"}
        )
        assert (status, headers["Retry-After"]) == (503, "1"), body
        assert b"/problems/cache-away" in body
    assert service.json("POST", "/log", {"event": "a", "payload": {}})[0] == 200
    assert service.json("GET", "/readyz")[1]["status"] == "degraded"


def _wait_until_well(service: RunningService) -> None:
    wait_until(lambda: service.json("GET", "/cache/get?key=k")[1] != DEGRADED, "the cache answers again")
    wait_until(lambda: service.json("GET", "/readyz")[1]["status"] == "ok", "/readyz says ok")


def test_redis_stopped_and_started(start_service: StartService, redis_server: RedisServer) -> None:
    """Redis ends and comes back empty."""
    service = start_service(REDIS_URL=redis_server.url, WEB_CONCURRENCY="1")
    assert service.json("POST", "/cache/set", {"key": "k", "data": {"v": 1}})[0] == 200
    redis_server.stop()
    _check_degraded(service)
    redis_server.start()
    _wait_until_well(service)
    assert service.json("GET", "/cache/get?key=k") == (200, MISS)


def test_redis_hangs(start_service: StartService, redis_server: RedisServer) -> None:
    """Redis takes connections and answers nothing: 200 gets at once are all degraded misses, and it recovers."""
    service = start_service(REDIS_URL=redis_server.url, WEB_CONCURRENCY="1")
    assert service.json("POST", "/cache/set", {"key": "k", "data": {"v": 1}})[0] == 200
    redis_server.pause()
    seen = play(service.port, [("GET", "/cache/get?key=k", None)] * 200, clients=64, keep=lambda _, answer: answer)
    assert seen.kept == [DEGRADED] * 200
    _check_degraded(service)
    redis_server.resume()
    _wait_until_well(service)
    status, answer = service.json("GET", "/cache/get?key=k")
    assert (status, answer["hit"], answer["data"]["v"]) == (200, True, 1)
    samples = service.metrics()
    assert total(samples, "telemetry_cache_cache_degraded_total") >= 200
    assert total(samples, "telemetry_cache_cache_sets_total", result="away") >= 1


def test_redis_needs_a_password(start_service: StartService, redis_server: RedisServer) -> None:
    """Redis that answers with an error is as good as away: no 500, and no word of the URL in an answer or log."""
    port = redis_server.url.rpartition(":")[2].partition("/")[0]
    service = start_service(REDIS_URL=f"redis://someone:canary-password@127.0.0.1:{port}/0", WEB_CONCURRENCY="1")
    assert service.json("GET", "/cache/get?key=k") == (200, DEGRADED)
    assert service.json("GET", "/readyz")[1]["status"] == "degraded"
    assert "canary" not in service.stdout() + service.stderr()
