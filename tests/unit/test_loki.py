"""Loki's push protocol: labels, the push body, and what each answer means."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.events import Redacted
from app.core.loki import LABEL_VALUE, MAX_RETRY_AFTER_S, Streams, classify, encode, label_value
from app.core.verdicts import Delivered, Refused, Retry, TooLarge
from tests.standins.loki import NS_PER_S, Limits, PushedStream, PushRules

if TYPE_CHECKING:
    from app.core.verdicts import Verdict

NOW_NS = 1_790_000_000 * NS_PER_S
STREAM = {"service_name": "chat", "event": "tool_call"}


def entry(number: int, line: bytes = b'{"a":1}', stream: str = "s") -> Redacted:
    """An event of a stream, with its number as nanosecond."""
    return Redacted(
        labels=(("service_name", stream), ("event", "tool_call")),
        timestamp_ns=NOW_NS + number,
        line=line,
        metadata=json.dumps({"event_id": f"evt_{number}"}).encode(),
    )


# The push body


def test_entries_are_grouped_by_stream_in_order() -> None:
    """Streams in order of appearance, entries in order within each; a nanosecond is a string."""
    batch = [entry(1), entry(2, stream="t"), entry(3, b'{"b":"\xc3\xa9\\n"}'), entry(4, stream="t")]
    assert json.loads(encode(batch)) == {
        "streams": [
            {
                "stream": {"service_name": "s", "event": "tool_call"},
                "values": [[f"{NOW_NS + 1}", '{"a":1}'], [f"{NOW_NS + 3}", '{"b":"é\\n"}']],
            },
            {
                "stream": {"service_name": "t", "event": "tool_call"},
                "values": [[f"{NOW_NS + 2}", '{"a":1}'], [f"{NOW_NS + 4}", '{"a":1}']],
            },
        ]
    }


def test_an_event_is_written_alike_in_every_batch() -> None:
    """Stream, nanosecond and line are what Loki knows a duplicate by, so halving must not change them."""
    batch = [entry(number, json.dumps({"n": number, "s": "é\u2028\U0001f600"}).encode()) for number in range(6)]
    whole = json.loads(encode(batch))["streams"][0]["values"]
    parts = [json.loads(encode(batch[start : start + 2]))["streams"][0]["values"] for start in range(0, 6, 2)]
    assert [value for part in parts for value in part] == whole


def test_labels_that_differ_in_one_value_are_two_streams() -> None:
    """Loki's streams are told apart by all their labels."""
    streams = json.loads(encode([entry(1, stream="a"), entry(2, stream="b"), entry(3, stream="a")]))["streams"]
    assert [(stream["stream"]["service_name"], len(stream["values"])) for stream in streams] == [("a", 2), ("b", 1)]


# Labels


def streams_of(slot: int, *, env: str, max_streams: int) -> Streams:
    streams = Streams(env=env, max_streams=max_streams)
    streams.use_slot(slot)
    return streams


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("pipelines-gateway", "pipelines-gateway"),
        ("a", "a"),
        ("A.b:c_d-9", "A.b:c_d-9"),
        ("x" * 64, "x" * 64),
        ("x" * 65, "other"),
        ("", "other"),
        ("two words", "other"),
        ("line\n", "other"),
        ("é", "other"),
        ("\u0661", "other"),
        ('a"} or {x="', "other"),
        ("[REDACTED_EMAIL]", "other"),
    ],
)
def test_a_callers_word_becomes_a_labels_value_only_if_it_is_fit(text: str, value: str) -> None:
    """`[a-zA-Z0-9_.:-]{1,64}`, else `other`."""
    assert label_value(text) == value


def test_the_labels_of_an_event() -> None:
    """Fixed names in a fixed order; a caller's strings are only ever values."""
    streams = streams_of(3, env="prod", max_streams=10)
    labels = streams.labels(service="chat", event="tool_call", tenant="default")
    assert labels == (
        ("service_name", "chat"),
        ("event", "tool_call"),
        ("env", "prod"),
        ("tenant", "default"),
        ("worker", "3"),
    )
    assert streams.labels(service="chat", event="tool_call", tenant="default") is labels


