"""Redaction of whole values: where it looks, what a field's name says of its value, what it says it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from app.core.redaction import redact
from tests.unit.marks import CARD, EMAIL, IP, KEY, PASSWORD, PHONE, RANDOM_KEY, SESSION, SSN, USER

if TYPE_CHECKING:
    from app.core.rules import Rules

WIDE = "".join(chr(0xFF10 + digit) for digit in range(10))
WIDE_CARD = "4111 1111 1111 1111".translate({ord(str(digit)): WIDE[digit] for digit in range(10)})


# Where it looks


@pytest.mark.parametrize(
    ("value", "wanted", "pointers"),
    [
        ("bob@x.org", EMAIL, [""]),
        (["a", "bob@x.org"], ["a", EMAIL], ["/1"]),
        ({"a": [{"b": ["bob@x.org"]}]}, {"a": [{"b": [EMAIL]}]}, ["/a/0/b/0"]),
        ({"note": 4111111111111111}, {"note": CARD}, ["/note"]),
        ({"note": 4111111111111111.0}, {"note": CARD}, ["/note"]),
        ({"note": -4111111111111111}, {"note": CARD}, ["/note"]),
        ([378282246310005], [CARD], ["/0"]),
        ({"a/b~c": "bob@x.org"}, {"a/b~c": EMAIL}, ["/a~1b~0c"]),
        ({"~1": "bob@x.org"}, {"~1": EMAIL}, ["/~01"]),
        ({"": {"": "bob@x.org"}}, {"": {"": EMAIL}}, ["//"]),
        ({"0": "bob@x.org"}, {"0": EMAIL}, ["/0"]),
        ({"bob@x.org": 1}, {EMAIL: 1}, [f"/{EMAIL}"]),
        ({"to bob@x.org": {"a": 1}}, {f"to {EMAIL}": {"a": 1}}, [f"/to {EMAIL}"]),
        ({"bob@x.org": {"ssn": "1"}}, {EMAIL: {"ssn": SSN}}, [f"/{EMAIL}", f"/{EMAIL}/ssn"]),
        ({"bob@x.org": "ann@x.org"}, {EMAIL: EMAIL}, [f"/{EMAIL}", f"/{EMAIL}"]),
    ],
)
def test_it_looks_everywhere_and_points_there(rules: Rules, value: Any, wanted: Any, pointers: list[str]) -> None:
    """Strings, numbers and names at every depth; pointers are RFC 6901, of redacted names."""
    result = redact(value, rules)
    assert result.value == wanted
    assert [found.pointer for found in result.findings] == pointers


@pytest.mark.parametrize(
    ("texts", "wanted"),
    [
        (["count 1234", "4111 1111 1111 1111"], ["count 1234", CARD]),
        (["1234 5678", "9012 3456", "4111 1111 1111 1111"], ["1234 5678", "9012 3456", CARD]),
        (["4111 1111", "1111 1111"], ["4111 1111", "1111 1111"]),
        (["555-867-5309", "555-867-5309 and more"], [PHONE, f"{PHONE} and more"]),
        (["phone", "5558675309"], ["phone", "5558675309"]),
        (["SSN123456789", "llama2"], [f"SSN{SSN}", "llama2"]),
        (["llama2", "tel5558675309"], ["llama2", f"tel{PHONE}"]),
        (["1234", "phone 5558675309"], ["1234", f"phone {PHONE}"]),
        (["a\nbob@x.org\nb", "c", "d\nann@x.org"], [f"a\n{EMAIL}\nb", "c", f"d\n{EMAIL}"]),
        (["bob@x.org"] * 50, [EMAIL] * 50),
        (["", "", "bob@x.org", ""], ["", "", EMAIL, ""]),
        (["é", "bob@x.org", "\u200b", "ann@x.org"], ["é", EMAIL, "\u200b", EMAIL]),
        ([WIDE[:4], WIDE_CARD, "x"], [WIDE[:4], CARD, "x"]),
        (["::1", "fe80::1"], ["::1", IP]),
    ],
)
def test_each_text_stands_for_itself(rules: Rules, texts: list[str], wanted: list[str]) -> None:
    """Texts are searched together: what begins in one and ends in the next is nothing, and hides nothing there."""
    assert redact(texts, rules).value == wanted


def test_names_that_redact_alike_are_numbered(rules: Rules) -> None:
    """The second and third name get `#2` and `#3`, and their values stay apart."""
    result = redact({"a@x.org": 1, "b@x.org": 2, "c@x.org": 3, "d": 4}, rules)
    assert list(result.value.items()) == [(EMAIL, 1), (f"{EMAIL}#2", 2), (f"{EMAIL}#3", 3), ("d", 4)]
    assert [found.pointer for found in result.findings] == [f"/{EMAIL}", f"/{EMAIL}#2", f"/{EMAIL}#3"]
    assert result.fields == [EMAIL, f"{EMAIL}#2", f"{EMAIL}#3"]


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ({EMAIL: 1, "b@x.org": 2}, {EMAIL: 1, f"{EMAIL}#2": 2}),
        ({"a@x.org": 1, EMAIL: 2}, {EMAIL: 1, f"{EMAIL}#2": 2}),
        ({"a@x.org": 1, f"{EMAIL}#2": 2, "b@x.org": 3}, {EMAIL: 1, f"{EMAIL}#2": 2, f"{EMAIL}#3": 3}),
        ({"a@x.org": {"a@x.org": 1}, "b@x.org": {}}, {EMAIL: {EMAIL: 1}, f"{EMAIL}#2": {}}),
    ],
)
def test_a_redacted_name_never_overwrites_another(rules: Rules, value: Any, wanted: Any) -> None:
    """A name that reads as the redacted one already is a collision like any other."""
    assert redact(value, rules).value == wanted


# Field names


@pytest.mark.parametrize(
    ("detector", "names"),
    [
        ("EMAIL", "email Email EMAIL e-mail E_Mail eMail emails billing_email billingEmail billing-email BillingEmail"),
        ("EMAIL", "BILLING_EMAIL user.email email_address emailAddress contact-email-address"),
        ("USER_ID", "user_id userId userID user-id USER_ID UserIDs userid User-Id user username owner_user_id uid"),
        ("SESSION_ID", "session_id sessionId SESSION-ID session_ids JSESSIONID session_token"),
        ("API_KEY", "api_key apiKey APIKey api-key API_KEY X-Api-Key openai_api_key apikeys Authorization"),
        ("API_KEY", "proxy-authorization client_secret clientSecret accessToken refresh_token Cookie set-cookie"),
        ("PASSWORD", "password Password PASSWORD passwords db_password dbPassword passwd pwd passphrase"),
        ("PHONE", "phone Phone phone_number phoneNumber mobile home-phone telephone fax"),
        ("SSN", "ssn SSN social_security_number socialSecurityNumber employee_ssn"),
        ("CREDIT_CARD", "credit_card creditCard card_number cardNumber CVV"),
        ("DATE_OF_BIRTH", "date_of_birth dateOfBirth dob birthdate"),
        ("IP_ADDRESS", "ip ip_address ipAddress client_ip X-Forwarded-For remote_addr"),
        ("NATIONAL_ID", "passport passport_number tax_id nhs_number"),
        ("PERSON_NAME", "first_name firstName lastName full_name"),
        ("PASSWORD", "\uff50\uff41\uff53\uff53\uff57\uff4f\uff52\uff44 pass\u200bword passw\u00adord"),
    ],
)
def test_a_sensitive_name_hides_its_value_however_it_is_written(rules: Rules, detector: str, names: str) -> None:
    """Case, `-`, `_`, a plural, a prefix and the characters' spelling do not matter."""
    for name in names.split():
        assert redact({name: "plum"}, rules).value == {name: f"[REDACTED_{detector}]"}, name


