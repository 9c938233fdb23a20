"""Where a text travels in the suite: bare, in `/log` payloads, chats, tool calls, JSON in strings, logs, mails, tables, code."""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.corpus.model import Marked, Sample, spans_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.corpus.chance import Chance
    from tests.corpus.model import Step

Carried = tuple[Any, tuple["Step", ...], Marked]
"""A JSON value, where the text stands in it, and the text as it stands there."""


class Carrier(NamedTuple):
    """One way to carry a text."""

    name: str
    weight: float
    wrap: Callable[[Chance, Marked], Carried]
    lines: bool = True
    """It can carry several lines."""


def _escaped(run: str) -> str:
    """Escape as Python's `json.dumps` does unless it is told otherwise: also everything beyond ASCII."""
    return json.dumps(run)[1:-1]


def _json_string(chance: Chance, text: Marked) -> Marked:
    escape = _escaped if chance.maybe(0.35) else (lambda run: json.dumps(run, ensure_ascii=False)[1:-1])
    name = chance.choice(("text", "prompt", "content", "q", "message", "body", "note"))
    space = chance.choice(("", " "))
    before = f'{{"{name}":{space}"'
    after = chance.choice((f'",{space}"n":{space}{chance.randint(1, 50)}}}', '"}', f'",{space}"lang":{space}"en"}}'))
    return text.map(escape).between(before, after)


def _bare(_: Chance, text: Marked) -> Carried:
    return text.text, (), text


def _payload(chance: Chance, text: Marked) -> Carried:
    value = {
        "event": chance.choice(("tool_execution", "response_generation", "policy_violation")),
        "payload": {
            "timestamp": f"2025-09-{chance.randint(1, 30):02d}T10:30:{chance.randint(0, 59):02d}Z",
            "service": "pipelines-gateway",
            "tool": chance.choice(("generate_response", "web_search", "sql_query", "send_mail")),
            "args": {
                "model": "llama2",
                "prompt": text.text,
                "temperature": 0.7,
                "max_tokens": chance.randint(16, 4096),
            },
            "response": {"tokens": chance.randint(1, 4000), "latency_ms": chance.randint(1, 90_000)},
        },
    }
    return value, ("payload", "args", "prompt"), text


def _answer(chance: Chance, text: Marked) -> Carried:
    value = {
        "event": "response_generation",
        "payload": {
            "response": {"text": text.text, "tokens": chance.randint(1, 999), "latency_ms": chance.randint(1, 9999)},
            "trace_id": chance.hexed(32),
        },
    }
    return value, ("payload", "response", "text"), text


def _chat(chance: Chance, text: Marked) -> Carried:
    messages = [
        {"role": "system", "content": "You are a helpful assistant. Answer in 3 sentences."},
        {"role": "user", "content": text.text},
    ]
    return (
        {"model": "gpt-4o-2024-08-06", "messages": messages, "seed": chance.randint(1, 2**31)},
        ("messages", 1, "content"),
        text,
    )


def _content_parts(_: Chance, text: Marked) -> Carried:
    return (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": text.text}]}]},
        ("messages", 0, "content", 0, "text"),
        text,
    )


def _tool_call(chance: Chance, text: Marked) -> Carried:
    held = _json_string(chance, text)
    call = {"id": f"call_{chance.hexed(8)}", "type": "function", "function": {"name": "note", "arguments": held.text}}
    return {"tool_calls": [call]}, ("tool_calls", 0, "function", "arguments"), held


def _json_text(chance: Chance, text: Marked) -> Carried:
    held = _json_string(chance, text)
    return held.text, (), held


