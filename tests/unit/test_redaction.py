"""Redaction: what is found and replaced, what is left alone, and that a fault lets nothing through."""

from __future__ import annotations

import copy
import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from app.core.redaction import FAILED, redact
from app.core.validators import Validator
from tests.unit.marks import CARD, EMAIL, IP, KEY, PHONE, RANDOM_KEY, SESSION, SSN, USER

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.rules import Detector, Rules
    from app.core.validators import Candidate


LARGE = 128 * 1024


# What the specification shows


def test_the_specifications_example(rules: Rules) -> None:
    """The example of `POST /log` loses user and session id, and nothing else."""
    payload = {
        "timestamp": "2025-09-03T10:30:00Z",
        "service": "pipelines-gateway",
        "tool": "generate_response",
        "args": {"model": "llama2", "prompt": "Hello world", "temperature": 0.7},
        "response": {"text": "Hello! How can I help you?", "tokens": 150, "latency_ms": 250},
        "metadata": {"user_id": "user123", "session_id": "sess456", "request_id": "req789"},
    }
    result = redact(payload, rules)
    assert result.fields == ["user_id", "session_id"]
    assert result.value == {
        **payload,
        "metadata": {"user_id": USER, "session_id": SESSION, "request_id": "req789"},
    }


def test_the_specifications_own_test(rules: Rules) -> None:
    """The payload of `test_pii_redaction` reports its three fields and keeps its message."""
    payload = {
        "user_id": "user123",
        "email": "test@example.com",
        "api_key": "sk-1234567890abcdef",
        "message": "Hello world",
    }
    result = redact(payload, rules)
    assert result.fields == ["user_id", "email", "api_key"]
    assert result.value == {"user_id": USER, "email": EMAIL, "api_key": KEY, "message": "Hello world"}


# Spans in text


