"""Addresses of people and machines: e-mail, IPv4, IPv6 and MAC."""

import ipaddress
import re
from collections.abc import Iterator
from typing import Final

from app.core.candidates import Candidate

_TELLING_GROUP: Final = 3
"""Hex digits that some group of an address has, and no hour, octet or step of a slice."""

_FULL: Final = 8
_WHOLE: Final = frozenset((_FULL - 1, _FULL))
"""Groups of an address that leaves none out; the last two may be an IPv4 address."""

_MOST_GROUPS: Final = 12
_GLUED: Final = 4
"""Groups of a run that may be none of the address, at either end: `12:30:45:fe80::1`."""

_MAC_SIGNS: Final = 17

_OCTETS: Final = re.compile(r"(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!\Z)|\Z)){4}")
"""Four numbers of at most 255, without leading zeros (RFC 6943, 3.1.1)."""

_DIGIT: Final = re.compile("[0-9]")

_FILE_NAMES: Final = frozenset(["png", "jpg", "jpeg", "gif", "webp", "svg", "ico", "css", "js", "json", "html", "pdf"])
"""Endings of file names that are no top-level domains: `icon@2x.png` is a picture."""


def email(found: Candidate) -> bool:
    """An address, unless it ends as a file does."""
    return found.text.rpartition(".")[2].lower() not in _FILE_NAMES


def email_told(found: Candidate) -> bool:
    """The same where people write blanks round the @: no name of code goes on behind it (`x @ layer.de.T`)."""
    return found.after[:1] not in ("(", "[", "_") and not (found.after[:1] in (".", "-") and found.after[1:].isalnum())


def ipv4(found: Candidate) -> bool:
    """Four octets that are an address, and not the middle of a longer dotted number."""
    return _OCTETS.fullmatch(found.text) is not None and not found.is_inside_longer(".")


def ipv6(found: Candidate) -> Iterator[tuple[int, int]]:
    """An RFC 4291 address with a digit and a group of three signs; times and slices (`a[1::2]`) are not.

    The candidate is a whole run of hex digits and colons. What stands glued to the address in it, an hour or a port,
    is a few groups at most; a longer run (a key's fingerprint) is no address.
    """
    text = found.text
    groups = text.split(":")
    if len(groups) > _MOST_GROUPS or len(max(groups, key=len)) < _TELLING_GROUP or _DIGIT.search(text) is None:
        return
    # A group that is the end, or the beginning, of a word belongs to the word.
    first = 1 if groups[0] and found.before[-1:].isalnum() else 0
    last = len(groups) - (1 if groups[-1] and found.after[:1].isalnum() else 0)
    for start in range(first, min(first + _GLUED, last)):
        for stop in range(last, max(last - _GLUED, start), -1):
            if stop - start not in _WHOLE and "::" not in text:
                continue
            whole = ":".join(groups[start:stop])
            # What stands behind a dot is an IPv4 address at its end, or follows a full stop.
            for written in dict.fromkeys((whole, whole.partition(".")[0])):
                if _may_be_ipv6(written):
                    ahead = len(":".join(groups[:start])) + (1 if start else 0)
                    yield ahead, ahead + len(written)
                    return


def mac(found: Candidate) -> bool:
    """Six octets, and not a longer row of them (a key's fingerprint), nor a part of one."""
    return len(found.text) <= _MAC_SIGNS and not (
        found.before[-1:].isalnum()
        or found.after[:1].isalnum()
        or (found.before[-1:] in ":-." and found.before[:1].isalnum() and len(found.before) > 1)
        or (found.after[:1] in ":-." and found.after[1:].isalnum())
    )


def _may_be_ipv6(written: str) -> bool:
    groups = written.split(":")
    whole = _FULL - 1 if "." in groups[-1] else _FULL
    return (
        (len(groups) == whole or "::" in written)
        and len(max(groups, key=len)) >= _TELLING_GROUP
        and _DIGIT.search(written) is not None
        and _is_ipv6(written)
    )


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
