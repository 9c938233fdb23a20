"""What becomes of one line. Pure: bytes in, bytes and findings out."""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

import orjson

from app.clean.text import Redact, TextSearch
from app.core import strict_json
from app.core.events import Finding
from app.core.redaction import FAILED
from app.core.strict_json import JsonFault

NOT_JSON: Final = "not_json"
"""The detector name under which a line stands that policies say something of, and of which nobody knows the fields."""

TOO_LONG: Final = "too_long"
"""The detector name under which a line stands that is longer than any that is searched."""

_WITHHELD: Final = b'"[REDACTED]"'
"""Stands for a line of which nothing may be shown; JSON, so that what was NDJSON is so afterwards."""

_POINTERS_BYTES: Final = 1 << 20
"""How long the pointers of one line may be together: each repeats the names on its way."""

_BLANK: Final = b" \t\r\n"


class Kind(StrEnum):
    """How a line was read."""

    BLANK = "blank"
    JSON = "json"
    TEXT = "text"
    WITHHELD = "withheld"


class Found(NamedTuple):
    """One finding as it is reported; `pointer` is None where the line's others are too long already.

    length: characters replaced; of a line that is withheld, its bytes.
    """

    pointer: str | None
    detector: str
    action: str
    length: int


class Cleaned(NamedTuple):
    """A line as it goes out, its line end included."""

    line: bytes
    kind: Kind
    findings: Sequence[Found] = ()


class Cleaner:
    """Cleans lines, each by itself."""

    def __init__(self, redact: Redact, *, has_policies: bool = False) -> None:
        """`redact` is `core.redaction.redact` with its rules; where policies hold, only JSON can be shown."""
        self._redact = redact
        self._has_policies = has_policies
        self._texts = TextSearch(redact)

    def clean(self, line: bytes) -> Cleaned:
        """Return a line as it may be shown. What has no finding comes out byte for byte.

        A line that a fault keeps from being searched is withheld: a fault never lets a raw line through.
        """
        body, end = split_end(line)
        if not body.strip(_BLANK):
            return Cleaned(line, Kind.BLANK)
        try:
            return self._cleaned(line, body, end)
        except Exception:  # noqa: BLE001 - fail closed, and counted
            return withheld(len(body), end, FAILED)

    def _cleaned(self, line: bytes, body: bytes, end: bytes) -> Cleaned:
        try:
            value = strict_json.parse(body)
        except JsonFault:
            if self._has_policies:
                return withheld(len(body), end, NOT_JSON)
            text, findings = self._texts.clean(body)
            rows = [Found("", found.detector, found.action, found.length) for found in findings]
            return Cleaned(text + end, Kind.TEXT, rows)
        redacted = self._redact(value)
        if not redacted.findings:
            return Cleaned(line, Kind.JSON)
        if any(found.place is None and found.detector == FAILED for found in redacted.findings):
            return withheld(len(body), end, FAILED)
        return Cleaned(orjson.dumps(redacted.value) + end, Kind.JSON, _placed(redacted.findings))


def withheld(size_bytes: int, end: bytes, reason: str) -> Cleaned:
    """Return what stands for a line of which nothing may be shown; `reason` is the finding's detector."""
    return Cleaned(_WITHHELD + end, Kind.WITHHELD, (Found("", reason, "redact", size_bytes),))


def split_end(line: bytes) -> tuple[bytes, bytes]:
    r"""Part a line from its end: `\n`, `\r\n`, or nothing where the file ends without one."""
    for end in (b"\r\n", b"\n"):
        if line.endswith(end):
            return line[: -len(end)], end
    return line, b""


def _placed(findings: Iterable[Finding]) -> list[Found]:
    placed: list[Found] = []
    room = _POINTERS_BYTES
    for found in findings:
        pointer = found.pointer if room > 0 else ""
        room -= len(pointer)
        placed.append(Found(pointer if room > 0 else None, found.detector, found.action, found.length))
    return placed
