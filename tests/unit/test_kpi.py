"""KPIs: what each shipped row makes of an event, which values are unusable, and what a bad row says."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.adapters.prometheus import PrometheusTelemetry
from app.core.events import Observation
from app.core.kpi import MAX_VALUE, Observer
from app.core.kpi_table import KpiError, load_kpis
from app.core.metrics import COUNTERS
from app.settings import ROOT

SHIPPED = (ROOT / "config" / "kpis.toml").read_text(encoding="utf-8")
KPIS = load_kpis(SHIPPED, COUNTERS)

TTFB = "telemetry_cache_ttfb_seconds"
CACHED = "telemetry_cache_cached_ttfb_seconds"
TOKENS = "telemetry_cache_generated_tokens_total"
SECONDS = "telemetry_cache_generation_seconds_total"
REPAIRS = "telemetry_cache_repair_rate_total"
DRIFT = "telemetry_cache_drift_incidents_total"
USAGE = "gen_ai_client_token_usage"
FIRST_TOKEN = "gen_ai_server_time_to_first_token_seconds"
PER_TOKEN = "gen_ai_server_time_per_output_token_seconds"


def seen(payload: dict[str, Any], *metrics: str, event: str = "response_generation") -> dict[str, float]:
    """The values of some metrics that an event gives."""
    found = Observer(KPIS)(event, payload).observations
    return {one.metric: pytest.approx(one.value) for one in found if one.metric in metrics}


# The five that the specification names


HITS: list[dict[str, Any]] = [
    {"cache_hit": True},
    {"response": {"cache_hit": True}},
    {"metadata": {"cache_hit": True}},
]


@pytest.mark.parametrize(
    ("payload", "wanted"),
    [
        ({"response": {"ttfb_ms": 120, "latency_ms": 900}}, {TTFB: 0.12}),
        ({"ttfb_ms": 120, "latency_ms": 900}, {TTFB: 0.12}),
        ({"response": {"ttfb_ms": 120}, "ttfb_ms": 999}, {TTFB: 0.12}),
        ({"response": {"ttfb_ms": 0}}, {TTFB: 0.0}),
        ({"response": {"latency_ms": 250}}, {TTFB: 0.25}),
        ({"latency_ms": 250.5}, {TTFB: 0.2505}),
        ({"latency_ms": 250, "stream": False}, {TTFB: 0.25}),
        ({"latency_ms": 250, "stream": True}, {}),
        ({"response": {"latency_ms": 250}, "args": {"stream": True}}, {}),
        ({"response": {"latency_ms": 250, "stream": True}}, {}),
        ({"response": {"ttfb_ms": 120, "stream": True}}, {TTFB: 0.12}),
        ({"response": {"text": "no figures"}}, {}),
        ({"response": "no object", "latency_ms": None}, {}),
        ({}, {}),
        *(({**hit, "ttfb_ms": 4}, {CACHED: 0.004}) for hit in HITS),
        *(({**hit, "latency_ms": 7}, {CACHED: 0.007}) for hit in HITS),
        ({"cache_hit": False, "ttfb_ms": 4}, {TTFB: 0.004}),
        ({"cache_hit": "true", "ttfb_ms": 4}, {TTFB: 0.004}),
    ],
)
def test_time_to_first_byte(payload: dict[str, Any], wanted: dict[str, float]) -> None:
    """Of a stream its own figure, else the latency, and a cache hit's apart from a real one."""
    assert seen(payload, TTFB, CACHED) == wanted


@pytest.mark.parametrize(
    ("payload", "tokens", "seconds"),
    [
        ({"response": {"tokens": 150, "latency_ms": 3000}}, 150, 3.0),
        ({"tokens": 150, "latency_ms": 3000}, 150, 3.0),
        ({"tokens": 150, "latency_ms": 3000, "ttfb_ms": 500}, 150, 2.5),
        ({"response": {"tokens": 150, "latency_ms": 3000}, "ttfb_ms": 500}, 150, 2.5),
        ({"tokens": 150, "latency_ms": 3000, "ttfb_ms": 3000}, 150, 3.0),
        ({"tokens": 150, "latency_ms": 3000, "ttfb_ms": None}, 150, 3.0),
        ({"tokens": 0, "latency_ms": 3000}, 0, 3.0),
        ({"tokens": 150}, None, None),
        ({"latency_ms": 3000}, None, None),
        ({"tokens": None, "latency_ms": 3000}, None, None),
        *(({**hit, "tokens": 150, "latency_ms": 3}, None, None) for hit in HITS),
    ],
)
def test_tokens_and_generation_seconds(payload: dict[str, Any], tokens: float | None, seconds: float | None) -> None:
    """Generation time is latency less time to first byte; an answer that was not streamed may report both alike."""
    assert seen(payload, TOKENS, SECONDS) == ({} if tokens is None else {TOKENS: tokens, SECONDS: seconds})


