"""Replies as Flask sends them, errors as problems, and the pages that explain them."""

from collections.abc import Iterable
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from flask import Blueprint, Flask, Response, render_template_string
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from app.core import problems
from app.core.problems import PROBLEM_TYPES, ProblemType
from app.handlers.reply import Reply, refusal, reply_to

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_BY_STATUS: Final = {
    404: problems.NOT_FOUND,
    413: problems.TOO_LARGE,
    414: problems.URI_TOO_LONG,
    415: problems.UNSUPPORTED_MEDIA_TYPE,
    431: problems.HEADERS_TOO_LARGE,
}
_BY_SLUG: Final = {kind.slug: kind for kind in PROBLEM_TYPES}

_PAGE: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ kind.status }} {{ kind.title }} - Telemetry Cache</title>
<style>
  :root { color-scheme: light dark; }
  body { font: 1.05rem/1.6 system-ui, sans-serif; max-width: 42rem; margin: 3rem auto; padding: 0 1rem; }
  code { font-size: .95em; }
</style>
<p><code>{{ kind.uri }}</code> &middot; HTTP {{ kind.status }} {{ phrase }}</p>
<h1>{{ kind.title }}</h1>
<p>{{ kind.explanation }}</p>
<p><a href="/docs/">The calls, to try</a> &middot; <a href="/problems">all problems</a></p>
</html>
"""

_INDEX: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Problems - Telemetry Cache</title>
<style>
  :root { color-scheme: light dark; }
  body { font: 1.05rem/1.6 system-ui, sans-serif; max-width: 42rem; margin: 3rem auto; padding: 0 1rem; }
</style>
<h1>Problems</h1>
<ul>{% for kind in kinds %}<li>{{ kind.status }} <a href="{{ kind.uri }}">{{ kind.title }}</a></li>{% endfor %}</ul>
</html>
"""


class Ready(Response):
    """A reply as Flask's response: its bytes and headers are as they will be sent.

    werkzeug's own copies the headers, looks for locations to mend and counts the bytes again.
    """

    def __init__(self, reply: Reply) -> None:
        """Take the reply whole; werkzeug would look each header up before it is set."""
        headers = [("Content-Type", reply.content_type), ("Content-Length", str(len(reply.body)))]
        super().__init__([reply.body], _status_line(reply.status), [*headers, *reply.headers.items()])

    def get_wsgi_response(self, environ: "WSGIEnvironment") -> tuple[Iterable[bytes], str, list[tuple[str, str]]]:
        """Return (body, status, headers)."""
        body: Iterable[bytes] = () if environ["REQUEST_METHOD"] == "HEAD" else self.iter_encoded()
        return body, self.status, self.headers.to_wsgi_list()


def send(reply: Reply) -> Response:
    """Return a reply as Flask's response."""
    return Ready(reply)


def register_errors(app: Flask) -> None:
    """Answer every error as a problem, Flask's own included."""

    def on_http(error: HTTPException) -> Response | HTTPException:
        if error.code is None or error.code < HTTPStatus.BAD_REQUEST:
            return error  # a redirect
        return send(_of_http(error))

    app.register_error_handler(HTTPException, on_http)
    app.register_error_handler(Exception, lambda error: send(reply_to(error)))


def make_blueprint() -> Blueprint:
    """The pages under `/problems`."""
    pages = Blueprint("problems", __name__)

    @pages.get("/problems")
    def index() -> str:
        return render_template_string(_INDEX, kinds=PROBLEM_TYPES)

    @pages.get("/problems/<slug>")
    def page(slug: str) -> str:
        kind = _BY_SLUG.get(slug)
        if kind is None:
            raise NotFound
        return render_template_string(_PAGE, kind=kind, phrase=HTTPStatus(kind.status).phrase)

    return pages


@cache
def _status_line(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}"


def _of_http(error: HTTPException) -> Reply:
    if isinstance(error, MethodNotAllowed):
        allowed = ", ".join(sorted(error.valid_methods or ()))
        return refusal(problems.METHOD_NOT_ALLOWED, f"this path takes {allowed}", Allow=allowed)
    kind: ProblemType = _BY_STATUS.get(error.code or 0, problems.BAD_REQUEST)
    detail = "no call has this path" if kind is problems.NOT_FOUND else "the request cannot be read"
    return refusal(kind, detail)
