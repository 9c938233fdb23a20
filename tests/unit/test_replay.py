"""The replay program against a small fake service: what it sends, what it believes, what it prints."""

import gzip
import io
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from app.replay.__main__ import main
from app.replay.batch import batch_body, cut_bodies, group_by_prompt, split_turns
from app.replay.client import Answer, Client, parse_target, retry_after_s
from app.replay.findings import UNNAMED, finding_names, redacted_fields
from app.replay.pool import run_pass
from app.replay.progress import Progress
from app.replay.report import percentile
from app.replay.rows import BadRowError, Fields, Place, Row, parse_row, read_files
from app.replay.verdict import Found, Kept, Outcome, judge_batch, judge_event, judge_lookup

# Every prompt and answer of these tests holds one of the two, so that a leak into the output shows.
PROMPT = "plum"
ANSWER = "quince"


@dataclass(frozen=True)
class Reply:
    """What the fake service answers; `drop` closes the connection, without a word or after the answer."""

    body: Mapping[str, Any]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    drop: str = ""


BUSY = Reply({"type": "/problems/busy"}, 503, {"Retry-After": "0"})


class FakeService:
    """The calls that the replay needs, right by default; a test overrides `before` or `key` to spoil them.

    before: asked first for each request with (path, how often this path was asked, body); a Reply is sent as
    it is. key: the cache key of (tool, args). events: what was logged, by event_id.
    """

    def __init__(self) -> None:
        self.before: Callable[[str, int, Any], Reply | None] = lambda _path, _count, _body: None
        self.key: Callable[[str, dict[str, Any]], str] = lambda tool, args: json.dumps([tool, args])
        self.touches: Callable[[dict[str, Any]], bool] = lambda _payload: False
        self.findings: list[Any] = [{"pointer": "/args/prompt", "detector": "email", "action": "redact"}]
        self.events: dict[str, dict[str, Any]] = {}
        self.cache: dict[str, Any] = {}
        self.bodies: dict[str, list[Any]] = {}
        self.headers: list[Mapping[str, str]] = []
        self.lock = threading.Lock()

    def answer(self, path: str, headers: Mapping[str, str], body: Any) -> Reply:
        with self.lock:
            self.headers.append(headers)
            seen = self.bodies.setdefault(path, [])
            seen.append(body)
            spoiled = self.before(path, len(seen), body)
            return spoiled or getattr(self, path.strip("/").replace("/", "_"))(body)

    def healthz(self, _body: Any) -> Reply:
        return Reply({"status": "ok"})

    def log(self, event: dict[str, Any]) -> Reply:
        self.events[event["event_id"]] = event
        fields = ["prompt"] if self.touches(event["payload"]) else []
        return Reply({"status": "logged", "event_id": event["event_id"], "redacted_fields": fields})

    def log_batch(self, events: list[dict[str, Any]]) -> Reply:
        event_ids = [self.log(event).body["event_id"] for event in events]
        return Reply({"status": "logged", "accepted": len(events), "event_ids": event_ids, "rejected": []})

    def redact(self, payload: dict[str, Any]) -> Reply:
        return Reply({"redacted": {}, "findings": self.findings if self.touches(payload) else []})

    def cache_get(self, body: dict[str, Any]) -> Reply:
        data = self.cache.get(self.key(body["tool"], body["args"]))
        return Reply({"hit": data is not None, "data": data})

    def cache_set(self, body: dict[str, Any]) -> Reply:
        self.cache[self.key(body["tool"], body["args"])] = body["data"]
        return Reply({"status": "cached", "key": "k", "expires_at": "2025-09-03T11:30:00Z"})


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 20
    service: FakeService

    def log_message(self, *_args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.send(self.service.answer(self.path, dict(self.headers), None))

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            raw = gzip.decompress(raw)
        is_ndjson = self.headers["Content-Type"] == "application/x-ndjson"
        body = [json.loads(line) for line in raw.splitlines()] if is_ndjson else json.loads(raw)
        self.send(self.service.answer(self.path, dict(self.headers), body))

    def send(self, reply: Reply) -> None:
        self.close_connection = bool(reply.drop) or self.close_connection
        if reply.drop == "silent":
            return
        body = json.dumps(reply.body).encode()
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    # Joined at server_close, so that no socket outlives its test.
    daemon_threads = False


@dataclass(frozen=True)
class Run:
    """What one run of the program came to."""

    code: int
    report: dict[str, Any]
    out: str
    err: str


@dataclass(frozen=True)
class Stage:
    """A fake service that listens, and a way to play rows through it."""

    service: FakeService
    url: str
    folder: Path
    capsys: pytest.CaptureFixture[str]

    def write(self, rows: list[Any]) -> str:
        path = self.folder / "rows.jsonl"
        lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return str(path)

    def play(self, rows: list[Any], *options: str, environ: Mapping[str, str] | None = None) -> Run:
        arguments = ["--url", self.url, "--clients", "3", *options, self.write(rows)]
        code = main(arguments, environ or {})
        out, err = self.capsys.readouterr()
        assert not re.search(f"{PROMPT}|{ANSWER}", out + err, re.IGNORECASE)
        return Run(code, json.loads(out) if "--json" in options and out else {}, out, err)


@pytest.fixture
def stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Stage]:
    service = FakeService()
    with Server(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"service": service})) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield Stage(service, f"http://127.0.0.1:{server.server_port}", tmp_path, capsys)
        server.shutdown()
        thread.join()


