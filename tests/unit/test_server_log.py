"""Our own log: one JSON object a line, and no word of a caller's, of an exception's or of a library's."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.server import JsonFormatter

SECRET = "bob.smith@example.org"


def line(message: Any, *args: object, level: int = logging.INFO, exc: BaseException | None = None) -> dict[str, Any]:
    """The parsed line of one record."""
    info = (type(exc), exc, exc.__traceback__) if exc is not None else None
    record = logging.LogRecord("gunicorn.error", level, __file__, 7, message, args, info)
    record.created = 1756895400.0
    record.process = 42
    text = JsonFormatter().format(record)
    assert "\n" not in text
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def raised(error: BaseException) -> BaseException:
    """The error, with a stack behind it."""

    def fail() -> None:
        raise error

    try:
        fail()
    except BaseException as exc:  # noqa: BLE001 - whatever it is
        return exc
    return error


def test_a_line_says_when_who_and_what() -> None:
    """Time in UTC, level, logger, process and the message."""
    assert line("Booting worker with pid: %s", 42) == {
        "time": "2025-09-03T10:30:00.000000000Z",
        "level": "info",
        "logger": "gunicorn.error",
        "pid": 42,
        "message": "Booting worker with pid: 42",
    }


@pytest.mark.parametrize(
    ("message", "args", "shown"),
    [
        ("Starting gunicorn %s", ("27.0.1",), "Starting gunicorn 27.0.1"),
        ("Listening at: %s (%s)", ("http://127.0.0.1:8114", 42), "Listening at: http://127.0.0.1:8114 (42)"),
        ("Using worker: %s", ("app.server.Worker",), "Using worker: app.server.Worker"),
        ("Handling signal: %s", ("term",), "Handling signal: term"),
        ("Worker (pid:%s) was sent %s!", (7, "SIGKILL"), "Worker (pid:7) was sent SIGKILL!"),
        ("%d events wait for %.1f s", (3, 0.25), "3 events wait for 0.2 s"),
        ("Shutting down", (), "Shutting down"),
        ("100% done", (), "(withheld)"),
    ],
)
def test_fixed_words_numbers_and_addresses_are_shown(message: str, args: tuple[object, ...], shown: str) -> None:
    """What gunicorn says of itself stays readable."""
    assert line(message, *args)["message"] == shown


def test_a_table_of_ours_and_its_fault_are_shown() -> None:
    """They are the operator's words, in members of their own; nothing else that hangs on a record is shown."""
    added = {"file": "detectors.toml", "fault": "line 7: patterns: no ^, $, \\A or \\z", "secret": SECRET}
    record = logging.LogRecord("telemetry_cache", logging.ERROR, __file__, 7, "a table cannot be used", (), None)
    record.__dict__.update(added)
    shown = json.loads(JsonFormatter().format(record))
    assert (shown["file"], shown["fault"]) == (added["file"], added["fault"])
    assert SECRET not in str(shown)


