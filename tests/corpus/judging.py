"""The redaction that is judged: the project's own, with the detectors that it ships."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.core.detectors import load_rules
from app.core.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.events import RedactedPayload

DETECTORS = Path(__file__).parents[2] / "config" / "detectors.toml"


def redactor() -> Callable[[Any], RedactedPayload]:
    """Return what takes a JSON value and gives it redacted."""
    rules = load_rules(DETECTORS.read_text("utf-8"))
    return lambda value: redact(value, rules)