def make_rows(count: int) -> list[Any]:
    return [{"question": f"{PROMPT} {n}?", "answer": f"{ANSWER} no. {n} \u2028é"} for n in range(count)]


def make_row(number: int, prompt: str = PROMPT) -> Row:
    return Row(number, Place("f", number + 1), prompt, ANSWER)


# Reading


@pytest.mark.parametrize(
    ("row", "fields"),
    [
        ({"question": "p", "answer": "a"}, Fields()),
        ({"task_id": "t/0", "prompt": "p", "canonical_solution": "a", "test": "x"}, Fields()),
        ({"prompt": "p", "response": "a"}, Fields()),
        ({"prompt": "p", "completion": "a"}, Fields()),
        ({"input": "p", "output": "a"}, Fields()),
        ({"q": "p", "a": "a", "question": "x", "answer": "x"}, Fields("q", "a")),
        ({"q": "p", "output": "a"}, Fields(prompt="q")),
        ({"prompt": "p", "ideal": "a"}, Fields(answer="ideal")),
    ],
)
def test_row_shapes(row: dict[str, str], fields: Fields) -> None:
    """Each known pair of names is recognised, and given names go before known ones."""
    assert parse_row(json.dumps(row).encode(), fields.pairs()) == ("p", "a")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"prompt": "\xff"}', "not UTF-8"),
        (b'["plum"]', "not a JSON object"),
        (b'{"prompt": "plum"}', "no prompt and answer under a known pair of names"),
        (b'{"prompt": "plum", "answer": 3}', "no prompt and answer under a known pair of names"),
        (b'{"prompt": "plum", "response": 3}', "prompt or answer is not a text"),
        (b'{"prompt": "plum", "response": ""}', "the answer is empty, and the cache refuses an empty answer"),
        (b'{"prompt": "\\ud800", "response": "x"}', "a lone surrogate, which UTF-8 cannot carry"),
    ],
)
def test_bad_rows(line: bytes, reason: str) -> None:
    """A line that cannot be played says why, without its text."""
    with pytest.raises(BadRowError) as caught:
        parse_row(line, Fields().pairs())
    assert str(caught.value) == reason


def test_lines_are_counted_as_editors_count_them(tmp_path: Path) -> None:
    """A byte order mark and blank lines are no rows, U+2028 ends none, and a last line needs no line feed."""
    path = tmp_path / "rows.jsonl"
    path.write_bytes(
        '\ufeff{"input": "a\u2028b", "output": "c"}\r\n\n  \nnonsense\n{"input": "d", "output": "e"}'.encode()
    )
    reading = read_files([str(path)], Fields())
    assert [(row.number, row.place.line, row.prompt) for row in reading.rows] == [
        (0, 1, "a\u2028b"),
        (1, 5, "d"),
    ]
    assert [bad.place.line for bad in reading.bad] == [4]


# Dealing out