FOUND = [
    ("contact_phone: 5558675309, phone_number 5558675309", f"contact_phone: {PHONE}, phone_number {PHONE}"),
    ("com.acme.phone=5558675309", f"com.acme.phone={PHONE}"),
    ("Tel.Nr. 4960123 oder mobil 4960124", f"Tel.Nr. {PHONE} oder mobil {PHONE}"),
    ("Appelez-moi au 032748242", f"Appelez-moi au {PHONE}"),
    ("Moje telefonní číslo je 605 618 371.", f"Moje telefonní číslo je {PHONE}."),
    ("Τηλ. 691 658 6196, κιν. 6921357865", f"Τηλ. {PHONE}, κιν. {PHONE}"),
    ("HP: 8157 7004 (office hours)", f"HP: {PHONE} (office hours)"),
    ("bob@x.org", EMAIL),
    ("mail bob@x.org now", f"mail {EMAIL} now"),
    ("bob.smith+tag@mail.example.org, ann@y.org", f"{EMAIL}, {EMAIL}"),
    ("<bob@x.org>", f"<{EMAIL}>"),
    ("mailto:bob@x.org?subject=hi", f"mailto:{EMAIL}?subject=hi"),
    ("BOB@X.ORG.", f"{EMAIL}."),
    ("jörg@müller.de", EMAIL),
    ("用户@例子.广告", EMAIL),
    ("अजय@डाटा.भारत", EMAIL),
    ("a@xn--bcher-kva.example", EMAIL),
    ("a@bücher.xn--p1ai", EMAIL),
    ("555-867-5309", PHONE),
    ("123.456.7890", PHONE),
    ("(555) 867-5309", PHONE),
    ("+1-555-867-5309", PHONE),
    ("call (555) 867-5309 today", f"call {PHONE} today"),
    ("+44 20 7946 0958", PHONE),
    ("+4915112345678", PHONE),
    ("ring +33 1 70 18 99 00 or write", f"ring {PHONE} or write"),
    ("(020) 7946 0958", PHONE),
    ("08081 570 192 is free", f"{PHONE} is free"),
    ("212 555 0123", PHONE),
    ("07700 900 123", PHONE),
    ("on 07700900123.", f"on {PHONE}."),
    ("phone: 5558675309", f"phone: {PHONE}"),
    ("my mobile is 5558675309", f"my mobile is {PHONE}"),
    ("fax 5558675309", f"fax {PHONE}"),
    ("desk 5558675309", f"desk {PHONE}"),
    ("office: 5558675309", f"office: {PHONE}"),
    ("call 5558675309", f"call {PHONE}"),
    ("reach me at 5558675309", f"reach me at {PHONE}"),
    ("text 5558675309", f"text {PHONE}"),
    ("WhatsApp 5558675309", f"WhatsApp {PHONE}"),
    ("my ssn is 123-45-6789", f"my ssn is {SSN}"),
    ("123-45-6789.", f"{SSN}."),
    ("219 09 9998", SSN),
    ("SSN 123456789", f"SSN {SSN}"),
    ("social security number: 123456789", f"social security number: {SSN}"),
    ("4111111111111111", CARD),
    ("4111 1111 1111 1111", CARD),
    ("pay 5500-0000-0000-0004 now", f"pay {CARD} now"),
    ("378282246310005", CARD),
    ("30569309025904", CARD),
    ("4222222222222", CARD),
    ("6304000000000000", CARD),
    ("paid 2023 with 4111111111111111", f"paid 2023 with {CARD}"),
    ("4111111111111111,5500000000000004", f"{CARD},{CARD}"),
    (f"key {RANDOM_KEY}", f"key {KEY}"),
    ("use sk-1234567890abcdef here", f"use {KEY} here"),
    ("sk-proj-Ab3dEf6hIj9kLm2nOp5q", "[REDACTED_OPENAI_KEY]"),
    ("sk_live_4eC39HqLyjWDarjtT1zdp7dc", "[REDACTED_STRIPE_KEY]"),
    ("from 192.168.1.77:8080", f"from {IP}:8080"),
    ("10.0.0.1, 10.0.0.2", f"{IP}, {IP}"),
    ("10.0.0.1/24.", f"{IP}/24."),
    ("2001:db8::8a2e:370:7334", IP),
    ("peer fe80::1 is up", f"peer {IP} is up"),
    ("2001:0db8:85a3:0000:0000:8a2e:0370:7334", IP),
    ("[2001:db8::1]:8080", f"[{IP}]:8080"),
    ("asked by user123", f"asked by {USER}"),
    ("USER_4f2a", USER),
    ("user-id-77 and user_8", f"{USER} and {USER}"),
    ("in sess456", f"in {SESSION}"),
    ("session_9a8b", SESSION),
    ("sess-9a8b7c6d-1122-3344", SESSION),
    ("postgres://app:hunter2@db.example.com:5432/shop", "postgres://app:[REDACTED_PASSWORD]@db.example.com:5432/shop"),
    ("https://bob:s3cr3t@x.org and ann@x.org", f"https://bob:[REDACTED_PASSWORD]@x.org and {EMAIL}"),
    ("https://ann@x.org/inbox", f"https://{EMAIL}/inbox"),
    ("user_123_456 and xuser1", f"{USER} and xuser1"),
    ("x_user123", f"x_{USER}"),
    ("use sk-1234567890abcdef-xyz1234 here", f"use {KEY} here"),
    ("{'to': 'bob@x.org'}", f"{{'to': '{EMAIL}'}}"),
    ("**bob@x.org**", f"**{EMAIL}**"),
    ("o\u2019neil@example.org", EMAIL),
    ("请把合同发到xcui@yc.cn谢谢", f"请把合同发到{EMAIL}谢谢"),
    ("a.b@x.co.kr입니다", f"{EMAIL}입니다"),
    ("0152 85160767", PHONE),
    ("1 202 555 0143", PHONE),
    ("8 912 345 67 89", PHONE),
    ("699 97 01 79", PHONE),
    ("Fax 671.7111", f"Fax {PHONE}"),
    ("https://wa.me/447700900123", f"https://wa.me/{PHONE}"),
    ("Kortnummer 37 82 8224 6310 005 nekas", f"Kortnummer {CARD} nekas"),
    ("98137 74074", PHONE),
    ("connect from mail.example.com[2001:db8::25]", f"connect from mail.example.com[{IP}]"),
    ("client:2001:db8::ff00:42:8329", f"client:{IP}"),
    ("Phone of user_12345: 5558675309", f"Phone of {USER}: {PHONE}"),
    ("caller=+14155552671 tokens=512", f"caller={PHONE} tokens=512"),
    ("Our phone for sales is 5558675309", f"Our phone for sales is {PHONE}"),
    ("Call 212 555 0123/212 555 0124", f"Call {PHONE}/{PHONE}"),
    ("password=/hunter2x9", "password=[REDACTED_PASSWORD]"),
    ('{"secret":"","api_key":"abc123def"}', f'{{"secret":"","api_key":"{KEY}"}}'),
    ("passport 12345", "passport [REDACTED_NATIONAL_ID]"),
    ("routing table: 10.20.30.40", f"routing table: {IP}"),
    ("请拨打15532858954咨询", f"请拨打{PHONE}咨询"),
    ("Call Jonathan on 7500469353", f"Call Jonathan on {PHONE}"),
    ("- Phone: 0117 4960502\n- SSN: 671-70-5117", f"- Phone: {PHONE}\n- SSN: {SSN}"),
    ("IP 17.19.208.26.443 > 183.46.147.2.8768: Flags", f"IP {IP}.443 > {IP}.8768: Flags"),
]


