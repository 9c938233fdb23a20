"""The rows of the benchmark as a table: what is asked, what must be there before, and what a row should reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tests.bench import texts

if TYPE_CHECKING:
    from collections.abc import Sequence

SPEC_EVENT = {
    "event": "response_generation",
    "payload": {
        "timestamp": "2025-09-03T10:30:00Z",
        "service": "pipelines-gateway",
        "tool": "generate_response",
        "args": {"model": "llama2", "prompt": "Hello world", "temperature": 0.7},
        "response": {"text": "Hello! How can I help you?", "tokens": 150, "latency_ms": 250},
        "metadata": {"user_id": "user123", "session_id": "sess456", "request_id": "req789"},
    },
}
"""The specification's example of `POST /log`; its event is one of the three that it names."""

SPEC_DATA = {"response": "Hello! How can I help you?", "tokens": 150, "latency_ms": 250}
SPEC_CALL = {"tool": "generate_response", "args": {"model": "llama2", "prompt": "Hello world", "temperature": 0.7}}
SPEC_KEY = "tool:generate_response:model:llama2:temp:0.7:prompt:hello_world"

WEBDIS_KEY = "bench"
TTL_S = 86_400
BATCH_EVENTS = 100
BATCH_EVENT_BYTES = 1024
TEXT_BYTES = 2048

VARIANTS = 16
"""Different bodies of a row with text, sent in turn: what remembers the last text must not look fast."""

BATCH_VARIANTS = 4
"""Likewise, of 100 KB each."""


@dataclass(frozen=True, slots=True)
class Request:
    """What wrk sends, its bodies in turn."""

    method: str
    path: str
    bodies: tuple[bytes, ...] = (b"",)

    @property
    def headers(self) -> dict[str, str]:
        """The header fields besides those that HTTP itself needs."""
        return {"Content-Type": "application/json"} if self.bodies[0] else {}


@dataclass(frozen=True, slots=True)
class Reach:
    """What a row should reach at least."""

    figure: Literal["rate_ratio", "events_per_cpu_s"]
    at_least: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row: a request, measured against the floor and the service."""

    name: str
    title: str
    request: Request
    events: int = 0
    """Events in a request, all of which must reach the sink."""
    answer_has: bytes = b""
    """What the answer must contain, so that a hit is a hit."""
    server: Literal["service", "webdis"] = "service"
    reach: Reach | None = None


SETUP: Sequence[tuple[str, dict[str, object]]] = (
    ("/cache/set", {"key": SPEC_KEY, "data": SPEC_DATA, "ttl": TTL_S}),
    ("/cache/set", {**SPEC_CALL, "data": SPEC_DATA, "ttl": TTL_S}),
)
"""Sent to each service once, before anything is measured."""


def _post(path: str, *values: object) -> Request:
    return Request("POST", path, tuple(map(texts.compact, values)))


def _long_events() -> list[dict[str, object]]:
    return [texts.event(TEXT_BYTES, seed) for seed in range(VARIANTS)]


def _batches() -> list[dict[str, object]]:
    seeds = [
        range(1000 + BATCH_EVENTS * number, 1000 + BATCH_EVENTS * (number + 1)) for number in range(BATCH_VARIANTS)
    ]
    return [{"events": [texts.event(BATCH_EVENT_BYTES, seed) for seed in batch]} for batch in seeds]


ROWS: Sequence[Row] = (
    Row(name="healthz", title="`GET /healthz`", request=Request("GET", "/healthz")),
    Row(
        name="log",
        title="`POST /log`, the specification's example",
        request=_post("/log", SPEC_EVENT),
        events=1,
        answer_has=b'"logged"',
        reach=Reach("rate_ratio", 0.36),
    ),
    Row(
        name="log2k",
        title="`POST /log`, 2 KB of text",
        request=_post("/log", *_long_events()),
        events=1,
        answer_has=b'"logged"',
        reach=Reach("rate_ratio", 0.33),
    ),
    Row(
        name="batch",
        title="`POST /log/batch`, 100 events of 1 KB",
        request=_post("/log/batch", *_batches()),
        events=BATCH_EVENTS,
        answer_has=b'"accepted":100',
        reach=Reach("events_per_cpu_s", 12_000),
    ),
    Row(name="redact", title="`POST /redact`, 2 KB of text", request=_post("/redact", *_long_events())),
    Row(
        name="cache-hit",
        title="`GET /cache/get`, hit",
        request=Request("GET", f"/cache/get?key={SPEC_KEY}"),
        answer_has=b'"hit":true',
        reach=Reach("rate_ratio", 0.40),
    ),
    Row(
        name="cache-call",
        title="`POST /cache/get` by tool and args, hit",
        request=_post("/cache/get", SPEC_CALL),
        answer_has=b'"hit":true',
    ),
    Row(
        name="cache-miss",
        title="`GET /cache/get`, miss",
        request=Request("GET", f"/cache/get?key={SPEC_KEY}:absent"),
        answer_has=b'"hit":false',
    ),
    Row(
        name="webdis",
        title="Webdis `GET` of as many bytes as a hit",
        request=Request("GET", f"/GET/{WEBDIS_KEY}"),
        answer_has=b'"GET":',
        server="webdis",
    ),
    Row(name="metrics", title="`GET /metrics`", request=Request("GET", "/metrics")),
)