figures = st.none() | st.booleans() | st.text(max_size=3) | st.lists(st.integers(), max_size=1)
figures |= st.sampled_from([0, 1, 150, 250, 3000, 0.5, -1, -0.5, 1e12, 1e13, 1e15, 1e16, 1e300, 2**63 - 1])
fields = st.dictionaries(st.sampled_from(["tokens", "latency_ms", "ttfb_ms"]), figures)


@given(fields, fields)
def test_tokens_are_counted_with_their_seconds_or_not_at_all(top: dict[str, Any], response: dict[str, Any]) -> None:
    """Tokens per second is a quotient of the two sums: one without the other makes it wrong for good."""
    found = {one.metric for one in Observer(KPIS)("e", {**top, "response": response}).observations}
    assert (TOKENS in found) == (SECONDS in found)


@pytest.mark.parametrize(
    "payload",
    [
        {"tokens": 150, "latency_ms": 250, "ttfb_ms": 500},
        {"tokens": 150, "latency_ms": -250},
        {"tokens": 150, "latency_ms": 1e300},
        {"tokens": 150, "latency_ms": 250, "ttfb_ms": "fast"},
        {"tokens": -1, "latency_ms": 250},
        {"tokens": 1e300, "latency_ms": 250},
        {"tokens": "many", "latency_ms": 250},
        {"tokens": 150, "latency_ms": "long"},
    ],
)
def test_neither_tokens_nor_seconds_where_one_of_them_is_nonsense(payload: dict[str, Any]) -> None:
    """A first byte after the last, a negative or a huge figure, or a text spoils the pair and is reported."""
    result = Observer(KPIS)("e", payload)
    assert {one.metric for one in result.observations} & {TOKENS, SECONDS} == set()
    assert set(result.unusable) & {TOKENS, SECONDS}


@pytest.mark.parametrize(
    ("metric", "field", "events"),
    [(REPAIRS, "repairs", ["content_repair"]), (DRIFT, "drift_incidents", ["policy_violation", "policy_drift"])],
)
def test_repairs_and_drift_come_from_a_number_or_an_event(metric: str, field: str, events: list[str]) -> None:
    """The number counts where there is one, and then the event is not counted once more."""
    other = "response_generation"
    assert seen({field: 3}, metric, event=other) == {metric: 3}
    assert seen({"response": {field: 2}}, metric, event=other) == {metric: 2}
    assert seen({field: 0}, metric, event=other) == {metric: 0}
    assert seen({}, metric, event=other) == {}
    for event in events:
        assert seen({}, metric, event=event) == {metric: 1}
        assert seen({field: 4}, metric, event=event) == {metric: 4}
    assert seen({}, metric, event=events[0].upper()) == {}


def test_the_quotients_divide_counters() -> None:
    """Tokens per second over the window, the hit rate over the service's life."""
    rates = {kpi.name: (kpi.numerator, kpi.denominator, kpi.window) for kpi in KPIS if kpi.numerator}
    hits, misses = "telemetry_cache_cache_hits_total", "telemetry_cache_cache_misses_total"
    assert rates == {
        "telemetry_cache_tokens_per_second": ((TOKENS,), (SECONDS,), True),
        "telemetry_cache_cache_hit_rate": ((hits,), (hits, misses), False),
    }


def test_the_specifications_buckets_are_there() -> None:
    """0.1, 0.5, 1, 2 and 5 seconds: more edges may be added, none removed."""
    (kpi,) = [kpi for kpi in KPIS if kpi.name == TTFB]
    assert set(kpi.buckets) >= {0.1, 0.5, 1.0, 2.0, 5.0}