@pytest.mark.parametrize(
    ("rows", "batch_size", "single", "batches"),
    [
        (0, 50, 0, []),
        (1, 50, 0, [1]),
        (2, 50, 1, [1]),
        (4, 50, 2, [1, 1]),
        (164, 50, 82, [41, 41]),
        (7, 2, 3, [2, 2]),
        (1319, 50, 659, [47] * 12 + [48] * 2),
    ],
)
def test_split_turns(rows: int, batch_size: int, single: int, batches: list[int]) -> None:
    """One half goes singly and the other in batches of the size given at most, each row once and in order."""
    turns = list(split_turns([make_row(n) for n in range(rows)], batch_size))
    assert [row.number for turn in turns for row in turn.rows] == list(range(rows))
    assert sum(turn.batch_number is None for turn in turns) == single
    numbered = [turn for turn in turns if turn.batch_number is not None]
    assert [turn.batch_number for turn in numbered] == list(range(len(batches)))
    assert sorted(len(turn.rows) for turn in numbered) == batches


def test_prompts_that_are_one_key_stay_together() -> None:
    """Prompts equal in NFC are one call by the contract; their order is kept."""
    rows = [make_row(0, "caf\u00e9"), make_row(1, "x"), make_row(2, "cafe\u0301")]
    assert [[row.number for row in group] for group in group_by_prompt(rows)] == [[0, 2], [1]]


def test_bodies_are_cut_by_bytes() -> None:
    """No body passes its limit, except one that is a single line."""
    assert list(cut_bodies([4, 4, 4, 20, 1], 10)) == [(0, 2), (2, 3), (3, 4), (4, 5)]


def test_batches_alternate_between_their_two_forms() -> None:
    """An even batch is a JSON array, an odd one NDJSON under gzip."""
    array, array_headers = batch_body([b'{"a":1}', b'{"b":2}'], 0)
    packed, packed_headers = batch_body([b'{"a":1}', b'{"b":2}'], 1)
    assert (array, dict(array_headers)) == (b'[{"a":1},{"b":2}]', {"Content-Type": "application/json"})
    assert gzip.decompress(packed) == b'{"a":1}\n{"b":2}\n'
    assert dict(packed_headers) == {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}


# Judging


def answer(body: Mapping[str, Any], status: int = 200) -> Answer:
    return Answer(status, body, 1.0, 1.0)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (answer({"hit": True, "data": {"response": "a"}}), Found.HIT),
        (answer({"hit": True, "data": {"response": "a "}}), Found.WRONG),
        (answer({"hit": True, "data": None}), Found.WRONG),
        (answer({"hit": False, "data": None}), Found.MISS),
        (answer({"hit": False, "data": None, "degraded": True}), Found.DEGRADED),
        (answer({"hit": "yes"}), Found.FAILED),
        (answer({}, 500), Found.FAILED),
        (answer({}, 0), Found.FAILED),
    ],
)
def test_judge_lookup(given: Answer, found: Found) -> None:
    """Only the expected answer, byte for byte, is a hit."""
    assert judge_lookup(given, "a") is found


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        (answer({"event_id": "e1"}), Outcome(Kept.LOGGED)),
        (answer({"event_id": "e2"}), Outcome(Kept.UNACKNOWLEDGED, "answered without its event_id")),
        (
            answer({"type": "https://x/problems/too-large"}, 413),
            Outcome(Kept.REJECTED, "/problems/too-large"),
        ),
        (answer({"type": "plum"}, 422), Outcome(Kept.REJECTED, "status 422")),
        (answer({}, 429), Outcome(Kept.UNACKNOWLEDGED, "status 429")),
        (answer({}, 503), Outcome(Kept.UNACKNOWLEDGED, "status 503")),
        (answer({}, 0), Outcome(Kept.UNACKNOWLEDGED, "no answer")),
    ],
)
def test_judge_event(given: Answer, outcome: Outcome) -> None:
    """An event counts as logged only when its own id comes back."""
    assert judge_event(given, "e1") == outcome


