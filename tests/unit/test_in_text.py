r"""What stands inside a text as data: JSON in a string, escaped once or more, CSV, Markdown; and fields named there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from app.core.detectors import RuleError, load_rules
from app.core.folding import fold_bytes, original_spans
from app.core.redaction import redact

if TYPE_CHECKING:
    from app.core.rules import Rules

ROW = """
[[field]]
name = "badge"
why = "Ours."
{keys}
"""


def row(**keys: Any) -> str:
    """A table of one field row."""
    return ROW.format(keys="\n".join(f"{name} = {json.dumps(value)}" for name, value in keys.items()))


# Escapes


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (r"a\nb\tc\rd", "a\nb\tc\rd"),
        (r"say \"hi\" and \'ho\' at http:\/\/x", "say \"hi\" and 'ho' at http://x"),
        (r"caf\u00e9 \u201cx\u201d", "café “x”"),
        (r"twice \\n and \\u00e9, \\\\\" thrice", 'twice \n and é, " thrice'),
        (r"\ud83d\ude00 \ud83d \ude00 \U0001f600", "😀 \ufffd \ufffd 😀"),
        (r"\x22a\x40b\x22 \0a \033 \a\b\f\v", '"a@b"  a \\033     '),
        ("a%20b%40c%2520d%0A %41 %zz 5%", "a b@c d\n %41 %zz 5%"),
        ("&quot;a&#64;b&#x40;c&amp;commat;d&amp;quot; &nope; &", '"a@b@c@d" &nope; &'),
        ("\x1b[1;31mred\x1b[0m \\x1b[32mgreen\\033[0m \\u001b[0m", "redgreen"[:3] + " green "),
        ("03ー1234・5678 カード・ー", "03-1234-5678 カード・ー"),
        (r"C:\users\x \d+ \u12 \u12zz \\", r"C:\users\x \d+ \u12 \u12zz \\"),
        ("full \uff11\\u0033", "full 13"),
    ],
)
def test_escapes_are_the_signs_that_they_stand_for(text: str, read: str) -> None:
    """However deep; what only looks like one stays."""
    assert fold_bytes(text).decode() == read


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_values_in_json_in_json_are_found(depth: int, rules: Rules) -> None:
    """A line's end written as an escape is no letter before the value, and only the value is replaced."""
    text = "first\nFR1420041010050500013M02606\n“860-41-6907”\tand…f0:18:9b:b3:1a:71\nandré@müller.example"
    wanted = "first\n[REDACTED_IBAN]\n“[REDACTED_SSN]”\tand…[REDACTED_MAC_ADDRESS]\n[REDACTED_EMAIL]"
    for _ in range(depth):
        text, wanted = json.dumps({"body": text, "n": 1}), json.dumps({"body": wanted, "n": 1})
    assert redact({"args": text}, rules).value == {"args": wanted}


def test_spans_of_escapes_are_whole() -> None:
    """A span that begins or ends with an escape takes all of its signs, and no sign beside it."""
    text = r"x \u00e9t\u00e9 \n y"
    data = fold_bytes(text)
    start = data.index("été".encode())
    assert original_spans(text, [(start, start + 5)]) == [(2, 15)]
    assert text[2:15] == r"\u00e9t\u00e9"
    end = data.index(b"y")
    assert original_spans(text, [(0, 1), (end, end + 1)]) == [(0, 1), (len(text) - 1, len(text))]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("see _212-555-0123_ now", "see _[REDACTED_PHONE]_ now"),
        ("IBAN _GB29NWBK60161331926819_, thanks", "IBAN _[REDACTED_IBAN]_, thanks"),
        ("(_219-09-9998_)", "(_[REDACTED_SSN]_)"),
        ("call __init__ and _private_name_", "call __init__ and _private_name_"),
    ],
)
def test_emphasis_hides_nothing(text: str, wanted: str, rules: Rules) -> None:
    """Markdown's underscores are no part of what they stand round."""
    assert redact(text, rules).value == wanted


def test_underscores_of_a_token_are_its_own(rules: Rules) -> None:
    """Inside a token an underscore is a sign like any other: all of it goes."""
    token = "glpat-" + "_abc0e9K2NEWuPD8Y-_x"
    assert redact(f"use {token} now", rules).value == "use [REDACTED_GITLAB_TOKEN] now"


# Fields


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('{"user_id": "4711-b", "n": 1}', '{"user_id": "[REDACTED_USER_ID]", "n": 1}'),
        ('{"billingUserId":"4711"}', '{"billingUserId":"[REDACTED_USER_ID]"}'),
        ("{'customer-id': 'A4711'}", "{'customer-id': '[REDACTED_USER_ID]'}"),
        ('{""passport_number"": ""X1234567""}', '{""passport_number"": ""[REDACTED_NATIONAL_ID]""}'),
        (r"{\"pesel\": \"65715853425\"}", r"{\"pesel\": \"[REDACTED_NATIONAL_ID]\"}"),
        ('{"birth_date": "8 novembre 1997"}', '{"birth_date": "[REDACTED_DATE_OF_BIRTH]"}'),
        ('{"full_name": "Jane Roe"}', '{"full_name": "[REDACTED_PERSON_NAME]"}'),
        ('{"mobile": 15112345678}', '{"mobile": [REDACTED_PHONE]}'),
        ('{"password": "correct horse"}', '{"password": "[REDACTED_PASSWORD]"}'),
    ],
)
def test_fields_inside_texts(text: str, wanted: str, rules: Rules) -> None:
    """A name in quotes, a colon, a value: as the payload's own field."""
    assert redact({"args": text}, rules).value == {"args": wanted}
    assert redact({"args": wanted}, rules).findings == ()


