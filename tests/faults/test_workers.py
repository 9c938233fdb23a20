"""Several workers: totals equal what was sent, and a worker that dies takes nothing away."""

from __future__ import annotations

import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.harness.load import Job, play, total, wait_until

if TYPE_CHECKING:
    from tests.conftest import StartService
    from tests.harness.redis import RedisServer
    from tests.harness.service import RunningService
    from tests.standins.loki import LokiStandIn

LOOKUPS = 10_000
EVENTS = 10_000


def _jobs(start: int, number: int) -> list[Job]:
    """As many lookups as events, mixed; half of the lookups ask for what was set, half for what never was."""
    jobs: list[Job] = []
    for place in range(start, start + number):
        jobs.append(("GET", f"/cache/get?key={'known' if place % 2 else 'unknown'}", None))
        payload = {"tool": "t", "response": {"latency_ms": 200, "tokens": 10}, "n": place}
        jobs.append(("POST", "/log", {"event": "tool_execution", "payload": payload}))
    return jobs


def _kind(job: Job, answer: dict[str, object]) -> str:
    """What an answer says it is."""
    if not job[1].startswith("/cache"):
        return "event"
    return "hits" if answer["hit"] else "degraded" if answer.get("degraded") else "misses"


def _counted(service: RunningService) -> dict[str, float]:
    samples = service.metrics()
    return {
        "hits": total(samples, "telemetry_cache_cache_hits_total"),
        "misses": total(samples, "telemetry_cache_cache_misses_total"),
        "degraded": total(samples, "telemetry_cache_cache_degraded_total"),
        "accepted": total(samples, "telemetry_cache_events_total", outcome="accepted"),
        "ttfb": total(samples, "telemetry_cache_ttfb_seconds_count"),
        "tokens": total(samples, "telemetry_cache_generated_tokens_total"),
    }


def _kill_one_worker(service: RunningService) -> None:
    before = service.worker_pids()
    service.kill_worker(before[0])
    wait_until(
        lambda: len(service.worker_pids()) == len(before) and before[0] not in service.worker_pids(),
        "the killed worker's place is taken",
    )


