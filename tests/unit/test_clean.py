"""Cleaning line by line: what is found, what keeps its bytes, and what a fault does."""

from __future__ import annotations

import gzip
import io
import json
import re
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.clean import lines as reading
from app.clean.cleaner import TOO_LONG, Cleaned, Cleaner, Kind, split_end, withheld
from app.clean.lines import Lines, LongLine, UnreadableError
from app.clean.progress import Progress
from app.clean.report import Tally, as_text, finding_rows
from app.core.events import Finding, RedactedPayload
from app.core.redaction import FAILED, redact

if TYPE_CHECKING:
    from pathlib import Path

    from app.core.rules import Rules

EMAIL = "[REDACTED_EMAIL]"
PASSWORD = "[REDACTED_PASSWORD]"
CARD = "[REDACTED_CREDIT_CARD]"
API_KEY = "[REDACTED_API_KEY]"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture(scope="module")
def cleaner(rules: Rules) -> Cleaner:
    return Cleaner(partial(redact, rules=rules))


# Lines of JSON


@pytest.mark.parametrize(
    ("line", "cleaned"),
    [
        (b'{"a": "mail bob@example.org now"}\n', b'{"a":"mail [REDACTED_EMAIL] now"}\n'),
        (b'{"a": "bob@example.org"}\r\n', b'{"a":"[REDACTED_EMAIL]"}\r\n'),
        (b'{"a": "bob@example.org"}', b'{"a":"[REDACTED_EMAIL]"}'),
        (b'{"password": "hunter2", "n": 1}\n', b'{"password":"[REDACTED_PASSWORD]","n":1}\n'),
        (b'{"bob@example.org": 1}\n', b'{"[REDACTED_EMAIL]":1}\n'),
        (
            b'["bob@example.org", {"b": [4111111111111111]}]\n',
            b'["[REDACTED_EMAIL]",{"b":["[REDACTED_CREDIT_CARD]"]}]\n',
        ),
        (b'"bob\\u0040example.org"\n', b'"[REDACTED_EMAIL]"\n'),
        ('{"ü": "é 😀 bob@example.org"}\n'.encode(), '{"ü":"é 😀 [REDACTED_EMAIL]"}\n'.encode()),
    ],
)
def test_json_is_redacted_as_the_service_does(cleaner: Cleaner, line: bytes, cleaned: bytes) -> None:
    """What has a finding is written anew, with the line end that it had."""
    result = cleaner.clean(line)
    assert (result.line, result.kind) == (cleaned, Kind.JSON)
    assert result.findings


@pytest.mark.parametrize(
    "line",
    [
        b'{ "a" : 1.0, "b":1e3,\t"c": "\\u00e9\\/" }  \r\n',
        b"[]\n",
        b"null",
        b'{"password": null}\n',
        b'{"trace_id": "%s"}\n' % TRACE.encode(),
        b'{"a": "[REDACTED_EMAIL]", "password": "[REDACTED_PASSWORD]"}\n',
    ],
)
def test_json_without_a_finding_keeps_its_bytes(cleaner: Cleaner, line: bytes) -> None:
    """It is not written anew: blanks, escapes and the ways to write a number stay."""
    assert cleaner.clean(line) == Cleaned(line, Kind.JSON)


@pytest.mark.parametrize("line", [b"\n", b"\r\n", b"  \t\n", b" "])
def test_blank_lines_stay(cleaner: Cleaner, line: bytes) -> None:
    """They are lines, and nothing is in them."""
    assert cleaner.clean(line) == Cleaned(line, Kind.BLANK)


def test_findings_say_where_but_not_what(cleaner: Cleaner) -> None:
    """A pointer (by redacted names), a detector, an action, a length."""
    result = cleaner.clean(b'{"x": [{"a/b": "hi bob@example.org"}], "jane@example.org": {"password": "hunter2"}}\n')
    rows = [json.loads(row) for row in finding_rows(7, result).splitlines()]
    assert {"line": 7, "pointer": "/x/0/a~1b", "detector": "email", "action": "redact", "length": 15} in rows
    assert {"line": 7, "pointer": f"/{EMAIL}/password", "detector": "password", "action": "redact", "length": 7} in rows
    assert {row["detector"] for row in rows} == {"email", "password"}
    assert not re.search(b"bob|jane|hunter", finding_rows(7, result))


def test_pointers_of_one_line_are_bounded(cleaner: Cleaner) -> None:
    """Ten thousand findings under a long name do not make a report of gigabytes."""
    result = cleaner.clean(orjson.dumps({"n" * 3000: ["bob@example.org"] * 1000}))
    pointers = [found.pointer for found in result.findings]
    assert len(pointers) == 1000
    assert pointers[0] == "/" + "n" * 3000 + "/0"
    assert pointers[-1] is None
    assert sum(len(pointer) for pointer in pointers if pointer is not None) <= 1 << 20


