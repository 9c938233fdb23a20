"""What is not personal: ids of things, amounts, times, hashes, versions, code's numbers. Also the noise round labelled values."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tests.corpus.numbers import luhn_digit

if TYPE_CHECKING:
    from collections.abc import Callable

    from faker import Faker

    from tests.corpus.chance import Chance

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_MODELS = (
    "gpt-4o-2024-08-06",
    "gpt-3.5-turbo-0125",
    "llama-3.1-70b-instruct",
    "llama2",
    "claude-3-5-sonnet-20241022",
    "mistral-7b-instruct-v0.3",
    "text-embedding-3-large",
    "Qwen2.5-72B-Instruct-AWQ",
    "gemini-1.5-pro-002",
    "phi-3-mini-128k",
    "o1-preview",
    "mixtral-8x22b",
    "deepseek-r1:14b-q4_K_M",
    "whisper-large-v3",
)
_FILES = (
    "README.md",
    "src/app.py",
    "dist/bundle.js",
    "debian-12.5.0-amd64.iso",
    "model-00001-of-00004.safetensors",
    "go.sum",
    "report_2024-03.pdf",
)
_WORDS = (
    "the",
    "model",
    "answer",
    "cache",
    "request",
    "river",
    "table",
    "garden",
    "number",
    "house",
    "worker",
    "index",
    "train",
    "window",
    "bread",
    "letter",
)


def _moment(chance: Chance) -> datetime:
    return datetime(2019, 1, 1, tzinfo=UTC) + timedelta(
        seconds=chance.randint(0, 220_000_000), microseconds=chance.randrange(1_000_000)
    )


def _date(chance: Chance, _: Faker) -> str:
    day = _moment(chance)
    return chance.choice(
        (
            f"{day:%Y-%m-%d}",
            f"{day:%d/%m/%Y}",
            f"{day:%m/%d/%y}",
            f"{day:%d.%m.%Y}",
            f"{day.day} {_MONTHS[day.month - 1]} {day.year}",
            f"{_MONTHS[day.month - 1][:3]} {day.day}, {day.year}",
            f"{day:%Y%m%d}",
            f"{day:%Y/%m/%d}",
            f"{day:%G-W%V}",
        )
    )


def _time(chance: Chance, _: Faker) -> str:
    day = _moment(chance)
    return chance.choice(
        (
            f"{day:%H:%M}",
            f"{day:%H:%M:%S}",
            f"{day:%H:%M:%S}.{day.microsecond // 1000:03d}",
            f"{day:%I:%M} pm",
            f"{day:%H:%M:%S},{day.microsecond // 1000:03d}",
        )
    )


def _stamp(chance: Chance, _: Faker) -> str:
    day = _moment(chance)
    return chance.choice(
        (
            f"{day:%Y-%m-%dT%H:%M:%S}Z",
            f"{day:%Y-%m-%dT%H:%M:%S.%f}Z",
            f"{day:%Y-%m-%d %H:%M:%S},{day.microsecond // 1000:03d}",
            f"{day:%Y-%m-%dT%H:%M:%S}+02:00",
            f"{day:%d/%b/%Y:%H:%M:%S} +0000",
        )
    )


def _epoch(chance: Chance, _: Faker) -> str:
    seconds = int(_moment(chance).timestamp())
    return chance.choice(
        (
            str(seconds),
            f"{seconds}.{chance.digits(6)}",
            f"{seconds}{chance.digits(3)}",
            f"{seconds}{chance.digits(6)}",
            f"{seconds}{chance.digits(9)}",
        )
    )


def _order(chance: Chance, _: Faker) -> str:
    shape = chance.choice(
        (
            "ORD-#######",
            "#######",
            "A-######",
            "SO########",
            "###-#######-#######",
            "2024-######",
            "#########",
            "W##########",
            "ORD-2024-####-??",
            "#####-##",
        )
    )
    return chance.filled(shape)


def _invoice(chance: Chance, _: Faker) -> str:
    return chance.filled(
        chance.choice(
            ("INV-######", "2024/####", "RE-2023-#####", "INV2024######", "F########", "########", "R-####-##")
        )
    )


def _price(chance: Chance, _: Faker) -> str:
    amount = chance.choice((chance.uniform(0.01, 100), chance.uniform(100, 10_000), chance.uniform(10_000, 9_000_000)))
    return chance.choice(
        (
            f"${amount:,.2f}",
            f"€{amount:.2f}",
            f"{amount:,.0f} USD".replace(",", " "),
            f"{amount:.2f} EUR",
            f"£{amount:,.0f}",
            f"¥{amount:,.0f}",
            f"{amount:,.2f} zł".replace(",", " ").replace(".", ","),
            f"R$ {amount:.2f}".replace(".", ","),
            f"{amount:,.2f}",
            f"CHF {amount:,.2f}".replace(",", "'"),
        )
    )


def _count(chance: Chance, _: Faker) -> str:
    value = chance.choice(
        (
            chance.randint(2, 99),
            chance.randint(100, 99_999),
            chance.randint(100_000, 99_999_999),
            chance.randint(10**8, 10**11),
        )
    )
    return chance.choice(
        (str(value), f"{value:,}", f"{value:,}".replace(",", " "), f"{value:,}".replace(",", "."), f"{value:_}")
    )


def _small(chance: Chance, _: Faker) -> str:
    return str(chance.randint(2, 250))


def _decimal(chance: Chance, _: Faker) -> str:
    return chance.choice(
        (
            f"{chance.uniform(0, 1):.6f}",
            f"{chance.uniform(0, 1000):.2f}",
            f"{chance.uniform(-5, 5):.15f}",
            f"{chance.uniform(1, 10):.4e}",
            f"{chance.randint(1, 9)}.{chance.digits(3)}e-{chance.randint(2, 12)}",
            f"-{chance.uniform(0, 9):.3f}",
        )
    )


def _version(chance: Chance, _: Faker) -> str:
    n = lambda top: chance.randint(0, top)  # noqa: E731 - a name for what is drawn eleven times below
    return chance.choice(
        (
            f"{n(9)}.{n(30)}.{n(20)}",
            f"v{n(9)}.{n(30)}.{n(20)}-rc.{n(5)}",
            f"{n(30)}.{n(12)}",
            f"{n(5)}.{n(20)}.{n(9)}+build.{n(9999)}",
            f"{n(4)}.{n(9)}.{n(9)}.dev{n(400)}",
            f"v{n(3)}",
            f"2024.{n(12)}.{n(30)}",
            f"{n(9)}.{n(9)}.{n(9)}-SNAPSHOT",
        )
    )


def _build(chance: Chance, _: Faker) -> str:
    """Four parts of which one is beyond 255: no address."""
    return chance.choice(
        (
            f"{chance.randint(90, 131)}.0.{chance.randint(4000, 6999)}.{chance.randint(10, 240)}",
            f"10.0.{chance.randint(10240, 26100)}.{chance.randint(1, 4000)}",
            f"16.0.{chance.randint(4266, 17900)}.{chance.randint(1000, 9999)}",
        )
    )


def _uuid(chance: Chance, _: Faker) -> str:
    made = str(uuid.UUID(int=chance.getrandbits(128), version=4))
    return chance.choice((made, made, made.upper(), f"{{{made}}}", f"urn:uuid:{made}"))


def _ulid(chance: Chance, _: Faker) -> str:
    return "01" + chance.choice("GHJ") + chance.some(_CROCKFORD, 23)


def _isbn(chance: Chance, _: Faker) -> str:
    body = "978" + chance.digits(9)
    check = str(-sum(int(digit) * (1, 3)[place % 2] for place, digit in enumerate(body)) % 10)
    return chance.choice(
        (
            f"978-{body[3]}-{body[4:6]}-{body[6:12]}-{check}",
            f"978-{body[3]}-{body[4:8]}-{body[8:12]}-{check}",
            body + check,
            f"{body[3]}-{body[4:8]}-{body[8:12]}-X",
        )
    )


def _sku(chance: Chance, _: Faker) -> str:
    return chance.filled(
        chance.choice(
            (
                "SKU-####-??",
                "???-####",
                "#####-###",
                "B0########",
                "EL-##-####-X",
                "??##??##",
                "4######-#",
                "PN ###-####",
                "??-######-A##",
            )
        )
    )


def _tracking(chance: Chance, _: Faker) -> str:
    return chance.filled(
        chance.choice(
            (
                "1Z999??########",
                "JD##################",
                "RR#########GB",
                "00340434##########",
                "TBA############",
                "9400#################",
                "LX#########CN",
                "3SABCD#######",
            )
        )
    )


def _not_a_card(chance: Chance, _: Faker) -> str:
    """Sixteen digits that no issuer gives: another prefix, or a check digit that is wrong."""
    body = chance.choice(("1", "7", "8", "9", "0", "4")) + chance.digits(14)
    check = luhn_digit(body)
    return body + (str((int(check) + chance.randint(1, 9)) % 10) if body[0] == "4" else chance.choice("0123456789"))


def _coordinates(chance: Chance, _: Faker) -> str:
    north, east = chance.uniform(-80, 80), chance.uniform(-179, 179)
    return chance.choice(
        (
            f"{north:.4f}, {east:.4f}",
            f"{north:.6f},{east:.6f}",
            f"{abs(north):.0f}°{chance.randint(0, 59)}′{chance.randint(0, 59)}″N {abs(east):.0f}°{chance.randint(0, 59)}′E",
            f"[{east:.7f}, {north:.7f}]",
            f"lat={north:.5f} lon={east:.5f}",
        )
    )


def _size(chance: Chance, _: Faker) -> str:
    return chance.choice(
        (
            f"{chance.randint(100, 9000)}x{chance.randint(100, 4000)}",
            f"{chance.randint(1, 999)} MB",
            f"{chance.randint(10**6, 10**10)} bytes",
            f"{chance.uniform(1, 99):.1f} GiB",
            f"{chance.randint(1, 500)} x {chance.randint(1, 500)} x {chance.randint(1, 500)} mm",
        )
    )


def _duration(chance: Chance, _: Faker) -> str:
    return chance.choice(
        (
            f"{chance.randint(1, 99_999_999)} ns",
            f"{chance.randint(1, 99_999)} ms",
            f"{chance.uniform(0, 99):.3f}s",
            f"{chance.randint(1, 59)}m{chance.randint(0, 59)}s",
            f"PT{chance.randint(1, 59)}M",
            f"{chance.randint(10**6, 10**10)} µs",
        )
    )


def _pointer(chance: Chance, _: Faker) -> str:
    return chance.choice(
        (
            f"0x7ff{chance.hexed(9)}",
            f"0x{chance.hexed(8)}",
            f"0x{chance.hexed(4)}",
            f"0x{chance.hexed(16)}",
            f"0b{chance.some('01', 16)}",
            f"0o{chance.some('01234567', 3)}",
        )
    )


def _word(chance: Chance, _: Faker) -> str:
    return chance.choice(_WORDS)


FILLERS: dict[str, Callable[[Chance, Faker], str]] = {
    "name": lambda _, f: f.name(),
    "first": lambda _, f: f.first_name(),
    "last": lambda _, f: f.last_name(),
    "company": lambda _, f: f.company(),
    "city": lambda _, f: f.city(),
    "street": lambda _, f: f.street_address().replace("\n", ", "),
    "sentence": lambda _, f: f.sentence(),
    "paragraph": lambda _, f: f.paragraph(nb_sentences=3),
    "job": lambda _, f: f.job(),
    "word": _word,
    "date": _date,
    "time": _time,
    "stamp": _stamp,
    "epoch": _epoch,
    "order": _order,
    "invoice": _invoice,
    "price": _price,
    "count": _count,
    "small": _small,
    "decimal": _decimal,
    "version": _version,
    "build": _build,
    "uuid": _uuid,
    "ulid": _ulid,
    "isbn": _isbn,
    "sku": _sku,
    "tracking": _tracking,
    "not_a_card": _not_a_card,
    "coordinates": _coordinates,
    "size": _size,
    "duration": _duration,
    "pointer": _pointer,
    "model": lambda c, _: c.choice(_MODELS),
    "file": lambda c, _: c.choice(_FILES),
    "git": lambda c, _: c.hexed(c.choice((7, 8, 10, 12))),
    "sha1": lambda c, _: c.hexed(40),
    "sha256": lambda c, _: c.hexed(64),
    "md5": lambda c, _: c.hexed(32),
    "sha512": lambda c, _: c.hexed(128),
    "trace": lambda c, _: c.hexed(32),
    "span": lambda c, _: c.hexed(16),
    "score": lambda c, _: f"{c.randint(0, 9)}{c.choice(':-–')}{c.randint(0, 9)}",
    "year": lambda c, _: str(c.randint(1950, 2029)),
    "percent": lambda c, _: c.choice((f"{c.randint(0, 100)}%", f"{c.uniform(0, 100):.2f} %")),
    "port": lambda c, _: str(c.choice((80, 443, 5432, 6379, 8080, 8114, 3000, 27017, c.randint(1024, 65535)))),
    "row": lambda c, _: " | ".join(str(c.randint(0, 99_999)) for _ in range(4)),
    "numbers": lambda c, _: ", ".join(str(c.randint(-500, 9999)) for _ in range(c.randint(4, 14))),
    "floats": lambda c, _: ", ".join(f"{c.uniform(-1, 1):.4f}" for _ in range(c.randint(3, 12))),
    "image": lambda c, _: f"img_{c.hexed(8)}",
    "colour": lambda c, _: "#" + c.hexed(6),
    "bytes": lambda c, _: "  ".join(" ".join(c.hexed(2) for _ in range(8)) for _ in range(2)),
    "words": lambda c, _: " ".join(c.hexed(4) for _ in range(8)),
    "fingerprint": lambda c, _: ":".join(c.hexed(2) for _ in range(c.choice((16, 20)))),
    "quad": lambda c, _: ".".join(str(c.randint(0, 25)) for _ in range(4)),
    "semver": lambda c, _: (
        f"{c.randint(0, 30)}.{c.randint(0, 30)}.{c.randint(0, 30)}" + c.choice(("", "", "-beta.2", "-rc.1"))
    ),
    "digits6": lambda c, _: c.digits(6),
    "digits8": lambda c, _: c.choice("123456789") + c.digits(7),
}
"""What each unlabelled slot draws."""
