"""`/openapi.json` is true of the service, and `/docs` needs nobody else."""

from __future__ import annotations

import json
import re
from contextlib import closing
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urljoin

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from app.factory import create_app
from app.settings import Settings
from tests.contract.wire import JSON, NDJSON, Answer, Caller, head
from tests.harness.service import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import StartService

EVENT: dict[str, Any] = {"event": "a", "payload": {"note": "mail bob@example.org"}}
CALL: dict[str, Any] = {"tool": "t", "args": {}}
TEXT = {"Content-Type": "text/plain"}

BODIES = ("/log", "/log/batch", "/redact", "/cache/get", "/cache/set", "/cache/key", "/pseudonyms")
"""The calls that take a body."""

PAGES = {"/docs", "/docs/", "/docs/<path:path>", "/docs/dist/<path:path>"}
"""Routes that are no calls: the page that the document is read on."""


class Call(NamedTuple):
    """A request, which operation of the document it is, and the status that it must get."""

    name: str
    status: int
    method: str
    path: str
    body: Any = None
    headers: dict[str, str] = JSON

    @property
    def raw(self) -> bytes | None:
        if self.body is None or isinstance(self.body, bytes):
            return self.body
        return json.dumps(self.body).encode()

    @property
    def rule(self) -> str:
        path = self.path.partition("?")[0]
        return "/problems/{slug}" if path.startswith("/problems/") else path


LARGE = b'{"a":"' + b"x" * 6_000_000 + b'"}'

CALLS = [
    Call("event", 200, "post", "/log", EVENT),
    Call("own id", 200, "post", "/log", {**EVENT, "event_id": "x-1"}),
    Call("object", 200, "post", "/log/batch", {"events": [EVENT]}),
    Call("array", 200, "post", "/log/batch", [EVENT, {}, EVENT, 5]),
    Call("lines", 200, "post", "/log/batch", b'{"event":"a","payload":{}}\nx', NDJSON),
    Call("all refused", 422, "post", "/log/batch", [{}, {"event": "A", "payload": {}, "x": 1}]),
    Call("no events", 422, "post", "/log/batch", {"events": []}),
    Call("findings", 200, "post", "/redact", EVENT),
    Call("nothing", 200, "post", "/redact", {}),
    Call("null", 200, "post", "/redact", b"null"),
    Call("text", 200, "post", "/redact", "bob@example.org"),
    Call("number", 200, "post", "/redact", 5),
    Call("list", 200, "post", "/redact", [["user123"]]),
    Call("key", 200, "post", "/cache/set", {"key": "openapi", "data": {"a": [1]}, "ttl": 60}),
    Call("call", 200, "post", "/cache/set", {**CALL, "data": {}}),
    Call("not cacheable", 422, "post", "/cache/set", {**CALL, "data": {"error": "x"}}),
    Call("hit", 200, "get", "/cache/get?key=openapi"),
    Call("miss", 200, "get", "/cache/get?key=openapi-none"),
    Call("invalid", 422, "get", "/cache/get"),
    Call("not UTF-8", 400, "get", "/cache/get?key=%ff"),
    Call("hit", 200, "post", "/cache/get", {"key": "openapi"}),
    Call("miss", 200, "post", "/cache/get", {**CALL, "args": {"none": 1}}),
    Call("call", 200, "post", "/cache/key", CALL),
    Call("unknown name", 422, "post", "/pseudonyms", {"detector": "x", "value": "x"}),
    Call("no keys", 409, "post", "/pseudonyms", {"detector": "user_id", "value": "x"}),
    Call("one", 200, "delete", "/cache?key=openapi"),
    Call("none", 200, "delete", "/cache?key=openapi"),
    Call("invalid", 422, "delete", "/cache"),
    Call("not UTF-8", 400, "delete", "/cache?key=%ff"),
    Call("text", 200, "get", "/metrics"),
    Call("numbers", 200, "get", "/kpis"),
    Call("state", 200, "get", "/healthz"),
    Call("state", 200, "get", "/readyz"),
    Call("page", 200, "get", "/problems"),
    Call("page", 200, "get", "/problems/invalid"),
    Call("no page", 404, "get", "/problems/none"),
    Call("document", 200, "get", "/openapi.json"),
    *(
        call
        for path in BODIES
        for call in (
            Call("not JSON", 400, "post", path, b"{"),
            Call("too large", 413, "post", path, LARGE),
            Call("no type", 415, "post", path, b"{}", TEXT),
        )
    ),
    *(Call("invalid", 422, "post", path, {"x": 1, "ttl": True}) for path in BODIES if path != "/redact"),
]


@pytest.fixture(scope="module")
def document(caller: Caller) -> Any:
    """Return the document as a caller gets it."""
    answer = caller.get("/openapi.json")
    assert (answer.status, answer.content_type) == (200, "application/json")
    return answer.json


@pytest.fixture(scope="module")
def registry(document: Any) -> Registry[Any]:
    """Return a registry in which the document's own references are found."""
    return Registry().with_resource("urn:openapi", DRAFT202012.create_resource(document))


