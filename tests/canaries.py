"""Canaries: values that must not survive, drawn from a seed, and places where they are planted.

Each is one that redaction is meant to find, in a writing and between neighbours in which a reader still sees it. No
rules of the service and no assertions here.
"""

from __future__ import annotations

import json
import string
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.corpus import numbers, phones, secrets
from tests.corpus.chance import ALNUM

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.corpus.chance import Chance
    from tests.corpus.model import Drawn


class Canary(NamedTuple):
    """A value as it is planted, and what of it must be gone."""

    kind: str
    text: str
    secret: str
    """What tells it from every other: without the host of an address, the scheme of a header, the frame of a key."""

    def piece(self, chance: Chance, size: int) -> str:
        """Return that many characters of the secret, from anywhere in it: half a value is one that survived."""
        start = chance.randint(0, max(0, len(self.secret) - size))
        return self.secret[start : start + size]


class Plant(NamedTuple):
    """A JSON value, and the canaries in it."""

    value: Any
    canaries: tuple[Canary, ...]


_HOSTS: Final = ("example.org", "mail.example.com", "gmail.com", "a.io", "k12.wa.us")
_IDN_HOSTS: Final = (*_HOSTS, "bücher.de", "пример.рф", "例え.jp")
_CARDS: Final = {"spaced", "bare", "dashes", "NBSP", "narrow NBSP", "en dash", "typographic hyphen", "full width"}
_IBANS: Final = {"in fours", "bare", "NBSP", "dashes", "lower case", "lower case in fours", "country apart"}
_SSNS: Final = {"dashes", "spaced", "bare", "dots", "NBSP", "en dash"}
_PHONES: Final = {"spaced", "E.164", "dashes", "dots", "area in brackets", "NBSP", "trunk zero in brackets"}
_SSN_WORDS: Final = ("SSN ", "ssn: ", "my SSN is ", "social security number: ", "SSN=")


def _email(chance: Chance) -> Canary:
    local = chance.some(string.ascii_lowercase, 12)
    host = chance.choice(_IDN_HOSTS)
    written = chance.choice(("{}@{}", "{}+news@{}", "b.{}@{}", "{}\uff20{}")).format(local, host)
    return Canary("email", written.upper(), local.upper()) if chance.maybe(0.1) else Canary("email", written, local)


def _encoded_email(chance: Chance) -> Canary:
    local = chance.some(string.ascii_lowercase, 12)
    return Canary("encoded email", f"{local}%40{chance.choice(_HOSTS)}", local)


def _phone(chance: Chance) -> Canary:
    while True:
        drawn = phones.unmistakable(chance)
        country, _, way = drawn.variant.partition(" international, ")
        if way in _PHONES:
            return Canary(f"phone {country} {way}", drawn.text, drawn.text[3:])


def _written(kind: str, draw: Callable[[Chance], Drawn], ways: set[str]) -> Callable[[Chance], Canary]:
    """Of the corpus's writings those that are the usual ones: it also has slips, of which some may be missed."""

    def drawn_canary(chance: Chance) -> Canary:
        while True:
            drawn = draw(chance)
            if drawn.variant.rpartition(", ")[2] in ways:
                return Canary(f"{kind} {drawn.variant}", drawn.text, drawn.text)

    return drawn_canary


def _any_writing(kind: str, draw: Callable[[Chance], Drawn]) -> Callable[[Chance], Canary]:
    def drawn_canary(chance: Chance) -> Canary:
        drawn = draw(chance)
        return Canary(f"{kind} {drawn.variant}", drawn.text, drawn.text[drawn.start : drawn.end])

    return drawn_canary


def _ssn(chance: Chance) -> Canary:
    number = _written("ssn", numbers.ssn, _SSNS)(chance)
    return number._replace(text=chance.choice(_SSN_WORDS) + number.text)


def _ipv4(chance: Chance) -> Canary:
    octets = (chance.choice((10, 54, 85, 141, 192)), *(chance.randint(10, 253) for _ in range(3)))
    address = ".".join(map(str, octets))
    return Canary("ipv4", address, address)


def _private_key(chance: Chance) -> Canary:
    block = secrets.private_key(chance).text
    return Canary("private key", block, chance.choice(block.split("\n")[1:-2]))


def _user_id(chance: Chance) -> Canary:
    own = _with_digit(chance, 10)
    return Canary("user id", chance.choice(("user", "user_", "user-", "USER-", "User_")) + own, own)


def _session_id(chance: Chance) -> Canary:
    own = _with_digit(chance, 10)
    return Canary("session id", chance.choice(("sess", "sess_", "sess-", "session_", "SESS-")) + own, own)


def _with_digit(chance: Chance, size: int) -> str:
    return chance.digits(1) + chance.some(string.ascii_lowercase + string.digits, size - 1)


def _assigned(chance: Chance) -> Canary:
    name = chance.choice(("password=", "password: ", "pwd=", "api_key=", "token: ", "client_secret="))
    value = chance.mixed(14)
    # What is not ASCII stands before what must be gone: a span that is cut short leaves the end.
    ahead = chance.some("äößéłñшдя密語", 4) if chance.maybe(0.4) else ""
    return Canary("assigned", f"{name}{ahead}{value}", value)


KINDS: Final[dict[str, Callable[[Chance], Canary]]] = {
    "email": _email,
    "encoded email": _encoded_email,
    "phone": _phone,
    "card": _written("card", numbers.card, _CARDS),
    "iban": _written("iban", numbers.iban, _IBANS),
    "ssn": _ssn,
    "ipv4": _ipv4,
    "vendor token": _any_writing("token", secrets.vendor_token),
    "jwt": _any_writing("jwt", secrets.jwt),
    "private key": _private_key,
    "bearer": _any_writing("bearer", secrets.bearer),
    "url password": _any_writing("url", secrets.url_password),
    "user id": _user_id,
    "session id": _session_id,
    "assigned": _assigned,
}