# Lines that are not JSON by the contract

DEEP = "[" * 40


@pytest.mark.parametrize(
    ("line", "cleaned"),
    [
        # Text.
        ("mail bob@example.org, or not", f"mail {EMAIL}, or not"),
        ("it's Bob's: <bob@example.org>", f"it's Bob's: <{EMAIL}>"),
        # A key twice, NaN, too deep, a number too large: names count, and the rest keeps its bytes.
        ('{"password": "hunter2", "password": "swordfish"}', f'{{"password": "{PASSWORD}", "password": "{PASSWORD}"}}'),
        ('{"loss": NaN,  "password": "hunter2"}', f'{{"loss": NaN,  "password": "{PASSWORD}"}}'),
        (f'{{"loss": -Infinity, "trace_id": "{TRACE}"}}', None),
        (f'{DEEP}{{"password": "hunter2"}}', f'{DEEP}{{"password": "{PASSWORD}"}}'),
        ('{"n": 99999999999999999999, "to": "bob@example.org"}', f'{{"n": 99999999999999999999, "to": "{EMAIL}"}}'),
        ('{"a": NaN, "card": 4111111111111111}', f'{{"a": NaN, "card": "{CARD}"}}'),
        # Cut off.
        ('{"a": {"password": "hunt', f'{{"a": {{"password": "{PASSWORD}'),
        ('{"a": {"password": "hunt\\', f'{{"a": {{"password": "{PASSWORD}'),
        ('{"a": {"password": ["hunter2", {"x": ', f'{{"a": {{"password": "{PASSWORD}"'),
        ('{"a": 1, "password": ', None),
        # Behind a logger's head, and in the ways other languages print.
        ('2025-09-03 INFO {"password": "hunter2", "n": 1}', f'2025-09-03 INFO {{"password": "{PASSWORD}", "n": 1}}'),
        ("got {'password': 'hunter2', 'n': None}", f"got {{'password': '{PASSWORD}', 'n': None}}"),
        ("got {'password': 'it\\'s', 'n': 1}", f"got {{'password': '{PASSWORD}', 'n': 1}}"),
        ('{"password": hunter2, "n": 1}', f'{{"password": "{PASSWORD}", "n": 1}}'),
        ('{"password": {"a": "}", "b": [1]}, "n": NaN}', f'{{"password": "{PASSWORD}", "n": NaN}}'),
        ('{"password": null, "n": NaN, "password": ""}', None),
        # Names that are escaped, and values.
        ('{"pass\\u0077ord": "hunter2", "n": NaN}', f'{{"pass\\u0077ord": "{PASSWORD}", "n": NaN}}'),
        ('{"a": "x\\nbob\\u0040example.org\\t\\"y\\"", "n": NaN}', f'{{"a": "x\\n{EMAIL}\\t\\"y\\"", "n": NaN}}'),
        ('["bob\\x40example.org", NaN]', f'["{EMAIL}", NaN]'),
        ('{"bob\\u0040example.org": 1, "n": NaN}', f'{{"{EMAIL}": 1, "n": NaN}}'),
        ('{"bob@example.org": 1, "n": NaN}', f'{{"{EMAIL}": 1, "n": NaN}}'),
        ('{"a": "bob\\ud83d@example.org", "b": "\\ud83d"}', f'{{"a": "{EMAIL}", "b": "\\ud83d"}}'),
        # Behind a value that is not the whole of it.
        ('{"a": "x" bob@example.org NaN', f'{{"a": "x" {EMAIL} NaN'),
        ('"n": 4111 1111 1111 1111', f'"n": {CARD}'),
        # Already clean.
        (f'{{"password": "{PASSWORD}", "a": NaN, "b": "{EMAIL}"}}', None),
        ("\\" * 1001, None),
        ('"' * 1001, None),
        ("{" * 1000 + "'a'" * 1000, None),
    ],
)
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_what_is_not_json_is_searched_all_the_same(cleaner: Cleaner, line: str, cleaned: str | None, end: str) -> None:
    """Names in quotes before a colon count; what is not found (None: nothing) keeps its bytes."""
    result = cleaner.clean((line + end).encode())
    assert result.line.decode() == (line if cleaned is None else cleaned) + end
    assert result.kind is Kind.TEXT
    assert bool(result.findings) is (cleaned is not None)
    assert all(found.pointer == "" for found in result.findings)
    assert cleaner.clean(result.line).line == result.line


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        (b"\xff\xfe\x80 nothing \xc3", None),
        (b"bob\xff@example.org \xfe", b"[REDACTED_EMAIL] \xfe"),
        (b"4111 1111\xff 1111 1111 \xe9", b"[REDACTED_CREDIT_CARD] \xe9"),
        (b"4111\xa01111\xa01111\xa01111", b"[REDACTED_CREDIT_CARD]"),
        ("an jörg@müller.de, très".encode("latin-1"), "an [REDACTED_EMAIL], très".encode("latin-1")),
        ("jörg@müller.de ".encode() + b"\xe9", b"[REDACTED_EMAIL] " + b"\xe9"),
        (b'{"password": "h\xfcnter", "x": "\xe9"}', b'{"password": "[REDACTED_PASSWORD]", "x": "\xe9"}'),
        (b'{"a": "\\u4e2d \xe9 bob\\u0040example.org"}', None),
        ("\xff".encode("latin-1") + "\U000e0100\U000e01ff é 😀".encode(), None),
        (b"b\0o\0b\0@\0e\0x\0a\0m\0p\0l\0e\0.\0o\0r\0g\0 \0", b"[REDACTED_EMAIL] \0"),
        (b"\0\0\0 nothing \0", None),
    ],
)
def test_bytes_that_are_no_text_hide_nothing_and_stay(cleaner: Cleaner, raw: bytes, cleaned: bytes | None) -> None:
    """Bad UTF-8 is passed over, then read as Latin-1; NUL is passed over."""
    result = cleaner.clean(raw)
    if b"u0040" in raw:  # which way the string is written anew is not promised
        assert EMAIL.encode() in result.line
        assert b"\xe9" in result.line
        return
    assert result.line == (raw if cleaned is None else cleaned)
    assert result.kind is Kind.TEXT
    assert cleaner.clean(result.line).line == result.line


