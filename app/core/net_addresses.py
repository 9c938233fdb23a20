"""Addresses of people and machines: e-mail, IPv4, IPv6 and MAC."""

import ipaddress
from collections.abc import Callable
from typing import Final

from app.core.candidates import Candidate

_TELLING_GROUP: Final = 3
"""Hex digits that some group of an address has, and no hour, octet or step of a slice."""


_FILE_NAMES: Final = frozenset(["png", "jpg", "jpeg", "gif", "webp", "svg", "ico", "css", "js", "json", "html", "pdf"])
"""Endings of file names that are no top-level domains: `icon@2x.png` is a picture."""


def email(found: Candidate) -> bool:
    """An address, unless it ends as a file does."""
    return found.text.rpartition(".")[2].lower() not in _FILE_NAMES


def ipv4(found: Candidate) -> bool:
    """Four octets that are an address, and not the middle of a longer dotted number."""
    return _is_ip(found.text, ipaddress.IPv4Address) and not found.is_inside_longer(".")


def ipv6(found: Candidate) -> bool:
    """An RFC 4291 address with a digit and a group of three signs; times and slices (`a[1::2]`) are not."""
    text = found.text
    longest_group = max(len(group) for group in text.split(":"))
    if not any(sign.isdigit() for sign in text) or longest_group < _TELLING_GROUP:
        return False
    if found.before[-1:].isalnum() or found.after[:1].isalnum():
        return False
    return _is_ip(text, ipaddress.IPv6Address)


def mac(found: Candidate) -> bool:
    """Six octets, and not the part of a longer row of them (a key's fingerprint)."""
    return not (
        found.before[-1:].isalnum()
        or found.after[:1].isalnum()
        or (found.before[-1:] in ":-." and found.before[:1].isalnum() and len(found.before) > 1)
        or (found.after[:1] in ":-." and found.after[1:].isalnum())
    )


def _is_ip(text: str, kind: Callable[[str], object]) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True
