"""The corners of JSON, sent to every call that takes events: taken exactly, or refused without a trace."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from tests.contract.json_cases import BEYOND_PARSERS, CASES, MAX_DEPTH, JsonCase
from tests.contract.wire import JSON, NDJSON, Answer, Caller

GOOD = b'{"event":"good","payload":{}}'
DEPTH_OF_EVENT = 1  # what an event adds around its payload
DEPTH_OF_MEMBER = 2  # and around a member of its payload

each_case = pytest.mark.parametrize("case", CASES, ids=[f"{case.kind}: {case.name}" for case in CASES])
each_depth = pytest.mark.parametrize("raw", BEYOND_PARSERS.values(), ids=BEYOND_PARSERS)


def event_of(case: JsonCase) -> bytes:
    """Return an event whose payload the text is, where it is an object, or else a member of it."""
    return event_around(case.raw, whole=case.is_object)


def event_around(raw: bytes, *, whole: bool) -> bytes:
    payload = raw if whole else b'{"v":' + raw + b"}"
    return b'{"event":"json_corner","payload":' + payload + b"}"


def depth(value: Any) -> int:
    """Return how many levels of objects and arrays a value has."""
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


def is_taken(case: JsonCase) -> bool:
    """Tell whether the text is taken as an event, which adds levels of its own."""
    if case.fault:
        return False
    return depth(json.loads(case.raw)) + (DEPTH_OF_EVENT if case.is_object else DEPTH_OF_MEMBER) <= MAX_DEPTH


def same(one: Any, other: Any) -> bool:
    """Compare values with their types, and zeros with their signs."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    return bool(one == other)


def assert_alone_refused(caller: Caller, answer: Answer, wanted: str = "/problems/not-json") -> None:
    """Check that of three events the second is refused, and the others are not."""
    assert answer.status == 200, answer.body[:300]
    caller.assert_silent(answer)
    (row,) = answer.json["rejected"]
    assert (row["index"], row["type"]) == (1, wanted)
    assert [event_id is None for event_id in answer.json["event_ids"]] == [False, True, False]


def assert_all_taken(answer: Answer) -> None:
    assert answer.status == 200, answer.body[:300]
    assert (answer.json["accepted"], answer.json["rejected"]) == (3, [])


def test_there_are_enough_cases():
    """The table has every kind, and no text twice within one."""
    assert len(CASES) >= 160
    assert len({case.raw for case in CASES}) == len(CASES)


@each_case
def test_redact(caller: Caller, case: JsonCase):
    """By itself: the same value comes back, or 400 does."""
    answer = caller.post("/redact", case.raw)
    if case.fault:
        caller.assert_refused(answer, 400, "not-json")
    else:
        assert answer.status == 200, answer.body[:300]
        assert answer.json["findings"] == []
        assert same(answer.json["redacted"], json.loads(case.raw))


@each_case
def test_log(caller: Caller, case: JsonCase):
    """In an event: it is taken, or 400."""
    answer = caller.post("/log", event_of(case))
    if is_taken(case):
        assert answer.status == 200, answer.body[:300]
    else:
        caller.assert_refused(answer, 400, "not-json")


@each_case
def test_batch_as_array(caller: Caller, case: JsonCase):
    """In an event of an array: a faulty value is its own event's fault, a broken text is everybody's."""
    body = b"[" + b",".join([GOOD, event_of(case), GOOD]) + b"]"
    answer = caller.post("/log/batch", body)
    if is_taken(case):
        assert_all_taken(answer)
    elif case.fault == "text":
        caller.assert_refused(answer, 400, "not-json")
    else:
        assert_alone_refused(caller, answer)


@each_case
def test_batch_as_member(caller: Caller, case: JsonCase):
    """The same in {"events": […]}."""
    body = b'{"events":[' + b",".join([GOOD, event_of(case), GOOD]) + b"]}"
    answer = caller.post("/log/batch", body)
    if is_taken(case):
        assert_all_taken(answer)
    elif case.fault == "text":
        caller.assert_refused(answer, 400, "not-json")
    else:
        assert_alone_refused(caller, answer)


ONE_LINE = [case for case in CASES if b"\n" not in case.raw]


@pytest.mark.parametrize("case", ONE_LINE, ids=[f"{case.kind}: {case.name}" for case in ONE_LINE])
def test_batch_as_lines(caller: Caller, case: JsonCase):
    """On a line of NDJSON: whatever is wrong with it, the other lines are taken."""
    answer = caller.request("POST", "/log/batch", b"\n".join([GOOD, event_of(case), GOOD]), NDJSON)
    if is_taken(case):
        assert_all_taken(answer)
    else:
        assert_alone_refused(caller, answer)


