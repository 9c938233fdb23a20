"""The Flask application: services in, routes out."""

from collections.abc import Callable
from typing import Any

from flask import Flask, Request, request
from flask.sessions import NullSession, SessionInterface
from werkzeug.routing import MapAdapter

from app import commands
from app.services import Services
from app.settings import Settings
from app.web import answers, cache, health, logs, metrics, openapi, pseudonyms
from app.web.body import BodyReader, refuse_transfer_encoding
from app.web.routes import Known, Routes


class _NoSessions(SessionInterface):
    """No cookies: every request has the one empty session."""

    def __init__(self) -> None:
        self._empty = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:  # noqa: ARG002 - Flask's signature
        return self._empty

    def is_null_session(self, obj: object) -> bool:
        return obj is self._empty


class App(Flask):
    """Flask without its question, six times a request, whether a function is a coroutine: none of ours is."""

    session_interface = _NoSessions()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As Flask's."""
        super().__init__(*args, **kwargs)
        self._known: Known = {}

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function as it is."""
        return func

    def preprocess_request(self) -> Any:
        """Refuse what no route takes."""
        answer = super().preprocess_request()
        refuse_transfer_encoding(request.environ)
        return answer

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Return what says where the request goes."""
        return super().create_url_adapter(None) if request is None else Routes(self.url_map, request, self._known)


def create_app(settings: Settings, services: Services | None = None) -> Flask:
    """Return the application. Nothing of it is started: gunicorn.conf.py starts and closes the services."""
    services = services if services is not None else Services(settings)
    app = App("app", static_folder=None)
    app.extensions["services"] = services
    # Two slashes are another path, not a redirect that repeats a caller's words.
    app.url_map.merge_slashes = False
    # First, so that what is refused before its route is counted too.
    metrics.measure(app, services.telemetry.registry, several_processes=settings.metrics_dir is not None)
    bodies = BodyReader(settings.body_timeout_s)
    app.register_blueprint(
        logs.make_blueprint(
            services.log, bodies, event_bytes=settings.event_max_bytes, batch_bytes=settings.log_batch_max_bytes
        )
    )
    app.register_blueprint(cache.make_blueprint(services.cache, bodies, value_bytes=settings.cache_value_max_bytes))
    app.register_blueprint(pseudonyms.make_blueprint(services.pseudonym_finder, bodies))
    app.register_blueprint(metrics.make_blueprint(services.telemetry))
    app.register_blueprint(health.make_blueprint(services.readiness))
    app.register_blueprint(answers.make_blueprint())
    openapi.register(app)
    answers.register_errors(app)
    commands.register(app, services.letters, services.requeue)
    return app