# The OpenTelemetry conventions


@pytest.mark.parametrize(
    ("payload", "wanted"),
    [
        ({"response": {"tokens": 150}, "args": {"model": "llama2"}}, [(USAGE, 150, ("output", "llama2"))]),
        ({"tokens": 150, "model": "a/b-7B:q4 @x+y"}, [(USAGE, 150, ("output", "a/b-7B:q4 @x+y"))]),
        ({"tokens": 150}, [(USAGE, 150, ("output", "unknown"))]),
        ({"tokens": 150, "model": None}, [(USAGE, 150, ("output", "unknown"))]),
        ({"tokens": 150, "model": 7}, [(USAGE, 150, ("output", "other"))]),
        ({"tokens": 150, "model": ""}, [(USAGE, 150, ("output", "other"))]),
        ({"tokens": 150, "model": "x" * 65}, [(USAGE, 150, ("output", "other"))]),
        ({"tokens": 150, "model": "a\nb"}, [(USAGE, 150, ("output", "other"))]),
        ({"tokens": 150, "model": "[REDACTED_EMAIL]"}, [(USAGE, 150, ("output", "other"))]),
        (
            {"response": {"usage": {"completion_tokens": 7, "prompt_tokens": 9}}, "model": "m"},
            [(USAGE, 7, ("output", "m")), (USAGE, 9, ("input", "m"))],
        ),
        ({"prompt_tokens": 9, "model": "m"}, [(USAGE, 9, ("input", "m"))]),
        ({"ttfb_ms": 120, "model": "m"}, [(FIRST_TOKEN, 0.12, ("m",))]),
        ({"ttfb_ms": 120, "model": "m", "cache_hit": True}, []),
        ({"latency_ms": 900, "model": "m"}, []),
        (
            {"tokens": 11, "latency_ms": 1100, "ttfb_ms": 100, "model": "m"},
            [(USAGE, 11, ("output", "m")), (FIRST_TOKEN, 0.1, ("m",)), (PER_TOKEN, 0.1, ("m",))],
        ),
        (
            {"tokens": 1, "latency_ms": 1100, "ttfb_ms": 100},
            [(USAGE, 1, ("output", "unknown")), (FIRST_TOKEN, 0.1, ("unknown",))],
        ),
        ({"tokens": 11, "latency_ms": 1100}, [(USAGE, 11, ("output", "unknown"))]),
    ],
)
def test_the_generative_ai_metrics(payload: dict[str, Any], wanted: list[tuple[str, float, tuple[str, ...]]]) -> None:
    """Token usage by type, time to first token, time per output token after the first; by model."""
    found = Observer(KPIS)("e", payload).observations
    mine = [(one.metric, one.value, one.labels) for one in found if one.metric.startswith("gen_ai")]
    assert mine == [(metric, pytest.approx(value), labels) for metric, value, labels in wanted]


# Values


UNUSABLE = [
    math.nan,
    math.inf,
    -math.inf,
    -1,
    -1e-9,
    1e300,
    MAX_VALUE * 1.001,
    True,
    False,
    "5",
    "",
    [],
    [5],
    {},
    {"ms": 5},
]


@pytest.mark.parametrize("value", UNUSABLE, ids=repr)
def test_a_value_that_is_no_amount_is_reported_and_not_observed(value: object) -> None:
    """One such value would spoil a sum for good."""
    result = Observer(KPIS)("content_repair", {"repairs": value})
    assert [one for one in result.observations if one.metric == REPAIRS] == []
    assert REPAIRS in result.unusable


@pytest.mark.parametrize("value", [0, 0.0, 1, 0.25, MAX_VALUE])
def test_a_value_within_bounds_is_observed(value: float) -> None:
    """From 0 to 10^12, both included."""
    result = Observer(KPIS)("e", {"repairs": value})
    assert Observation(REPAIRS, value) in result.observations
    assert result.unusable == ()


