"""A caller's own names in our refusals: redacted, printable, short, and never a number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.handlers.reading import Reader

if TYPE_CHECKING:
    from app.core.rules import Rules


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("temperature", "temperature"),
        ("näme_2", "näme_2"),
        ("bob@x.org", "[REDACTED_EMAIL]"),
        (" 358949799531", "[REDACTED]"),
        ("a 12-34 56", "[REDACTED]"),
        ("a\n12345", "a12345"),
        ("x" * 65, "x" * 64 + "…"),
    ],
)
def test_a_name_as_it_is_shown(rules: Rules, name: str, shown: str) -> None:
    """`?+358949799531` reaches us with a blank in the place of its plus: a number that nothing announces."""
    assert Reader(rules).shown(name) == shown