def validator(registry: Registry[Any], *steps: str) -> Draft202012Validator:
    """Return a validator for the schema at a place in the document."""
    pointer = "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)
    return Draft202012Validator({"$ref": f"urn:openapi#{pointer}"}, registry=registry)


def assert_described(document: Any, registry: Registry[Any], call: Call, answer: Answer) -> None:
    """Check that the document foresees an answer: its status, its type, its schema and every member's name."""
    assert answer.status == call.status, answer.body[:300]
    operation = document["paths"][call.rule][call.method]
    assert str(answer.status) in operation["responses"], f"{answer.status} is not described"
    content = operation["responses"][str(answer.status)]["content"]
    assert answer.content_type in content
    if not answer.content_type.endswith("json"):
        return
    steps = ("paths", call.rule, call.method, "responses", str(answer.status), "content", answer.content_type, "schema")
    validator(registry, *steps).validate(answer.json)
    schema = content[answer.content_type]["schema"]
    if "$ref" in schema:
        described = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        assert set(answer.json) <= set(described["properties"])


def test_is_valid(document: Any):
    """It is an OpenAPI 3.1 document."""
    assert document["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(document).validate()


def test_has_every_route_and_no_other(document: Any, tmp_path: Path):
    """Each route of the application is an operation, and each operation a route."""
    app = create_app(Settings(data_dir=tmp_path))
    with closing(_Closing(app)):
        routes = {
            (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
            for rule in app.url_map.iter_rules()
            if rule.rule not in PAGES
            for method in rule.methods or ()
            if method not in {"HEAD", "OPTIONS"}
        }
    operations = {(path, method) for path, item in document["paths"].items() for method in item}
    assert routes == operations


class _Closing:
    """Closes what an application that was never started has opened."""

    def __init__(self, app: Any) -> None:
        self._services = app.extensions["services"]

    def close(self) -> None:
        self._services.close(1.5)


@pytest.mark.parametrize("call", CALLS, ids=[f"{call.method} {call.path} {call.name}" for call in CALLS])
def test_answers_are_described(caller: Caller, document: Any, registry: Registry[Any], call: Call):
    """A real answer has a status, a type and a form that the document foresees."""
    answer = caller.request(call.method.upper(), call.path, call.raw, call.headers)
    assert_described(document, registry, call, answer)


@pytest.mark.parametrize("path", BODIES)
def test_chunked_bodies_are_described(caller: Caller, document: Any, registry: Registry[Any], path: str):
    """So has the refusal of a chunked body."""
    answer = caller.exchange(
        head("POST", path, "Content-Type: application/json", "Transfer-Encoding: chunked") + b"0\r\n\r\n", "POST"
    )
    assert_described(document, registry, Call("chunked", 411, "post", path), answer)


@pytest.mark.parametrize("size", [9000])
def test_long_requests_are_described(caller: Caller, document: Any, registry: Registry[Any], size: int):
    """So has that of a key that is too long for a request line."""
    for method, path in (("get", "/cache/get"), ("delete", "/cache")):
        answer = caller.exchange(head(method.upper(), f"{path}?key=" + "x" * size))
        assert_described(document, registry, Call("long", 414, method, path), answer)


def test_what_is_away_is_described(start_service: StartService, document: Any, registry: Registry[Any]):
    """So have 503, degraded misses and 408, which a service shows whose Redis and Loki are away."""
    service = start_service(
        WEB_CONCURRENCY="1",
        REDIS_URL=f"redis://127.0.0.1:{free_port()}/0",
        LOKI_URL=f"http://127.0.0.1:{free_port()}",
        SPOOL_MAX_BYTES="65536",
        LOKI_MAX_LINE_BYTES="32768",
        BODY_TIMEOUT_S="0.2",
        GRACEFUL_TIMEOUT_S="6",
    )
    event = {"event": "a", "payload": {}}
    calls = [
        Call("away", 503, "post", "/cache/set", {"key": "k", "data": {}, "ttl": 1}),
        Call("away", 503, "delete", "/cache?key=k"),
        Call("degraded", 200, "get", "/cache/get?key=k"),
        Call("degraded", 200, "post", "/cache/get", {"key": "k"}),
        Call("degraded", 200, "get", "/readyz"),
    ]
    with Caller(service) as caller:
        for call in calls:
            answer = caller.request(call.method.upper(), call.path, call.raw, call.headers)
            assert_described(document, registry, call, answer)
        while caller.post("/log", event).status == 200:
            pass
        for full in (
            Call("spool full", 503, "post", "/log", event),
            Call("spool full", 503, "post", "/log/batch", [event]),
        ):
            answer = caller.request("POST", full.path, full.raw, full.headers)
            assert_described(document, registry, full, answer)
        assert_described(document, registry, Call("full", 503, "get", "/readyz"), caller.get("/readyz"))
        for path in BODIES:
            answer = caller.exchange(head("POST", path, "Content-Type: application/json", "Content-Length: 9"), "POST")
            assert_described(document, registry, Call("stalled", 408, "post", path), answer)


def test_examples_are_taken(caller: Caller, document: Any, registry: Registry[Any]):
    """Each example fits its schema, and the service takes it."""
    seen = 0
    for path, item in document["paths"].items():
        for method, operation in item.items():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            if "example" in content:
                steps = ("paths", path, method, "requestBody", "content", "application/json", "schema")
                validator(registry, *steps).validate(content["example"])
                # The service of these tests has no keys for pseudonyms; test_pseudonyms.py's has.
                taken = 409 if path == "/pseudonyms" else 200
                assert caller.post(path, content["example"]).status == taken, path
                seen += 1
    assert seen >= 6


REFUSED_BY_SCHEMA = [
    ("/log", {"event": "A", "payload": {}}),
    ("/log", {"event": "a"}),
    ("/log", {"payload": {}}),
    ("/log", {"event": "a", "payload": []}),
    ("/log", {"event": "a", "payload": None}),
    ("/log", {"event": "a", "payload": {}, "event_id": ""}),
    ("/log", []),
    ("/log/batch", {"events": []}),
    ("/log/batch", []),
    ("/log/batch", {}),
    ("/cache/set", {"key": "k", "ttl": 1}),
    ("/cache/set", {"key": "k", "data": {}, "ttl": 0}),
    ("/cache/set", {"key": "k", "data": {}, "ttl": 2_592_001}),
    ("/cache/set", {"key": "k", "data": {}, "ttl": "60"}),
    ("/cache/set", {"key": "k", "data": [], "ttl": 60}),
    ("/cache/set", {"key": "", "data": {}, "ttl": 60}),
    ("/cache/key", {"tool": "t"}),
    ("/cache/key", {"args": {}}),
    ("/cache/key", {"tool": 5, "args": {}}),
    ("/pseudonyms", {"detector": "user_id"}),
    ("/pseudonyms", {"value": "x"}),
    ("/pseudonyms", {"detector": 5, "value": "x"}),
    ("/pseudonyms", {"detector": "user_id", "value": 5}),
    ("/pseudonyms", {"detector": "user_id", "value": ""}),
    ("/pseudonyms", {"detector": "user_id", "value": "x" * 4097}),
]


@pytest.mark.parametrize(("path", "body"), REFUSED_BY_SCHEMA, ids=str)
def test_schemas_refuse_too(caller: Caller, registry: Registry[Any], path: str, body: Any):
    """What the service refuses for its form, the schema of the request refuses."""
    assert caller.post(path, body).status == 422
    steps = ("paths", path, "post", "requestBody", "content", "application/json", "schema")
    assert not validator(registry, *steps).is_valid(body)


# /docs


class _Addresses(HTMLParser):
    """Gathers what a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        loads = {"script": "src", "img": "src", "link": "href", "iframe": "src", "a": "href"}
        self.found += [value for name, value in attrs if name == loads.get(tag) and value]


def page_at(caller: Caller, path: str) -> tuple[str, Answer]:
    """Follow redirects, which must stay within the service; return where it ended and the page."""
    for _ in range(3):
        answer = caller.get(path)
        if answer.status not in {301, 302, 307, 308}:
            break
        assert answer.headers["Location"].startswith("/")
        path = urljoin(path, answer.headers["Location"])
    assert answer.status == 200
    assert answer.content_type == "text/html"
    return path, answer


@pytest.mark.parametrize("path", ["/docs", "/docs/", "/problems", "/problems/invalid"])
def test_pages_need_nobody_else(caller: Caller, path: str):
    """Everything that a page loads or leads to is served here, and no other address stands in it."""
    base, page = page_at(caller, path)
    text = page.body.decode()
    assert re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]+", text) == []
    parser = _Addresses()
    parser.feed(text)
    parser.close()
    assert parser.found
    for address in parser.found:
        assert "//" not in address
        answer = caller.get(urljoin(base, address))
        assert answer.status == 200, address
        assert answer.body, address


def test_docs_assets_have_their_types(caller: Caller):
    """Scripts and styles are sent as what they are: a browser refuses others."""
    base, page = page_at(caller, "/docs")
    parser = _Addresses()
    parser.feed(page.body.decode())
    parser.close()
    types = {".js": {"text/javascript", "application/javascript"}, ".css": {"text/css"}, ".png": {"image/png"}}
    suffixes = set()
    for address in parser.found:
        suffix = address[address.rindex(".") :]
        suffixes.add(suffix)
        assert caller.get(urljoin(base, address)).content_type in types[suffix]
    assert {".js", ".css"} <= suffixes
    assert "/openapi.json" in page.body.decode()


def _methods(document: Any) -> Iterator[tuple[str, str]]:
    for path, item in document["paths"].items():
        yield from ((path, method) for method in item)


def test_options_agree(caller: Caller, document: Any):
    """OPTIONS lists the methods that the document has."""
    by_path: dict[str, set[str]] = {}
    for path, method in _methods(document):
        by_path.setdefault(path, set()).add(method.upper())
    for path, methods in by_path.items():
        answer = caller.request("OPTIONS", path.replace("{slug}", "invalid"))
        assert answer.status == 200
        assert set(answer.headers["Allow"].split(", ")) - {"HEAD", "OPTIONS"} == methods
