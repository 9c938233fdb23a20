"""What redaction touched, by the names of fields and detectors; a value never leaves this module."""

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from app.replay.client import NO_ANSWER, Answer, Client

# What a detector, or an action by field name, can be called; anything else is not printed.
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,63}")
# Stands for a name that was not sent: a service that answers with one might be quoting a text.
UNNAMED = "(a name that was not sent)"
# The next row would be answered alike: no right to ask, no such call, too many of them, or no answer.
GENERAL_REFUSALS = frozenset(
    {
        NO_ANSWER,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.METHOD_NOT_ALLOWED,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.SERVICE_UNAVAILABLE,
    }
)


class DryRun:
    """`POST /redact`, asked what redaction makes of a payload until a refusal says that asking is in vain.

    One thread may set `_is_refused` while another reads it; the worst of that is one more question.
    """

    def __init__(self) -> None:
        self._is_refused = False

    def ask(self, client: Client, payload: Mapping[str, Any]) -> tuple[str, ...] | None:
        """Give `pointer detector` for each finding in `payload`; None where the service does not say."""
        if self._is_refused:
            return None
        answer = client.post("/redact", payload)
        self._is_refused = answer.status in GENERAL_REFUSALS
        return finding_names(answer, payload)


def finding_names(answer: Answer, payload: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Name the findings of a dry run in order, each once; None where the answer holds no list of them."""
    findings = answer.body.get("findings")
    if not answer.is_ok or not isinstance(findings, list):
        return None
    sent = frozenset(field_names(payload))
    return tuple(dict.fromkeys(_finding_name(finding, sent) for finding in findings))


def redacted_fields(answer: Answer, payload: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Give the `redacted_fields` of an answer of `/log`, where the payload has such names; None: not told."""
    fields = answer.body.get("redacted_fields")
    if not isinstance(fields, list):
        return None
    sent = list(field_names(payload))
    return tuple(name if name in sent else UNNAMED for name in fields)


def field_names(value: Any) -> Iterator[str]:
    """Go through the names of a payload at every depth; a replay's own payloads hold no lists."""
    if isinstance(value, Mapping):
        for name, member in value.items():
            yield name
            yield from field_names(member)


def _finding_name(finding: Any, sent: frozenset[str]) -> str:
    members = finding if isinstance(finding, Mapping) else {}
    pointer, detector = members.get("pointer"), members.get("detector")
    is_known = isinstance(pointer, str) and sent.issuperset(pointer.split("/")[1:])
    is_named = isinstance(detector, str) and NAME.fullmatch(detector)
    return f"{pointer if is_known else UNNAMED} {detector if is_named else UNNAMED}"
