"""The specification's requests, answers and tests, to the letter, with what the contract adds to them."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.contract.wire import NDJSON, Caller, wait_until

if TYPE_CHECKING:
    from tests.harness.service import RunningService

EVENT_ID = re.compile(r"evt_[A-Za-z0-9]+")
UTC_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")

LOG_EXAMPLE: dict[str, Any] = {
    "event": "tool_execution",
    "payload": {
        "timestamp": "2025-09-03T10:30:00Z",
        "service": "pipelines-gateway",
        "tool": "generate_response",
        "args": {"model": "llama2", "prompt": "Hello world", "temperature": 0.7},
        "response": {"text": "Hello! How can I help you?", "tokens": 150, "latency_ms": 250},
        "metadata": {"user_id": "user123", "session_id": "sess456", "request_id": "req789"},
    },
}
KEY = "tool:generate_response:model:llama2:temp:0.7:prompt:hello_world"
CACHE_DATA = {"response": "Hello! How can I help you?", "tokens": 150, "latency_ms": 250}
SMALL_EVENT = {"event": "tool_execution", "payload": {"tool": "generate_response"}}


def seconds_from_now(text: str) -> float:
    """Return how far in the future an RFC 3339 time lies."""
    assert UTC_TIME.fullmatch(text)
    return (datetime.fromisoformat(text) - datetime.now(UTC)).total_seconds()


# POST /log


@pytest.mark.parametrize("event", ["tool_execution", "response_generation", "policy_violation", "user_action"])
def test_log_answers_the_example(caller: Caller, event: str):
    """The example is answered with exactly the three fields that the specification shows."""
    answer = caller.post("/log", {**LOG_EXAMPLE, "event": event})
    assert (answer.status, answer.content_type) == (200, "application/json")
    assert set(answer.json) == {"status", "event_id", "redacted_fields"}
    assert answer.json["status"] == "logged"
    assert EVENT_ID.fullmatch(answer.json["event_id"])
    assert answer.json["redacted_fields"] == ["user_id", "session_id"]


ORDERS = {
    "fields only": ({"email": "x", "user_id": "x"}, ["email", "user_id"]),
    "texts only": ({"one": "a@example.org", "two": "b@example.org"}, ["one", "two"]),
    "field before text": ({"user_id": "x", "note": "a@example.org"}, ["user_id", "note"]),
    "text before field": ({"note": "a@example.org", "user_id": "x"}, ["note", "user_id"]),
    "field between texts": (
        {"one": "a@example.org", "user_id": "x", "two": "b@example.org"},
        ["one", "user_id", "two"],
    ),
    "nested": ({"m": {"user_id": "x"}, "list": ["-", "a@example.org"], "email": "x"}, ["user_id", "list", "email"]),
    "once": ({"a": {"email": "x"}, "b": [{"email": "y"}], "note": "a@example.org"}, ["email", "note"]),
}


@pytest.mark.parametrize(("payload", "fields"), ORDERS.values(), ids=ORDERS)
def test_redacted_fields_in_document_order(caller: Caller, payload: dict[str, Any], fields: list[str]):
    """`redacted_fields` holds leaf names, each once, in the order in which the document has them."""
    assert caller.post("/log", {"event": "order", "payload": payload}).json["redacted_fields"] == fields


def test_log_keeps_the_example_redacted(caller: Caller):
    """The line in the sink is the example with nothing changed but the two personal fields."""
    event_id = caller.post("/log", LOG_EXAMPLE).json["event_id"]
    line = caller.lines([event_id])[event_id]
    assert line["event"] == "tool_execution"
    metadata = {"user_id": "[REDACTED_USER_ID]", "session_id": "[REDACTED_SESSION_ID]", "request_id": "req789"}
    assert line["payload"] == {**LOG_EXAMPLE["payload"], "metadata": metadata}


def test_log_takes_the_callers_own_id(caller: Caller):
    """A retry with the same event_id is answered alike and stored once."""
    event = {**LOG_EXAMPLE, "event_id": "own-id_1"}
    first, second = caller.post("/log", event), caller.post("/log", event)
    assert first.json == second.json
    assert first.json["event_id"] == "own-id_1"
    marker = caller.post("/log", SMALL_EVENT).json["event_id"]
    caller.lines(["own-id_1", marker])
    files = (caller.service.data_dir / "logs").glob("*.ndjson")
    assert sum(path.read_text(encoding="utf-8").count('"event_id":"own-id_1"') for path in files) == 1


@pytest.mark.parametrize("form", ["object", "array", "ndjson"])
def test_log_batch_takes_three_forms(caller: Caller, form: str):
    """A batch is an object, a bare array or NDJSON, and each event has an id of its own in the answer."""
    if form == "ndjson":
        answer = caller.request("POST", "/log/batch", b'{"event":"a","payload":{}}\n\n' * 3, NDJSON)
    else:
        events = [LOG_EXAMPLE, SMALL_EVENT, SMALL_EVENT]
        answer = caller.post("/log/batch", {"events": events} if form == "object" else events)
    assert answer.status == 200
    assert set(answer.json) == {"status", "accepted", "event_ids", "rejected"}
    assert (answer.json["status"], answer.json["accepted"], answer.json["rejected"]) == ("logged", 3, [])
    assert len(set(answer.json["event_ids"])) == 3
    caller.lines(answer.json["event_ids"])


def test_redact_shows_and_keeps_nothing(caller: Caller):
    """The dry run gives the redacted value and exact JSON pointers."""
    answer = caller.post("/redact", {"a/b": [{"user_id": "user123"}, "mail bob@example.org now"]})
    assert answer.status == 200
    assert set(answer.json) == {"redacted", "findings"}
    assert answer.json["redacted"] == {"a/b": [{"user_id": "[REDACTED_USER_ID]"}, "mail [REDACTED_EMAIL] now"]}
    rows = [(row["pointer"], row["detector"], row["action"]) for row in answer.json["findings"]]
    assert rows == [("/a~1b/0/user_id", "user_id", "redact"), ("/a~1b/1", "email", "redact")]


def test_personal_data_in_names(caller: Caller):
    """A name that holds personal data is redacted like a value; those that become alike are numbered."""
    answer = caller.post("/redact", {"m": {"bob@example.org": 1, "amy@example.org": "x", "zoe@example.org": [2]}})
    names = ["[REDACTED_EMAIL]", "[REDACTED_EMAIL]#2", "[REDACTED_EMAIL]#3"]
    assert list(answer.json["redacted"]["m"]) == names
    assert [row["pointer"] for row in answer.json["findings"]] == [f"/m/{name}" for name in names]
    payload = {"bob@example.org": 1, "amy@example.org": 2}
    assert caller.post("/log", {"event": "names", "payload": payload}).json["redacted_fields"] == names[:2]


# The cache


def test_cache_set_and_get_answer_the_example(caller: Caller):
    """The example's set and get, with the key as the specification writes it into the query."""
    stored = caller.post("/cache/set", {"key": KEY, "data": CACHE_DATA, "ttl": 3600})
    assert stored.status == 200
    assert set(stored.json) == {"status", "key", "expires_at"}
    assert (stored.json["status"], stored.json["key"]) == ("cached", KEY)
    assert seconds_from_now(stored.json["expires_at"]) == pytest.approx(3600, abs=5)

    found = caller.get(f"/cache/get?key={KEY}")
    assert found.status == 200
    assert set(found.json) == {"hit", "data", "stored_at", "ttl_remaining"}
    assert found.json["hit"] is True
    data = found.json["data"]
    assert set(data) == {*CACHE_DATA, "timestamp", "ttl_remaining"}
    assert {name: data[name] for name in CACHE_DATA} == CACHE_DATA
    assert seconds_from_now(data["timestamp"]) == pytest.approx(0, abs=5)
    assert type(data["ttl_remaining"]) is int
    assert 3590 <= data["ttl_remaining"] <= 3600
    assert found.json["stored_at"] == data["timestamp"]
    assert found.json["ttl_remaining"] == data["ttl_remaining"]


