"""What we change of gunicorn.

Its own refusals are problems too, idle connections do not hold up a stop, and its log is one JSON
object a line without a caller's words.

Imported by gunicorn's master before anything is patched, so nothing that opens sockets is imported here.
"""

import logging
import re
import sys
import time
import traceback
from contextlib import suppress
from functools import cache, lru_cache
from typing import Any, Final

import orjson
from gunicorn import glogging, util
from gunicorn.http import errors as http_errors
from gunicorn.http import wsgi
from gunicorn.workers.base_async import AsyncWorker
from gunicorn.workers.ggevent import GeventWorker

from app.core import problems, times
from app.core.problems import ProblemType
from app.runtime.connections import ClientSocket, Connections, is_kill, take_turns

_REFUSALS: tuple[tuple[tuple[type[Exception], ...], ProblemType, str], ...] = (
    ((http_errors.LimitRequestLine,), problems.URI_TOO_LONG, "the request line has more than 8,190 bytes"),
    (
        (http_errors.LimitRequestHeaders,),
        problems.HEADERS_TOO_LARGE,
        "there are more than 100 header fields, or one has more than 8,190 bytes",
    ),
    (
        (http_errors.UnsupportedTransferCoding,),
        problems.NOT_IMPLEMENTED,
        "Transfer-Encoding is not understood; send Content-Length",
    ),
    (
        (http_errors.ParseException, http_errors.InvalidHeader, http_errors.InvalidHeaderName),
        problems.BAD_REQUEST,
        "the request line or a header field is malformed",
    ),
)

_REASONS = {400: "Bad Request", 414: "URI Too Long", 431: "Request Header Fields Too Large", 501: "Not Implemented"}

# What may stand in our log besides fixed words: numbers, addresses, signal names, paths of ours.
_SAFE_ARGUMENT = re.compile(r"[\w .:/()',\[\]+-]{0,160}")


# What our own code may add to a line by `extra`: a table of ours and what is wrong with it, in the operator's words.
_ADDED: Final = ("file", "fault")

_QUIETLY: Final = suppress(TimeoutError)


class Worker(GeventWorker):
    """gunicorn's gevent worker with our refusals and a quick stop."""

    slot = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As gunicorn makes it, in the master."""
        super().__init__(*args, **kwargs)
        self.connections = Connections()
        self._is_quitting = False

    def init_process(self) -> None:
        """Begin to serve, in the worker."""
        remember(self.cfg)
        super().init_process()

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve a connection, as gunicorn does but on a socket of our own."""
        AsyncWorker.handle(self, listener, ClientSocket.take(client, self.connections), addr)

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> None:
        """Answer a request, then let the others have their turn.

        A client that sends its next request at once would else keep its connection's greenlet running: the other
        connections wait for seconds, and so do replies of Redis and the shipping of what was logged.
        """
        sock.begin_request()
        try:
            super().handle_request(listener_name, req, sock, addr)
        finally:
            sock.end_request()
        take_turns()

    def services(self) -> Any:
        """Return the application's services, or None where it never came up."""
        app = getattr(self, "wsgi", None)
        return app.extensions["services"] if app is not None else None

    def timeout_ctx(self) -> Any:
        """The wait for a request's head is over, quietly, when the connection says that it took too long."""
        return _QUIETLY

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM: finish what is under way; nobody need wait for a connection that only might be used."""
        super().handle_exit(sig, frame)
        services = self.services()
        if services is not None:
            services.drain()
        self.connections.close()

    def handle_quit(self, sig: int, frame: Any) -> None:
        """SIGINT or SIGQUIT: end now, once.

        A terminal's Ctrl-C reaches the worker itself, and its master sends it on as SIGQUIT: the second
        would raise SystemExit again, in the midst of delivering what waits.
        """
        if not self._is_quitting:
            self._is_quitting = True
            super().handle_quit(sig, frame)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:  # noqa: ARG002 - gunicorn's signature
        """Answer what gunicorn itself refuses or what failed outside the application."""
        if is_kill(exc):
            return
        kind, detail = _refusal(exc)
        if kind is problems.INTERNAL:
            self.log.error("a request failed outside the application", exc_info=exc)
        try:
            client.sendall(_response(kind, detail))
        except OSError:
            self.log.debug("the client was gone before its refusal")


def remember(cfg: Any) -> None:
    """Let gunicorn not work out for each request what stays the same: settings, its error stream, the second's date.

    A worker's settings never change: a reload of the master gives its new workers others.
    """
    computed = vars(type(cfg))
    vars(cfg).update((name, setting.get()) for name, setting in cfg.settings.items() if name not in computed)
    wsgi.WSGIErrorsWrapper = cache(wsgi.WSGIErrorsWrapper)
    date_of = lru_cache(maxsize=1)(util.http_date)
    util.http_date = lambda timestamp=None: date_of(int(time.time() if timestamp is None else timestamp))


def _refusal(exc: BaseException) -> tuple[ProblemType, str]:
    for kinds, problem, detail in _REFUSALS:
        if isinstance(exc, kinds):
            return problem, detail
    return problems.INTERNAL, "a fault of ours; it was logged"


def _response(kind: ProblemType, detail: str) -> bytes:
    body = problems.render(kind, detail)
    head = (
        f"HTTP/1.1 {kind.status} {_REASONS.get(kind.status, 'Internal Server Error')}\r\n"
        f"Connection: close\r\nContent-Type: {problems.CONTENT_TYPE}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class JsonFormatter(logging.Formatter):
    """One JSON object a line. Fixed words and numbers only: exceptions show their type and place, not their text."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": times.rfc3339_ns(int(record.created * times.NANOSECONDS)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "message": _message(record),
        }
        line.update((name, record.__dict__[name]) for name in _ADDED if name in record.__dict__)
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = type(record.exc_info[1]).__name__
            line["where"] = [
                f"{frame.filename}:{frame.lineno} {frame.name}"
                for frame in traceback.extract_tb(record.exc_info[2])[-8:]
            ]
        return orjson.dumps(line).decode()


class Logger(glogging.Logger):
    """gunicorn's logger, and the root logger, in that format on stderr."""

    def setup(self, cfg: Any) -> None:
        """Replace gunicorn's handlers; no access log is written."""
        super().setup(cfg)
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonFormatter())
        self.error_log.handlers = [handler]
        root = logging.getLogger()
        root.handlers = [handler]
        root.setLevel(self.error_log.level)
        logging.Formatter.converter = time.gmtime


def _message(record: logging.LogRecord) -> str:
    template = str(record.msg)
    if not record.args:
        # Of a message put together by hand, the first line is the fixed words, if any line is.
        first_line = template.partition("\n")[0]
        return first_line if _SAFE_ARGUMENT.fullmatch(first_line) else "(withheld)"
    if record.exc_info or record.levelno <= logging.DEBUG:
        return template
    given = record.args if isinstance(record.args, tuple) else (record.args,)
    if not all(_SAFE_ARGUMENT.fullmatch(str(argument)) for argument in given):
        return template
    try:
        return record.getMessage()
    except (TypeError, ValueError):
        return template
