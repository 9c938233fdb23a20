"""What redaction is measured beside, in this process: the specification's own algorithm, and Python's `re`."""

from __future__ import annotations

import json
import re
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

# From here to the next comment, the specification's "PII Redaction" as it stands there.
PII_PATTERNS = {
    "email": r"\b[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Z|a-z]{2,}\b",
    "phone": r"\b\d{3}[-.]?\d{3}[-.]?\d{4}\b",
    "ssn": r"\b\d{3}[-]?\d{2}[-]?\d{4}\b",
    "credit_card": r"\b\d{4}[-]?\d{4}[-]?\d{4}[-]?\d{4}\b",
    "api_key": r"\b[A-Za-z0-9]{32,}\b",
    "ip_address": r"\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b",
    "user_id": r"\buser[_-]?[a-z0-9]+\b",
    "session_id": r"\bsession[_-]?[a-z0-9]+\b",
}


def redact_pii(data: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Redact PII from data and return redacted fields."""
    redacted = json.loads(json.dumps(data))  # Deep copy
    redacted_fields = []

    def _redact(obj: Any) -> None:
        if isinstance(obj, dict):
            for key, value in obj.items():
                if isinstance(value, str):
                    for pii_type, pattern in PII_PATTERNS.items():
                        if re.search(pattern, value):
                            obj[key] = f"[REDACTED_{pii_type.upper()}]"
                            redacted_fields.append(key)
                            break
                else:
                    _redact(value)
        elif isinstance(obj, list):
            for item in obj:
                _redact(item)

    _redact(redacted)
    return redacted, redacted_fields


# What follows is the benchmark's own.


class PatternByPattern:
    """The plain way in Python: each compiled pattern over each string, one after the other; no checks by code."""

    def __init__(self, patterns: Iterable[tuple[str, str]]) -> None:
        """`patterns` are (name, source); a source that `re` does not take is left out, and counted."""
        self.left_out: list[str] = []
        self.patterns: list[tuple[re.Pattern[str], str]] = []
        for name, source in dict.fromkeys([*PII_PATTERNS.items(), *patterns]):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", FutureWarning)  # "possible nested set", of no matter here
                    compiled = re.compile(source, re.ASCII)  # as RE2 understands \d, \w and \b
            except re.error:
                self.left_out.append(source)
            else:
                self.patterns.append((compiled, f"[REDACTED_{name.upper()}]"))

    def redact(self, value: Any) -> Any:
        """Return a copy of the value with every match replaced."""
        if isinstance(value, str):
            for pattern, mark in self.patterns:
                value = pattern.sub(mark, value)
            return value
        if isinstance(value, dict):
            return {key: self.redact(member) for key, member in value.items()}
        if isinstance(value, list):
            return [self.redact(item) for item in value]
        return value
