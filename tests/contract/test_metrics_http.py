"""`/metrics` over HTTP: what a scraper can read, and that no caller makes it grow."""

from __future__ import annotations

import random
import string
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from tests.contract.text_cases import TEXTS
from tests.contract.wire import JSON, Caller, head

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.conftest import StartService
    from tests.harness.service import RunningService

SEED = 8114
HTTP_COUNT = "flask_http_request_duration_seconds_count"
HTTP_LABELS = ("method", "status", "url_rule", "path", "endpoint", "rule")

Values = dict[str, set[str]]


def label_values(service: RunningService, prefix: str = "") -> Values:
    """Return the values of each label of the metrics that start so."""
    values: Values = {}
    for name, labels in service.metrics():
        if name.startswith(prefix):
            for label, value in labels:
                values.setdefault(label, set()).add(value)
    return values


def added(before: Values, after: Values) -> Values:
    return {label: new for label, all_ in after.items() if (new := all_ - before.get(label, set()))}


def words(generator: random.Random, count: int, letters: str, length: int = 12) -> list[str]:
    return ["".join(generator.choices(letters, k=length)) for _ in range(count)]


def test_unknown_paths_share_one_label(caller: Caller):
    """500 random paths that no call has are one rule."""
    generator = random.Random(SEED)
    caller.get("/nothing")
    caller.service.metrics()  # the scrape itself has a series, once there was one
    before = label_values(caller.service)
    series = len(caller.service.metrics())
    for word in words(generator, 500, string.ascii_letters + string.digits + "-._~/"):
        assert caller.get(f"/x{word}").status == 404
    after = label_values(caller.service)
    assert added(before, after) == {}
    assert len(caller.service.metrics()) == series
    assert "unmatched" in after["url_rule"]


def test_paths_below_a_rule_share_its_label(caller: Caller):
    """Random pages, assets and keys have their rule's label."""
    generator = random.Random(SEED)
    for path in ("/problems/x", "/docs/x", "/cache/get?key=x"):
        caller.get(path)
    before = label_values(caller.service)
    for word in words(generator, 100, string.ascii_lowercase):
        assert caller.get(f"/problems/{word}").status == 404
        assert caller.get(f"/docs/{word}").status == 404
        assert caller.get(f"/cache/get?key={word}").status == 200
    assert added(before, label_values(caller.service)) == {}


PLACES = {
    "a known path": ("/log", ()),
    "an unknown path": ("/nothing", ()),
    "a GET": ("/healthz", ()),
    "a page": ("/problems/invalid", ()),
    "an asset": ("/docs/index.css", ()),
    "a chunked body": ("/log", ("Transfer-Encoding: chunked",)),
    "a chunked body for nobody": ("/nothing", ("Transfer-Encoding: chunked",)),
    "a large body": ("/log", ("Content-Length: 9999999999",)),
}


@pytest.mark.parametrize(("path", "fields"), PLACES.values(), ids=PLACES)
def test_unknown_methods_share_one_label(caller: Caller, path: str, fields: tuple[str, ...]):
    """20 random methods are one value, whatever else is wrong with the request."""
    generator = random.Random(path + str(fields))
    before = label_values(caller.service)
    for method in words(generator, 20, string.ascii_uppercase):
        answer = caller.exchange(head(method, path, *fields, "Connection: close"), method)
        assert 400 <= answer.status < 500
    assert added(before, label_values(caller.service)).get("method", set()) <= {"OTHER"}


def test_events_have_bounded_labels(start_service: StartService):
    """Names of events, services and models that callers make up become `other` past a bound."""
    service = start_service(WEB_CONCURRENCY="1")
    generator = random.Random(SEED)
    with Caller(service) as caller:
        names = words(generator, 400, string.ascii_lowercase)
        events = [
            {"event": name, "payload": {"service": name, "args": {"model": name}, "response": {"tokens": 1}}}
            for name in names
        ]
        assert caller.post("/log/batch", events).json["accepted"] == 400
        for name in names:
            assert caller.post("/log", {"event": name, "payload": 0}).status == 422
        values = label_values(service)
    for label, seen in values.items():
        if label != "le":
            assert len(seen & set(names)) <= 100, label
    assert "other" in values["event"]