@pytest.mark.parametrize(
    "name",
    [
        *("author", "compass", "tokens", "completion_tokens", "max_tokens", "phones_home", "emailed", "sessions_count"),
        *(
            "shipping",
            "zip",
            "equip",
            "ipsum",
            "username_length",
            "password_policy",
            "mobility",
            "user_action",
            "model",
        ),
    ],
)
def test_a_name_that_only_holds_a_sensitive_word_hides_nothing(rules: Rules, name: str) -> None:
    """Names are compared by words, so that part of a word is no match."""
    assert redact({name: "plum"}, rules).value == {name: "plum"}


@pytest.mark.parametrize("kept", [None, True, False, ""])
def test_values_that_say_nothing_stay_under_sensitive_names(rules: Rules, kept: object) -> None:
    """Null, booleans and the empty string stay, and are not reported."""
    result = redact({"password": kept, "email": kept}, rules)
    assert result.value == {"password": kept, "email": kept}
    assert result.fields == []


@pytest.mark.parametrize("value", [0, 7, -1.5, "plum", ["plum"], {"plum": 1}, [[{}]], {"a": {"b": ["c"]}}, 10**18])
def test_any_other_value_under_a_sensitive_name_is_replaced_whole(rules: Rules, value: object) -> None:
    """Numbers, lists and objects are replaced as a string is, with one finding."""
    result = redact({"a": {"password": value}}, rules)
    assert result.value == {"a": {"password": PASSWORD}}
    assert [(found.pointer, found.detector, found.field) for found in result.findings] == [
        ("/a/password", "password", "password")
    ]


