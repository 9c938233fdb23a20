"""What is remembered of where requests go leads nobody elsewhere, and does not grow with what callers ask."""

from __future__ import annotations

import pytest
from flask import Request
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map, Rule

from app.web.routes import Known, Routes


@pytest.fixture
def url_map() -> Map:
    """Two calls at one path, and a page with a variable part."""
    rules = [
        Rule("/log", endpoint="log", methods=["POST"]),
        Rule("/log", endpoint="shown", methods=["GET"]),
        Rule("/problems/<slug>", endpoint="problem", methods=["GET"]),
    ]
    return Map(rules, merge_slashes=False)


def match(url_map: Map, known: Known, method: str, path: str) -> tuple[str, dict[str, str]]:
    """Return the endpoint and the variable parts."""
    rule, values = Routes(url_map, Request(environ(method, path)), known).match(return_rule=True)
    return rule.endpoint, values


def environ(method: str, path: str) -> dict[str, str]:
    """Return as much of a WSGI environment as routing asks for."""
    return {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
    }


def test_the_second_request_goes_where_the_first_went(url_map: Map):
    """Method and path decide, remembered or not."""
    known: Known = {}
    for _ in range(2):
        assert match(url_map, known, "POST", "/log") == ("log", {})
        assert match(url_map, known, "GET", "/log") == ("shown", {})
        assert match(url_map, known, "GET", "/problems/a") == ("problem", {"slug": "a"})
        assert match(url_map, known, "GET", "/problems/b") == ("problem", {"slug": "b"})
    assert set(known) == {("POST", "/log"), ("GET", "/log")}


@pytest.mark.parametrize(("method", "path", "error"), [("GET", "/lo", NotFound), ("PUT", "/log", MethodNotAllowed)])
def test_what_no_rule_takes_is_refused_each_time(url_map: Map, method: str, path: str, error: type[Exception]):
    """A refusal is not remembered, and nothing that was remembered answers for it."""
    known: Known = {}
    match(url_map, known, "POST", "/log")
    for _ in range(2):
        with pytest.raises(error):
            match(url_map, known, method, path)
    assert set(known) == {("POST", "/log")}


def test_callers_cannot_make_it_grow(url_map: Map):
    """werkzeug takes any number of slashes before a path: each spelling leads to the call, one is remembered."""
    known: Known = {}
    for number in range(1, 50):
        assert match(url_map, known, "POST", "/" * number + "log")[0] == "log"
        match(url_map, known, "GET", f"/problems/{number}")
    assert set(known) == {("POST", "/log")}


def test_what_is_remembered_cannot_be_spoilt(url_map: Map):
    """The variable parts that a request is given are its own."""
    known: Known = {}
    match(url_map, known, "POST", "/log")
    match(url_map, known, "POST", "/log")[1]["slug"] = "left behind"
    assert match(url_map, known, "POST", "/log") == ("log", {})
