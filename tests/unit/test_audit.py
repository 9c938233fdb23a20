"""The second search: what redaction missed is counted, and only what it missed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from app.audit import Audit
from app.core.events import Redacted, RedactedPayload, seal
from app.core.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterable

    from app.core.rules import Rules

PERSONAL = {
    "user_id": "user123",
    "note": "mail bob@example.org",
    "n": [4111111111111111],
    "api_key": "sk-1234567890abcdef",
}


class FakeTelemetry:
    def __init__(self) -> None:
        self.lines = 0
        self.leaks: list[str] = []

    def audited(self, lines: int, leaks: Iterable[str]) -> None:
        self.lines += lines
        self.leaks += leaks


def line(payload: RedactedPayload) -> Redacted:
    return seal(
        event_id="evt_0123456789abcdef0123456789abcdef",
        event="user_action",
        labels=(),
        received_ns=1_790_000_000_123_456_789,
        payload=payload,
    )


def test_a_redacted_line_holds_nothing(rules: Rules) -> None:
    """Neither marks nor our own id and time are taken for somebody's."""
    telemetry: Any = FakeTelemetry()
    Audit(rules, telemetry, every=1)([line(redact(PERSONAL, rules))])
    assert (telemetry.lines, telemetry.leaks) == (1, [])


def test_a_line_that_was_not_redacted_is_counted_by_detector(rules: Rules) -> None:
    """As if redaction had let everything through."""
    telemetry: Any = FakeTelemetry()
    Audit(rules, telemetry, every=1)([line(RedactedPayload(PERSONAL, ()))])
    assert sorted(telemetry.leaks) == ["api_key", "credit_card", "email", "user_id"]


@pytest.mark.parametrize(
    ("every", "batches", "lines"),
    [
        (1, [3, 2], 5),
        (3, [2, 2, 2, 2, 2], 3),
        (3, [9], 3),
        (4, [3], 0),
        (4, [1, 1, 1, 1, 1], 1),
        (0, [5], 0),
    ],
)
def test_one_line_in_so_many_is_searched(rules: Rules, every: int, batches: list[int], lines: int) -> None:
    """However they are cut into batches."""
    telemetry: Any = FakeTelemetry()
    audit = Audit(rules, telemetry, every=every)
    for size in batches:
        audit([line(RedactedPayload({}, ()))] * size)
    assert telemetry.lines == lines