@pytest.mark.parametrize(
    ("service", "wanted"), [(None, "unknown_service"), ("", "other"), ("no fit", "other"), ("fit", "fit")]
)
def test_a_missing_service_is_not_an_unfit_one(service: str | None, wanted: str) -> None:
    """Loki's own word where none was sent, `other` where it was no name."""
    streams = streams_of(0, env="e", max_streams=10)
    assert dict(streams.labels(service=service, event="e", tenant="t"))["service_name"] == wanted


def test_a_tenants_streams_are_his_own() -> None:
    """The same service and event of another tenant have other labels, whoever came first."""
    streams = streams_of(0, env="e", max_streams=10)
    for tenant in ("default", "a", "b", "default", "a"):
        assert dict(streams.labels(service="s", event="e", tenant=tenant))["tenant"] == tenant


def test_past_the_most_streams_names_become_other() -> None:
    """Known label sets keep their names; new ones share one stream a tenant."""
    streams = streams_of(0, env="e", max_streams=2)

    def name(service: str, event: str, tenant: str = "t") -> tuple[str, str, str]:
        labels = dict(streams.labels(service=service, event=event, tenant=tenant))
        return labels["service_name"], labels["event"], labels["tenant"]

    assert name("a", "x") == ("a", "x", "t")
    assert name("a", "y") == ("a", "y", "t")
    assert name("b", "x") == ("other", "other", "t")
    assert name("a", "z", "u") == ("other", "other", "u")
    assert name("a", "x") == ("a", "x", "t")
    assert name("a", "y") == ("a", "y", "t")


@given(st.lists(st.tuples(st.none() | st.text(max_size=70), st.text(max_size=70)), max_size=60))
def test_no_callers_make_more_streams_than_allowed(events: list[tuple[str | None, str]]) -> None:
    """Five label sets and the one of the others, and every value is fit."""
    streams = streams_of(0, env="e", max_streams=5)
    made = [streams.labels(service=service, event=event, tenant="t") for service, event in events]
    assert len(set(made)) <= 6
    assert all(LABEL_VALUE.fullmatch(value) for labels in made for _, value in labels)


# Answers


TOO_OLD = (
    'entry for stream \'{event="e", service_name="unknown_service"}\' has timestamp too old: 2026-08-01T00:00:00Z, '
    "oldest acceptable timestamp is: 2026-08-02T00:00:00Z"
)
TOO_NEW = "entry for stream '{event=\"e\"}' has timestamp too new: 2026-09-21T15:13:20Z"
TOO_LONG = (
    "entry size '262144' bytes exceeded for stream '{event=\"e\"}' while adding an entry with length '300000' bytes"
)
TOO_FAR_BEHIND = (
    "entry with timestamp 2026-08-10 09:00:00 +0000 UTC ignored, reason: 'entry too far behind, entry timestamp is: "
    "2026-08-10T09:00:00Z, oldest acceptable timestamp is: 2026-08-10T11:00:00Z',\n"
    "user 'fake', total ignored: 1 out of 1 for stream: {event=\"e\"}"
)
OUT_OF_ORDER = (
    "entry with timestamp 2026-08-10 09:00:00.5 +0000 UTC ignored, reason: 'entry out of order' for stream: "
    '{event="e"},\ntotal ignored: 1 out of 2'
)
PARSE_ERROR = (
    "loghttp.PushRequest.Streams: []loghttp.LogProtoStream: unmarshalerDecoder: Value is string, but can't find "
    "closing '\"' symbol, error found in #10 byte of ...|{0}|..., bigger context ...|{0}|..."
)