def _log_line(chance: Chance, text: Marked) -> Carried:
    level = chance.choice(("INFO", "WARNING", "ERROR", "DEBUG"))
    second = f"{chance.randint(0, 23):02d}:{chance.randint(0, 59):02d}:{chance.randint(0, 59):02d}"
    heads = (
        f"2024-03-{chance.randint(1, 31):02d} {second},{chance.randint(0, 999):03d} {level} [worker-{chance.randint(1, 64)}] app.handlers: ",
        f"{level[0]}0311 {second}.{chance.randint(0, 999_999):06d} {chance.randint(1, 99_999)} main.go:{chance.randint(1, 900)}] ",
        f"Mar {chance.randint(10, 31)} {second} host-{chance.randint(1, 99)} app[{chance.randint(100, 9999)}]: ",
        f"time=2024-03-11T{second}Z level={level.lower()} msg=",
    )
    held = text.between(chance.choice(heads))
    return held.text, (), held


def _quoted_mail(_: Chance, text: Marked) -> Carried:
    held = text.map(lambda run: run.replace("\n", "\n> ")).between(
        "Thanks, I will look at it today.\n\nOn Mon, 11 Mar 2024 at 14:02, they wrote:\n> ", "\n"
    )
    return {"ticket": {"subject": "Re: your request", "body": held.text}}, ("ticket", "body"), held


def _html(_: Chance, text: Marked) -> Carried:
    held = text.map(lambda run: html.escape(run, quote=False)).between(
        '<div class="msg"><p style="margin:0 12px">', "</p></div>"
    )
    return {"html": held.text}, ("html",), held


def _list(chance: Chance, text: Marked) -> Carried:
    rows: list[Any] = [f"row {chance.randint(1, 9)}", chance.randint(1, 10**6), text.text, None, True]
    return {"rows": rows}, ("rows", 2), text


def _code_comment(chance: Chance, text: Marked) -> Carried:
    sign = chance.choice(("# ", "// ", "-- "))
    held = text.between(
        f"def step_{chance.randint(1, 99)}(x):\n    {sign}",
        f"\n    return x[{chance.randint(0, 9)}:{chance.randint(10, 99)}]\n",
    )
    return {"args": {"code": held.text}}, ("args", "code"), held


def _csv(chance: Chance, text: Marked) -> Carried:
    held = text.map(lambda run: run.replace('"', '""')).between(
        f'id,date,note,total\n{chance.randint(1, 9999)},2024-03-11,"', f'",{chance.uniform(1, 900):.2f}\n'
    )
    return held.text, (), held


def _table(chance: Chance, text: Marked) -> Carried:
    held = text.map(lambda run: run.replace("|", "/")).between(
        "| # | note | n |\n|---|---|---|\n| 1 | ", f" | {chance.randint(1, 9999)} |\n| 2 | – | 0 |"
    )
    return held.text, (), held


CARRIERS = (
    Carrier("bare", 9, _bare),
    Carrier("payload", 3, _payload),
    Carrier("answer", 2, _answer),
    Carrier("chat", 2, _chat),
    Carrier("content parts", 0.7, _content_parts),
    Carrier("tool call", 1.5, _tool_call),
    Carrier("JSON text", 1.2, _json_text),
    Carrier("log line", 1.2, _log_line, lines=False),
    Carrier("quoted mail", 0.8, _quoted_mail),
    Carrier("HTML", 0.7, _html),
    Carrier("list", 0.7, _list),
    Carrier("code comment", 0.6, _code_comment, lines=False),
    Carrier("CSV", 0.6, _csv, lines=False),
    Carrier("table", 0.6, _table, lines=False),
)


def carried(chance: Chance, text: Marked, template: str) -> Sample:
    """Return the text in one of the carriers that can hold it."""
    several = "\n" in text.text
    key = any(mark.entity == "private_key" for mark in text.marks)
    fit = {
        carrier: carrier.weight
        for carrier in CARRIERS
        if (carrier.lines or not several) and not (key and carrier.name == "quoted mail")
    }
    carrier = chance.weighed(fit)
    value, path, held = carrier.wrap(chance, text)
    return Sample(value, spans_at(path, held), template, carrier.name)