@pytest.mark.parametrize(("text", "wanted"), FOUND)
def test_what_is_found_is_replaced_in_its_place(rules: Rules, text: str, wanted: str) -> None:
    """Each detector replaces what it finds and leaves the words around it."""
    assert redact({"note": text}, rules).value == {"note": wanted}


# What stands behind a value is a person's habit of writing, and must not hide it. (text, what must be gone)
FOLLOWED = [
    ("card 4111111111111111 12/26", "4111111111111111"),
    ("card 4111111111111111 123", "4111111111111111"),
    ("4111 1111 1111 1111 12/26 123", "4111 1111 1111 1111"),
    ("4111111111111111-12/26", "4111111111111111"),
    ("4111111111111111 4111111111111111", "4111111111111111"),
    ("+44 20 7946 0958 - 10 am", "7946 0958"),
    ("+44 20 7946 0958 2025-09-03", "7946 0958"),
    ("+1 555 867 5309 - 3 pm", "867 5309"),
    ("020 7946 0958 2 people", "7946 0958"),
    ("(020) 7946 0958 12:30", "7946 0958"),
    ("phone 5558675309 2024-01-15", "5558675309"),
    ("10.0.0.1-10.0.0.254", "10.0.0.1"),
    ("192.168.1.77-8080", "192.168.1.77"),
    ("fe80::1: unreachable", "fe80::1"),
    ("2001:db8::8a2e:370:7334: timed out", "370:7334"),
    ("user1-1.2.3.4", "1.2.3.4"),
    ("+44 20 7946 0958 555-867-5309", "7946 0958"),
    ("4111 1111 1111 1111 192.168.1.77", "4111 1111"),
    ("bob@x.org:bob@y.org", "bob"),
]


@pytest.mark.parametrize(("text", "secret"), FOLLOWED)
def test_what_follows_a_value_does_not_hide_it(rules: Rules, text: str, secret: str) -> None:
    """A value is found although digits or signs that could belong to it stand right behind it."""
    assert secret not in redact(text, rules).value