# Fields whose values go whole, whatever they look like.
FIELDS: Final = (
    "user_id", "userId", "User-ID", "customer_id", "session_id", "sessionId", "SESSION_ID", "password", "db_password",
    "Passwd", "api_key", "apiKey", "access_token", "client_secret", "authorization", "email", "phone", "ssn", "iban",
)  # fmt: skip

# Names and words that say nothing of what stands beside them.
NAMES: Final = ("note", "text", "args", "prompt", "message", "a", "b", "response", "items", "meta", "näme", "x y", "")
WORDS: Final = (
    "plum", "quince", "meadow", "river", "lantern", "copper", "willow", "harbour", "velvet", "thistle", "the", "and",
    "Birne", "saw", "wrote", "für", "里", "привет",
)  # fmt: skip

# What sets a value off from its neighbours for a reader; "" is the text's end.
BEFORE: Final = (
    "", "", " ", " ", "\n", "\t", "\r\n", '"', "'", "(", "[", "<", "{", ": ", "= ", "=", ", ", ",", "; ", ";", "|",
    " | ", " - ", " — ", "\u3000", "\u00a0", "\u2009", "“", "„", "«", "「", "\uff08", "、", "\uff0c", "…", "→", "→ ",
    "• ", "· ", "`", "``", "**", "* ", "> ", "👉", "👉 ", "\u200b ", "\u2028", "/ ", "? ", "! ", "\x00", "\x1f", "\x7f",
)  # fmt: skip
AFTER: Final = (
    "", "", " ", " ", "\n", "\t", "\r\n", '"', "'", ")", "]", ">", "}", ", ", ",", "; ", ";", "|", " | ", " - ", " — ",
    "\u3000", "\u00a0", "\u2009", "”", "“", "»", "」", "\uff09", "、", "\uff0c", "…", "→", " →", " •", "`", "``", "**",
    "👈", " 👈", " \u200b", "\u2028", ". ", "? ", "! ", "?", "!", ": ", ".\n", "\x00", "\x1f", "\x7f",
)  # fmt: skip

_KIND_NAMES: Final = tuple(KINDS)


def canary(chance: Chance) -> Canary:
    """Draw a canary of any kind."""
    return KINDS[chance.choice(_KIND_NAMES)](chance)


def words(chance: Chance) -> str:
    """Draw a few words."""
    return " ".join(chance.choices(WORDS, k=chance.randint(1, 4)))


def text(chance: Chance, planted: Sequence[Canary]) -> str:
    """Write a text around canaries, in order."""
    parts: list[str] = []
    for one in planted:
        ahead, behind = chance.choice(BEFORE), chance.choice(AFTER)
        parts.append(f"{words(chance)}{ahead}" if ahead else "")
        parts.append(one.text)
        parts.append(f"{behind}{words(chance)}" if behind else "")
        parts.append("\n")
    return "".join(parts[:-1])


def plant(chance: Chance) -> Plant:
    """Draw a JSON value with canaries in it: in texts, in names, in JSON in a text, under names that are theirs."""
    value, planted = _held(chance)
    if chance.maybe(0.3):
        other, more = _held(chance)
        planted += more
        value = chance.choice(([value, other], {"first": value, "second": other}))
    for _ in range(chance.randint(0, 3)):
        value = _wrapped(chance, value)
    return Plant(value, tuple(planted))


def _held(chance: Chance) -> tuple[Any, list[Canary]]:
    way = chance.random()
    if way < 0.15:
        return _under_its_name(chance)
    if way < 0.2:
        card = numbers.card_integer(chance)
        return card, [Canary("card as a number", str(card), str(card))]
    found = [canary(chance) for _ in range(1 if chance.maybe(0.8) else 2)]
    if way < 0.4:
        return _in_json(chance, found)
    written = text(chance, found)
    if way < 0.55:
        return {written: chance.choice((1, None, "plum", {"note": "plum"}))}, found
    return written, found


def _in_json(chance: Chance, found: Sequence[Canary]) -> tuple[str, list[Canary]]:
    """Canaries in a document that is itself a text, such as a tool call's `arguments`; at times in one within it."""
    written, canaries = text(chance, found), [*found]
    for _ in range(2 if chance.maybe(0.2) else 1):
        held = {chance.choice(NAMES): written, "n": 1} if chance.maybe(0.5) else [1, written]
        plain = not chance.maybe(0.5)
        written = json.dumps(held, ensure_ascii=not plain, indent=chance.choice((None, 2)))
        # What is left has the form in which it was written.
        canaries = [one._replace(secret=json.dumps(one.secret, ensure_ascii=not plain)[1:-1]) for one in canaries]
    return written, canaries


def _under_its_name(chance: Chance) -> tuple[Any, list[Canary]]:
    signs = ALNUM + "!#$&+-.=?@^_~ "
    secret = chance.choice((chance.mixed(12), chance.some(string.ascii_lowercase, 14), chance.some(signs, 16)))
    value: Any = secret
    if chance.maybe(0.3):
        value = chance.choice(([secret], {"value": secret}, [1, {"deep": [secret]}]))
    return {chance.choice(FIELDS): value, "note": "plum"}, [Canary("field", secret, secret)]


def _wrapped(chance: Chance, value: Any) -> Any:
    way = chance.randrange(4)
    if way == 0:
        return [value]
    if way == 1:
        return ["plum", value, 7]
    if way == 2:
        return {chance.choice(NAMES): value}
    return {"n": 1, "args": {"t": 0.5, "ok": True}, chance.choice(NAMES): value, "z": [None]}
