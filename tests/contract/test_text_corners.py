"""Difficult texts in every place where a caller can put one: kept to the character, or refused without an echo."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.contract.text_cases import CONTROL, TEXTS
from tests.contract.wire import CANARY, JSON, NDJSON, Answer, Caller, head

QUERY_BYTES = 1000
KEY_BYTES = 4096
LINE_BYTES = 8190
FIELD_BYTES = 8190
EVENT_BYTES = 256 * 1024

each_text = pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)


def assert_no_echo(caller: Caller, answer: Answer, text: str) -> None:
    """Check that neither the canary nor a telling text comes back, as it is or as JSON or a URL writes it."""
    caller.assert_silent(answer)
    everything = answer.everything.decode(errors="replace")
    for form in (text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], quote(text, safe="")):
        assert len(form) < 8 or form not in everything


@pytest.fixture(scope="module")
def arrived(caller: Caller) -> dict[str, Any]:
    """Send each text as a prompt and as the service, by /log, and return answer and payload in the sink by name."""
    answers = {}
    for name, text in TEXTS.items():
        payload = {"args": {"prompt": text}, "service": text[:1000]}
        raw = json.dumps({"event": "text", "payload": payload}, ensure_ascii=False).encode()
        answer = caller.post("/log", raw)
        assert answer.status == 200, name
        answers[name] = answer.json
    lines = caller.lines(answer["event_id"] for answer in answers.values())
    return {name: (answer, lines[answer["event_id"]]["payload"]) for name, answer in answers.items()}


@pytest.mark.parametrize("name", TEXTS)
def test_prompt(arrived: dict[str, Any], name: str):
    """A prompt stands in the sink as it was sent, and nothing is reported as redacted."""
    answer, payload = arrived[name]
    assert payload["args"] == {"prompt": TEXTS[name]}
    assert answer["redacted_fields"] == []


@pytest.mark.parametrize("name", TEXTS)
def test_service(arrived: dict[str, Any], name: str):
    """So does the service's name, whatever label it becomes."""
    _, payload = arrived[name]
    assert payload["service"] == TEXTS[name][:1000]


@pytest.mark.parametrize("escaped", [True, False], ids=["escaped", "as bytes"])
@pytest.mark.parametrize("form", ["array", "ndjson"])
def test_prompts_of_a_batch(caller: Caller, form: str, *, escaped: bool):
    """In a batch too, in both forms, whether JSON escapes the signs or not; and as a field's name."""
    texts = {name: text for name, text in TEXTS.items() if len(text) <= 5001}
    events = [
        json.dumps({"event": "text", "payload": {text + " field": [text]}}, ensure_ascii=escaped).encode()
        for text in texts.values()
    ]
    if form == "array":
        answer = caller.post("/log/batch", b"[" + b",".join(events) + b"]")
    else:
        answer = caller.request("POST", "/log/batch", b"\r\n".join(events), NDJSON)
    assert answer.status == 200
    assert answer.json["rejected"] == []
    lines = caller.lines(answer.json["event_ids"])
    wrong = [
        name
        for (name, text), event_id in zip(texts.items(), answer.json["event_ids"], strict=True)
        if lines[event_id]["payload"] != {text + " field": [text]}
    ]
    assert wrong == []


@each_text
def test_redact(caller: Caller, text: str):
    """The dry run finds nothing and gives the text back."""
    assert caller.post("/redact", [text]).json == {"redacted": [text], "findings": []}


@each_text
def test_event_name(caller: Caller, text: str):
    """None of them is an event's name."""
    answer = caller.post("/log", {"event": CANARY + text, "payload": {}})
    caller.assert_refused(answer, 422, "invalid")
    assert_no_echo(caller, answer, text)


@each_text
def test_event_id(caller: Caller, text: str):
    """Nor an id."""
    answer = caller.post("/log", {"event": "text", "payload": {}, "event_id": text + CANARY + "\n"})
    caller.assert_refused(answer, 422, "invalid")
    assert_no_echo(caller, answer, text)


