"""Values that their field's name makes personal, whatever they look like; names that are themselves personal; numbers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.corpus import numbers
from tests.corpus.model import Sample, Span
from tests.corpus.plain import FILLERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from faker import Faker

    from tests.corpus.writer import Writer

BIRTH_NAMES = (
    "date_of_birth",
    "dateOfBirth",
    "dob",
    "DOB",
    "birth_date",
    "birthDate",
    "birthdate",
    "Date-of-Birth",
    "date_of_birth",
    "birthday",
)

NATIONAL: dict[str, str] = {
    # Field name: the document's shape (`#` digit, `?` capital).
    "national_id": "??######?",
    "nationalId": "##########",
    "passport_number": "?########",
    "passportNumber": "#########",
    "passport_no": "??#######",
    "passport": "C##??####",
    "driver_license": "?###-####-####",
    "drivers_license": "?#######",
    "driving_licence_number": "?????######??#??",
    "tax_id": "## ### ### ###",
    "taxId": "##-#######",
    "nino": "?? ## ## ## C",
    "national_insurance_number": "??######A",
    "aadhaar": "#### #### ####",
    "aadhaar_number": "############",
    "cpf": "###.###.###-##",
    "dni": "########?",
    "pesel": "###########",
    "personnummer": "######-####",
    "bsn": "#########",
    "codice_fiscale": "??????##?##?###?",
    "steuer_id": "###########",
    "nhs_number": "### ### ####",
    "identity_card_number": "L##??####",
}

_OTHER: dict[str, tuple[str, ...]] = {
    "email": ("email", "Email", "e-mail", "email_address", "emailAddress", "E-Mail"),
    "phone": ("phone", "phone_number", "phoneNumber", "mobile", "telephone", "Phone-Number"),
    "ssn": ("ssn", "SSN", "social_security_number"),
    "password": ("password", "Password", "passwd", "PASSWORD", "pass_word", "secret", "client_secret", "clientSecret"),
    "api_key": (
        "api_key",
        "apiKey",
        "API-Key",
        "x-api-key",
        "APIKEY",
        "access_token",
        "accessToken",
        "refresh_token",
        "secret_key",
    ),
    "auth_header": ("authorization", "Authorization", "proxy-authorization"),
    "user_id": ("user_id", "userId", "User-Id", "UserID", "USER_ID"),
    "session_id": ("session_id", "sessionId", "Session-ID", "SESSIONID"),
    "credit_card": ("credit_card", "card_number", "cardNumber", "creditCardNumber"),
    "iban": ("iban", "IBAN"),
    "ip_address": ("ip", "ip_address", "ipAddress", "client_ip", "remote_addr"),
}


def _odd_value(writer: Writer, entity: str, faker: Faker) -> str:
    """Return a value that only its field's name can give away, as callers put there."""
    chance = writer.chance
    odd: dict[str, Callable[[], str]] = {
        "user_id": lambda: chance.choice(
            (faker.user_name(), str(chance.randint(1, 10**7)), chance.hexed(24), "u_" + chance.hexed(6), faker.uuid4())
        ),
        "session_id": lambda: chance.choice(
            (chance.hexed(16), faker.uuid4(), str(chance.randint(1, 10**9)), "abc-" + chance.hexed(4))
        ),
        "password": lambda: chance.choice((faker.password(), "letmein", "correct horse battery staple", "1234")),
        "api_key": lambda: chance.choice(("sk-1234567890abcdef", chance.hexed(12), "dev-key", chance.mixed(16))),
        "phone": faker.phone_number,
        "ssn": lambda: chance.digits(9),
    }
    return odd[entity]() if entity in odd and chance.maybe(0.6) else writer.draw(entity, "en", faker).text


def _birth(writer: Writer, faker: Faker) -> str:
    day = faker.date_of_birth(minimum_age=16, maximum_age=95)
    shapes = (
        f"{day:%Y-%m-%d}",
        f"{day:%d/%m/%Y}",
        f"{day:%m/%d/%Y}",
        f"{day:%d.%m.%Y}",
        f"{day:%Y%m%d}",
        f"{day:%d %B %Y}",
        f"{day:%b} {day.day}, {day.year}",
        f"{day:%Y-%m-%dT00:00:00Z}",
        f"{day:%d.%m.%y}",
        f"{day.year}年{day.month}月{day.day}日",
    )
    return writer.chance.choice(shapes)


