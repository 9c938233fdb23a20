"""Cards, account numbers, addresses of machines, ids: right by their check, written by hand."""

from __future__ import annotations

import ipaddress
import uuid
from typing import TYPE_CHECKING

from tests.corpus.chance import EN_DASH, HYPHEN, NARROW, NBSP, full_width, grouped
from tests.corpus.model import Drawn

if TYPE_CHECKING:
    from tests.corpus.chance import Chance

CARDS: dict[str, tuple[tuple[str, ...], int, tuple[int, ...]]] = {
    # Issuer: prefixes (ISO/IEC 7812 ranges as the networks publish them), length, usual grouping.
    "visa": (("4",), 16, (4,)),
    "mastercard": (("51", "52", "53", "54", "55", "2221", "2350", "2720"), 16, (4,)),
    "amex": (("34", "37"), 15, (4, 6, 5)),
    "discover": (("6011", "644", "65"), 16, (4,)),
    "jcb": (("3528", "3566", "3589"), 16, (4,)),
    "diners": (("300", "305", "36", "38"), 14, (4, 6, 4)),
    "unionpay": (("620", "622126", "6250"), 16, (4,)),
    "unionpay 19": (("622126", "6214"), 19, (6, 13)),
    "maestro": (("5018", "5020", "6304", "6759"), 16, (4,)),
    "maestro 18": (("6759", "5018"), 18, (4,)),
    "visa 19": (("4",), 19, (4,)),
}