def test_judge_batch() -> None:
    """Each event of a batch is judged by its own place."""
    rejected = [{"index": 1, "type": "/problems/invalid-event"}, "junk", {"index": "plum"}]
    given = answer({"event_ids": ["e0", None, "other", "e3"], "rejected": rejected})
    kept = [outcome.kept for outcome in judge_batch(given, ["e0", "e1", "e2", "e3", "e4"])]
    assert kept == ["logged", "rejected", "unacknowledged", "logged", "unacknowledged"]
    refused = answer({"rejected": [{"index": 0, "type": "/problems/invalid-event"}]}, 422)
    assert judge_batch(refused, ["e0"]) == [Outcome(Kept.REJECTED, "/problems/invalid-event")]


def test_finding_names_hold_only_what_was_sent_as_a_name() -> None:
    """A pointer or detector that might quote a text is not repeated."""
    payload = {"args": {"prompt": PROMPT}}
    findings = [
        {"pointer": "/args/prompt", "detector": "email"},
        {"pointer": "/args/prompt", "detector": "email"},
        {"pointer": f"/args/{PROMPT}", "detector": f"{PROMPT} juice"},
        PROMPT,
    ]
    assert finding_names(answer({"findings": findings}), payload) == (
        "/args/prompt email",
        f"{UNNAMED} {UNNAMED}",
    )
    assert redacted_fields(answer({"redacted_fields": ["prompt", PROMPT, {}]}), payload) == (
        "prompt",
        UNNAMED,
        UNNAMED,
    )
    assert finding_names(answer({}), payload) is redacted_fields(answer({}), payload) is None


@pytest.mark.parametrize(
    ("status", "header", "wait_s"),
    [
        (503, "2", 2.0),
        (429, "0", 0.0),
        (503, None, None),
        (500, "2", None),
        (429, "31", None),
        (503, "Wed, 21 Oct 2026 07:28:00 GMT", 1.0),
    ],
)
def test_retry_after(status: int, header: str | None, wait_s: float | None) -> None:
    """Only a refusal that names a bearable wait is tried again."""
    assert retry_after_s(status, header) == wait_s


def test_percentiles_are_nearest_rank() -> None:
    """A percentile is one of the figures measured."""
    assert [percentile([1.0, 2.0, 3.0, 4.0], p) for p in (50, 95, 99)] == [2.0, 4.0, 4.0]
    assert percentile([], 99) == 0.0


# Whole runs


def test_right_service(stage: Stage) -> None:
    """Every row is logged once, half of them in batches, stored, and found again; the exit code is 0."""
    run = stage.play(make_rows(20), "--json", "--batch-size", "5")
    service = stage.service
    assert run.code == 0
    assert run.report["ok"] is True
    expected = {"rows": 20, "sent": 20, "logged": 20, "rejected": 0, "redacted": 0, "stored": 20, "hits": 20}
    assert {name: run.report[name] for name in expected} == expected
    nothing = {name: run.report[name] for name in ("misses", "degraded", "wrong_answers", "retries", "errors")}
    assert nothing == {"misses": 0, "degraded": 0, "wrong_answers": 0, "retries": 0, "errors": {}}
    assert run.report["first_pass"] == {"hits": 0, "misses": 20, "degraded": 0, "failed": 0}
    assert [len(service.bodies[path]) for path in ("/log", "/log/batch", "/redact")] == [10, 2, 10]
    assert sum(headers.get("Content-Encoding") == "gzip" for headers in service.headers) == 1
    assert run.report["requests"] == run.report["latency_ms"]["overall"]["count"] == 82
    assert run.report["requests_per_s"] > 0


def test_event_shape(stage: Stage) -> None:
    """An event holds what a suite service would send, and the cache is asked with the same arguments."""
    stage.play([{"prompt": PROMPT, "canonical_solution": f"{ANSWER} is a fruit", "task_id": "t/0"}])
    (event,) = stage.service.events.values()
    payload = event["payload"]
    assert event["event"] == "response_generation"
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", event["event_id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", payload["timestamp"])
    assert (payload["service"], payload["tool"]) == ("replay", "generate_response")
    assert payload["args"] == {"model": "replay", "prompt": PROMPT, "temperature": 0.7}
    assert payload["metadata"] == {"request_id": event["event_id"]}
    assert (payload["response"]["text"], payload["response"]["tokens"]) == (f"{ANSWER} is a fruit", 4)
    assert 0 < payload["response"]["ttfb_ms"] <= payload["response"]["latency_ms"]
    (entry,) = stage.service.bodies["/cache/set"]
    assert (entry["tool"], entry["args"]) == (payload["tool"], payload["args"])
    assert set(entry["data"]) == {"response", "tokens", "latency_ms"}