def test_a_bad_value_of_one_source_does_not_hide_another() -> None:
    """With `every`, each source that finds a value gives an observation."""
    result = Observer(KPIS)("e", {"tokens": "many", "prompt_tokens": 9, "model": "m"})
    assert Observation(USAGE, 9, ("input", "m")) in result.observations
    assert USAGE in result.unusable


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=5),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "response",
                    "args",
                    "metadata",
                    "usage",
                    "tokens",
                    "latency_ms",
                    "ttfb_ms",
                    "model",
                    "cache_hit",
                    "repairs",
                ]
            ),
            below,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_no_payload_breaks_it_and_every_observation_is_an_amount(value: Any) -> None:
    """Whatever callers send, values are finite and bounded, and label values are short texts."""
    payload = value if isinstance(value, dict) else {"response": value, "tokens": value, "model": value}
    declared = {kpi.name: kpi.labels for kpi in KPIS}
    for one in Observer(KPIS)("e", payload).observations:
        assert 0 <= one.value <= MAX_VALUE
        assert len(one.labels) == len(declared[one.metric])
        assert all(0 < len(label) <= 64 for label in one.labels)


# Rows of a user's own


ROW = """
[[kpi]]
name = "my_metric"
type = "histogram"
unit = "seconds"
help = "Mine"
buckets = [1, 2]
[[kpi.source]]
path = "took_ms"
scale = 0.001
"""


def own(text: str, payload: dict[str, Any], event: str = "e") -> list[tuple[float, tuple[str, ...]]]:
    return [(one.value, one.labels) for one in Observer(load_kpis(text, ()))(event, payload).observations]


def test_a_users_own_row_works_beside_the_shipped_ones() -> None:
    """One more row, with no code."""
    kpis = load_kpis(SHIPPED + ROW, COUNTERS)
    assert Observation("my_metric", 1.5) in Observer(kpis)("e", {"took_ms": 1500}).observations


LABELLED = """
[[kpi]]
name = "my_total"
type = "counter"
unit = "calls"
help = "Mine"
labels = ["kind", "by"]
[[kpi.source]]
events = ["tool_call"]
count = 1
label.kind = { path = ["kind", "args.kind"], allowed = ["a", "b"] }
label.by = { value = "tool" }
[[kpi.source]]
events = ["user_call"]
path = "calls"
label.kind = { path = "kind", cap = 2 }
label.by = { value = "user" }
"""


@pytest.mark.parametrize(
    ("event", "payload", "wanted"),
    [
        ("tool_call", {"kind": "a"}, [(1.0, ("a", "tool"))]),
        ("tool_call", {"args": {"kind": "b"}}, [(1.0, ("b", "tool"))]),
        ("tool_call", {"kind": "c"}, [(1.0, ("other", "tool"))]),
        ("tool_call", {"kind": "A"}, [(1.0, ("other", "tool"))]),
        ("tool_call", {"kind": ["a"]}, [(1.0, ("other", "tool"))]),
        ("tool_call", {}, [(1.0, ("unknown", "tool"))]),
        ("user_call", {"kind": "any", "calls": 3}, [(3.0, ("any", "user"))]),
        ("user_call", {"kind": "any"}, []),
        ("other_call", {"kind": "a", "calls": 3}, []),
    ],
)
def test_labels_are_constants_allowed_values_or_capped_ones(
    event: str, payload: dict[str, Any], wanted: list[tuple[float, tuple[str, ...]]]
) -> None:
    """What is not allowed is `other`, what was not sent is `unknown`."""
    assert own(LABELLED, payload, event) == wanted


def test_the_largest_cap_of_a_label_holds_and_fifty_is_the_default() -> None:
    """A label of several sources has one cap."""
    (kpi,) = load_kpis(LABELLED, ())
    assert kpi.label_caps == (2, 50)