def test_requests_are_counted_by_rule(caller: Caller):
    """One request more is one more in its own series, and no path or key becomes a label."""
    rules = {
        "/healthz": ("GET", "/healthz", None, "200"),
        "/cache/get": ("GET", "/cache/get?key=by-rule", None, "200"),
        "/log": ("POST", "/log", b'{"event":"a","payload":{}}', "200"),
        "/log/batch": ("POST", "/log/batch", b"{", "400"),
        "/cache": ("DELETE", "/cache?key=by-rule", None, "200"),
        "/problems/<slug>": ("GET", "/problems/invalid", None, "200"),
        "unmatched": ("GET", "/by-rule", None, "404"),
    }
    before = caller.service.metrics()
    for method, path, body, _ in rules.values():
        caller.request(method, path, body, JSON)
    after = caller.service.metrics()
    for rule, (method, _, _, status) in rules.items():
        sample = (HTTP_COUNT, frozenset({"method": method, "status": status, "url_rule": rule}.items()))
        assert after[sample] - before.get(sample, 0) >= 1, rule
    assert not any("by-rule" in value for _, labels in after for _, value in labels)


def assert_sound(families: Iterable[Any]) -> None:
    """Check that names are families once, have help, and that histograms add up."""
    names = []
    for family in families:
        names.append(family.name)
        assert family.documentation, family.name
        assert family.type != "unknown", family.name
        if family.type == "histogram":
            assert_adds_up(family)
    assert len(names) == len(set(names))


def assert_adds_up(family: Any) -> None:
    series: dict[frozenset[tuple[str, str]], dict[float, float]] = {}
    counts: dict[frozenset[tuple[str, str]], float] = {}
    for sample in family.samples:
        labels = frozenset((name, value) for name, value in sample.labels.items() if name != "le")
        if sample.name.endswith("_bucket"):
            series.setdefault(labels, {})[float(sample.labels["le"])] = sample.value
        elif sample.name.endswith("_count"):
            counts[labels] = sample.value
    for labels, buckets in series.items():
        in_order = [buckets[edge] for edge in sorted(buckets)]
        assert in_order == sorted(in_order), family.name
        assert in_order[-1] == counts[labels], family.name


def test_text_format(caller: Caller):
    """The classic format parses, with its type and version."""
    answer = caller.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert_sound(text_string_to_metric_families(answer.body.decode()))


def test_openmetrics_format(caller: Caller):
    """So does OpenMetrics, where it is asked for, strictly."""
    accept = {"Accept": "application/openmetrics-text; version=1.0.0; charset=utf-8,text/plain;q=0.5"}
    answer = caller.request("GET", "/metrics", headers=accept)
    assert answer.status == 200
    assert answer.content_type == "application/openmetrics-text"
    assert_sound(openmetrics_families(answer.body.decode()))


ACCEPTS = {
    "nothing": "",
    "anything": "*/*",
    "HTML": "text/html",
    "Prometheus 3": (
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
        "application/openmetrics-text;version=0.0.1;q=0.5,"
        "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
    ),
    "protobuf": "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
    "a version of letters": "application/openmetrics-text; version=abc",
    "an empty version": "application/openmetrics-text; version=",
    "a long version": "application/openmetrics-text; version=" + "9." * 1000,
    "a negative version": "application/openmetrics-text; version=-1",
    "a version of the future": "application/openmetrics-text; version=99.0.0",
    "no equals sign": "application/openmetrics-text; version",
    "an unknown escaping": "application/openmetrics-text; version=1.0.0; escaping=abc",
    "an escaping for text": "text/plain; version=1.0.0; escaping=abc",
    "a version of letters for text": "text/plain; version=abc",
    "commas": ",,,;;;===",
    "a thousand types": ",".join(["text/plain"] * 700),
}


@pytest.mark.parametrize("accept", ACCEPTS.values(), ids=ACCEPTS)
def test_any_accept_gets_metrics(caller: Caller, accept: str):
    """Whatever a scraper prefers, it gets metrics."""
    answer = caller.request("GET", "/metrics", headers={"Accept": accept})
    assert answer.status == 200
    assert b"telemetry_cache_ttfb_seconds" in answer.body


def test_callers_words_do_not_break_the_formats(start_service: StartService):
    """Texts that callers send as names of services and models leave a page that parses, in both formats."""
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    with Caller(start_service(WEB_CONCURRENCY="1")) as caller:
        for text in TEXTS.values():
            payload = {"service": text[:200], "args": {"model": text[:200]}, "response": {"tokens": 1, "ttfb_ms": 1}}
            assert caller.post("/log", {"event": "metrics_text", "payload": payload}).status == 200
        assert_sound(text_string_to_metric_families(caller.get("/metrics").body.decode()))
        assert_sound(openmetrics_families(caller.request("GET", "/metrics", headers=accept).body.decode()))


def test_all_http_labels_are_known(caller: Caller):
    """The HTTP metrics have the labels method, status and rule, and no other."""
    assert set(label_values(caller.service, "flask_http_request_")) <= {"method", "status", "url_rule", "le"}
