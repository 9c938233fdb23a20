"""JSON as the contract reads it: what two readers could understand differently is refused.

RFC 8259 leaves duplicate keys, huge numbers and lone surrogates to the reader; the contract does
not (contract.md, "Refusals"). orjson is the fast reader. It keeps the last of two equal keys and
turns large integers into floats, so a document in which that may have happened is read again with
the standard library's parser, whose hooks see every pair and every number.

No fault ever quotes a value: it may be personal.
"""

import json
import math
import re
from dataclasses import dataclass
from typing import Any, Final

import orjson

MAX_DEPTH: Final = 32
"""Levels of objects and arrays in one document (contract.md)."""

MAX_INTEGER: Final = 2**63
"""Integers lie in [-2**63, 2**63): what Redis, Loki's consumers and most languages can hold."""

_INTEGER_DIGITS: Final = 20
"""The sign and the 19 digits of -2**63; a longer literal is out of range and is not even converted."""

# 19 digits in a row are the shortest literal that can leave the range, and what orjson may round.
_LONG_NUMBER: Final = b"0" * 19
_DIGITS_ALIKE: Final = bytes.maketrans(b"123456789", b"0" * 9)
_SURROGATE = re.compile("[\ud800-\udfff]")
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a document, or one value of it, is not JSON that everyone reads alike.

    `key` is the name that stands twice, where `kind` is "duplicate-key": it is the caller's own
    word and must be redacted before anyone shows it.
    """

    kind: str
    detail: str
    key: str | None = None


class JsonFault(Exception):  # noqa: N818 - the field's word for what is found in a document
    """Raised with the first `Fault` of a document."""

    def __init__(self, fault: Fault) -> None:
        """`fault` says what is wrong, without the value."""
        super().__init__(fault.detail)
        self.fault = fault


_TOO_DEEP = Fault("depth", f"objects and arrays may nest {MAX_DEPTH} levels deep at most")
_NOT_FINITE = Fault("not-finite", "NaN and Infinity are not JSON, and a number must fit a 64-bit float")
_INTEGER_RANGE = Fault("integer-range", "an integer must lie between -2^63 and 2^63 - 1")
_LONE_SURROGATE = Fault("surrogate", "a string holds half of a surrogate pair, which is not Unicode text")


def parse(raw: bytes) -> Any:
    """Return the value of one JSON document, or raise JsonFault."""
    value, sound = decode(raw)
    if not sound or may_be_deep(raw):
        check(value)
    return value


def decode(raw: bytes) -> tuple[Any, bool]:
    """Return (value, sound); raise JsonFault where there is no document at all.

    When `sound` is false the value may hold `Fault` objects in the place of faulty values: `check` it, or
    those parts of it that stand for themselves (a batch's events). How deep it nests is not looked at.
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return _decode_slowly(raw), False
    # Written out again, every surviving pair has its colon and every string its own. Fewer colons
    # than came in means that a pair was dropped. An escaped colon would upset the sum.
    if b"\\u003" in raw or _LONG_NUMBER in raw.translate(_DIGITS_ALIKE) or _colons(value) != raw.count(b":"):
        return _decode_slowly(raw), False
    return value, True


def may_be_deep(raw: bytes) -> bool:
    """Say whether a document has more brackets than levels are allowed: only then need its depth be looked at."""
    return raw.count(b"{") + raw.count(b"[") > MAX_DEPTH


def check(value: Any, room: int = MAX_DEPTH) -> None:
    """Raise JsonFault for the first fault in a value from `decode`."""
    kind = type(value)
    if kind is str:
        if not value.isascii() and _SURROGATE.search(value):
            raise JsonFault(_LONE_SURROGATE)
    elif kind is Fault:
        raise JsonFault(value)
    elif kind is dict or kind is list:
        if not room:
            raise JsonFault(_TOO_DEEP)
        if kind is dict:
            for key, member in value.items():
                check(key)
                check(member, room - 1)
        else:
            for item in value:
                check(item, room - 1)


def _colons(value: Any) -> int:
    """The colons of a value written out; -1 for one that nests deeper than orjson writes (254)."""
    try:
        return orjson.dumps(value).count(b":")
    except orjson.JSONEncodeError:
        return -1


def _decode_slowly(raw: bytes) -> Any:
    if not raw.strip(b" \t\r\n"):
        raise JsonFault(Fault("empty", "the body is empty; a JSON value was expected"))
    if raw.startswith(_BOM):
        raise JsonFault(Fault("bom", "the body starts with a byte order mark; send UTF-8 without one"))
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise JsonFault(Fault("utf-8", f"invalid UTF-8 at byte {exc.start}")) from None
    try:
        return json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=lambda _: _NOT_FINITE,
        )
    except json.JSONDecodeError as exc:
        where = f"line {exc.lineno} column {exc.colno}"
        raise JsonFault(Fault("syntax", f"not JSON at {where}: {exc.msg}")) from None
    except RecursionError:
        raise JsonFault(_TOO_DEEP) from None


def _object(pairs: list[tuple[str, Any]]) -> Any:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            return Fault("duplicate-key", "an object names one key twice", key)
        seen.add(key)
    return members


def _integer(literal: str) -> int | Fault:
    if len(literal) > _INTEGER_DIGITS:
        return _INTEGER_RANGE
    number = int(literal)
    return number if -MAX_INTEGER <= number < MAX_INTEGER else _INTEGER_RANGE


def _float(literal: str) -> float | Fault:
    number = float(literal)
    return _NOT_FINITE if math.isinf(number) else number
