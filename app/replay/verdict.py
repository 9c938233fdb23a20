"""What an answer of the service means for a row. Pure: answers in, verdicts out."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from app.replay.client import Answer

CLIENT_ERRORS = range(400, 500)
# The stable end of a problem's type, which is all of a refusal that is safe to print.
PROBLEM_TYPE = re.compile(r"/problems/[a-z0-9-]{1,64}$")


class Found(StrEnum):
    """What a look-up came to; DEGRADED is a miss because the store was away, FAILED is no usable answer."""

    HIT = "hit"
    WRONG = "wrong"
    MISS = "miss"
    DEGRADED = "degraded"
    FAILED = "failed"


class Kept(StrEnum):
    """What became of an event: acknowledged, refused for good, or neither."""

    LOGGED = "logged"
    REJECTED = "rejected"
    UNACKNOWLEDGED = "unacknowledged"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an event; reason: "" where it was logged, else a problem's type or a status."""

    kept: Kept
    reason: str = ""


def judge_lookup(answer: Answer, expected: str | None) -> Found:
    """Judge an answer of `POST /cache/get`.

    A hit is WRONG unless its `data.response` is `expected` byte for byte; None takes any hit for one.
    """
    hit = answer.body.get("hit")
    if not answer.is_ok or not isinstance(hit, bool):
        return Found.FAILED
    if not hit:
        return Found.DEGRADED if answer.body.get("degraded") is True else Found.MISS
    data = answer.body.get("data")
    response = data.get("response") if isinstance(data, dict) else None
    return Found.HIT if expected is None or response == expected else Found.WRONG


def is_stored(answer: Answer) -> bool:
    """Tell whether `POST /cache/set` was acknowledged."""
    return answer.is_ok and answer.body.get("status") == "cached"


def judge_event(answer: Answer, event_id: str) -> Outcome:
    """Judge an answer of `POST /log`: an event is logged when its own id comes back."""
    if answer.is_ok and answer.body.get("event_id") == event_id:
        return Outcome(Kept.LOGGED)
    return _not_logged(answer)


def judge_batch(answer: Answer, event_ids: Sequence[str]) -> list[Outcome]:
    """Judge an answer of `POST /log/batch` for each of its events: their ids must stand in their places."""
    refusals = _refusals(answer)
    answered = answer.body.get("event_ids")
    acknowledged = answered if answer.is_ok and isinstance(answered, list) else []
    return [
        Outcome(Kept.REJECTED, refusals[at])
        if at in refusals
        else Outcome(Kept.LOGGED)
        if acknowledged[at : at + 1] == [event_id]
        else _not_logged(answer)
        for at, event_id in enumerate(event_ids)
    ]


def _refusals(answer: Answer) -> dict[int, str]:
    rejected = answer.body.get("rejected")
    members = [item for item in rejected if isinstance(item, dict)] if isinstance(rejected, list) else []
    return {item["index"]: _problem_type(item) or "rejected" for item in members if isinstance(item.get("index"), int)}


def _not_logged(answer: Answer) -> Outcome:
    if answer.is_ok:
        return Outcome(Kept.UNACKNOWLEDGED, "answered without its event_id")
    # Too many requests is no judgement of the event: it would be taken later.
    is_refusal = answer.status in CLIENT_ERRORS and answer.status != HTTPStatus.TOO_MANY_REQUESTS
    reason = _problem_type(answer.body) or (f"status {answer.status}" if answer.status else "no answer")
    return Outcome(Kept.REJECTED if is_refusal else Kept.UNACKNOWLEDGED, reason)


def _problem_type(problem: Mapping[str, Any]) -> str:
    name = problem.get("type")
    match = PROBLEM_TYPE.search(name) if isinstance(name, str) else None
    return match.group() if match else ""