ANSWERS: list[tuple[int, dict[str, str], str, Verdict | str]] = [
    (204, {}, "", Delivered()),
    (200, {}, "", Delivered()),
    (200, {}, '{"any":"body"}', Delivered()),
    (413, {}, "request body too large", TooLarge()),
    (400, {}, TOO_OLD, "too_old"),
    (400, {}, f"{TOO_OLD}\n", "too_old"),
    (400, {}, f"7 errors like: {TOO_OLD}; 2 errors like: {TOO_NEW}", "too_old"),
    (400, {}, f"1 error like: {TOO_NEW}", "too_new"),
    (400, {}, TOO_NEW, "too_new"),
    (400, {}, f"max {TOO_LONG}", "line_too_long"),
    (400, {}, f"Max {TOO_LONG}", "line_too_long"),
    (400, {}, TOO_FAR_BEHIND, "too_far_behind"),
    (400, {}, OUT_OF_ORDER, "too_far_behind"),
    (400, {}, "entry for stream '{event=\"e\"}' has 16 label names; limit 15", "too_many_labels"),
    (400, {}, "stream '{event=\"e\"}' has label name too long: 'xxx'", "label_name_too_long"),
    (400, {}, "stream '{event=\"e\"}' has label value too long: 'xxx'", "label_value_too_long"),
    (400, {}, "stream '{event=\"e\"}' has duplicate label name: 'event'", "duplicate_label"),
    (
        400,
        {},
        "stream '{a=\"b\"}' has structured metadata too large: '70000' bytes, limit: '65536' bytes.",
        "metadata_too_large",
    ),
    (400, {}, "stream '{a=\"b\"}' has too many structured metadata labels: '200', limit: '128'.", "metadata_too_many"),
    (400, {}, "", Retry("bad_request", of_stream=True)),
    (400, {}, "no such tenant", Retry("bad_request", of_stream=True)),
    (400, {}, "couldn't parse labels: 1:2: parse error", Retry("bad_request", of_stream=True)),
    (400, {}, PARSE_ERROR.replace("{0}", '"x"'), Retry("bad_request", of_stream=True)),
    (400, {}, PARSE_ERROR.replace("{0}", TOO_OLD), Retry("bad_request", of_stream=True)),
    (400, {}, PARSE_ERROR.replace("{0}", f"max {TOO_LONG}"), Retry("bad_request", of_stream=True)),
    (400, {}, "<html>400 The plain HTTP request was sent to HTTPS port</html>", Retry("bad_request", of_stream=True)),
    (400, {"Retry-After": "9"}, TOO_OLD, "too_old"),
    (401, {}, "no org id", Retry("unauthorized")),
    (403, {}, "", Retry("forbidden")),
    (404, {}, "404 page not found", Retry("not_found")),
    (408, {}, "", Retry("timeout")),
    (408, {"Retry-After": "3"}, "", Retry("timeout", 3.0)),
    (405, {}, "", Retry("status_4xx")),
    (422, {}, "error at least one valid stream is required for ingestion", Retry("status_4xx")),
    (429, {}, "Ingestion rate limit exceeded", Retry("rate_limited", of_stream=True)),
    (429, {"Retry-After": "7"}, "", Retry("rate_limited", 7.0)),
    (429, {"Retry-After": "0"}, "", Retry("rate_limited", 0.0)),
    (429, {"Retry-After": "301"}, "", Retry("rate_limited", MAX_RETRY_AFTER_S)),
    (429, {"Retry-After": "9" * 400}, "", Retry("rate_limited", MAX_RETRY_AFTER_S)),
    (429, {"Retry-After": "-1"}, "", Retry("rate_limited", of_stream=True)),
    (429, {"Retry-After": "1.5"}, "", Retry("rate_limited", of_stream=True)),
    (429, {"Retry-After": "soon"}, "", Retry("rate_limited", of_stream=True)),
    (429, {"Retry-After": "\u0667"}, "", Retry("rate_limited", of_stream=True)),
    (429, {"Retry-After": ""}, "", Retry("rate_limited", of_stream=True)),
    (429, {}, TOO_OLD, Retry("rate_limited", of_stream=True)),
    (500, {}, "", Retry("status_5xx")),
    (500, {}, TOO_OLD, Retry("status_5xx")),
    (502, {}, "<html>", Retry("status_5xx")),
    (503, {"Retry-After": "120"}, "", Retry("status_5xx", 120.0)),
    (504, {}, "", Retry("status_5xx")),
    (301, {"Location": "/elsewhere"}, "", Retry("status_3xx")),
    (302, {}, "", Retry("status_3xx")),
    (202, {}, "", Retry("status_2xx")),
    (206, {}, "", Retry("status_2xx")),
]