def test_nothing_below_a_replaced_value_is_reported(rules: Rules) -> None:
    """What stood in an object that is gone has no pointer any more."""
    result = redact({"user": {"email": "bob@x.org", "note": "555-867-5309"}}, rules)
    assert (result.value, result.fields) == ({"user": USER}, ["user"])


@pytest.mark.parametrize(
    ("value", "fields"),
    [
        ({"a": "bob@x.org", "b": "bob@x.org"}, ["a", "b"]),
        ({"a": "bob@x.org ann@x.org", "b": {"a": "bob@x.org"}}, ["a"]),
        ({"to": ["bob@x.org", {"cc": "bob@x.org"}, ["bob@x.org"]]}, ["to", "cc"]),
        ({"to": [["x"], [["bob@x.org"]]]}, ["to"]),
        (["bob@x.org"], []),
        ("bob@x.org", []),
        ({"user_id": "u", "message": "bob@x.org"}, ["user_id", "message"]),
        ({"message": "bob@x.org", "user_id": "u"}, ["message", "user_id"]),
        ({"a": "bob@x.org", "password": "p", "b": "bob@x.org", "user": {"n": 1}}, ["a", "password", "b", "user"]),
        ({"m": {"ssn": "1", "note": "bob@x.org"}, "z": {"email": "e"}}, ["ssn", "note", "email"]),
        ({"email": "e", "bob@x.org": "plum", "ssn": "s"}, ["email", EMAIL, "ssn"]),
    ],
)
def test_fields_are_unique_and_in_document_order(rules: Rules, value: Any, fields: list[str]) -> None:
    """Leaf names; a string in a list takes the name of the field that holds the list."""
    assert redact(value, rules).fields == fields


# Exemptions


