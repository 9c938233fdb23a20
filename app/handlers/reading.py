"""From bytes to checked values: strict JSON, then a schema. Every fault is the caller's and names no value."""

import re
from typing import Any, Final

from marshmallow import Schema, ValidationError

from app.core import strict_json
from app.core.redaction import redact
from app.core.rules import Rules
from app.core.strict_json import Fault, JsonFault
from app.core.walk import WITHHELD
from app.errors import InvalidError, NotJsonError

_MAX_NAME: Final = 64
_NUMBER: Final = re.compile(r"\d(?:\D?\d){5}")
_MAX_ERRORS: Final = 20
"""A body of ten thousand unknown fields is not answered with ten thousand messages."""


class Reader:
    """Reads bodies; holds the rules by which callers' own names are redacted before they are shown."""

    def __init__(self, rules: Rules) -> None:
        """`rules` are those of every other text."""
        self._rules = rules

    def json(self, raw: bytes) -> Any:
        """Return one document's value, or raise NotJsonError."""
        try:
            return strict_json.parse(raw)
        except JsonFault as exc:
            raise self.not_json(exc.fault) from None

    def not_json(self, fault: Fault) -> NotJsonError:
        """Return the refusal of a faulty document."""
        if fault.key is None:
            return NotJsonError(fault.detail)
        return NotJsonError(f"{fault.detail}: {self.shown(fault.key)}")

    def load(self, schema: Schema, value: Any) -> dict[str, Any]:
        """Return what a schema makes of a value, or raise InvalidError."""
        if not isinstance(value, dict):
            raise InvalidError("the body must be an object")
        try:
            loaded: dict[str, Any] = schema.load(value)
        except ValidationError as exc:
            raise self.invalid(exc.messages) from None
        return loaded

    def invalid(self, messages: Any) -> InvalidError:
        """Return the refusal with marshmallow's messages, its names redacted."""
        errors = self._shown_messages(messages)
        fields = ", ".join(errors)
        return InvalidError(f"these fields do not fit: {fields}", errors)

    def shown(self, name: str) -> str:
        """Return a caller's own name as it may be shown: redacted, printable, and not too long."""
        # Judged as it came, and without what does not print: a line break hides no card number.
        clean = str(redact(name, self._rules).value)
        printable = "".join(sign for sign in clean if sign.isprintable())
        printable = str(redact(printable, self._rules).value)
        if _NUMBER.search(printable):
            # No field of ours has one, and an address turns `?+358…` into a number that nothing announces.
            return WITHHELD
        return printable if len(printable) <= _MAX_NAME else printable[:_MAX_NAME] + "…"

    def _shown_messages(self, messages: Any) -> dict[str, Any]:
        if not isinstance(messages, dict):
            return {"body": messages}
        shown: dict[str, Any] = {}
        for name, message in list(messages.items())[:_MAX_ERRORS]:
            shown[self.shown(str(name))] = self._shown_messages(message) if isinstance(message, dict) else message
        return shown