def test_second_run(stage: Stage) -> None:
    """A second run finds the first one's answers at once, unless it is told to use keys of its own."""
    rows = make_rows(6)
    first_passes = [
        stage.play(rows, "--json", *options).report["first_pass"]["hits"] for options in ((), (), ("--fresh",))
    ]
    assert first_passes == [0, 6, 0]
    assert len(stage.service.events) == 18


def test_colliding_keys(stage: Stage) -> None:
    """Two prompts on one key: one gets the other's answer, which is counted and placed; exit code 1."""
    stage.service.key = lambda _tool, args: re.sub(r"[^a-z0-9]", "_", args["prompt"].lower())[:50]
    rows = [*make_rows(3), *({"prompt": f"{PROMPT} {c}", "response": f"{ANSWER} {c}"} for c in "<(")]
    run = stage.play(rows, "--json")
    assert run.code == 1
    assert (run.report["hits"], run.report["wrong_answers"], run.report["logged"]) == (4, 1, 5)
    (noted,) = run.report["not_found"]
    assert noted["line"] in {4, 5}
    assert noted["notes"] == ["wrong"]


def test_equal_prompts(stage: Stage) -> None:
    """Of equal prompts with different answers the last one is to be found, whichever client set it."""
    rows = [{"input": PROMPT, "output": f"{ANSWER} {n}"} for n in range(9)]
    run = stage.play(rows, "--json")
    assert (run.code, run.report["hits"], run.report["stored"]) == (0, 9, 9)
    assert [data["response"] for data in stage.service.cache.values()] == [f"{ANSWER} 8"]


def test_busy_service(stage: Stage) -> None:
    """A 503 with Retry-After is tried again with the same event id: counted, and no event stored twice."""
    stage.service.before = lambda path, count, _body: BUSY if path != "/healthz" and count <= 2 else None
    run = stage.play(make_rows(8), "--json")
    assert (run.code, run.report["retries"], run.report["errors"]) == (0, 10, {})
    assert len(stage.service.events) == run.report["logged"] == 8


def test_service_that_stays_busy(stage: Stage) -> None:
    """Tries are bounded; then the refusal is an error, and the event is not acknowledged."""
    stage.service.before = lambda path, _count, _body: BUSY if path == "/log" else None
    run = stage.play(make_rows(2), "--json")
    assert (run.code, run.report["logged"], run.report["rejected"]) == (1, 1, 0)
    assert (run.report["retries"], run.report["errors"]) == (5, {"503": 1})
    assert run.report["not_logged"][0]["notes"] == ["unacknowledged", "/problems/busy"]


def test_lost_event(stage: Stage) -> None:
    """An event whose id does not come back is not logged, though the call was answered 200."""

    def lose_one(path: str, _count: int, body: Any) -> Reply | None:
        ids = [event["event_id"] for event in body[1:]] if path == "/log/batch" else []
        return Reply({"status": "logged", "accepted": len(ids), "event_ids": ids, "rejected": []}) if ids else None

    stage.service.before = lose_one
    run = stage.play(make_rows(8), "--json", "--batch-size", "2")
    assert run.code == 1
    assert run.report["logged"] < run.report["sent"] == run.report["hits"] == 8
    assert {item["notes"][0] for item in run.report["not_logged"]} == {"unacknowledged"}


def test_rejected_events(stage: Stage) -> None:
    """Refused events are counted and placed with their problem's type, singly and in a batch."""

    def refuse(path: str, _count: int, body: Any) -> Reply | None:
        problem = {"type": "/problems/too-large", "title": PROMPT, "detail": PROMPT}
        if path == "/log":
            return Reply(problem, 413)
        if path == "/log/batch":
            return Reply({"rejected": [{"index": at, **problem} for at in range(len(body))]}, 422)
        return None

    stage.service.before = refuse
    run = stage.play(make_rows(4), "--json")
    assert (run.code, run.report["rejected"], run.report["logged"]) == (1, 4, 0)
    assert run.report["errors"] == {"413": 2, "422": 2}
    assert [item["notes"] for item in run.report["not_logged"]] == [["rejected", "/problems/too-large"]] * 4


