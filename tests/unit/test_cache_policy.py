"""config/cache.toml: what each tool may keep, and what a bad row says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.core.cache_policy import MAX_TTL_S, MIN_TTL_S, PolicyError, ToolPolicy, load_policy, why_not_cacheable
from app.settings import ROOT

SHIPPED = (ROOT / "config" / "cache.toml").read_text(encoding="utf-8")
PLAIN = ToolPolicy(ignore=frozenset(), loose=False, ttl_s=3600, cacheable=True)


def test_the_shipped_default() -> None:
    """What cannot change an answer is ignored; an hour, exact, cacheable."""
    policy = load_policy(SHIPPED)
    assert policy.tools == {}
    assert policy.of("any") == ToolPolicy(
        ignore=frozenset(
            ["request_id", "session_id", "user", "user_id", "stream", "metadata", "timestamp", "trace_id"]
        ),
        loose=False,
        ttl_s=3600,
        cacheable=True,
    )


@pytest.mark.parametrize(
    ("text", "tool", "wanted"),
    [
        ("", "any", PLAIN),
        ("[default]\nttl = 60", "any", replace(PLAIN, ttl_s=60)),
        ("[default]\nttl = 60\n[tool.a]\nloose = true", "a", replace(PLAIN, ttl_s=60, loose=True)),
        ("[default]\nttl = 60\n[tool.a]\nloose = true", "b", replace(PLAIN, ttl_s=60)),
        ("[tool.a]\ncacheable = false", "a", replace(PLAIN, cacheable=False)),
        ("[default]\nignore = ['x']\n[tool.a]\nignore = ['y']", "a", replace(PLAIN, ignore=frozenset("y"))),
        ("[default]\nignore = ['x']\n[tool.a]\nignore = []", "a", PLAIN),
        ("[default]\nignore = ['x']\n[tool.a]\nttl = 7", "a", replace(PLAIN, ignore=frozenset("x"), ttl_s=7)),
        ("[default]\nloose = true\n[tool.a]\nloose = false", "a", PLAIN),
        ('[tool."a.b c"]\nttl = 1', "a.b c", replace(PLAIN, ttl_s=1)),
        (f"[tool.a]\nttl = {MAX_TTL_S}", "a", replace(PLAIN, ttl_s=MAX_TTL_S)),
    ],
)
def test_a_tool_has_the_default_but_for_its_own_row(text: str, tool: str, wanted: ToolPolicy) -> None:
    """A row overrides what it names and nothing else, and other tools keep the default."""
    assert load_policy(text).of(tool) == wanted


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[default", ["not TOML"]),
        ("[tools.a]\nttl = 1", ["unknown table 'tools'", "default and tool"]),
        ("ttl = 5", ["unknown table 'ttl'"]),
        ("default = 5", ["[default]", "not a table"]),
        ("[[default]]", ["[default]", "not a table"]),
        ("tool = 5", ["[tool.<name>]"]),
        ("[[tool]]\nname = 'a'", ["[tool.<name>]"]),
        ("[tool]\na = 5", ["[tool.a]", "not a table"]),
        ("[tool.a]\ntime = 5", ["[tool.a]", "unknown key 'time'", "cacheable, ignore, loose, ttl"]),
        ("[default]\nTTL = 5", ["[default]", "unknown key 'TTL'"]),
        ("[tool.a]\nignore = 'x'", ["[tool.a] ignore"]),
        ("[tool.a]\nignore = [1]", ["[tool.a] ignore"]),
        ("[tool.a]\nloose = 1", ["[tool.a] loose"]),
        ("[tool.a]\nloose = 'true'", ["[tool.a] loose"]),
        ("[tool.a]\ncacheable = 0", ["[tool.a] cacheable"]),
        (f"[tool.a]\nttl = {MIN_TTL_S - 1}", ["[tool.a] ttl", "1 to 2592000"]),
        (f"[tool.a]\nttl = {MAX_TTL_S + 1}", ["[tool.a] ttl"]),
        ("[tool.a]\nttl = -5", ["[tool.a] ttl"]),
        ("[tool.a]\nttl = 60.0", ["[tool.a] ttl"]),
        ("[tool.a]\nttl = true", ["[tool.a] ttl"]),
        ("[tool.a]\nttl = '60'", ["[tool.a] ttl"]),
        ("\n[default]\n\n[tool.'a b']\nttl = 0", ["line 4: [tool.a b] ttl"]),
    ],
)
def test_a_bad_row_is_named_with_its_fault(text: str, says: list[str]) -> None:
    """The message holds the table's name, the key, and what would be right."""
    with pytest.raises(PolicyError) as caught:
        load_policy(text)
    for words in says:
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({}, None),
        ({"response": "text"}, None),
        ({"response": 0, "text": False}, None),
        ({"response": " "}, None),
        ({"error": None, "status": "ok", "finish_reason": "stop"}, None),
        ({"error": "", "response": "a"}, None),
        ({"error": False}, None),
        ({"status": "errors"}, None),
        ({"status": 500}, None),
        ({"status": ["error"]}, None),
        ({"finish_reason": "Length of it"}, None),
        ({"note": None, "tokens": 0}, None),
        ({"error": "no"}, "data.error"),
        ({"error": {"code": 5}, "response": "a"}, "data.error"),
        ({"error": True}, "data.error"),
        ({"status": "error"}, "data.status"),
        ({"status": "Failure"}, "data.status"),
        ({"finish_reason": "length", "response": "a"}, "data.finish_reason"),
        ({"response": ""}, "data.response"),
        ({"response": None}, "data.response"),
        ({"text": ""}, "data.text"),
        ({"text": None, "response": "a"}, "data.text"),
    ],
)
def test_what_must_not_be_replayed(data: dict[str, Any], reason: str | None) -> None:
    """Errors, empty answers and those that were cut off are refused, by the field that says so."""
    given = why_not_cacheable(PLAIN, data)
    assert (given is None) == (reason is None)
    assert reason is None or reason in str(given)


def test_a_tool_with_side_effects_is_refused_whatever_it_answered() -> None:
    """The reason speaks of the tool, since no other answer would help."""
    assert "side effects" in str(why_not_cacheable(replace(PLAIN, cacheable=False), {"response": "fine"}))


@pytest.mark.parametrize(
    "data", [{"error": "plum"}, {"status": "error", "text": "plum"}, {"response": None, "x": "plum"}]
)
def test_a_reason_quotes_no_value(data: dict[str, Any]) -> None:
    """The answer may be personal; its field's name is enough."""
    assert "plum" not in str(why_not_cacheable(PLAIN, data))