@given(st.binary(max_size=200).filter(lambda raw: b"\n" not in raw))
def test_any_bytes_come_out_as_they_went_in(raw: bytes) -> None:
    """With rules that find nothing, each line is the same afterwards, whatever it is."""
    result = Cleaner(lambda value: RedactedPayload(value, ())).clean(raw)
    assert result.line == raw
    assert result.kind is not Kind.WITHHELD


PIECES = [
    '"',
    "'",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    " ",
    "é",
    "\ud83d",
    "password",
    "a",
    "hunter2",
    "NaN",
    "1",
    "\xff",
]


@given(st.lists(st.sampled_from(PIECES), max_size=30))
def test_any_line_is_searched_to_its_end(rules: Rules, pieces: list[str]) -> None:
    """However quotes and brackets stand, an address behind them is found, and what is clean stays so."""
    cleaner = Cleaner(partial(redact, rules=rules))
    raw = "".join(pieces).encode("utf-8", "surrogatepass") + b" bob@example.org "
    result = cleaner.clean(raw)
    assert b"bob@example" not in result.line
    assert result.kind is not Kind.WITHHELD
    assert cleaner.clean(result.line).line == result.line


# Faults


def test_a_fault_withholds_the_line() -> None:
    """Where redaction itself breaks, nothing of the line is shown."""

    def broken(_value: Any) -> RedactedPayload:
        raise RuntimeError

    for line in (b'{"a": "bob@example.org"}\r\n', b"bob@example.org\r\n"):
        result = Cleaner(broken).clean(line)
        assert result == withheld(len(line) - 2, b"\r\n", FAILED)
        assert result.line == b'"[REDACTED]"\r\n'


@pytest.mark.parametrize("line", [b'{"a": 1}\n', b"text\n", b'{"a": 1, "a": 2}\n'])
def test_a_value_that_redaction_withholds_is_a_line_withheld(line: bytes) -> None:
    """Past its bounds redaction gives one text for the whole value, of whatever kind that was."""

    def too_much(_value: Any) -> RedactedPayload:
        return RedactedPayload("[REDACTED]", (Finding(None, FAILED, "redact", 0),))

    assert Cleaner(too_much).clean(line) == withheld(len(line) - 1, b"\n", FAILED)


# Reading


def _lines(tmp_path: Path, content: bytes, name: str = "a.ndjson") -> list[bytes | LongLine]:
    path = tmp_path / name
    path.write_bytes(content)
    lines = Lines(path)
    try:
        return list(lines)
    finally:
        lines.close()


