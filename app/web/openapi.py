"""`/openapi.json`, written from the marshmallow schemas, and `/docs`, a page to try it on."""

from typing import Any, Final

import orjson
from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Blueprint, Flask, Response, redirect, url_for
from flask_swagger_ui import get_swaggerui_blueprint
from marshmallow import Schema
from werkzeug.wrappers import Response as AnyResponse

from app.core import problems
from app.core.problems import ProblemType
from app.handlers import schemas
from app.handlers.reply import JSON
from app.version import VERSION

_BODY_REFUSALS: Final = (
    problems.NOT_JSON,
    problems.REQUEST_TIMEOUT,
    problems.LENGTH_REQUIRED,
    problems.TOO_LARGE,
    problems.UNSUPPORTED_MEDIA_TYPE,
    problems.INVALID,
)

_EXAMPLE_EVENT: Final = {
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
_EXAMPLE_CALL: Final = {"tool": "generate_response", "args": {"model": "llama2", "prompt": "Hello world"}}
_EXAMPLE_SET: Final = {**_EXAMPLE_CALL, "data": {"response": "Hello!", "tokens": 150, "latency_ms": 250}, "ttl": 3600}


def register(app: Flask) -> None:
    """Add `/openapi.json` and `/docs`."""
    document = orjson.dumps(build())
    pages = Blueprint("openapi", __name__)

    @pages.get("/openapi.json")
    def openapi() -> Response:
        return Response(document, content_type=JSON)

    @pages.get("/docs")
    def docs() -> AnyResponse:
        return redirect(url_for("swagger_ui.show"))

    app.register_blueprint(pages)
    app.register_blueprint(
        get_swaggerui_blueprint(
            "/docs",
            "/openapi.json",
            # The redirect address is fixed (by default it is made from the request's own Host), and nothing is
            # asked of a validator elsewhere.
            config={
                "app_name": "Telemetry Cache",
                "oauth2RedirectUrl": "/docs/oauth2-redirect.html",
                "validatorUrl": None,
            },
        )
    )


def build() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document."""
    spec = APISpec(
        title="Telemetry Cache",
        version=VERSION,
        openapi_version="3.1.0",
        plugins=[MarshmallowPlugin()],
        info={"description": "Logs, caches and measures for an LLM suite. Refusals are RFC 9457 problems."},
        servers=[{"url": "/"}],
        tags=[{"name": name} for name in ("log", "cache", "measure", "health")],
    )
    for path, method, operation in _operations():
        spec.path(path=path, operations={method: operation})
    document: dict[str, Any] = spec.to_dict()
    return document


def _operations() -> list[tuple[str, str, dict[str, Any]]]:
    """Every call, in the order of the page."""
    full = (problems.SPOOL_FULL,)
    away = (problems.CACHE_AWAY,)
    return [
        (
            "/log",
            "post",
            _call(
                "log",
                "Log an event",
                schemas.LogResponse,
                request=_json(schemas.LogRequest, _EXAMPLE_EVENT),
                refusals=(*_BODY_REFUSALS, *full),
            ),
        ),
        (
            "/log/batch",
            "post",
            _call(
                "log",
                "Log many events",
                schemas.LogBatchResponse,
                request={
                    "required": True,
                    "content": {
                        JSON: {
                            "schema": {
                                "oneOf": [
                                    schemas.LogBatchRequest,
                                    {"type": "array", "minItems": 1, "items": schemas.LogRequest},
                                ]
                            },
                            "example": {"events": [_EXAMPLE_EVENT]},
                        },
                        "application/x-ndjson": {"schema": {"type": "string", "description": "One event a line"}},
                    },
                },
                description="One bad event never spoils the others. `Content-Encoding: gzip` is accepted.",
                refusals=(*_BODY_REFUSALS, *full),
            ),
        ),
        (
            "/redact",
            "post",
            _call(
                "log",
                "Try redaction on any JSON value; nothing is stored",
                schemas.RedactResponse,
                request={
                    "required": True,
                    "content": {JSON: {"schema": {}, "example": {"note": "mail bob@example.org now"}}},
                },
                refusals=tuple(kind for kind in _BODY_REFUSALS if kind is not problems.INVALID),
            ),
        ),
        (
            "/pseudonyms",
            "post",
            _call(
                "log",
                "Find the pseudonyms of a value; nothing is stored",
                schemas.PseudonymsResponse,
                request=_json(schemas.PseudonymsRequest, {"detector": "user_id", "value": "user123"}),
                description="Under every key, so that events are found from before and after a rotation.",
                refusals=(*_BODY_REFUSALS, problems.NO_PSEUDONYM_KEYS),
            ),
        ),
        (
            "/cache/get",
            "get",
            _call(
                "cache",
                "Look a key up",
                schemas.CacheGetResponse,
                parameters=[_KEY_PARAMETER],
                refusals=(problems.BAD_REQUEST, problems.URI_TOO_LONG, problems.INVALID),
            ),
        ),
        (
            "/cache/get",
            "post",
            _call(
                "cache",
                "Look a key or a call up",
                schemas.CacheGetResponse,
                request=_json(schemas.CacheGetRequest, _EXAMPLE_CALL),
                refusals=_BODY_REFUSALS,
            ),
        ),
        (
            "/cache/set",
            "post",
            _call(
                "cache",
                "Keep an answer",
                schemas.CacheSetResponse,
                request=_json(schemas.CacheSetRequest, _EXAMPLE_SET),
                refusals=(*_BODY_REFUSALS, problems.NOT_CACHEABLE, *away),
            ),
        ),
        (
            "/cache",
            "delete",
            _call(
                "cache",
                "Delete an entry",
                schemas.CacheDeleteResponse,
                parameters=[_KEY_PARAMETER],
                refusals=(problems.BAD_REQUEST, problems.URI_TOO_LONG, problems.INVALID, *away),
            ),
        ),
        (
            "/cache/key",
            "post",
            _call(
                "cache",
                "Make the key of a call; the store is not touched",
                schemas.CacheKeyResponse,
                request=_json(schemas.CacheKeyRequest, _EXAMPLE_CALL),
                refusals=_BODY_REFUSALS,
            ),
        ),
        ("/metrics", "get", _text("measure", "Prometheus scrape, all workers merged", "text/plain")),
        ("/kpis", "get", _call("measure", "The KPIs as plain numbers", schemas.KpisResponse)),
        ("/healthz", "get", _call("health", "Does it serve", schemas.HealthResponse)),
        (
            "/readyz",
            "get",
            _call(
                "health",
                "Can it accept events",
                schemas.ReadyResponse,
                also={"503": ("It cannot", schemas.ReadyResponse)},
            ),
        ),
        ("/problems", "get", _text("health", "The kinds of refusal", "text/html")),
        (
            "/problems/{slug}",
            "get",
            _text(
                "health",
                "What a refusal means",
                "text/html",
                parameters=[{"name": "slug", "in": "path", "required": True, "schema": {"type": "string"}}],
                refusals=(problems.NOT_FOUND,),
            ),
        ),
        ("/openapi.json", "get", _text("health", "This document", JSON)),
    ]


_KEY_PARAMETER: Final = {
    "name": "key",
    "in": "query",
    "required": True,
    "description": "Up to 1,000 bytes; longer keys by POST /cache/get",
    "schema": {"type": "string", "minLength": 1, "maxLength": 1000},
    "example": "tool:generate_response:model:llama2:temp:0.7:prompt:hello_world",
}


def _call(
    tag: str,
    summary: str,
    answer: type[Schema],
    *,
    request: dict[str, Any] | None = None,
    parameters: list[dict[str, Any]] | None = None,
    description: str = "",
    refusals: tuple[ProblemType, ...] = (),
    also: dict[str, tuple[str, type[Schema]]] | None = None,
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "tags": [tag],
        "summary": summary,
        "responses": {"200": {"description": "Done", "content": {JSON: {"schema": answer}}}, **_problems(refusals)},
    }
    for status, (words, schema) in (also or {}).items():
        operation["responses"][status] = {"description": words, "content": {JSON: {"schema": schema}}}
    if request is not None:
        operation["requestBody"] = request
    if parameters is not None:
        operation["parameters"] = parameters
    if description:
        operation["description"] = description
    return operation


def _text(
    tag: str,
    summary: str,
    content_type: str,
    *,
    parameters: list[dict[str, Any]] | None = None,
    refusals: tuple[ProblemType, ...] = (),
) -> dict[str, Any]:
    schema = {"type": "object" if content_type == JSON else "string"}
    operation: dict[str, Any] = {
        "tags": [tag],
        "summary": summary,
        "responses": {
            "200": {"description": "Done", "content": {content_type: {"schema": schema}}},
            **_problems(refusals),
        },
    }
    if parameters is not None:
        operation["parameters"] = parameters
    return operation


def _json(schema: type[Schema], example: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {JSON: {"schema": schema, "example": example}}}


def _problems(kinds: tuple[ProblemType, ...]) -> dict[str, Any]:
    """The refusals of a call by status; kinds that share one are named together."""
    responses: dict[str, Any] = {}
    for kind in kinds:
        status = str(kind.status)
        title = f"{responses[status]['description']}; {kind.title}" if status in responses else kind.title
        responses[status] = {
            "description": title,
            "content": {problems.CONTENT_TYPE: {"schema": schemas.Problem}},
        }
    return responses