def test_cache_miss_has_no_data(caller: Caller):
    """A miss is 200 with the two fields of the contract."""
    assert caller.get("/cache/get?key=nobody:set:this").json == {"hit": False, "data": None}
    missed = caller.post("/cache/get", {"key": "nobody:set:this"})
    assert missed.json == {"hit": False, "data": None, "key": "nobody:set:this"}


def test_cache_get_leaves_the_callers_fields(caller: Caller):
    """`timestamp` and `ttl_remaining` never replace fields that the caller stored."""
    own = {"timestamp": "mine", "ttl_remaining": "mine too"}
    caller.post("/cache/set", {"key": "own:fields", "data": own, "ttl": 60})
    found = caller.get("/cache/get?key=own:fields").json
    assert found["data"] == own
    assert UTC_TIME.fullmatch(found["stored_at"])
    assert 50 <= found["ttl_remaining"] <= 60


def test_cache_by_tool_and_arguments(caller: Caller):
    """A call finds its entry however its arguments are ordered, and tells the key that was used."""
    args = {"model": "Llama-2-7B", "temperature": 0.7, "prompt": "Hello World!", "max_tokens": 100}
    stored = caller.post("/cache/set", {"tool": "generate_response", "args": args, "data": CACHE_DATA}).json
    made = caller.post("/cache/key", {"tool": "generate_response", "args": args}).json
    assert set(made) == {"key", "readable"}
    assert stored["key"] == made["key"]
    assert re.fullmatch(re.escape(made["readable"]) + "#[0-9a-f]{32}", made["key"])
    turned = dict(reversed(args.items()))
    found = caller.post("/cache/get", {"tool": "generate_response", "args": turned}).json
    assert (found["hit"], found["key"]) == (True, made["key"])
    assert caller.post("/cache/get", {"key": made["key"]}).json["hit"] is True
    assert seconds_from_now(stored["expires_at"]) == pytest.approx(3600, abs=5)