def test_counters_equal_what_clients_counted(start_service: StartService, redis_server: RedisServer) -> None:
    """10,000 lookups and 10,000 events over two workers, one killed midway between requests: nothing is off by one."""
    service = start_service(REDIS_URL=redis_server.url, WEB_CONCURRENCY="2")
    status, _ = service.json("POST", "/cache/set", {"key": "known", "data": {"v": 1}})
    assert status == 200

    seen = play(service.port, _jobs(0, LOOKUPS // 2), keep=_kind)
    _kill_one_worker(service)
    seen.add(play(service.port, _jobs(LOOKUPS // 2, LOOKUPS // 2), keep=_kind))

    assert seen.answers == {("/cache/get", 200): LOOKUPS, ("/log", 200): EVENTS}
    answers = Counter(seen.kept)
    assert answers["hits"] + answers["misses"] + answers["degraded"] == LOOKUPS
    assert _counted(service) == {
        # On a busy machine Redis may take longer than a lookup may wait: then both sides count that.
        **{kind: answers[kind] for kind in ("hits", "misses", "degraded")},
        "accepted": EVENTS,
        "ttfb": EVENTS,
        "tokens": EVENTS * 10,
    }
    status, kpis = service.json("GET", "/kpis")
    assert status == 200
    hit_rate = answers["hits"] / (answers["hits"] + answers["misses"])
    assert kpis["kpis"]["telemetry_cache_cache_hit_rate"] == pytest.approx(hit_rate)
    assert kpis["kpis"]["telemetry_cache_tokens_per_second"] == pytest.approx(50.0)


def test_kill_under_load_loses_no_count(start_service: StartService, redis_server: RedisServer) -> None:
    """A worker killed amid requests: each answered one is counted, and no more than the unanswered besides."""
    service = start_service(REDIS_URL=redis_server.url, WEB_CONCURRENCY="2")
    arrived = 0
    victim = service.worker_pids()[0]

    def kill_at_a_quarter(job: Job, answer: object) -> None:  # noqa: ARG001
        nonlocal arrived
        arrived += 1
        if arrived == 500:
            service.kill_worker(victim)

    seen = play(service.port, _jobs(0, 1000), keep=kill_at_a_quarter)
    counted = _counted(service)

    assert victim not in service.worker_pids()
    lookups = counted["hits"] + counted["misses"] + counted["degraded"]
    for path, number in (("/log", counted["accepted"]), ("/cache/get", lookups)):
        answered, broken = seen.answers[path, 200], seen.answers[path, "broken"]
        assert answered <= number <= answered + broken
        assert answered + broken == 1000


def test_embedded_workers_on_purpose(start_service: StartService) -> None:
    """WEB_CONCURRENCY=2 without Redis serves, and the start says that each worker has a store of its own."""
    service = start_service(WEB_CONCURRENCY="2")
    assert "each of 2 workers has its own" in service.stdout()
    seen = play(service.port, [("POST", "/log", {"event": "a", "payload": {"n": n}}) for n in range(200)])
    assert seen.answers == {("/log", 200): 200}
    assert total(service.metrics(), "telemetry_cache_events_total", outcome="accepted") == 200


def test_several_replacements_leave_no_more_metric_files(start_service: StartService) -> None:
    """A worker put in another's place goes on with its files, so that a scrape does not slow with restarts."""
    service = start_service(WEB_CONCURRENCY="2")
    folder = service.data_dir / "metrics"
    sent = 0

    def slots() -> set[str]:
        nonlocal sent
        sent += 50
        play(service.port, [("POST", "/log", {"event": "a", "payload": {}}) for _ in range(50)])
        return {path.stem.rpartition("_")[2] for path in folder.iterdir()}

    # Which worker takes a connection is the kernel's choice: on a busy machine one may take all fifty.
    wait_until(lambda: len(slots()) > 1, "both workers have counted", 30.0)
    for _ in range(3):
        _kill_one_worker(service)
    assert slots() == {"0", "1"}
    assert total(service.metrics(), "telemetry_cache_events_total", outcome="accepted") == sent


def test_every_event_reaches_loki_from_both_workers(
    start_service: StartService, redis_server: RedisServer, loki: LokiStandIn
) -> None:
    """Two workers, one event each way: all arrive once, under the stream of the worker that took them."""
    service = start_service(REDIS_URL=redis_server.url, LOKI_URL=loki.url, WEB_CONCURRENCY="2", BATCH_MAX_AGE_S="0.2")
    jobs = [("POST", "/log", {"event": "a", "payload": {"n": n}}) for n in range(2000)]
    # Who is awake takes the new connections: often enough new ones, so that each has been awake alone.
    parts = [jobs[start : start + 40] for start in range(0, len(jobs), 40)]
    ids = [one for part in parts for one in play(service.port, part, keep=lambda _, answer: answer["event_id"]).kept]
    entries = loki.wait_for(2000, timeout_s=20)
    assert sorted(line["event_id"] for line in loki.lines()) == sorted(ids)
    assert {entry.labels["worker"] for entry in entries} == {"0", "1"}


def test_one_client_does_not_keep_the_others_waiting(start_service: StartService) -> None:
    """Three thousand requests in one go, all there to be read: another client's one request is answered among them."""
    service = start_service(WEB_CONCURRENCY="1")
    requests = 3000
    with (
        closing(socket.create_connection(("127.0.0.1", service.port), timeout=60)) as hasty,
        ThreadPoolExecutor(1) as reading,
    ):
        answers = reading.submit(_count_answers, hasty, requests)
        hasty.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * requests)
        answered = service.metrics()[("flask_http_request_total", frozenset({("method", "GET"), ("status", "200")}))]
        assert answers.result(timeout=60) == requests
    assert answered < requests


def _count_answers(connection: socket.socket, expected: int) -> int:
    """How many answers come, until all that are expected have."""
    got = b""
    found = 0
    while found < expected and (part := connection.recv(1 << 16)):
        got += part
        found += got.count(b"HTTP/1.1 200")
        got = got[-len(b"HTTP/1.1 20") :]
    return found