LEFT = [
    "app/phone.py           302      6     56      2    47%   181->exit, 581-788",
    "diff --git a/phone.py b/phone.py\nindex 1adce77..d269ada 100644",
    "$var wire 8 ! phone_bus $end\n#53926408\nb01011100 !",
    "call    0x1bc52444 <phone_ring+0x4c>\n .long   7956338379, 847970935",
    "root/root 7079130815 2023-05-11 22:56 backup/cell_1078.dat",
    "_cell_length_a   9.1129(6)\n_cell_angle_beta 113.092(8)",
    "[2257/38881] CXX obj/base/phone_number_parser.o",
    "#PID<0.3142.0> running MyApp.Phone (call ring/0)",
    "468485     613646      284.59   31305   1 Phone",
    "TEL 166.26 -2.89 (-1.02%) Vol 4,037,336",
    "sku\tname\tqty\n00898468\tMobile stand\t927",
    "手机销量:873558部",
    "Réf. dossier n° 3441-0805; mobile homologué 1074 MHz",
    "$GPGGA,081420.00,3120.94100,N,02624.00915,E,1,08",
    "0000000000cccb18 T phone_call_init\n00000000009e6069 t session_key_cmp",
    "Started session-7990.scope - Session 9924 of User root.",
    "UID:20250113T210000Z-317657",
    "freed archived journals from /var/log/journal/721245568a8baa397f43a1d2c44a3c27.",
    "100644 blob c266a79f99dd9afedce6656b6ed0d972ee956bfd    45262\ttoken.go",
    "Compiling saffron-token v1.23.18",
    ":109291007023273EB8528202C1EEF11403C528CE1F\n:1004790040CF07E5B13FB4BBB625AE480F38E6206B",
    "update_password: on_create",
    "PLZ 71862, ZIP 11680-2018, CEP 48652-679, 〒319-6867",
    "Powerball: 02 04 24 28 45 PB 13, jackpot $842 million",
    "EuroMillions 02-22-27-32-44 stars 19-25",
    "12844  21123 D Telephony: phone state: IDLE",
    "phone registrations 8972/1804, fax T.38 1",
    "f 195/621/460 883/239/839 447/397/605",
    "r-xp 00000000 fd:01 6946286  /usr/lib",
    "rw-p 00000000 00:00 0  [stack]",
    "Box: 000 010 021 - 8 9 1 / 100 000 006 - 1 5 2.",
    '=TEXT(B46,"000-000-0000")',
    "GB/T 39708-2004",
    "A telefon ára 192 097 Ft.",
    "The mobile chip scores 2325 / 3045 in Geekbench 6.",
    '[property: Phone] [Guid("0270463B-D917-4B05-980D-EC77DDA052FF")]',
    "Order no. 0702009808, invoice INV-2022-329068",
    "P/N 029-67460-08, offset 0691267655, OSM node 0120055026",
    "@pytest.fixture",
    "pkg@1.2.3",
    "a @ b.com",
    "bob@localhost",
    "5558675309",
    "2025-09-03",
    "2025-09-03T10:30:00.123456Z",
    "03.09.2025 10:30",
    "1756895400",
    "1756895400000",
    "12,345,678.90",
    "3.14159265358979",
    "0.50 10.25 30",
    "100 200 3000",
    "phone released 2024-01-15",
    "a + 12 34",
    "000-12-3456",
    "666-12-3456",
    "912-12-3456",
    "123-00-4567",
    "123-45-0000",
    "order 123456789",
    "4111 1111 1111 1112",
    "4111111111111",
    "9999999999999995",
    "1756895400000000000",
    "0000000000000000",
    "a" * 40,
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1",
    "ThisIsAVeryLongCamelCaseIdentifierName",
    "550e8400-e29b-41d4-a716-446655440000",
    "sk-learn-compatible-estimators",
    "300.1.1.1",
    "1.2.3.4.5",
    "version 1.2.3.4",
    "v1.2.3.4",
    "12:30:45",
    "10:30:00.123",
    "std::vector",
    "a[1::2]",
    "abc::def",
    "std::f64::MAX",
    "arr[::256]",
    "q@k.transpose(-2, -1)",
    "'@app.route('/v1')",
    'AssemblyVersion("15.0.15.140")',
    "My order number is 4299707070",
    "the largest 32-bit number is 2147483647",
    "phone_count: 1234567",
    "+10 000 000 views",
    '{"password":"","user":"bob"}',
    '{"password": "", "user": "bob"}',
    "diff +1234567 -7654321",
    "UPC 092926 00796 2",
    "The reference number 225-525-4490 appears on your bill",
    "score 588 278 7634 in rounds 1, 2 and 3",
    "lottery results: 08 26 21 39 43 17, bonus 12",
    "winning numbers 31-10-55-20-55-52",
    "EAN 4430035327811, in stock: 98",
    "sha512-A8by6OUBGjH4AcEmnFsI8TgCJ/1tcp71VtG2J4eUPbRuPxSihV1FBzWLzHV/24d9Lpby03kC5k84VAtrrWiJAA==",
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
    "if (name is None or password is None) and x:",
    "za 14 dni 2024",
    "passport 2.0 release",
    "username",
    "users and user_action",
    "session_state of the session",
    "gpt-4o-2024-08-06",
    "mistral-large-20241101",
    "llama-2-7b",
    "temperature 0.7, top_p 0.95, 150 tokens in 250 ms",
    "[REDACTED_EMAIL]",
    "",
]