def test_cache_delete(caller: Caller):
    """A deleted entry is gone, and deleting it again says that there was none."""
    caller.post("/cache/set", {"key": "to:delete", "data": {}, "ttl": 60})
    assert caller.request("DELETE", "/cache?key=to:delete").json == {"status": "deleted", "deleted": 1}
    assert caller.request("DELETE", "/cache?key=to:delete").json == {"status": "deleted", "deleted": 0}
    assert caller.get("/cache/get?key=to:delete").json["hit"] is False


# GET /metrics and health


def test_metrics_have_the_specified_names(caller: Caller):
    """Every name and type of the specification, and its buckets among ours."""
    text = caller.get("/metrics").body.decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    types = {
        "telemetry_cache_ttfb_seconds": "histogram",
        "telemetry_cache_tokens_per_second": "gauge",
        "telemetry_cache_repair_rate": "counter",
        "telemetry_cache_drift_incidents": "counter",
        "telemetry_cache_cache_hit_rate": "gauge",
    }
    assert {name: families[name].type for name in types} == types
    names = {sample.name for family in families.values() for sample in family.samples}
    suffixes = ("ttfb_seconds_sum", "ttfb_seconds_count", "repair_rate_total", "drift_incidents_total")
    assert {f"telemetry_cache_{suffix}" for suffix in suffixes} <= names
    edges = {sample.labels.get("le") for sample in families["telemetry_cache_ttfb_seconds"].samples}
    assert {"0.1", "0.5", "1.0", "2.0", "5.0", "+Inf"} <= edges


def test_metrics_move_as_specified(caller: Caller):
    """One event of 250 ms counts once, from the bucket 0.5 on; repairs, drift and the hit rate follow."""
    before = caller.service.metrics()
    event = {"response": {"tokens": 150, "latency_ms": 250}, "repairs": 2, "drift_incidents": 3}
    caller.post("/log", {"event": "response_generation", "payload": event})
    after = caller.service.metrics()

    def moved(name: str, **labels: str) -> float:
        sample = (name, frozenset(labels.items()))
        return after[sample] - before[sample]

    bucket = "telemetry_cache_ttfb_seconds_bucket"
    by_edge = [moved(bucket, le=edge) for edge in ("0.1", "0.5", "1.0", "2.0", "5.0", "+Inf")]
    assert by_edge == [0, 1, 1, 1, 1, 1]
    assert moved("telemetry_cache_ttfb_seconds_count") == 1
    assert moved("telemetry_cache_ttfb_seconds_sum") == pytest.approx(0.25)
    assert moved("telemetry_cache_repair_rate_total") == 2
    assert moved("telemetry_cache_drift_incidents_total") == 3
    assert 0 <= after["telemetry_cache_cache_hit_rate", frozenset()] <= 1
    assert after["telemetry_cache_tokens_per_second", frozenset()] > 0


def test_health(caller: Caller):
    """The service lives and is ready."""
    assert caller.get("/healthz").status == 200
    ready = caller.get("/readyz")
    assert (ready.status, ready.json["status"]) == (200, "ok")


# The specification's own three tests


def test_high_qps_logging(embedded: RunningService, caller: Caller):
    """A thousand events from ten clients at once are all accepted, and all arrive."""

    def send(client: int) -> list[str]:
        with Caller(embedded) as sender:
            answers = [
                sender.post(
                    "/log",
                    {
                        "event": "tool_execution",
                        "payload": {
                            "tool": "generate_response",
                            "latency_ms": 100 + (client * 100 + number) % 900,
                            "tokens": 50 + (client * 100 + number) % 450,
                        },
                    },
                )
                for number in range(100)
            ]
        assert {answer.status for answer in answers} == {200}
        return [answer.json["event_id"] for answer in answers]

    with ThreadPoolExecutor(max_workers=10) as pool:
        event_ids = [event_id for ids in pool.map(send, range(10)) for event_id in ids]
    assert len(set(event_ids)) == 1000
    caller.lines(event_ids)


def test_cache_ttl(caller: Caller):
    """An entry of two seconds is found, and then it is not."""
    response = caller.post("/cache/set", {"key": "test_key", "data": {"value": "test"}, "ttl": 2})
    assert response.status == 200
    response = caller.get("/cache/get?key=test_key")
    assert response.status == 200
    assert response.json["hit"] is True
    assert 1 <= response.json["ttl_remaining"] <= 2
    assert wait_until(lambda: not caller.get("/cache/get?key=test_key").json["hit"], 5)
    assert caller.get("/cache/get?key=test_key").json == {"hit": False, "data": None}


def test_pii_redaction(caller: Caller):
    """The specification's three personal fields are reported, and none of them reaches the sink."""
    event = {
        "event": "user_action",
        "payload": {
            "user_id": "user123",
            "email": "test@example.com",
            "api_key": "sk-1234567890abcdef",
            "message": "Hello world",
        },
    }
    response = caller.post("/log", event)
    assert response.status == 200
    assert response.json["redacted_fields"] == ["user_id", "email", "api_key"]
    event_id = response.json["event_id"]
    assert caller.lines([event_id])[event_id]["payload"] == {
        "user_id": "[REDACTED_USER_ID]",
        "email": "[REDACTED_EMAIL]",
        "api_key": "[REDACTED_API_KEY]",
        "message": "Hello world",
    }
