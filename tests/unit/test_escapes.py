"""Signs written as other signs: what a text says counts, and what is found is replaced in the text as it came."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.core import escapes
from app.core.folding import fold_bytes, original_spans
from app.core.redaction import redact

if TYPE_CHECKING:
    from app.core.rules import Rules

ESC = "\x1b"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("4111%201111%201111%201111", "[REDACTED_CREDIT_CARD]"),
        ("https://x.example/?q=%22219-09-9998%22", "https://x.example/?q=%22[REDACTED_SSN]%22"),
        ("login%3Fpassword%3Dhunter2", "login%3Fpassword%3D[REDACTED_PASSWORD]"),
        ("https%3A%2F%2Fuser%3Ahunter2%40host", "https%3A%2F%2Fuser%3A[REDACTED_PASSWORD]%40host"),
        ("bob%2540example.org", "[REDACTED_EMAIL]"),
        ("phone=+1%20(555)%20867-5309", "phone=[REDACTED_PHONE]"),
        ("{&quot;password&quot;:&quot;hunter2&quot;}", "{&quot;password&quot;:&quot;[REDACTED_PASSWORD]&quot;}"),
        ("bob&#64;example.org, bob&commat;example.org", "[REDACTED_EMAIL], [REDACTED_EMAIL]"),
        ("4111&nbsp;1111&#160;1111&#xA0;1111", "[REDACTED_CREDIT_CARD]"),
        ("555&#45;867&ndash;5309", "[REDACTED_PHONE]"),
        (rf"{ESC}[31m+44 20 7946 0958{ESC}[0m", f"{ESC}[31m[REDACTED_PHONE]{ESC}[0m"),
        (
            f"{ESC}[36muser_id{ESC}[0m={ESC}[35m4711{ESC}[0m {ESC}[1;32muser123{ESC}[0m",
            f"{ESC}[36muser_id{ESC}[0m={ESC}[35m[REDACTED_USER_ID]{ESC}[0m {ESC}[1;32m[REDACTED_USER_ID]{ESC}[0m",
        ),
        (r"\x1b[32m4111111111111111\x1b[0m", r"\x1b[32m[REDACTED_CREDIT_CARD]\x1b[0m"),
        (r"\033[32m219-09-9998\033[0m", r"\033[32m[REDACTED_SSN]\033[0m"),
        (r"\u001b[32muser123\u001b[0m", r"\u001b[32m[REDACTED_USER_ID]\u001b[0m"),
        (r"\x22219-09-9998\x22 \0user123", r"\x22[REDACTED_SSN]\x22 \0[REDACTED_USER_ID]"),
        (r"4111\xa01111\xa01111\xa01111", "[REDACTED_CREDIT_CARD]"),
        (r"\ud83d\udcde 5558675309", r"\ud83d\udcde [REDACTED_PHONE]"),
        ("a?password=correct%20horse%20staple HTTP/1.1", "a?password=[REDACTED_PASSWORD] HTTP/1.1"),
        ("password=%3Cs3cret99%3E", "password=[REDACTED_PASSWORD]"),
        ("https://bob:p%40ss%2Fword9@host/x", "https://bob:[REDACTED_PASSWORD]@host/x"),
        ("postgres://app:S3c%2Fret9@db:5432/x", "postgres://app:[REDACTED_PASSWORD]@db:5432/x"),
        (r"CORP\bob.smith@example.com", r"CORP\[REDACTED_EMAIL]"),
        (r"password=S3cr\bt99tail", "password=[REDACTED_PASSWORD]"),
        (f"271-34-8515{ESC}[0mid", f"[REDACTED_SSN]{ESC}[0mid"),
        ("219\u221209\u22129998", "[REDACTED_SSN]"),
        ("\u96fb\u8a71 03\u30fc1234\u30fc5678", "\u96fb\u8a71 [REDACTED_PHONE]"),
        ("Jane\u2014415-555-2671", "Jane\u2014[REDACTED_PHONE]"),
    ],
)
def test_no_way_of_writing_signs_hides_a_value(rules: Rules, text: str, wanted: str) -> None:
    assert redact(text, rules).value == wanted


@pytest.mark.parametrize(
    "text",
    [
        "growth of 20%25, 5 % and 100%",
        "strftime('%Y-%m-%d %H:%M') %s %(name)s",
        "fish &amp; chips &copy; 2024 &nbsp; &unknown; AT&T",
        r"C:\bin\new\table \frac{1}{2} \d+\b \x",
        f"{ESC}[1mbuild 4711{ESC}[0m {ESC}[2K",
    ],
)
def test_signs_that_stand_for_nothing_personal_stay(rules: Rules, text: str) -> None:
    assert redact(text, rules).value == text


@pytest.mark.parametrize(
    "unit",
    [
        "\\",
        "\\\\u",
        "\\x",
        "\\U000",
        "%",
        "%4",
        "%25",
        "%2525",
        "&",
        "&amp;",
        "&#6",
        f"{ESC}[",
        f"{ESC}[0",
        "1\u30fc",
        "\u30fc",
    ],
)
@pytest.mark.timeout(20)
def test_reading_takes_time_in_proportion(unit: str) -> None:
    """A run of backslashes, each of which may begin an escape, took ten minutes for 256 KiB once."""
    text = unit * (2**18 // len(unit))
    assert len(fold_bytes(text)) <= len(text.encode())
    assert len(original_spans(text, [(0, 1)])) == 1


def test_what_is_read_stands_where_it_was_written() -> None:
    text = r"a\nb%20c&amp;d"
    assert escapes.read(text) == "a\nb c&d"
    assert [*escapes.places(text)] == [(1, 3, "\n"), (4, 7, " "), (8, 13, "&")]
    assert [text[start:end] for start, end in original_spans(text, [(1, 3), (4, 6)])] == [r"\nb", "c&amp;"]