@pytest.mark.parametrize("text", LEFT)
def test_what_only_looks_alike_is_left_alone(rules: Rules, text: str) -> None:
    """Dates, versions, counts, identifiers and numbers that fail their check stay as they are."""
    result = redact({"note": text}, rules)
    assert result.value == {"note": text}
    assert result.findings == ()


@pytest.mark.parametrize(
    "text",
    [
        "2025-09-03 10:30:00 ok\n" * 40,
        " ".join(str(number) for number in range(100)),
        "\n".join(f"{step} 0.{step}13 0.0{step}" for step in range(100, 160)),
        "1.25 2.50 3.75 5.00 " * 30,
    ],
    ids=["log", "count", "training", "matrix"],
)
def test_many_figures_are_left_alone(rules: Rules, text: str) -> None:
    """A text full of times or measurements is no more personal than one of them."""
    assert redact(text, rules).value == text


# Spellings of characters


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("bob\uff20x\uff0eorg", EMAIL),
        ("\uff42\uff4f\uff42@x.org", EMAIL),
        ("mail bob@exam\u200bple.org", f"mail {EMAIL}"),
        ("b\u00adob@x.org", EMAIL),
        ("bob@x.org\u202c", EMAIL),
        ("\uff14\uff11\uff11\uff11 1111 1111 1111", CARD),
        ("\u0664\u0661\u0661\u0661 \u0661\u0661\u0661\u0661 \u0661\u0661\u0661\u0661 \u0661\u0661\u0661\u0661", CARD),
        ("\u096a\u0967\u0967\u0967111111111111", CARD),
        ("4111\u200b1111\u00ad1111\u20601111", CARD),
        ("4111\u00a01111\u00a01111\u00a01111", CARD),
        ("\U0001d7d3\U0001d7d3\U0001d7d3-867-5309", PHONE),
        ("\uff11\uff19\uff12.168.1.77", IP),
        ("\u24e4\u24e2\u24d4\u24e1123", USER),
        ("s\u200bk-1234567890abcdef", KEY),
    ],
)
def test_no_spelling_of_a_character_hides_a_value(rules: Rules, text: str, wanted: str) -> None:
    """Text is matched in NFKC, with ASCII digits and without invisible characters."""
    assert redact({"note": text}, rules).value == {"note": wanted}


def test_a_clean_text_keeps_its_spelling(rules: Rules) -> None:
    """Folding is for matching alone: a text in which nothing is found stays as it was, byte for byte."""
    text = "\uff28ello \u0664\u0662 na\u0308ive \u200b ﬁne"
    assert redact([text], rules).value == [text]


# Values by themselves


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('{"password":"pässwörd123"}', '{"password":"[REDACTED_PASSWORD]"}'),
        ("密码: 机密文件12345", "密码: [REDACTED_PASSWORD]"),
        ("Passwort: Schöne-Tür-77", "Passwort: [REDACTED_PASSWORD]"),
        ('{"full_name":"山田太郎"}', '{"full_name":"[REDACTED_PERSON_NAME]"}'),
        ('{"full_name":"Jörg Müller"}', '{"full_name":"[REDACTED_PERSON_NAME]"}'),
        ('{"api_key":"schlüssel-äöü-123456"}', '{"api_key":"[REDACTED_API_KEY]"}'),
        ("postgres://app:pässwört9@db/x", "postgres://app:[REDACTED_PASSWORD]@db/x"),
        ("my password is größe-1.", "my password is [REDACTED_PASSWORD]."),
        ("x?password=größe1&page=3", "x?password=[REDACTED_PASSWORD]&page=3"),
    ],
)
def test_a_value_that_is_not_ascii_goes_whole(rules: Rules, text: str, wanted: str) -> None:
    """Checks count characters, and what is searched are bytes."""
    assert redact(text, rules).value == wanted