@pytest.mark.parametrize(
    "error",
    [
        ValueError(f"invalid: {SECRET}"),
        KeyError(SECRET),
        UnicodeDecodeError("utf-8", SECRET.encode(), 0, 1, SECRET),
        OSError(5, SECRET, SECRET),
        RuntimeError(),
        KeyboardInterrupt(SECRET),
        ExceptionGroup(SECRET, [ValueError(SECRET)]),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("args", [(), ("/log",), (SECRET,), (ValueError(SECRET),)])
def test_an_exception_shows_its_type_and_place_and_not_its_text(error: BaseException, args: tuple[object, ...]) -> None:
    """Its text may quote a value; where it was raised is enough to find it."""
    message = "Error handling request %s" if args else "Exception in worker process"
    shown = line(message, *args, level=logging.ERROR, exc=raised(error))
    assert shown["error"] == type(error).__name__
    assert shown["where"]
    assert all(SECRET not in frame for frame in shown["where"])
    assert "test_server_log.py:" in shown["where"][-1]
    assert shown["where"][-1].endswith(" fail")
    assert SECRET not in json.dumps(shown)


def test_a_chain_of_exceptions_shows_none_of_their_texts() -> None:
    """Neither the cause nor the context."""
    error = ValueError(SECRET)
    error.__cause__ = raised(KeyError(SECRET))
    error.__context__ = raised(OSError(SECRET))
    error.add_note(SECRET)
    shown = line("failed", level=logging.ERROR, exc=raised(error))
    assert shown["error"] == "ValueError"
    assert SECRET not in json.dumps(shown)


def test_a_long_stack_is_cut_to_its_end() -> None:
    """The last eight frames, where the fault is."""

    def down(levels: int) -> None:
        if levels:
            down(levels - 1)
        raise RecursionError(SECRET)

    with pytest.raises(RecursionError) as caught:
        down(50)
    shown = line("failed", level=logging.ERROR, exc=caught.value)
    assert len(shown["where"]) == 8
    assert shown["where"][-1].endswith(" down")


@pytest.mark.parametrize(
    "argument",
    [
        SECRET,
        "a\nb",
        'quote"',
        "key=value&x",
        "<script>",
        "é\u2028",
        "\x1b[31m",
        "\ud800",
        "x" * 161,
        SECRET.encode(),
        {"payload": SECRET},
        [SECRET],
        ValueError(SECRET),
    ],
    ids=repr,
)
def test_an_odd_argument_is_left_out(argument: object) -> None:
    """The template stands there as it is, so that the kind of the message is still known."""
    assert line("Invalid request from ip=%s: %s", "127.0.0.1", argument)["message"] == "Invalid request from ip=%s: %s"


def test_a_mapping_as_argument_is_left_out_too() -> None:
    """logging takes `%(name)s` with one mapping."""
    assert line("payload %(p)s", {"p": SECRET})["message"] == "payload %(p)s"


@pytest.mark.parametrize(
    "message",
    [
        f"could not read {SECRET}",
        f"could not read\n{SECRET}",
        f"Traceback:\n  File x\nValueError: {SECRET}",
        f"safe words\n\n{SECRET}\n",
        f"{'x' * 200}",
        ValueError(SECRET),
        {"payload": SECRET},
    ],
    ids=lambda message: repr(message)[:30],
)
def test_a_message_made_by_hand_is_withheld_where_it_is_odd(message: object) -> None:
    """A library that writes its words into the message itself must not write a caller's into our log."""
    assert SECRET not in json.dumps(line(message))


@pytest.mark.parametrize(
    ("message", "args"), [("%d items", ("two",)), ("%s and %s", ("one",)), ("nothing", ("at all",)), ("%q", (1,))]
)
def test_a_message_that_does_not_fit_its_arguments_is_still_a_line(message: str, args: tuple[object, ...]) -> None:
    """Raising here would make logging print the arguments as they are."""
    assert line(message, *args)["message"] == message


def test_debug_messages_show_their_template_alone() -> None:
    """gunicorn's debug messages hold requests."""
    assert line("%s %s", "GET", "/log", level=logging.DEBUG)["message"] == "%s %s"


def test_nothing_else_of_a_record_is_shown() -> None:
    """Extra attributes, cached exception texts and stack texts stay out."""
    record = logging.LogRecord("x", logging.ERROR, __file__, 7, "failed", (), None)
    record.exc_text = record.stack_info = SECRET
    record.payload = SECRET
    assert SECRET not in JsonFormatter().format(record)


def test_an_exception_that_is_none_is_no_error() -> None:
    """`exc_info=True` outside of a handler."""
    record = logging.LogRecord("x", logging.ERROR, __file__, 7, "failed", (), sys.exc_info())
    assert "error" not in json.loads(JsonFormatter().format(record))


@given(
    st.text(max_size=30), st.lists(st.text(max_size=20) | st.integers() | st.none() | st.binary(max_size=5), max_size=3)
)
def test_no_argument_with_a_sign_of_an_address_is_shown(message: str, args: list[object]) -> None:
    """Whatever is logged, it is one line of JSON, and no `@` of an argument is in it."""
    shown = line("request: " + "%s " * len(args) + message.replace("%", ""), *args)
    assert "@" not in shown["message"] or "@" in message