@pytest.mark.parametrize(
    ("source", "payload", "wanted"),
    [
        ("path = 'a'", {"a": 5}, [5.0]),
        ("path = 'a.b.c'", {"a": {"b": {"c": 5}}}, [5.0]),
        ("path = 'a.b'", {"a.b": 5, "a": [5]}, []),
        ("path = ['x', 'a']", {"a": 5}, [5.0]),
        ("count = 2.5", {}, [2.5]),
        ("path = 'a'\nscale = 2", {"a": 5}, [10.0]),
        ("path = 'a'\nminus = 'b'", {"a": 5, "b": 2}, [3.0]),
        ("path = 'a'\nminus = 'b'", {"a": 5, "b": 5}, [0.0]),
        ("path = 'a'\nminus = 'b'", {"a": 5}, []),
        ("path = 'a'\nminus = 'b'\noptional_minus = true", {"a": 5}, [5.0]),
        ("path = 'a'\nminus = 'b'\noptional_minus = true", {"a": 5, "b": 5}, [5.0]),
        ("path = 'a'\nover = 'b'", {"a": 6, "b": 3}, [2.0]),
        ("path = 'a'\nover = 'b'", {"a": 6, "b": 0}, []),
        ("path = 'a'\nover = 'b'\nover_minus = 1", {"a": 6, "b": 4}, [2.0]),
        ("path = 'a'\nover = 'b'\nover_minus = 1", {"a": 6, "b": 1}, []),
        ("path = 'a'\nwhen = 'b'", {"a": 6, "b": True}, [6.0]),
        ("path = 'a'\nwhen = 'b'", {"a": 6, "b": 1}, []),
        ("path = 'a'\nunless = ['b', 'c']", {"a": 6, "c": True}, []),
        ("path = 'a'\nunless = ['b', 'c']", {"a": 6}, [6.0]),
    ],
)
def test_what_the_keys_of_a_source_do(source: str, payload: dict[str, Any], wanted: list[float]) -> None:
    """Each key that the head of config/kpis.toml describes."""
    text = f"[[kpi]]\nname = 'my_total'\ntype = 'counter'\nunit = 'u'\nhelp = 'h'\n[[kpi.source]]\n{source}\n"
    assert [value for value, _ in own(text, payload)] == pytest.approx(wanted)


@pytest.mark.parametrize(("every", "wanted"), [("false", [1.0]), ("true", [1.0, 2.0])])
def test_the_first_source_wins_unless_every_one_counts(every: str, wanted: list[float]) -> None:
    """`every = true` gives an observation for each source that finds a value."""
    text = ROW.replace("buckets", f"every = {every}\nbuckets").replace("scale = 0.001", "[[kpi.source]]\npath = 'b'")
    assert [value for value, _ in own(text, {"took_ms": 1, "b": 2})] == wanted


TOGETHER = """
[[kpi]]
name = "a_total"
type = "counter"
unit = "u"
help = "h"
together = ["b_total"]
[[kpi.source]]
path = "a"
[[kpi]]
name = "b_total"
type = "counter"
unit = "u"
help = "h"
together = ["a_total"]
[[kpi.source]]
path = "b"
"""


@pytest.mark.parametrize(
    ("payload", "wanted", "unusable"),
    [
        ({"a": 1, "b": 2}, ["a_total", "b_total"], []),
        ({"a": 1}, [], []),
        ({"b": 2}, [], []),
        ({"a": 1, "b": -2}, [], ["b_total"]),
        ({"a": "x", "b": 2}, [], ["a_total"]),
        ({}, [], []),
    ],
)
def test_rows_that_go_together_are_observed_together(
    payload: dict[str, Any], wanted: list[str], unusable: list[str]
) -> None:
    """Where one of them has no value or a bad one, the other is not counted either."""
    result = Observer(load_kpis(TOGETHER, ()))("e", payload)
    assert [one.metric for one in result.observations] == wanted
    assert list(result.unusable) == unusable


# Bad rows


def changed(old: str, new: str) -> str:
    assert old in ROW
    return ROW.replace(old, new)


HEAD = 'name = "my_metric"\ntype = "histogram"\nunit = "seconds"\nhelp = "Mine"\nbuckets = [1, 2]\n'
COUNTER = "[[kpi]]\nname = 'my_total'\ntype = 'counter'\nunit = 'u'\nhelp = 'h'\n"
GAUGE = "[[kpi]]\nname = 'my_gauge'\ntype = 'gauge'\nunit = 'u'\nhelp = 'h'\n"


def labelled(label: str, names: str = "['kind']") -> str:
    return f"{COUNTER}labels = {names}\n[[kpi.source]]\ncount = 1\n{label}\n"