def test_underscores_inside_a_token_are_no_emphasis(rules: Rules) -> None:
    token = "_km--wd6LDBY8JXCJ.gSfPPvjSu_.NNkRKH_3f.mhv4NiErAwXb8_Ya9PF6A"
    value = redact(f"{{Bearer {token} and more", rules).value
    assert not any(part in value for part in ("km--wd6", "NNkRKH", "mhv4Ni", "Ya9PF6A")), value
    assert value.endswith(" and more")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("4111 2026/411111 1111111111", "4111 2026/[REDACTED_CREDIT_CARD]"),
        ("12/34/41 11 11 11 11 11 11 11/56", "12/34/[REDACTED_CREDIT_CARD]/56"),
        ("1/411111 1111111112/2/411111 11111111 11", "1/411111 1111111112/2/[REDACTED_CREDIT_CARD]"),
    ],
)
def test_a_card_that_is_oddly_grouped_is_found_behind_other_numbers(rules: Rules, text: str, wanted: str) -> None:
    assert redact(text, rules).value == wanted


@pytest.mark.parametrize(
    "number",
    [
        *(0, 1, -1, 150, 4111111111111112, 1756895400, 1756895400000, 1756895400000000000, 4111111111111111.5, 0.7),
        *(1e300, -1e300, 5e-324, 123456789, 5558675309, 2**63 - 1, -(2**63)),
    ],
)
def test_numbers_that_are_no_cards_stay_numbers(rules: Rules, number: float) -> None:
    """A JSON number is looked at for a card alone, and stays the same number of the same type."""
    value = redact({"n": number}, rules).value["n"]
    assert (value, type(value)) == (number, type(number))


# Findings


@pytest.mark.parametrize(
    ("text", "wanted", "detectors"),
    [
        ("mail user123@x.org", f"mail {EMAIL}", ["email"]),
        ("bob@sess456.org", EMAIL, ["email"]),
        ("sk-user123-1234567890abcdef", KEY, ["api_key"]),
        ("bob@x.org 555-867-5309", f"{EMAIL} {PHONE}", ["email", "phone"]),
        ("phone +44 20 7946 0958", f"phone {PHONE}", ["phone"]),
    ],
)
def test_overlapping_findings_become_one(rules: Rules, text: str, wanted: str, detectors: list[str]) -> None:
    """The longest of them names it, and each character is replaced once."""
    result = redact(text, rules)
    assert result.value == wanted
    assert [found.detector for found in result.findings] == detectors


def test_a_finding_says_what_was_done_and_keeps_no_value(rules: Rules) -> None:
    """Pointer, detector, action, field and length, and no word of the value."""
    (found,) = redact({"a": ["mail bob@x.org"]}, rules).findings
    assert (found.pointer, found.detector, found.action, found.field, found.length) == (
        "/a/0",
        "email",
        "redact",
        "a",
        9,
    )
    assert "bob" not in repr(found)


# Safety


def _with(rules: Rules, change: Callable[[Detector], Detector]) -> Rules:
    return replace(rules, detectors=tuple(change(detector) for detector in rules.detectors))


def _fail(_: Candidate) -> bool:
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("value", "wanted", "pointers"),
    [
        ("card 4111111111111111", "[REDACTED]", [""]),
        ({"a": "card 4111111111111111", "b": "x"}, {"a": "[REDACTED]", "b": "x"}, ["/a"]),
        ({"a": ["x", "4111111111111111 bob@x.org"]}, {"a": ["x", "[REDACTED]"]}, ["/a/1"]),
        ({"a": 4111111111111111}, {"a": "[REDACTED]"}, ["/a"]),
        ({"4111111111111111": 1}, {"[REDACTED]": 1}, ["/[REDACTED]"]),
    ],
)
def test_a_detector_that_fails_withholds_the_text_whole(
    rules: Rules, value: Any, wanted: Any, pointers: list[str]
) -> None:
    """A fault never lets a raw value through, touches no other text, and is reported as `failed`."""
    broken = _with(rules, lambda d: replace(d, validate=Validator(_fail)) if d.name == "credit_card" else d)
    result = redact(value, broken)
    assert result.value == wanted
    assert [(found.pointer, found.detector) for found in result.findings] == [(at, FAILED) for at in pointers]
    assert redact("bob@x.org", broken).value == EMAIL


def test_a_text_that_is_no_unicode_is_withheld(rules: Rules) -> None:
    """Half of a surrogate pair cannot be searched, so nothing of its text goes out."""
    result = redact({"a": "bob@x.org \ud800", "\udfff": "b"}, rules)
    assert result.value == {"a": "[REDACTED]", "[REDACTED]": "b"}
    assert {found.detector for found in result.findings} == {FAILED}