def luhn_digit(body: str) -> str:
    """Return the check digit that ISO/IEC 7812 annex B gives these digits."""
    total = 0
    for place, digit in enumerate(reversed(body)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def card_number(chance: Chance) -> tuple[str, str, tuple[int, ...]]:
    """Return an issuer, a number that is right by its check, and how it is usually grouped."""
    rare = {
        "unionpay 19": 0.3,
        "maestro": 0.5,
        "maestro 18": 0.2,
        "visa 19": 0.3,
        "visa": 4.0,
        "mastercard": 3.0,
        "amex": 2.0,
    }
    issuer = chance.weighed({name: rare.get(name, 1.0) for name in CARDS})
    prefixes, length, sizes = CARDS[issuer]
    body = chance.choice(prefixes)
    body += chance.digits(length - 1 - len(body))
    return issuer, body + luhn_digit(body), sizes


def card(chance: Chance) -> Drawn:
    """Write a payment card."""
    issuer, number, sizes = card_number(chance)
    ways = {
        grouped(number, sizes, " "): ("spaced", 5.0),
        number: ("bare", 4.0),
        grouped(number, sizes, "-"): ("dashes", 3.0),
        grouped(number, sizes, "."): ("dots", 0.6),
        grouped(number, sizes, NBSP): ("NBSP", 0.8),
        grouped(number, sizes, NARROW): ("narrow NBSP", 0.3),
        grouped(number, sizes, EN_DASH): ("en dash", 0.5),
        grouped(number, sizes, HYPHEN): ("typographic hyphen", 0.3),
        grouped(number, sizes, "  "): ("double space", 0.5),
        grouped(number, sizes, " - "): ("spaced dashes", 0.5),
        full_width(grouped(number, sizes, " ")): ("full width", 0.4),
        grouped(number, chance.choice(((4, 4, 8), (8,), (4, 12), (5, 5, 6), (3, 3, 4, 6), (2,), (6, 10))), " "): (
            "wrong grouping",
            1.6,
        ),
        f"{number[:4]} {number[4:8]}-{number[8:12]} {number[12:]}": ("mixed separators", 0.6),
    }
    text = chance.weighed({written: weight for written, (_, weight) in ways.items()})
    return Drawn(text, f"{issuer}, {ways[text][0]}")


def card_integer(chance: Chance) -> int:
    """Return a card number as a JSON number."""
    return int(card_number(chance)[1])


def _ssn_parts(chance: Chance) -> tuple[str, str, str]:
    area = chance.choice([*range(1, 666), *range(667, 900)])
    return f"{area:03d}", f"{chance.randint(1, 99):02d}", f"{chance.randint(1, 9999):04d}"


def ssn_dashed(chance: Chance) -> Drawn:
    """Write a US social security number in its own shape, which needs no word beside it."""
    a, b, c = _ssn_parts(chance)
    ways = {
        f"{a}-{b}-{c}": ("dashes", 6.0),
        f"{a}{EN_DASH}{b}{EN_DASH}{c}": ("en dash", 0.7),
        f"{a}{HYPHEN}{b}{HYPHEN}{c}": ("typographic hyphen", 0.4),
    }
    text = chance.weighed({written: weight for written, (_, weight) in ways.items()})
    return Drawn(text, ways[text][0])


def ssn(chance: Chance) -> Drawn:
    """Write a US social security number that its name announces."""
    a, b, c = _ssn_parts(chance)
    ways = {
        f"{a}-{b}-{c}": ("dashes", 5.0),
        f"{a} {b} {c}": ("spaced", 2.0),
        f"{a}{b}{c}": ("bare", 2.5),
        f"{a}.{b}.{c}": ("dots", 0.8),
        f"{a}{NBSP}{b}{NBSP}{c}": ("NBSP", 0.4),
        f"{a} - {b} - {c}": ("spaced dashes", 0.5),
        f"{a}{EN_DASH}{b}{EN_DASH}{c}": ("en dash", 0.5),
        f"{a}-{b}{c}": ("missing dash", 0.5),
        full_width(f"{a}-{b}-{c}"): ("full width", 0.2),
    }
    text = chance.weighed({written: weight for written, (_, weight) in ways.items()})
    return Drawn(text, ways[text][0])


_V4_NETS = (
    "10",
    "192.168",
    "172.16",
    "172.31",
    "8.8",
    "203.0.113",
    "198.51.100",
    "192.0.2",
    "54",
    "85",
    "91",
    "141",
    "185",
    "34",
    "100.64",
    "169.254",
)


def ipv4(chance: Chance) -> str:
    """Return an address of a host: private, public or of documentation."""
    parts = chance.choice(_V4_NETS).split(".")
    while len(parts) < 4:
        parts.append(str(chance.randint(2, 253)))
    return ".".join(parts)


def ipv6(chance: Chance) -> tuple[str, str]:
    """Return an address and how it is written."""
    prefix = chance.choice(("2001:db8", "2a02:8109", "2606:4700", "2a00:1450", "fd12:3456", "2400:cb00"))
    tail = [chance.hexed(4) for _ in range(6)]
    address = ipaddress.IPv6Address(":".join((prefix, *tail)))
    ways = {
        address.compressed: ("compressed", 3.0),
        address.exploded: ("exploded", 2.0),
        address.compressed.upper(): ("upper case", 1.0),
        f"{prefix}::{chance.randint(1, 0xFFFF):x}": ("double colon", 3.0),
        f"{prefix}:{tail[0]}::{tail[1]}:{chance.randint(1, 255):x}": ("double colon inside", 2.0),
        f"fe80::{tail[0]}:{tail[1][:2]}ff:fe{tail[2][:2]}:{tail[3]}": ("link local", 1.5),
        f"fe80::{tail[0]}:{tail[1]}%{chance.choice(('eth0', 'en0', 'wlan0'))}": ("zone", 0.7),
        f"::ffff:{ipv4(chance)}": ("mapped", 1.0),
    }
    text = chance.weighed({written: weight for written, (_, weight) in ways.items()})
    return text, ways[text][0]


def ip_address(chance: Chance) -> Drawn:
    """Write an address, at times with a port behind it, which is not part of it."""
    if chance.maybe(0.6):
        address = ipv4(chance)
        if chance.maybe(0.2):
            return Drawn(f"{address}:{chance.randint(80, 65000)}", "v4 with port", 0, len(address))
        return Drawn(address, "v4")
    address, way = ipv6(chance)
    if way != "zone" and chance.maybe(0.15):
        return Drawn(f"[{address}]:{chance.randint(80, 65000)}", "v6 with port", 1, 1 + len(address))
    return Drawn(address, f"v6 {way}", 0, address.index("%") if way == "zone" else None)


def mac_address(chance: Chance) -> Drawn:
    """Write a network card's address."""
    digits = chance.choice(("001b44", "3c22fb", "f0189b", "a4b1c1", "dca632", "0050b6", "e4e749")) + chance.hexed(6)
    digits = digits.upper() if chance.maybe(0.5) else digits
    separator, size, way = chance.weighed(
        {(":", 2, "colons"): 6, ("-", 2, "dashes"): 2.5, (".", 4, "dots in fours"): 1}
    )
    return Drawn(grouped(digits, (size,), separator), way)


IBANS: dict[str, str] = {
    # BBAN structures of the SWIFT IBAN registry: `#` a digit, `?` a capital letter.
    "DE": "##################",
    "GB": "????##############",
    "FR": "####################" + "###",
    "ES": "####################",
    "IT": "?######################",
    "NL": "????##########",
    "BE": "############",
    "AT": "################",
    "CH": "#################",
    "PL": "########################",
    "SE": "####################",
    "NO": "###########",
    "DK": "##############",
    "FI": "##############",
    "PT": "#####################",
    "IE": "????##############",
    "TR": "#####0################",
    "CZ": "####################",
    "GR": "#######################",
    "HU": "########################",
    "RO": "????################",
    "LU": "################",
    "SA": "####################",
    "AE": "###################",
    "MT": "????#####??????????????????",
    "LT": "################",
    "IL": "###################",
}


def iban_number(chance: Chance) -> str:
    """Return an IBAN that ISO 13616's check (mod 97) accepts."""
    country = chance.choice(list(IBANS))
    body = chance.filled(IBANS[country])
    value = int("".join(str(int(char, 36)) for char in f"{body}{country}00"))
    return f"{country}{98 - value % 97:02d}{body}"


def iban(chance: Chance) -> Drawn:
    """Write an IBAN."""
    number = iban_number(chance)
    ways = {
        grouped(number, (4,), " "): ("in fours", 5.0),
        number: ("bare", 4.0),
        grouped(number, (4,), NBSP): ("NBSP", 0.8),
        grouped(number, (4,), "-"): ("dashes", 1.0),
        grouped(number, (4,), "."): ("dots", 0.3),
        number.lower(): ("lower case", 0.8),
        grouped(number.lower(), (4,), " "): ("lower case in fours", 0.6),
        f"{number[:2]} {number[2:4]} {grouped(number[4:], (4,), ' ')}": ("country apart", 0.8),
        grouped(number, chance.choice(((4, 8, 10), (4, 3), (8,), (2, 2, 8, 10), (5,))), " "): ("wrong grouping", 1.5),
        grouped(number, (4,), "  "): ("double space", 0.4),
        full_width(number): ("full width", 0.2),
    }
    text = chance.weighed({written: weight for written, (_, weight) in ways.items()})
    return Drawn(text, ways[text][0])


def user_id(chance: Chance) -> Drawn:
    """Write a user's id in the specification's shapes (`user123`): always with a digit."""
    shapes = (
        "user###",
        "user####",
        "user_#####",
        "user-#^^#",
        "user_#^^#^",
        "user-####",
        "user##",
        "user_^#^^^^#",
        "USER-####",
        "User_####",
    )
    return _identified(chance, shapes, "user")


def session_id(chance: Chance) -> Drawn:
    """Write a session's id in the specification's shapes (`sess456`, `session_9a8b`): always with a digit."""
    shapes = (
        "sess###",
        "sess_#####",
        "sess-#^^#^^",
        "session_#^#^",
        "session-####",
        "session_########",
        "session-^^#^^#^#^^",
        "SESS-####",
        "session###",
        "sess_^^#^^^#^^^^^",
    )
    return _identified(chance, shapes, "session")


def _identified(chance: Chance, shapes: tuple[str, ...], kind: str) -> Drawn:
    if chance.maybe(0.06):
        return Drawn(
            f"{kind}{chance.choice('-_')}{uuid.UUID(int=chance.getrandbits(128), version=4)}", "UUID behind the word"
        )
    shape = chance.choice(shapes)
    return Drawn(chance.filled(shape), shape)