@pytest.mark.parametrize(
    "text",
    [
        '{"user_id": null, "session_id": ""}',
        '{"user_id": "string", "phone": {"type": "string"}}',
        '{"mobile": 82081, "desktop": 120034}',
        '{"full_name": "str", "ssn": "<ssn>"}',
        '{"prepassporting": "1234567"}',
        "the user_id and the session_id are needed: 12",
    ],
)
def test_what_is_no_value_of_a_field_stays(text: str, rules: Rules) -> None:
    """Schemas, counts and other names."""
    assert redact({"args": text}, rules).value == {"args": text}


def test_a_row_says_whether_it_looks_into_texts() -> None:
    """Without `in_text` a field is one of the payload's own; with it, by the check that it names."""
    alone = load_rules(row(names=["badge"], suffixes=["badge_no"]))
    within = load_rules(row(names=["badge"], suffixes=["badge_no"], in_text="has_digit", least_digits=3))
    text = '{"badge": "B1", "my_badge_no": "two", "oldBadgeNo": "B2", "badgers": "B3", "badge_nos": 12, "badge": 123}'
    assert redact(text, alone).value == text
    assert redact(text, within).value == (
        '{"badge": "[REDACTED_BADGE]", "my_badge_no": "two", "oldBadgeNo": "[REDACTED_BADGE]", "badgers": "B3",'
        ' "badge_nos": 12, "badge": [REDACTED_BADGE]}'
    )


@pytest.mark.parametrize(
    ("number", "wanted"),
    [(12, 12), (123, "[REDACTED_BADGE]"), (-12, -12), (1.25, "[REDACTED_BADGE]"), (1.5, 1.5), (True, True)],
)
def test_counts_under_a_name_stay(number: float, wanted: object) -> None:
    """A number with fewer digits than the row asks for is a count; a text is never one."""
    rules = load_rules(row(names=["badge"], least_digits=3))
    assert redact({"badge": number}, rules).value == {"badge": wanted}
    assert redact({"badge": "1"}, rules).value == {"badge": "[REDACTED_BADGE]"}


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("B-12345", "[REDACTED_BADGE]"),
        (123456, "[REDACTED_BADGE]"),
        ("B-12", "B-12"),
        ("see bob@example.org", "see [REDACTED_EMAIL]"),
        ({"email": "x", "n": "B-12345"}, {"email": "[REDACTED_EMAIL]", "n": "B-12345"}),
        (0.8414709848, 0.8414709848),
        (["B-12345"], ["B-12345"]),
    ],
)
def test_a_row_says_which_values_it_takes(value: object, wanted: object) -> None:
    """With `check` a text or whole number that passes is replaced; anything else stays, and is searched as ever."""
    table = (
        row(names=["badge"], check="told_number")
        + """
[[field]]
name = "email"
why = "A test."
names = ["email"]

[[detector]]
name = "email"
why = "A test."
patterns = ['[a-z]+@[a-z.]+']
"""
    )
    assert redact({"badge": value}, load_rules(table)).value == {"badge": wanted}


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ({"check": "no_such_check"}, "check: one of "),
        ({"in_text": "no_such_check"}, "in_text: one of "),
        ({"in_text": 1}, "in_text: one of "),
        ({"least_digits": -1}, "least_digits: a whole number"),
        ({"least_digits": True}, "least_digits: a whole number"),
        ({"least_digits": "3"}, "least_digits: a whole number"),
    ],
)
def test_bad_rows_are_refused(keys: dict[str, Any], fault: str) -> None:
    """With their line and their fault."""
    with pytest.raises(RuleError, match=fault) as refused:
        load_rules(row(names=["badge"], **keys))
    assert refused.value.line == 2


# Lists


@pytest.mark.parametrize(
    ("number", "name"),
    [
        ("07700 900 123", "PHONE"),
        ("(212) 555-0123", "PHONE"),
        ("+442079460958", "PHONE"),
        ("4111 1111 1111 1111", "CREDIT_CARD"),
        ("219-09-9998", "SSN"),
        ("2001:db8::8a2e:370:7334", "IP_ADDRESS"),
        ("00:1A:2B:3C:4D:5E", "MAC_ADDRESS"),
    ],
)
@pytest.mark.parametrize("between", [" ", ", ", "\n", " / "])
def test_lists_lose_each_value_and_nothing_else(number: str, name: str, between: str, rules: Rules) -> None:
    """What was found before a value is no part of it, and no reason to doubt it."""
    listed = between.join([number] * 40)
    redacted = redact(f"all: {listed}.", rules)
    assert redacted.value == "all: " + between.join([f"[REDACTED_{name}]"] * 40) + "."
    assert len(redacted.findings) == 40