@pytest.mark.parametrize(
    "value",
    [
        {"order_no": "0689138014", "part_number": "073-1721-35", "offset": "0691267655"},
        {"cells": {"Q1": "88,060", "Q2": "86,990"}, "cell": "A1"},
        {"repository": {"full_name": "glacier/lemon"}},
        {"authorization": "[REDACTED]", "password": "[REDACTED_PASSWORD]"},
        {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"},
        {"traceId": "4bf92f3577b34da6a3ce929d0e0e4736", "span-id": "00f067aa0ba902b7"},
        {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
        {"request_id": "req789"},
        {"event_id": "4111111111111111"},
        {"sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"sha256": ["e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]},
        {"prompt_hash": "d41d8cd98f00b204e9800998ecf8427e"},
        {"timestamp": "2025-09-03T10:30:00Z"},
        {"timestamp": 4111111111111111},
        {"created_at": 4111111111111111, "start_time": "555-867-5309"},
        {"version": "1.2.3.4"},
        {"api_version": "10.0.0.1", "model": "gpt-4-0613"},
    ],
)
def test_what_its_name_explains_is_left(rules: Rules, value: Any) -> None:
    """Ids of calls, digests, times and versions stay under their own names."""
    result = redact(value, rules)
    assert (result.value, result.findings) == (value, ())


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ({"trace_id": "bob@x.org"}, {"trace_id": EMAIL}),
        ({"version": "4111111111111111"}, {"version": CARD}),
        ({"sha256": "bob@x.org"}, {"sha256": EMAIL}),
        ({"timestamp": "bob@x.org"}, {"timestamp": EMAIL}),
        ({"version": {"note": "1.2.3.4"}}, {"version": {"note": IP}}),
        ({"note": "1.2.3.4"}, {"note": IP}),
    ],
)
def test_an_exemption_holds_for_its_detectors_and_its_field_alone(rules: Rules, value: Any, wanted: Any) -> None:
    """What a name does not explain is still found, and a field below has its own name."""
    assert redact(value, rules).value == wanted


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ({"contact_us": "call 555-867-5309 now"}, {"contact_us": f"call {PHONE} now"}),
        ({"contactUs": "+1 555 867 5309"}, {"contactUs": PHONE}),
        (
            {"time": "2026-11-26 18:55:57 +0000 UTC m=+44.207946095"},
            {"time": "2026-11-26 18:55:57 +0000 UTC m=+44.207946095"},
        ),
        ({"version": "OpenSSH_8.9p1 Ubuntu 3.0.13.1"}, {"version": "OpenSSH_8.9p1 Ubuntu 3.0.13.1"}),
        ({"daily_digest": "Jane: card 4111111111111111"}, {"daily_digest": f"Jane: card {CARD}"}),
        ({"commit": f"use api_key={RANDOM_KEY} now"}, {"commit": f"use api_key={KEY} now"}),
        ({"message_id": "whatsapp:+442079460958"}, {"message_id": f"whatsapp:{PHONE}"}),
    ],
)
def test_a_sentence_is_no_id_digest_or_time(rules: Rules, value: Any, wanted: Any) -> None:
    """What a field's name exempts is a value such as it promises, and not whatever stands there."""
    assert redact(value, rules).value == wanted


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ({"name": "Cookie", "value": "sid=1"}, {"name": "Cookie", "value": KEY}),
        ([{"key": "user_id", "value": 47110815}], [{"key": "user_id", "value": USER}]),
        (
            {"key": "session.id", "value": {"stringValue": "a"}},
            {"key": "session.id", "value": {"stringValue": SESSION}},
        ),
        ({"name": "Email", "value": 580}, {"name": "Email", "value": 580}),
        ({"phones": 5558675309}, {"phones": PHONE}),
        ({"auth0": {"domain": "x"}, "cell_1": 5}, {"auth0": {"domain": "x"}, "cell_1": 5}),
        ({"name": "colour", "value": "red"}, {"name": "colour", "value": "red"}),
        ({"phone2": "none given"}, {"phone2": PHONE}),
        ({"pass@1": 0.5, "pass": 12}, {"pass@1": 0.5, "pass": 12}),
        ({"emails": 12, "users": 3, "credentials": 2}, {"emails": 12, "users": 3, "credentials": 2}),
        ({"emails": ["a"], "user": 3}, {"emails": EMAIL, "user": USER}),
        ({"email": {"type": "string", "minLength": 3}}, {"email": {"type": "string", "minLength": 3}}),
        ({"password": {"type": "string", "default": "hunter2"}}, {"password": "[REDACTED_PASSWORD]"}),
        ({"password": {"type": "string", "content": "hunter2"}}, {"password": "[REDACTED_PASSWORD]"}),
        ({"password": {"type": ["string", "null"]}}, {"password": {"type": ["string", "null"]}}),
        ({"email": {"type": "home", "address": "x"}}, {"email": EMAIL}),
        ({"a": float("inf"), "to": "bob@x.org"}, {"a": float("inf"), "to": EMAIL}),
    ],
)
def test_a_name_speaks_of_its_value(rules: Rules, value: Any, wanted: Any) -> None:
    """Also from beside it and with a number; neither of how many there are, nor of what may stand there."""
    assert redact(value, rules).value == wanted


def test_a_name_that_is_redacted_exempts_nothing(rules: Rules) -> None:
    """Under its new name the value would be searched: what a second run finds, the first must."""
    once = redact({"ann@x.org password=version": "at 2001:db8::8a2e:370:7334"}, rules)
    assert "2001:db8" not in str(once.value)
    assert redact(once.value, rules).findings == ()