@pytest.mark.parametrize(("status", "headers", "body", "wanted"), ANSWERS)
def test_what_an_answer_means(status: int, headers: dict[str, str], body: str, wanted: Verdict | str) -> None:
    """Delivered, split, one entry's fault, or keep and try again: the table of delivery.md."""
    assert classify(status, headers, body) == (Refused(wanted, body) if isinstance(wanted, str) else wanted)


OLD_NS, AHEAD_NS, BEHIND_NS = -8 * 86_400 * NS_PER_S, 3_600 * NS_PER_S, -2 * 3_600 * NS_PER_S
MANY = {f"l{number}": "x" for number in range(16)}

# One event that Loki refuses: (reason, labels, nanoseconds from now, line, metadata, limits)
REFUSED_EVENTS: list[tuple[str, dict[str, str], int, str, dict[str, str], Limits]] = [
    ("too_old", STREAM, OLD_NS, "{}", {}, Limits()),
    ("too_new", STREAM, AHEAD_NS, "{}", {}, Limits()),
    ("line_too_long", STREAM, 0, "x" * 300_000, {}, Limits()),
    ("too_many_labels", MANY, 0, "{}", {}, Limits()),
    ("label_name_too_long", STREAM, 0, "{}", {}, Limits(max_label_name_bytes=4)),
    ("label_value_too_long", STREAM, 0, "{}", {}, Limits(max_label_value_bytes=3)),
    ("too_far_behind", STREAM, BEHIND_NS, "{}", {}, Limits()),
    ("metadata_too_large", STREAM, 0, "{}", {"t": "x" * 99}, Limits(max_metadata_bytes=9)),
    ("metadata_too_many", STREAM, 0, "{}", {"t": "x", "u": "y"}, Limits(max_metadata_entries=1)),
]


@pytest.mark.parametrize("version", ["2.8", "2.9", "3.0"])
@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("event", REFUSED_EVENTS, ids=[event[0] for event in REFUSED_EVENTS])
def test_what_the_stand_in_refuses_is_known(
    event: tuple[str, dict[str, str], int, str, dict[str, str], Limits], size: int, version: str
) -> None:
    """Each refusal of single entries, in the words of each version, alone and beside a like one."""
    reason, labels, offset_ns, line, metadata, limits = event
    rules = PushRules(version, limits, allow_structured_metadata=True)
    rules.push("fake", [PushedStream(labels, [(NOW_NS, "newest", {})])], NOW_NS)
    values = [(NOW_NS + offset_ns + number, line, metadata) for number in range(size)]
    reply = rules.push("fake", [PushedStream(labels, values)], NOW_NS)
    assert classify(reply.status, reply.headers, f"{reply.text}\n") == Refused(reason, f"{reply.text}\n")


@given(st.integers(100, 999), st.dictionaries(st.just("Retry-After"), st.text(max_size=8)), st.text(max_size=40))
def test_no_answer_is_beyond_it(status: int, headers: dict[str, str], body: str) -> None:
    """Only 200 and 204 let a batch go, and every wait is bounded."""
    verdict = classify(status, headers, body)
    assert isinstance(verdict, Delivered) == (status in {200, 204})
    if isinstance(verdict, Retry):
        assert verdict.after_s is None or 0 <= verdict.after_s <= MAX_RETRY_AFTER_S
    assert len(verdict.result) < 20