def test_only_a_line_feed_ends_a_line(tmp_path: Path) -> None:
    """Not a carriage return, not U+2028, not U+0085."""
    content = "a\r\n\n\rb\u2028c\x85\x0cd\n\ne".encode()
    assert _lines(tmp_path, content) == [b"a\r\n", b"\n", "\rb\u2028c\x85\x0cd\n".encode(), b"\n", b"e"]
    assert _lines(tmp_path, b"") == []


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_a_line_that_is_too_long_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: bytes) -> None:
    """The longest one is read; of a longer one only its size and its end are known."""
    monkeypatch.setattr(reading, "MAX_LINE_BYTES", 1000)
    monkeypatch.setattr(reading, "_CHUNK", 64)
    longest = b"a" * (1000 - len(end.strip(b"\n"))) + end
    for extra in range(1, 200):
        content = b"x\n" + b"b" * (1000 + extra) + end
        assert _lines(tmp_path, content) == [b"x\n", LongLine(1000 + extra, end)]
    assert _lines(tmp_path, longest + (longest if end else b"")) == [longest, longest][: 2 if end else 1]
    assert withheld(5, end, TOO_LONG).line == b'"[REDACTED]"' + end


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(b"bob@example.org\n", mtime=0),
        "bob@example.org\n".encode("utf-16"),
        "\ufeffbob@example.org\n".encode("utf-16-be"),
        b"\x28\xb5\x2f\xfd1",
        b"BZh91AY",
        b"\xfd7zXZ\x00",
        b"PK\x03\x04",
    ],
)
def test_what_is_packed_is_not_passed_on(tmp_path: Path, content: bytes) -> None:
    """In packed bytes nothing is found, and they would come out with everything in them."""
    with pytest.raises(UnreadableError, match=r"a\.ndjson: this is "):
        _lines(tmp_path, content)


@pytest.mark.parametrize(
    "content", [b"plain", gzip.compress(b"a\n" * 9999, mtime=0)[:-12], gzip.compress(b"a\n", mtime=0)[:-1] + b"\0x"]
)
def test_damaged_gzip_is_said(tmp_path: Path, content: bytes) -> None:
    """Not gzip at all, cut off, or with a wrong check sum."""
    with pytest.raises(UnreadableError, match="not gzip, or damaged"):
        _lines(tmp_path, content, "a.ndjson.gz")


def test_gzip_in_several_members_is_read(tmp_path: Path) -> None:
    """As `cat a.gz b.gz` gives it."""
    assert _lines(tmp_path, gzip.compress(b"a\nb") + gzip.compress(b"c\n"), "a.gz") == [b"a\n", b"bc\n"]


# What is said


def test_the_report_counts() -> None:
    """Lines of each kind, and findings by detector, most first."""
    tally = Tally()
    tally.add(Cleaned(b"", Kind.BLANK))
    tally.add(Cleaned(b"", Kind.TEXT))
    tally.add(withheld(5, b"", FAILED))
    tally.add(withheld(5, b"", TOO_LONG))
    tally.add(withheld(5, b"", TOO_LONG))
    text = as_text(tally, 3_000_000, 2.0)
    assert re.sub(" +", " ", text).splitlines() == [
        "lines 5",
        "touched 3",
        "not JSON 1",
        "withheld 3",
        "findings 3",
        " too_long 2",
        " failed 1",
        "read 3.0 MB in 2.0 s, 1.5 MB/s",
    ]


def test_progress_in_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line every five seconds, with the total where it is known."""
    now_s = 0.0
    monkeypatch.setattr("app.clean.progress.time.monotonic", lambda: now_s)
    stream = io.StringIO()
    for total_bytes in (None, 9_000_000):
        progress = Progress(total_bytes, stream, has_bar=False)
        progress.show(1_000_000)
        now_s += 5.0
        progress.show(2_000_000)
        progress.show(3_000_000)
        progress.close()
    assert stream.getvalue() == "redact: 2 MB\nredact: 2 of 9 MB\n"


def test_progress_as_a_bar() -> None:
    """It goes on to where the reading is, and is taken away at the end."""
    stream = io.StringIO()
    progress = Progress(4_000_000, stream, has_bar=True)
    progress.show(1_000_000)
    progress.show(4_000_000)
    progress.close()
    assert "4.00M/4.00M" in stream.getvalue() or "0.00/4.00M" in stream.getvalue()
    assert "\n" not in stream.getvalue()


def test_line_ends() -> None:
    """A carriage return is the end's only before a line feed."""
    assert [split_end(line) for line in (b"a\r\n", b"a\n", b"a\r", b"a", b"\n")] == [
        (b"a", b"\r\n"),
        (b"a", b"\n"),
        (b"a\r", b""),
        (b"a", b""),
        (b"", b"\n"),
    ]
