"""What environment variables take: each kind is its words for docs and errors, and the function that reads it."""

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

Parser = tuple[str, Callable[[str], Any]]
"""What a variable takes, in words, and the function that reads it (ValueError where it does not fit)."""


def whole(low: int, high: int) -> Parser:
    """A whole number between two bounds, both included."""

    def parse(text: str) -> int:
        number = int(text) if text.isascii() and text.isdigit() else -1
        if not low <= number <= high:
            raise ValueError
        return number

    return f"a whole number, {low:,} to {high:,}", parse


def decimal(low: float, high: float) -> Parser:
    """A number between two bounds, both included."""

    def parse(text: str) -> float:
        number = float(text)
        if not low <= number <= high:
            raise ValueError
        return number

    return f"a number, {low:g} to {high:g}", parse


def one_of(*words: str) -> Parser:
    """One of some words, in either case."""

    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError
        return text.lower()

    return "one of " + ", ".join(words), parse


def boolean() -> Parser:
    """Yes or no, as people write them."""
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}

    def parse(text: str) -> bool:
        if text.lower() not in words:
            raise ValueError
        return words[text.lower()]

    return "true or false", parse


def url(*schemes: str) -> Parser:
    """An absolute URL with one of some schemes."""

    def parse(text: str) -> str:
        parts = urlsplit(text)
        if parts.scheme not in schemes or not (parts.hostname or (parts.scheme == "unix" and parts.path)):
            raise ValueError
        _ = parts.port  # raises ValueError for a port that is none
        return text

    return "a URL, " + " or ".join(f"`{scheme}://…`" for scheme in schemes), parse


REDIS_OPTIONS: Final = frozenset(["db", "ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"])


def redis_url() -> Parser:
    """A Redis URL: what redis-py would take silently or fail on later is refused."""
    takes, parse_url = url("redis", "rediss", "unix")

    def parse(text: str) -> str:
        parts = urlsplit(parse_url(text))
        if parts.scheme != "unix" and not re.fullmatch(r"/?\d{0,5}", parts.path):
            raise ValueError
        options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        if not {name for name, _ in options} <= REDIS_OPTIONS or not all(value for _, value in options):
            raise ValueError
        if not all(value.isdigit() for name, value in options if name == "db"):
            raise ValueError
        return text

    return f"{takes}, with a database number and, of options, {', '.join(sorted(REDIS_OPTIONS))}", parse


def host() -> Parser:
    """A name or an address to listen on."""

    def parse(text: str) -> str:
        if ":" in text:
            return str(ipaddress.IPv6Address(text))
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,253}", text):
            raise ValueError
        return text

    return "a host name or address", parse


def text(takes: str, *, max_length: int = 256) -> Parser:
    """Printable text."""

    def parse(text: str) -> str:
        if not text or len(text) > max_length or not text.isprintable():
            raise ValueError
        return text

    return takes, parse


def secret() -> Parser:
    """A key for BLAKE2b."""

    def parse(text: str) -> str:
        if not 16 <= len(text.encode()) <= 64 or not text.isprintable():  # noqa: PLR2004 - what BLAKE2b takes as a key
            raise ValueError
        return text

    return "16 to 64 bytes", parse


def label() -> Parser:
    """A value that Loki's label rules leave alone."""

    def parse(text: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_.:-]{1,64}", text):
            raise ValueError
        return text

    return "1 to 64 of letters, digits and `_.:-`", parse


def directory() -> Parser:
    """A path, made absolute."""

    def parse(text: str) -> Path:
        if not text or "\0" in text:
            raise ValueError
        return Path(text).expanduser().resolve()

    return "a path", parse