CACHEABLE = [case for case in CASES if case.is_object and not case.fault and len(case.raw) < 100_000]


@pytest.mark.parametrize("case", CACHEABLE, ids=[f"{case.kind}: {case.name}" for case in CACHEABLE])
def test_cache(caller: Caller, case: JsonCase):
    """As what is cached: the very value comes back."""
    value = json.loads(case.raw)
    answer = caller.post("/cache/set", b'{"key":"json","ttl":60,"data":' + case.raw + b"}")
    if depth(value) >= MAX_DEPTH:
        caller.assert_refused(answer, 400, "not-json")
        return
    assert answer.status == 200
    data = caller.get("/cache/get?key=json").json["data"]
    for added in ("timestamp", "ttl_remaining"):
        del data[added]
    assert same(data, value)


@each_case
def test_cache_calls_refuse_alike(caller: Caller, case: JsonCase):
    """Calls that take no such field say 400 where it is no JSON, and 422 where it is."""
    for path in ("/cache/set", "/cache/get", "/cache/key"):
        answer = caller.post(path, b'{"extra":' + case.raw + b"}")
        if case.fault or depth(json.loads(case.raw)) >= MAX_DEPTH:
            caller.assert_refused(answer, 400, "not-json")
        else:
            caller.assert_refused(answer, 422, "invalid")


def test_taken_values_arrive(caller: Caller):
    """Every payload that is taken stands in the sink exactly as it was sent."""
    sent = [case for case in CASES if is_taken(case) and case.is_object and len(case.raw) < 200_000]
    answer = caller.post("/log/batch", b"[" + b",".join(map(event_of, sent)) + b"]")
    assert answer.json["rejected"] == []
    event_ids = answer.json["event_ids"]
    lines = caller.lines(event_ids)
    wrong = [
        case.name
        for case, event_id in zip(sent, event_ids, strict=True)
        if not same(lines[event_id]["payload"], json.loads(case.raw))
    ]
    assert wrong == []


def test_an_event_of_32_levels_in_a_batch(caller: Caller):
    """Levels are counted by event: what a batch puts around it does not count."""
    deepest, too_deep = (event_around(b"[" * n + b"]" * n, whole=False) for n in (30, 31))
    for body in (b"[%s,%s,%s]", b'{"events":[%s,%s,%s]}'):
        assert_all_taken(caller.post("/log/batch", body % (GOOD, deepest, GOOD)))
        assert_alone_refused(caller, caller.post("/log/batch", body % (GOOD, too_deep, GOOD)))
    lines = b"%s\n%s\n%s"
    assert_all_taken(caller.request("POST", "/log/batch", lines % (GOOD, deepest, GOOD), NDJSON))
    assert_alone_refused(caller, caller.request("POST", "/log/batch", lines % (GOOD, too_deep, GOOD), NDJSON))
    assert caller.post("/log", deepest).status == 200
    caller.assert_refused(caller.post("/log", too_deep), 400, "not-json")


@each_depth
def test_deeper_than_parsers_go(caller: Caller, raw: bytes):
    """Refused as too deep by every call, and on a line of NDJSON alone."""
    caller.assert_refused(caller.post("/redact", raw), 400, "not-json")
    event = event_around(raw, whole=raw.startswith(b"{"))
    caller.assert_refused(caller.post("/log", event), 400, "not-json")
    assert_alone_refused(caller, caller.request("POST", "/log/batch", b"\n".join([GOOD, event, GOOD]), NDJSON))


@each_depth
def test_deeper_than_parsers_go_in_an_array(caller: Caller, raw: bytes):
    """In an array either the event alone or the whole batch is refused; nothing is kept of a refused batch."""
    event = event_around(raw, whole=raw.startswith(b"{"))
    first = b'{"event":"good","event_id":"beyond-%d","payload":{}}' % len(raw)
    answer = caller.request("POST", "/log/batch", b"[" + b",".join([first, event, GOOD]) + b"]", JSON)
    if answer.status == 200:
        assert_alone_refused(caller, answer)
        return
    caller.assert_refused(answer, 400, "not-json")
    sample = ("telemetry_cache_events_total", frozenset({("event", "good"), ("outcome", "duplicate")}))
    before = caller.service.metrics().get(sample, 0)
    assert caller.post("/log", first).status == 200
    assert caller.service.metrics().get(sample, 0) == before


def test_a_batch_of_5_mib_of_brackets(caller: Caller):
    """A whole batch of opening brackets is refused in time, in both forms."""
    body = b"[" * (5 * 1024 * 1024)
    caller.assert_refused(caller.post("/log/batch", body), 400, "not-json")
    answer = caller.request("POST", "/log/batch", body, NDJSON)
    assert answer.status == 422
    assert answer.json["rejected"][0]["type"] == "/problems/too-large"