# (text, what the message must hold besides the row)
BAD_ROWS = [
    (changed('name = "my_metric"', 'name = "My-Metric"'), ["name"]),
    (changed('name = "my_metric"', "name = 7"), ["name"]),
    (changed('name = "my_metric"\n', ""), ["name"]),
    (changed('"histogram"', '"summary"'), ["my_metric", "histogram, counter, gauge"]),
    (changed('type = "histogram"\n', ""), ["my_metric", "type"]),
    (changed('"histogram"', '"counter"'), ["my_metric", "_total"]),
    (changed('help = "Mine"\n', ""), ["my_metric", "help"]),
    (changed('unit = "seconds"\n', ""), ["my_metric", "unit"]),
    (changed('help = "Mine"', "help = 7"), ["my_metric", "help"]),
    (changed("[1, 2]", "[2, 1]"), ["my_metric", "buckets"]),
    (changed("[1, 2]", "[1, 1]"), ["my_metric", "buckets"]),
    (changed("[1, 2]", "[1, inf]"), ["my_metric", "buckets"]),
    (changed("[1, 2]", "[1, nan]"), ["my_metric", "buckets"]),
    (changed("[1, 2]", '["1"]'), ["my_metric", "buckets"]),
    (changed("[1, 2]", "[true]"), ["my_metric", "buckets"]),
    (changed("[1, 2]", "5"), ["my_metric", "buckets"]),
    (changed("buckets = [1, 2]\n", ""), ["my_metric", "buckets"]),
    (COUNTER + "buckets = [1]\n[[kpi.source]]\ncount = 1", ["my_total", "buckets"]),
    (changed("buckets", "bucket"), ["my_metric", "unknown key 'bucket'"]),
    (changed("scale", "factor"), ["my_metric", "unknown key 'factor'"]),
    (changed("scale = 0.001", "scale = 'ms'"), ["my_metric", "scale"]),
    (changed("scale = 0.001", "scale = nan"), ["my_metric", "scale"]),
    (changed("scale = 0.001", "scale = true"), ["my_metric", "scale"]),
    (changed('path = "took_ms"', "path = 7"), ["my_metric", "path"]),
    (changed('path = "took_ms"', "path = ['']"), ["my_metric", "path"]),
    (changed('path = "took_ms"\n', ""), ["my_metric", "path or count"]),
    (changed('path = "took_ms"', "path = 'a'\ncount = 1"), ["my_metric", "path or count"]),
    (changed("scale", "optional_minus = 1\nscale"), ["my_metric", "optional_minus"]),
    (changed("scale", "events = 7\nscale"), ["my_metric", "events"]),
    (changed("buckets", "every = 'yes'\nbuckets"), ["my_metric", "every"]),
    (changed("buckets", "together = ['no_metric']\nbuckets"), ["my_metric", "no_metric"]),
    (changed("buckets", "together = 7\nbuckets"), ["my_metric", "together"]),
    (changed("buckets", "window = 1\nbuckets"), ["my_metric", "window"]),
    (changed("[[kpi.source]]", "[kpi.source]"), ["my_metric", "[[kpi.source]]"]),
    (f"[[kpi]]\nsource = [7]\n{HEAD}", ["my_metric", "source"]),
    (f"[[kpi]]\n{HEAD}", ["my_metric", "sources"]),
    (ROW + ROW, ["my_metric", "twice"]),
    (COUNTER.replace("my_total", "built_in_total") + "[[kpi.source]]\ncount = 1", ["built_in_total", "twice"]),
    (GAUGE, ["my_gauge", "sources"]),
    (GAUGE + "numerator = 'built_in_total'", ["my_gauge", "denominator"]),
    (GAUGE + "denominator = 'built_in_total'", ["my_gauge"]),
    (GAUGE + "numerator = 'built_in_total'\ndenominator = 'none_total'", ["my_gauge", "'none_total' is no counter"]),
    (GAUGE + "numerator = 7\ndenominator = 'built_in_total'", ["my_gauge", "numerator"]),
    (COUNTER + "numerator = 'built_in_total'\ndenominator = 'built_in_total'", ["my_total", "gauge"]),
    (labelled(""), ["my_total", "label"]),
    (labelled("label.other = { value = 'x' }"), ["my_total", "label"]),
    (labelled("label.kind = { value = 'x', path = 'y' }"), ["my_total", "either value or path"]),
    (labelled("label.kind = {}"), ["my_total", "either value or path"]),
    (labelled("label.kind = { value = 7 }"), ["my_total", "value"]),
    (labelled("label.kind = { path = 'x', limit = 7 }"), ["my_total", "unknown key 'limit'"]),
    (labelled("label.kind = { path = 'x', allowed = 7 }"), ["my_total", "allowed"]),
    (labelled("label.kind = { path = 'x', cap = 0 }"), ["my_total", "cap"]),
    (labelled("label.kind = { path = 'x', cap = true }"), ["my_total", "cap"]),
    (labelled("label.kind = { path = 'x', cap = '5' }"), ["my_total", "cap"]),
    (labelled("label.kind = 'x'"), ["my_total", "label"]),
    (labelled("label = 'x'"), ["my_total", "label"]),
    (labelled("label.bad-kind = { value = 'x' }", "['bad-kind']"), ["my_total", "bad-kind"]),
    (changed("buckets", "labels = ['le']\nbuckets") + "label.le = { value = 'x' }\n", ["my_metric", "le"]),
    (labelled("label.kind = { value = 'x' }", "['kind', 'kind']"), ["my_total", "kind"]),
    (GAUGE.replace("my_gauge", "telemetry_cache_spool_bytes") + "[[kpi.source]]\npath = 'x'", ["spool_bytes"]),
    *(
        (ROW + GAUGE.replace("my_gauge", f"my_metric_{part}") + "[[kpi.source]]\npath = 'x'", [f"my_metric_{part}"])
        for part in ("bucket", "sum", "count", "created")
    ),
    (GAUGE.replace("my_gauge", "my_metric_sum") + "[[kpi.source]]\npath = 'x'\n" + ROW, ["my_metric", "twice"]),
    (GAUGE.replace("my_gauge", "telemetry_cache_push_events_sum") + "[[kpi.source]]\npath = 'x'", ["push_events_sum"]),
    (GAUGE.replace("my_gauge", "telemetry_cache_cache_hits") + "[[kpi.source]]\npath = 'x'", ["cache_hits"]),
]


