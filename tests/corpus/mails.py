"""E-mail addresses: of people in many languages, and as they are mistyped or hidden."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from tests.corpus.model import Drawn

if TYPE_CHECKING:
    from faker import Faker

    from tests.corpus.chance import Chance

_HOSTS = (
    "gmail.com",
    "outlook.com",
    "web.de",
    "gmx.net",
    "yahoo.co.uk",
    "hotmail.fr",
    "proton.me",
    "icloud.com",
    "wp.pl",
    "mail.ru",
    "qq.com",
    "naver.com",
    "uol.com.br",
    "libero.it",
    "ziggo.nl",
    "telia.se",
)
_COMPANIES = (
    "acme.dev",
    "it.acme-corp.com",
    "mail.uni-bonn.de",
    "k12.wa.us",
    "cs.ox.ac.uk",
    "dept.gov.au",
    "shop.example.org",
    "studio.museum",
    "team.photography",
    "a.io",
    "bbc.co.uk",
    "corp.example.com",
)
_IDN = (
    "bücher.de",
    "müller-söhne.at",
    "café-olé.fr",
    "пример.рф",
    "例え.jp",
    "señal.es",
    "xn--bcher-kva.de",
    "smörgås.se",
    "łódź.pl",
)


def _ascii(name: str) -> str:
    flat = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z]+", ".", flat.lower()).strip(".")


def email(chance: Chance, faker: Faker) -> Drawn:
    """Write an address."""
    first, last = _ascii(faker.first_name()) or "yuki", _ascii(faker.last_name()) or "tanaka"
    host = chance.choice(_HOSTS if chance.maybe(0.6) else _COMPANIES)
    local = chance.choice(
        (
            f"{first}.{last}",
            f"{first}_{last}",
            f"{first[0]}{last}",
            f"{first}{chance.randint(1, 99)}",
            f"{last}-{first}",
            first,
        )
    )
    ways = {
        f"{local}@{host}": ("usual", 8.0),
        faker.email(): ("Faker's", 3.0),
        f"{local}+{chance.choice(('news', 'shop', 'test-1', 'a.b'))}@{host}": ("plus tag", 2.0),
        f"{local}@{host}".upper(): ("upper case", 0.8),
        f"{local.title()}@{host.title()}": ("capitals", 0.6),
        f"{local}@{chance.choice(_IDN)}": ("IDN", 1.5),
        f"{chance.choice(('jürgen', 'andré', 'иван', 'łukasz', '太郎', 'søren'))}.{last}@{host}": (
            "local part beyond ASCII",
            0.8,
        ),
        f"{first[0]}@{chance.choice(('x.org', 'a.io', 'b.co'))}": ("short", 0.6),
        f"{chance.randint(1000000, 99999999)}@qq.com": ("digits", 0.5),
        f"o'{last}@{host}": ("apostrophe", 0.3),
        f"{local}@mail.{host}": ("subdomain", 1.0),
        f"{local}＠{host}": ("full-width at", 0.3),
        f"{local} @ {host}": ("blanks round the at", 0.25),
        f"{local}@ {host}": ("blank after the at", 0.1),
        f"{local} [at] {host}": ("[at]", 0.2),
        f"{local}(at){host}": ("(at)", 0.15),
        f"{local} at {host.replace('.', ' dot ')}": ("at and dot in words", 0.1),
        f"{local}%40{host}": ("percent-encoded", 0.4),
    }
    text = chance.weighed({written: weight for written, (_, weight) in ways.items()})
    return Drawn(text, ways[text][0])
