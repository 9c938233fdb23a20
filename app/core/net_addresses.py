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

_SLICE: Final = 2
"""Numbers of a slice of a list, beside its empty ones."""

_MAC_SIGNS: Final = 17

_OCTETS: Final = re.compile(r"(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!\Z)|\Z)){4}")
"""Four numbers of at most 255, without leading zeros (RFC 6943, 3.1.1)."""

_DIGIT: Final = re.compile("[0-9]")
_LETTER: Final = re.compile("[A-Fa-f]")

# Scripts without blanks between words, or with endings right behind a name: kana, Han, Hangul, Thai.
_SPACELESS: Final = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\u0e00-\u0e7f"
_SPACELESS_SIGN: Final = re.compile(f"[{_SPACELESS}]")
_ASCII_SIGNS: Final = "".join(map(chr, range(0x21, 0x7F)))
_OWN_DOMAIN: Final = re.compile(f"[A-Za-z]{{2,}}(?=[{_SPACELESS}])")

_VERSION: Final = re.compile(r"\d+(?:\.\d+)+\.[a-z]+")
"""A package's version, as in `rxjs@7.8.1.post1`."""

_AROUND: Final = "'\u2019*&$#!%^-"
"""Quotes, emphasis and signs of shells: an address may have them, and seldom begins with one."""

_COUNTRY: Final = 2
"""Letters of a country's domain."""

_DOMAINS: Final = frozenset(
    """com org net edu gov mil int info biz name pro app dev ai cloud online site tech store shop xyz club email live
    page blog world today agency company space website digital systems solutions services network group team media
    academy io me tv cc example test invalid localhost local internal intranet corp lan home arpa mobi travel jobs
    museum coop aero asia cat post tel""".split()  # noqa: SIM905 - words, not code
)
"""The domains of many, and those that name no host outside (RFC 2606, RFC 6762)."""

_FILE_NAMES: Final = frozenset(["png", "jpg", "jpeg", "gif", "webp", "svg", "ico", "css", "js", "json", "html", "pdf"])
"""Endings of file names that are no top-level domains: `icon@2x.png` is a picture."""


def email(found: Candidate) -> Iterator[tuple[int, int]]:
    """An address, unless it ends as a file does, or is a product of matrices (`q@k.transpose()`).

    Who writes without blanks between words sets none before and behind an address: it begins and ends where letters of
    another script do (`请发到bob@x.cn谢谢`).
    """
    text = found.text
    local, _, host = text.rpartition("@")
    last = host.rpartition(".")[2]
    if last.lower() in _FILE_NAMES or _VERSION.fullmatch(host) or not any(map(str.isalnum, local)):
        return
    if not _is_known_domain(last) and (found.after[:1] in ("(", "[") or (len(local) == 1 and host[1:2] == ".")):
        return
    own_end = _OWN_DOMAIN.match(last)
    start = len(local) - len(local.lstrip(_AROUND))
    other = len(local.rstrip(_ASCII_SIGNS))
    if 0 < other < len(local) and _SPACELESS_SIGN.match(local[other - 1]):
        start = other
    yield start, len(text) if own_end is None else len(text) - len(last) + own_end.end()


def _is_known_domain(last: str) -> bool:
    """Whether a domain that ends so is one that people have; there are some 1,400 others."""
    return len(last) == _COUNTRY or not last.isascii() or last.startswith("xn--") or last.lower() in _DOMAINS


def email_told(found: Candidate) -> bool:
    """The same as people write it for people; with an @ no name of code goes on behind it (`x @ layer.de.T`)."""
    after = found.after
    if "@" not in found.text:
        return True
    return after[:1] not in ("(", "[", "_") and not (after[:1] in (".", "-") and after[1:].isalnum())


def ipv4(found: Candidate) -> bool:
    """Four octets that are an address, and not the middle of a longer dotted number."""
    return _OCTETS.fullmatch(found.text) is not None and not found.is_inside_longer(".")


def ipv4_ported(found: Candidate) -> bool:
    """The same where a port stands behind one more dot."""
    return _OCTETS.fullmatch(found.text) is not None


def ipv6(found: Candidate) -> Iterator[tuple[int, int]]:
    """An RFC 4291 address with a digit and a group of three signs; times and slices (`a[1::2]`) are not.

    The candidate is a whole run of hex digits and colons. What stands glued to the address in it, an hour or a port,
    is a few groups at most; a longer run (a key's fingerprint) is no address.
    """
    text = found.text
    groups = text.split(":")
    before, after = found.before[-1:], found.after[:1]
    if (text[:2] == "::" and before.isalnum()) or (text[-2:] == "::" and after.isalpha()) or _is_slice(found):
        return  # `std::f64::MAX`, `a[::256]`
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


def _is_slice(found: Candidate) -> bool:
    """Whether it stands in brackets behind a name: `a[1::100]`."""
    before = found.before
    is_indexed = before[-1:] == "[" and len(before) > 1 and before[0].isalnum()
    return is_indexed and sum(map(bool, found.text.split(":"))) <= _SLICE


def mac(found: Candidate) -> bool:
    """Six octets, and not a longer row of them (a key's fingerprint), nor a part of one; no draw of a lottery."""
    text = found.text
    if "-" in text and _LETTER.search(text) is None:
        return False
    return len(text) <= _MAC_SIGNS and not (
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
