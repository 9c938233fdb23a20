"""Tables in texts: a heading announces what stands in its column, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.core.columns import Columns
from app.core.redaction import redact

if TYPE_CHECKING:
    from app.core.rules import Rules

PHONES = ["5558675309", "5551234567", "5552345678"]


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("name,phone\nBob Smith,5558675309\nJane Doe,5551234567\nAnn Lee,5552345678\n", PHONES),
        ("id;phone;plan\n1;5558675309;pro\n2;5551234567;free\n3;5552345678;pro", PHONES),
        ("phone\tid\n5558675309\t1\n5551234567\t2\n5552345678\t3", PHONES),
        ('"name","phone"\r\n"Bob","5558675309"\r\n"Jane","5551234567"\r\n"Ann","5552345678"', PHONES),
        ("| Employee of ours | SSN | Dept |\n|---|---|---|\n| Damiano Lanfranchi | 331143700 | ops |", ["331143700"]),
        ("see\n\nname | SSN\n--- | ---\nAnn | 331143700\nBob Lanfranchi | **219010998**\n", ["331143700", "219010998"]),
        (r"x: {\"csv\": \"name,phone\\nBob Smith Sr.,5558675309\\nJane,5551234567\"}", PHONES[:2]),
    ],
)
def test_a_heading_announces_its_column(rules: Rules, text: str, gone: list[str]) -> None:
    redacted = redact(text, rules).value
    assert [number for number in gone if number in redacted] == []
    assert redacted.count("[REDACTED_") == len(gone)


@pytest.mark.parametrize(
    "text",
    [
        "name,phone,units\na rather long name of something that is sold in our shop,,5558675309\nJane,,1",
        "phone,units\n\na rather long name of something that is sold in our shop,5558675309",
        "phone,units\na rather long name of something that is sold in our shop, cap,5558675309",
        "units,phone\n5,a rather long name of something that is sold in our shop 5558675309",
        "Here is what our phone at the counter said to us today, and this\n4711, 5558675309",
    ],
)
def test_other_columns_and_sentences_announce_nothing(rules: Rules, text: str) -> None:
    assert "5558675309" in redact(text, rules).value


def test_where_headings_stand() -> None:
    data = b"a | b\n1 | 22\nx\nc,d\n3,4\n5,6"
    columns = Columns(data)
    at = {
        cell: columns.heading_of(data.index(cell), data.index(cell) + len(cell))
        for cell in (b"1", b"22", b"3", b"6", b"x")
    }
    assert {cell: data[slice(*place)].strip() if place else None for cell, place in at.items()} == {
        b"1": b"a",
        b"22": b"b",
        b"3": b"c",
        b"6": b"d",
        b"x": None,
    }


@pytest.mark.timeout(20)
@pytest.mark.parametrize("line", ["phone,a\n", "5558675309,1\n", "phone,a\n5558675309,1\n", "phone,5558675309,", "\n"])
def test_tables_take_time_in_proportion(rules: Rules, line: str) -> None:
    assert redact("phone,a\n" + line * (2**17 // len(line)), rules).value != ""