def test_bad_rows_are_placed(stage: Stage) -> None:
    """Bad rows are reported by line number; the others are played; the exit code is 1."""
    rows = [f"{PROMPT} is no JSON", *make_rows(3), {"prompt": PROMPT}, {"prompt": PROMPT, "response": None}]
    run = stage.play(rows, "--json")
    assert run.code == 1
    assert (run.report["rows"], run.report["sent"], run.report["hits"]) == (6, 3, 3)
    assert [item["line"] for item in run.report["bad_rows"]] == [1, 5, 6]


def test_only_bad_rows(stage: Stage) -> None:
    """A file without one good row is played as nothing, and is not well."""
    assert stage.play([f"{PROMPT} is no JSON"]).code == 1


def test_redacted_rows(stage: Stage) -> None:
    """Rows that redaction touches are counted on both ways, with pointer and detector, and are no fault."""
    stage.service.touches = lambda payload: payload["args"]["prompt"].endswith(("0?", "2?", "3?"))
    stage.service.findings.append({"pointer": f"/{PROMPT}", "detector": f"{PROMPT}!"})
    run = stage.play(make_rows(4), "--json")
    assert (run.code, run.report["redacted"], run.report["redaction_unknown"]) == (0, 3, 0)
    assert [item["line"] for item in run.report["touched"]] == [1, 3, 4]
    assert run.report["touched"][0]["notes"] == ["/args/prompt email", f"{UNNAMED} {UNNAMED}"]


def test_dry_run_refused(stage: Stage) -> None:
    """Without the right to `/redact`, asked once, batched rows are unknown and single ones known by field."""
    stage.service.touches = lambda _payload: True
    stage.service.before = lambda path, _count, _body: Reply({}, 403) if path == "/redact" else None
    run = stage.play(make_rows(8), "--json", "--clients", "1")
    assert (run.code, run.report["redacted"], run.report["redaction_unknown"]) == (0, 4, 4)
    assert run.report["touched"][0]["notes"] == ["prompt"]
    assert run.report["errors"] == {"403": 1}


def test_degraded_cache(stage: Stage) -> None:
    """A cache without its store gives counted, degraded misses, and the run is not well."""
    away = {"/cache/get": Reply({"hit": False, "data": None, "degraded": True}), "/cache/set": Reply({}, 503)}
    stage.service.before = lambda path, _count, _body: away.get(path)
    run = stage.play(make_rows(4), "--json")
    counts = [run.report[name] for name in ("logged", "stored", "hits", "misses", "degraded", "wrong_answers")]
    assert (run.code, counts) == (1, [4, 0, 0, 4, 4, 0])


def test_text_report(stage: Stage) -> None:
    """The text for people shows counts, times by call, and at most twenty places of a kind."""
    stage.service.before = lambda path, _count, _body: Reply({}, 500) if path == "/cache/set" else None
    run = stage.play(make_rows(30))
    assert run.code == 1
    assert "events       logged 30, rejected 0, unacknowledged 0" in run.out
    assert "errors       30 x 500" in run.out
    assert re.search(r"POST /cache/get +60 +\d", run.out)
    assert "rows.jsonl:20 (miss)" in run.out
    assert "rows.jsonl:21" not in run.out
    assert "and 10 more" in run.out
    assert "NOT OK" in run.out


def test_closed_idle_connections(stage: Stage) -> None:
    """A connection that the service closed after its answer is opened again, which is no error."""
    right = stage.service.log
    stage.service.log = lambda event: Reply(right(event).body, drop="after")  # type: ignore[method-assign]
    run = stage.play(make_rows(6), "--json", "--clients", "1", "--batch-size", "3")
    assert (run.code, run.report["errors"]) == (0, {})
    assert run.report["reconnects"] == len(stage.service.bodies["/log"])