@each_text
def test_cache_argument(caller: Caller, text: str):
    """As an argument, its name and what is stored: found again, under a key that can be used by itself."""
    call = {"tool": "text", "args": {"prompt": text, text[:300] + "x": [text]}}
    stored = caller.post("/cache/set", {**call, "data": {"answer": text, text: 1}, "ttl": 60})
    assert stored.status == 200, stored.body[:300]
    key = stored.json["key"]
    assert CONTROL.search(key) is None
    assert len(key.encode()) <= 200 + 1 + 32
    for question in (call, {"key": key}):
        found = caller.post("/cache/get", question).json
        assert (found["hit"], found["key"]) == (True, key)
        assert {name: found["data"][name] for name in ("answer", text)} == {"answer": text, text: 1}


@each_text
def test_cache_tool(caller: Caller, text: str):
    """As a tool's name: 422 with control characters or over 256 signs, else found again."""
    call = {"tool": text, "args": {}}
    stored = caller.post("/cache/set", {**call, "data": {}, "ttl": 60})
    if CONTROL.search(text) or len(text) > 256:
        caller.assert_refused(stored, 422, "invalid")
        assert_no_echo(caller, stored, text)
        return
    assert stored.status == 200
    found = caller.post("/cache/get", call).json
    assert (found["hit"], found["key"]) == (True, stored.json["key"])


@each_text
def test_cache_key(caller: Caller, text: str):
    """As a key of the caller's: refused with control characters or over its length, else used to the character."""
    size = len(text.encode())
    stored = caller.post("/cache/set", {"key": text, "data": {"of": text[:100]}, "ttl": 60})
    if CONTROL.search(text) or size > KEY_BYTES:
        caller.assert_refused(stored, 422, "invalid")
        assert_no_echo(caller, stored, text)
    else:
        assert (stored.status, stored.json["key"]) == (200, text)
        assert caller.post("/cache/get", {"key": text}).json["data"]["of"] == text[:100]
        assert caller.post("/cache/get", {"key": text[:4095] + "!"}).json["hit"] is False

    line = f"/cache/get?key={quote(text, safe='')}"
    if len(line) > LINE_BYTES - 100:
        return
    found = caller.get(line)
    if CONTROL.search(text) or size > QUERY_BYTES:
        caller.assert_refused(found, 422, "invalid")
        assert_no_echo(caller, found, text)
        return
    assert (found.json["hit"], found.json["data"]["of"]) == (True, text[:100])
    assert caller.request("DELETE", line.replace("/get", "")).json["deleted"] == 1
    assert caller.get(line).json == {"hit": False, "data": None}


@each_text
def test_query_as_it_is(caller: Caller, text: str):
    """Bytes that a URL must not have are 400; the others are read as a URL writes them, and never a 5xx."""
    raw = text.encode()
    if len(raw) > LINE_BYTES - 100 or b"\r\n" in raw:
        return
    answer = caller.exchange(head("GET", b"/cache/get?key=" + raw, "Connection: close"))
    assert answer.status in {200, 400, 422}
    assert_no_echo(caller, answer, text)
    if any(byte < 0x20 or byte > 0x7E for byte in raw):
        caller.assert_refused(answer, 400, "bad-request")


@each_text
def test_unknown_path_and_query(caller: Caller, text: str):
    """As a path or a query of no call: 404, 400 or 414, without an echo."""
    encoded = quote(text, safe="")
    for path in ("/nothing/{}", "/nothing?{}", "/nothing?a={}", "/{}/log/batch/x", "/docs/{}.js", "/problems/{}.x"):
        target = path.format(encoded + CANARY)
        answer = caller.exchange(head("GET", target, "Connection: close"))
        if len(target) > LINE_BYTES - len("GET  HTTP/1.1\r\n"):
            caller.assert_refused(answer, 414, "uri-too-long")
        else:
            caller.assert_refused(answer, 404, "not-found")
        assert_no_echo(caller, answer, text)