def field(writer: Writer, entity: str, faker: Faker) -> Sample:
    """Return a document with one personal field among others that are not, at any depth; at times in a JSON string."""
    chance = writer.chance
    value: Any
    if entity == "date_of_birth":
        name, value = chance.choice(BIRTH_NAMES), _birth(writer, faker)
    elif entity == "national_id":
        name = chance.choice(list(NATIONAL))
        value = chance.filled(NATIONAL[name])
    else:
        name, value = chance.choice(_OTHER[entity]), _odd_value(writer, entity, faker)
    if value.isdigit() and value[0] != "0" and chance.maybe(0.15):
        value = int(value)
    beside = {"plan": "pro", "score": chance.randint(1, 900), "created": "2024-03-11T09:00:00Z"}
    record = {**beside, name: value} if chance.maybe(0.5) else {name: value, **beside}
    length = len(str(value))
    if entity in {"date_of_birth", "national_id"} and chance.maybe(0.08):
        return _in_a_string(record, name, value, entity)
    shapes: tuple[tuple[Any, tuple[str | int, ...]], ...] = (
        (record, (name,)),
        ({"event": "tool_execution", "payload": {"args": record, "latency_ms": 12}}, ("payload", "args", name)),
        ({"payload": {"metadata": {"request_id": "req789", **record}}}, ("payload", "metadata", name)),
        ({"rows": [{"n": 1}, record]}, ("rows", 1, name)),
        (
            {"response": {"data": {"customers": [{"profile": record}]}}},
            ("response", "data", "customers", 0, "profile", name),
        ),
    )
    shaped, path = chance.choice(shapes)
    return Sample(shaped, (Span(path, 0, length, entity, f"field {name}"),), "field", "field")


def _in_a_string(record: dict[str, Any], name: str, value: Any, entity: str) -> Sample:
    """Return a tool call whose arguments are, as its format has it, JSON in a string."""
    written = json.dumps(record, ensure_ascii=False)
    start = written.index(f'"{name}": ') + len(name) + 4 + isinstance(value, str)
    call = {"function": {"name": "save", "arguments": written}}
    span = Span(("function", "arguments"), start, start + len(str(value)), entity, "field in a JSON string")
    return Sample(
        {"tool_calls": [call]},
        (Span(("tool_calls", 0, *span.path), span.start, span.end, entity, span.variant),),
        "field",
        "field",
    )


def in_name(writer: Writer, entity: str, faker: Faker) -> Sample:
    """Return a document in which a member's name is personal."""
    drawn = writer.draw(entity, "en", faker)
    while drawn.start or drawn.end is not None:
        drawn = writer.draw(entity, "en", faker)
    counts = {"total": 3, drawn.text: writer.chance.randint(1, 99)}
    value, path = writer.chance.choice(((counts, ()), ({"args": {"seen": counts}}, ("args", "seen"))))
    span = Span((*path, drawn.text), 0, len(drawn.text), entity, f"a member's name, {drawn.variant}", in_name=True)
    return Sample(value, (span,), "name", "name")


def card_as_number(writer: Writer) -> Sample:
    """Return a document with a card sent as a JSON number under a name that says nothing."""
    number = numbers.card_integer(writer.chance)
    name = writer.chance.choice(("value", "n", "x", "input", "number"))
    return Sample(
        {"args": {name: number, "limit": 10}},
        (Span(("args", name), 0, len(str(number)), "credit_card", "JSON number"),),
        "number",
        "number",
    )


_CLEAN: dict[str, str] = {
    # Field name: what fills it (`texts/` has the same names as slots).
    "order_id": "order",
    "invoice_number": "invoice",
    "tracking_number": "tracking",
    "sku": "sku",
    "isbn": "isbn",
    "sha256": "sha256",
    "sha1": "sha1",
    "md5": "md5",
    "checksum": "sha256",
    "digest": "sha256",
    "etag": "md5",
    "commit": "sha1",
    "git_sha": "sha1",
    "trace_id": "trace",
    "span_id": "span",
    "request_id": "uuid",
    "event_id": "ulid",
    "job_id": "uuid",
    "version": "quad",
    "app_version": "version",
    "browser_version": "build",
    "model": "model",
    "timestamp": "stamp",
    "created_at": "stamp",
    "due": "date",
    "start": "time",
    "received_ns": "epoch",
    "created": "epoch",
    "amount": "price",
    "total": "count",
    "tokens": "small",
    "latency": "duration",
    "port": "port",
    "position": "coordinates",
    "file": "file",
    "colour": "colour",
    "city": "city",
    "note": "sentence",
    "values": "numbers",
    "meter": "not_a_card",
}


def clean(writer: Writer, faker: Faker) -> Sample:
    """Return a record of things, as tools answer: half of what looks like a whole number is sent as one."""
    chance = writer.chance
    record: dict[str, Any] = {}
    for name in chance.sample(sorted(_CLEAN), chance.randint(3, 9)):
        value = FILLERS[_CLEAN[name]](chance, faker)
        whole = value.isdigit() and value[0] != "0" and chance.maybe(0.5)
        record[name] = int(value) if whole else value
    shapes: tuple[Any, ...] = (
        record,
        {"event": "tool_execution", "payload": {"tool": "lookup", "response": record}},
        {"rows": [record, {"n": chance.randint(1, 10**9)}]},
        {"content": json.dumps(record, ensure_ascii=chance.maybe(0.5))},
        [record, [chance.randint(-(10**6), 10**12) for _ in range(5)]],
    )
    return Sample(chance.choice(shapes), (), "field", "field")
