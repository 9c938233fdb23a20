"""On which line a table of a TOML text begins."""

from __future__ import annotations

import pytest

from app.core.toml_lines import header_lines, place


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("a = 1\n", []),
        ("[a]", [(("a",), 1)]),
        ("\n\n[[kpi]]\nx = 1\n\n  [[kpi]]  # two\n", [(("kpi",), 3), (("kpi",), 6)]),
        ("[[kpi]]\n[[kpi.source]]", [(("kpi",), 1), (("kpi", "source"), 2)]),
        ('[tool."a.b c"]\r\n[ tool . d ]\r\n', [(("tool", "a.b c"), 1), (("tool", "d"), 2)]),
        ("x = [\n[1, 2],\n]\n[b]", [(("b",), 4)]),
        ("[a\n[b]]\n[]\n[[c]", []),
        ('x = "\u2028"\n[b]', [(("b",), 2)]),
    ],
)
def test_lines_of_headers(text: str, found: list[tuple[tuple[str, ...], int]]) -> None:
    """Every header, by its path as TOML reads it; nothing else, not even where it is half one."""
    assert list(header_lines(text)) == found


def test_a_line_that_is_not_known_is_not_named() -> None:
    """0 stands for none."""
    assert (place(7), place(0)) == ("line 7: ", "")