def test_service_that_dies(stage: Stage) -> None:
    """A service that stops answering ends the run with one line and exit code 2."""
    stage.service.before = lambda path, count, _body: (
        Reply({}, drop="silent") if path == "/cache/get" and count > 3 else None
    )
    run = stage.play(make_rows(40))
    assert (run.code, run.out) == (2, "")
    assert re.fullmatch(r"replay: the service at \S+ stopped answering: .+ \(POST /cache/get\)\n", run.err)


def test_no_service(stage: Stage) -> None:
    """Where nothing listens, one line says so and the exit code is 2."""
    run = stage.play(make_rows(1), "--url", "http://127.0.0.1:1")
    assert (run.code, run.out) == (2, "")
    assert run.err == "replay: no service at http://127.0.0.1:1: Connection refused\n"


def test_api_key(stage: Stage) -> None:
    """The key goes into each request, from the option or the environment, and nowhere else."""
    rows = make_rows(2)
    runs = [
        stage.play(rows, "--api-key", "tc_a_1"),
        stage.play(rows, environ={"TELEMETRY_CACHE_API_KEY": "tc_b_2"}),
        stage.play(rows),
    ]
    sent = [headers.get("Authorization") for headers in stage.service.headers]
    assert list(dict.fromkeys(sent)) == ["Bearer tc_a_1", "Bearer tc_b_2", None]
    assert not any("tc_" in run.out + run.err for run in runs)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--url", "ftp://127.0.0.1"], "takes an address"),
        (["--url", "http://user:hush@127.0.0.1"], "without user"),
        (["--clients", "0"], "takes a number from 1 to 256"),
        (["--batch-size", "many"], "takes a number from 1 to 1000"),
        (["--api-key", "hush\n"], "printable ASCII"),
        (["/nowhere/rows.jsonl"], "cannot read /nowhere/rows.jsonl"),
    ],
)
def test_usage_errors(stage: Stage, options: list[str], words: str) -> None:
    """What cannot be followed ends with exit code 2 and a line on stderr that holds no secret."""
    try:
        code: Any = main([*options, stage.write(make_rows(1))], {})
    except SystemExit as exc:  # argparse's own way to end
        code = exc.code
    out, err = stage.capsys.readouterr()
    assert (code, out) == (2, "")
    assert words in err
    assert "hush" not in err


def test_interrupt(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt ends the run with one line, no traceback, and the shell's exit code for it."""

    def interrupt(*_args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("app.replay.__main__.Player.play", interrupt)
    run = stage.play(make_rows(1))
    assert (run.code, run.out, run.err) == (130, "", "replay: interrupted\n")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "text"),
    [(io.StringIO(), "replay: store, 2 of 4 steps\n"), (Terminal(), "2/4")],
    ids=["pipe", "terminal"],
)
def test_progress(stream: io.StringIO, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal gets a bar, anything else a line now and then."""
    monkeypatch.setattr("app.replay.progress.LINE_INTERVAL_S", 0.0)
    with closing(Progress(4, stream)) as progress:
        progress.begin("store")
        progress.advance(2)
        progress.begin("recall")
    assert text in stream.getvalue()
    assert ("\r" in stream.getvalue()) == stream.isatty()


def test_first_error_ends_a_pass() -> None:
    """An error in one thread sets `stop`, so that the others end too, and is raised."""
    stop = threading.Event()
    clients = [Client(parse_target("http://127.0.0.1:1"), None, stop) for _ in range(2)]

    def play(_client: Client, task: int) -> list[int]:
        raise ValueError(task)

    with pytest.raises(ValueError, match=r"^\d+$"):
        run_pass(clients, range(1000), play, stop)
    assert stop.is_set()


def test_empty_file(stage: Stage) -> None:
    """A file without a line to play is more likely a mistake than a success."""
    run = stage.play(["", "  "])
    assert (run.code, run.err) == (2, "replay: no rows in the files given\n")


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://127.0.0.1:8114/", "http://127.0.0.1:8114"),
        ("https://cache.example/telemetry/", "https://cache.example:443/telemetry"),
        ("http://[::1]:8114", "http://[::1]:8114"),
    ],
)
def test_targets(url: str, text: str) -> None:
    """An address may have a path before the calls, and may be IPv6."""
    assert str(parse_target(url)) == text