@pytest.mark.parametrize(("text", "says"), BAD_ROWS, ids=[" ".join(says) for _, says in BAD_ROWS])
def test_a_bad_row_stops_the_start_with_its_name_and_its_fault(text: str, says: list[str]) -> None:
    """The message names the row (by its place where it has no name) and what is wrong with it."""
    with pytest.raises(KpiError) as caught:
        PrometheusTelemetry(
            load_kpis(text, [*COUNTERS, "built_in_total"]), slot=0, metrics_dir=None, window_s=60, started_s=0
        )
    for words in says:
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[kpi", "not TOML"),
        ("[kpi]\nname = 'x'", "[[kpi]]"),
        ("kpi = 7", "[[kpi]]"),
        ("kpi = [7]", "kpi 1"),
        ("[[kpis]]\nname = 'x'", "[[kpi]]"),
        (ROW + "\n[other]\nx = 1", "nothing else"),
        (ROW + "\n[[kpi]]\ntype = 'gauge'", "kpi 2"),
    ],
)
def test_a_bad_file_is_refused(text: str, says: str) -> None:
    """What no row is to blame for is refused as well."""
    with pytest.raises(KpiError) as caught:
        load_kpis(text, ())
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"# mine\n{GAUGE}", "line 2: kpi 1 (my_gauge): "),
        (f"{ROW}\n\n{GAUGE}", f"line {ROW.count(chr(10)) + 3}: kpi 2 (my_gauge): "),
        (ROW + ROW, f"line {ROW.count(chr(10)) + 2}: my_metric: "),
        ("kpi = [{name = 'x'}]", "kpi 1 (x): "),
    ],
)
def test_the_line_of_a_bad_row(text: str, says: str) -> None:
    """It begins the message, where TOML shows it."""
    with pytest.raises(KpiError) as caught:
        load_kpis(text, ())
    assert str(caught.value).startswith(says)


def test_the_shipped_table_makes_metrics_that_prometheus_takes() -> None:
    """Names, labels and buckets are fit for the client, and the figures before any event are plain JSON."""
    telemetry = PrometheusTelemetry(KPIS, slot=0, metrics_dir=None, window_s=60, started_s=0)
    assert json.dumps(telemetry.figures(1.0))