class _Never:
    """Stands in for a pattern or a set, and fails when it is asked anything."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


@pytest.mark.parametrize("text", ["", "Hello world", "naïve \u0664\u0662", "a longer text\nwith two lines"])
def test_a_clean_text_takes_the_short_way(rules: Rules, text: str) -> None:
    """Where the set says that nothing occurs, no pattern is asked: the fail-closed way is not the usual one."""
    unasked = _with(rules, lambda detector: replace(detector, pattern=_Never()))
    result = redact({"note": text, "n": 7}, unasked)
    assert (result.value, result.findings) == ({"note": text, "n": 7}, ())


def test_what_occurs_asks_those_detectors_alone(rules: Rules) -> None:
    """A text with an e-mail address in it is searched by the detector of e-mail addresses."""
    only_email = _with(rules, lambda d: d if d.name == "email" else replace(d, pattern=_Never()))
    result = redact("mail bob@x.org", only_email)
    assert (result.value, [found.detector for found in result.findings]) == (f"mail {EMAIL}", ["email"])


def test_without_the_set_every_detector_decides(rules: Rules) -> None:
    """A set that fails costs time and not a finding, and a clean text is not withheld."""
    slow = replace(rules, any_of=_Never())
    assert redact(["mail bob@x.org", "Hello world", 7], slow).value == [f"mail {EMAIL}", "Hello world", 7]


@pytest.mark.parametrize(
    "value",
    [
        {"a": ["bob@x.org", {"bob@x.org": 1}], "password": {"b": ["c"]}},
        ["4111111111111111", 4111111111111111],
        {"a": 1},
    ],
)
def test_the_input_is_not_changed(rules: Rules, value: Any) -> None:
    """The caller's value is as it was, and shares no container that changed."""
    before = copy.deepcopy(value)
    redact(value, rules)
    assert value == before


# Time


WORST = {
    "dots": "a.",
    "at": "a@",
    "dotted address": "a@a.",
    "digits and spaces": "1 ",
    "digits and dashes": "1-",
    "digits": "1",
    "groups of four": "4111 ",
    "plus": "+1 5 ",
    "trunk": "012 3 ",
    "brackets": "(0",
    "context": "phone 1234567 ",
    "ssn": "123-45-6789-",
    "octets": "1.1.1.",
    "colons": ":",
    "hextets": "ab1:",
    "random": "0f",
    "words and dashes": "sk-",
    "user": "user",
    "users": "user1 ",
    "session": "sess_",
    "Arabic digits": "\u0664 ",
    "a ligature of 18": "\ufdfa",
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", WORST.values(), ids=WORST.keys())
def test_time_is_linear_in_a_text(rules: Rules, piece: str) -> None:
    """128 KB of what a pattern likes least are searched in seconds, where a quadratic way takes minutes."""
    redact(piece * (LARGE // len(piece.encode())), rules)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", ["a1", "a.", "\u0664 "])
def test_time_is_linear_in_a_name(rules: Rules, piece: str) -> None:
    """A name of 128 KB is a text like any other."""
    redact({piece * (LARGE // len(piece.encode())): 1}, rules)


@pytest.mark.timeout(20)
def test_time_is_linear_in_the_number_of_names(rules: Rules) -> None:
    """Sixteen thousand names that redact alike, all of which fit one event, are numbered in seconds."""
    result = redact({f"{number}@x.org": 0 for number in range(16_000)}, rules)
    assert len(result.value) == 16_000


@pytest.mark.parametrize(
    "value",
    [
        {"user1 " * 2_000: 1},
        {"x" * 60_000: ["b@x.org"] * 2_000},
        {"b@x.org " * 1_000: {"b@x.org " * 1_000: ["b@x.org"] * 999}},
    ],
    ids=["findings in a name", "findings below a name", "both"],
)
def test_memory_is_linear_in_a_value(rules: Rules, value: Any) -> None:
    """Thousands of findings, each of which points through one long name, do not copy that name thousands of times."""
    redact(value, rules)
    tracemalloc.start()
    try:
        redact(value, rules)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 20_000_000