FIELDS = ("X-Note", "User-Agent", "Cookie", "Referer", "Accept", "Accept-Encoding", "Authorization", "X-Forwarded-For")
REFUSED_IN_FIELDS = frozenset([*range(0x09), *range(0x0A, 0x20), 0x7F])  # RFC 9110, section 5.5


@each_text
def test_header_value(caller: Caller, text: str):
    """As a field's value: 400 with control characters, 431 over its length, else of no account; never an echo."""
    raw = text.encode()
    if b"\r\n" in raw:
        return  # that is another field, or the end of the head
    for field in FIELDS:
        answer = caller.exchange(head("GET", "/healthz", field.encode() + b": " + raw, "Connection: close"))
        assert_no_echo(caller, answer, text)
        if len(raw) > FIELD_BYTES - 50:
            assert answer.status in {400, 431}
        elif REFUSED_IN_FIELDS.intersection(raw):
            caller.assert_refused(answer, 400, "bad-request")
        else:
            assert answer.status == 200


@each_text
def test_telling_header_values(caller: Caller, text: str):
    """Fields that the service reads: a wrong type, coding, host, expectation or range is refused or passed over."""
    raw = text.encode()
    if b"\r\n" in raw or len(raw) > FIELD_BYTES - 100:
        return
    body = b'{"event":"text","payload":{}}'
    length = f"Content-Length: {len(body)}"
    for fields, allowed in (
        ((b"Content-Type: " + raw,), {400, 415}),
        (("Content-Type: application/json", b"Content-Encoding: " + raw), {200, 400, 415}),
        ((b"Content-Type: application/json; charset=" + raw,), {400, 415}),
        (("Content-Type: application/json", b"Expect: " + raw), {200, 400}),
        (("Content-Type: application/json", b"X-Forwarded-Proto: " + raw), {200, 400}),
        (("Content-Type: application/json", b"X-Forwarded-Host: " + raw), {200, 400}),
    ):
        answer = caller.exchange(head("POST", "/log", *fields, length, "Connection: close") + body, "POST")
        assert answer.status in allowed, (fields, answer.status)
        assert_no_echo(caller, answer, text)
    for path, field in (
        ("/docs/index.css", b"Range"),
        ("/docs/index.css", b"If-None-Match"),
        ("/docs/index.css", b"If-Modified-Since"),
        ("/docs/index.css", b"If-Range"),
        ("/docs", b"Accept"),
        ("/metrics", b"Accept"),
    ):
        answer = caller.exchange(head("GET", path, field + b": " + raw, "Connection: close"))
        assert answer.status in {200, 206, 302, 304, 400, 416}, (path, field, answer.status)
        if path != "/metrics":  # where names of models, which are texts too, stand by right
            assert_no_echo(caller, answer, text)


@each_text
def test_host(caller: Caller, text: str):
    """As the host: 200 or a problem, and no answer is made from it."""
    raw = text.encode()
    if b"\r\n" in raw or len(raw) > FIELD_BYTES - 100:
        return
    for path in ("/healthz", "/nothing", "/docs"):
        answer = caller.exchange(
            b"GET " + path.encode() + b" HTTP/1.1\r\nHost: " + raw + b"\r\nConnection: close\r\n\r\n"
        )
        assert answer.status in {200, 302, 308, 400, 404}
        assert_no_echo(caller, answer, text)


@each_text
def test_name_of_an_unknown_field(caller: Caller, text: str):
    """As the name of a field that no call has: 422, and only printable signs of it are shown."""
    answer = caller.request("POST", "/log", json.dumps({"event": "text", "payload": {}, text + "!": CANARY}), JSON)
    if len(text) > EVENT_BYTES // 6:
        assert answer.status in {413, 422}
        return
    members = caller.assert_refused(answer, 422, "invalid")
    for shown in members["errors"]:
        assert shown.isprintable()
        assert len(shown) <= 100
    assert members["detail"].isprintable()
