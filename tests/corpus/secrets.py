"""Tokens, keys and passwords in the shapes that their makers give them. All of them are drawn by lot."""

from __future__ import annotations

import base64
import binascii
import json
import string
from typing import TYPE_CHECKING

from tests.corpus.chance import ALNUM
from tests.corpus.model import Drawn

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.corpus.chance import Chance

_URL_SAFE = ALNUM + "-_"
_UPPER32 = string.ascii_uppercase + "234567"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _base62(value: int, width: int) -> str:
    alphabet = string.digits + string.ascii_uppercase + string.ascii_lowercase
    made = ""
    while value:
        value, rest = divmod(value, 62)
        made = alphabet[rest] + made
    return made.rjust(width, "0")


def _github(chance: Chance, prefix: str) -> str:
    """A GitHub token: 30 random characters and a CRC32 in base 62 (github.blog, 2021-04-05)."""
    body = chance.some(ALNUM, 30)
    return prefix + body + _base62(binascii.crc32(body.encode()), 6)


VENDORS: dict[str, Callable[[Chance], str]] = {
    "aws access key": lambda c: c.choice(("AKIA", "AKIA", "ASIA")) + c.some(_UPPER32, 16),
    "github classic": lambda c: _github(c, c.choice(("ghp_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_"))),
    "github fine-grained": lambda c: f"github_pat_{c.some(ALNUM, 22)}_{c.some(ALNUM, 59)}",
    "gitlab": lambda c: "glpat-" + c.some(_URL_SAFE, 20),
    "slack bot": lambda c: f"xoxb-{c.digits(12)}-{c.digits(13)}-{c.some(ALNUM, 24)}",
    "slack user": lambda c: f"xoxp-{c.digits(12)}-{c.digits(12)}-{c.digits(13)}-{c.hexed(32)}",
    "slack webhook": lambda c: (
        f"https://hooks.slack.com/services/T{c.some(string.ascii_uppercase + string.digits, 8)}/B{c.some(string.ascii_uppercase + string.digits, 10)}/{c.some(ALNUM, 24)}"
    ),
    "stripe": lambda c: c.choice(("sk_live_", "sk_test_", "rk_live_")) + c.some(ALNUM, c.choice((24, 99))),
    "stripe webhook": lambda c: "whsec_" + c.some(ALNUM, 32),
    "google": lambda c: "AIza" + c.some(_URL_SAFE, 35),
    "google oauth": lambda c: "ya29." + c.some(_URL_SAFE, 120),
    "google client secret": lambda c: "GOCSPX-" + c.some(_URL_SAFE, 28),
    "openai": lambda c: f"sk-{c.some(ALNUM, 20)}T3BlbkFJ{c.some(ALNUM, 20)}",
    "openai project": lambda c: f"sk-proj-{c.some(_URL_SAFE, 74)}T3BlbkFJ{c.some(_URL_SAFE, 74)}",
    "anthropic": lambda c: f"sk-ant-api03-{c.some(_URL_SAFE, 93)}AA",
    "hugging face": lambda c: "hf_" + c.some(string.ascii_letters, 34),
    "npm": lambda c: _github(c, "npm_"),
    "pypi": lambda c: "pypi-AgEIcHlwaS5vcmc" + c.some(_URL_SAFE, 150),
    "twilio key": lambda c: "SK" + c.hexed(32),
    "twilio account": lambda c: "AC" + c.hexed(32),
    "sendgrid": lambda c: f"SG.{c.some(_URL_SAFE, 22)}.{c.some(_URL_SAFE, 43)}",
}


def vendor_token(chance: Chance) -> Drawn:
    """Write a token that its prefix betrays."""
    name = chance.choice(list(VENDORS))
    text = VENDORS[name](chance)
    # The webhook's host and account are no secret: its last part is, and a finding may take the whole of it.
    return Drawn(text, name, text.rindex("/") + 1 if name == "slack webhook" else 0)


def jwt(chance: Chance) -> Drawn:
    """Write a JSON Web Token (RFC 7519), signed with a key or with an RSA signature's length."""
    algorithm = chance.choice(("HS256", "RS256", "ES256"))
    header = (
        {"alg": algorithm, "typ": "JWT"}
        if chance.maybe(0.8)
        else {"typ": "JWT", "alg": algorithm, "kid": chance.hexed(8)}
    )
    claims = {
        "sub": chance.digits(10),
        "iat": chance.randint(1_600_000_000, 1_800_000_000),
        "scope": "read write",
        "jti": chance.hexed(12),
    }
    if chance.maybe(0.3):
        claims |= {"iss": "https://login.acme.dev/", "aud": "suite"}
    signature = chance.randbytes(256 if algorithm == "RS256" else 64 if algorithm == "ES256" else 32)
    parts = (
        json.dumps(header, separators=(",", ":")).encode(),
        json.dumps(claims, separators=(",", ":")).encode(),
        signature,
    )
    return Drawn(".".join(_base64url(part) for part in parts), algorithm)


def private_key(chance: Chance) -> Drawn:
    """Write a PEM private key (RFC 7468), the whole block of it."""
    kind = chance.choice(
        (
            "RSA PRIVATE KEY",
            "PRIVATE KEY",
            "EC PRIVATE KEY",
            "OPENSSH PRIVATE KEY",
            "ENCRYPTED PRIVATE KEY",
            "DSA PRIVATE KEY",
        )
    )
    start = {"RSA PRIVATE KEY": b"\x30\x82\x04", "OPENSSH PRIVATE KEY": b"openssh-key-v1\0"}.get(kind, b"\x30\x81")
    body = base64.b64encode(
        start + chance.randbytes(121 if kind.startswith("EC") else chance.choice((300, 600, 1190)))
    ).decode()
    lines = [body[at : at + 64] for at in range(0, len(body), 64)]
    return Drawn("\n".join((f"-----BEGIN {kind}-----", *lines, f"-----END {kind}-----")), kind)


