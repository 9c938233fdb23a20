"""What a row is sent as: tool call, log event, cache entry. Pure: time, ids and figures are arguments."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app.replay.rows import Row

TOOL = "generate_response"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the program.

    run_id: letters alone; it stands in every event id. fresh: whether it also stands in the arguments, so
    that this run's cache keys are no other run's.
    """

    run_id: str
    fresh: bool


@dataclass(frozen=True, slots=True)
class Timing:
    """How long the row's own first look-up took: to the answer's first byte, and to its end, in milliseconds.

    There is no model here whose time could be told, and an invented figure would be worth less than a real
    one of something else. So the TTFB and tokens per second that the service derives from a replay speak of
    the service itself, not of a model.
    """

    ttfb_ms: float
    latency_ms: float


def tool_args(row: Row, run: Run) -> dict[str, Any]:
    """Give the arguments of the tool call: the same for the event and for the cache."""
    args: dict[str, Any] = {"model": "replay", "prompt": row.prompt, "temperature": 0.7}
    if run.fresh:
        args["replay_run"] = run.run_id
    return args


def lookup(row: Row, run: Run) -> dict[str, Any]:
    """Give the body of `POST /cache/get`."""
    return {"tool": TOOL, "args": tool_args(row, run)}


def entry(row: Row, run: Run, latency_ms: float) -> dict[str, Any]:
    """Give the body of `POST /cache/set`, with the service's own time to live."""
    data = {"response": row.answer, "tokens": count_tokens(row.answer), "latency_ms": round(latency_ms, 3)}
    return {**lookup(row, run), "data": data}


def log_event(row: Row, run: Run, timing: Timing, now: datetime) -> dict[str, Any]:
    """Give the body of `POST /log`: a `response_generation` event at `now` (aware), with an id of its own.

    The id is the same however often the event is sent, so that a retry is not a second event.
    """
    event_id = f"replay-{run.run_id}-{row.number}"
    response = {
        "text": row.answer,
        "tokens": count_tokens(row.answer),
        "latency_ms": round(timing.latency_ms, 3),
        "ttfb_ms": round(timing.ttfb_ms, 3),
    }
    payload = {
        "timestamp": rfc3339(now),
        "service": "replay",
        "tool": TOOL,
        "args": tool_args(row, run),
        "response": response,
        "metadata": {"request_id": event_id},
    }
    return {"event": "response_generation", "event_id": event_id, "payload": payload}


def count_tokens(text: str) -> int:
    """Count the words between white space: a stand-in for tokens, of which a model would count some more."""
    return len(text.split())


def rfc3339(moment: datetime) -> str:
    """Give an aware time as RFC 3339 in UTC, milliseconds, with `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