def api_key(chance: Chance) -> Drawn:
    """Write a key of no known vendor that looks like one wherever it stands: 32 and more letters and digits in both cases."""
    size = chance.choice((32, 32, 36, 40, 43, 48, 64))
    return Drawn(chance.mixed(size), f"{size} characters")


def named_key(chance: Chance) -> Drawn:
    """Write a key that its name announces: hexadecimal or shorter ones too."""
    ways = {
        chance.hexed(32): ("32 hexadecimal", 3.0),
        chance.hexed(40): ("40 hexadecimal", 2.0),
        chance.hexed(64): ("64 hexadecimal", 1.0),
        chance.mixed(32): ("32 mixed", 2.0),
        chance.mixed(24): ("24 mixed", 2.0),
        f"{chance.choice(('key', 'pk', 'api', 'svc', 'app'))}_{chance.mixed(28)}": ("with prefix", 1.5),
        base64.b64encode(chance.randbytes(32)).decode(): ("base64", 1.5),
    }
    text = chance.weighed({written: weight for written, (_, weight) in ways.items()})
    return Drawn(text, ways[text][0])


_WORDS = (
    "summer",
    "Dragon",
    "hunter",
    "Welcome",
    "letmein",
    "Passw0rd",
    "qwerty",
    "Winter",
    "changeme",
    "Monkey",
    "sunshine",
    "Geheim",
    "Sommer",
    "contraseña",
    "Soleil",
    "trustno",
)


def password(chance: Chance) -> Drawn:
    """Write a password without blanks, as people choose them: weak ones, generated ones, phrases."""
    ways = {
        f"{chance.choice(_WORDS)}{chance.randint(1, 2030)}": ("word and number", 3.0),
        f"{chance.choice(_WORDS)}{chance.choice('!@#$%')}{chance.randint(1, 99)}": ("word, sign, number", 2.5),
        f"{chance.choice(_WORDS)}{chance.randint(1980, 2026)}!": ("word, year, sign", 1.5),
        chance.mixed(12): ("generated", 2.0),
        chance.choice(ALNUM) + chance.some(ALNUM + "!#$%&*+-.=?@^_~", 14) + chance.choice(ALNUM): (
            "generated with signs",
            2.0,
        ),
        "-".join(
            chance.choice(("correct", "horse", "battery", "staple", "orbit", "velvet", "cactus")) for _ in range(4)
        ): ("phrase", 1.0),
    }
    text = chance.weighed({written: weight for written, (_, weight) in ways.items()})
    return Drawn(text, ways[text][0])


def query_password(chance: Chance) -> Drawn:
    """Write a password as it stands in a query or in XML: without what those would escape."""
    drawn = password(chance)
    return drawn if not set("&#+%=?@$!<") & set(drawn.text) else Drawn(chance.mixed(14), "generated")


def url_password(chance: Chance) -> Drawn:
    """Write an URL with user and password (RFC 3986, section 3.2.1); the password is what must go."""
    scheme, host = chance.choice(
        (
            ("postgres", "db.internal:5432/app"),
            ("postgresql+psycopg", "pg-1.acme.dev/orders?sslmode=require"),
            ("mysql", "mysql:3306/shop"),
            ("redis", "cache:6379/0"),
            ("amqp", "rabbit.acme.dev:5672/%2F"),
            ("mongodb+srv", "cluster0.ab1cd.mongodb.net/test?retryWrites=true"),
            ("https", "git.acme.dev/team/repo.git"),
            ("http", "proxy.acme.dev:3128"),
            ("ftp", "files.acme.dev/in/"),
            ("smtp", "mail.acme.dev:587"),
            ("rtsp", "cam-3.acme.dev/stream1"),
        )
    )
    user = (
        chance.choice(("app", "admin", "svc_orders", "deploy", "root", "postgres", "ci-bot", ""))
        if scheme != "https"
        else "ci-bot"
    )
    user = user if user or scheme == "redis" else "app"
    secret = chance.choice(
        (
            f"{chance.choice(_WORDS)}{chance.randint(1, 2030)}",
            chance.mixed(16),
            chance.mixed(10) + "%21",
            chance.some(_URL_SAFE, 24),
        )
    )
    head = f"{scheme}://{user}:"
    return Drawn(f"{head}{secret}@{host}", scheme, len(head), len(head) + len(secret))


def bearer(chance: Chance) -> Drawn:
    """Write an HTTP credential (RFC 6750, RFC 7617) with its scheme; the credential is what must go."""
    scheme = chance.choice(("Bearer", "Bearer", "Bearer", "bearer", "Basic", "Basic", "basic"))
    if scheme.lower() == "basic":
        pair = f"{chance.choice(('admin', 'app', 'svc-report', 'jenkins'))}:{password(chance).text}"
        secret, kind = base64.b64encode(pair.encode()).decode(), "basic"
    else:
        secret = chance.choice(
            (
                chance.mixed(40),
                chance.some(_URL_SAFE + "._", 59) + "A",
                chance.hexed(40),
                chance.mixed(20),
                f"tok_{chance.mixed(24)}",
            )
        )
        kind = "bearer"
    return Drawn(f"{scheme} {secret}", kind, len(scheme) + 1)
