"""Pseudonyms: what stands for a value so that its events can be joined without knowing whose they are.

HMAC-SHA-256 under a key with an id (RFC 2104): a plain hash of a small set, such as telephone numbers, is reversed by
trying them all. Several keys can be known at a time; destroying one makes its pseudonyms meaningless.
"""

import hmac
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from app.core.folding import fold

KEY_ID: Final = r"[a-z0-9][a-z0-9_-]{0,15}"
MIN_SECRET_BYTES: Final = 16
MAX_SECRET_BYTES: Final = 64
"""SHA-256's block: HMAC would hash a longer key first (RFC 2104, section 2)."""

MARK_BYTES: Final = 16
"""128 bits: among 10^12 values the odds that two share a mark are about 10^-15."""

MARK_PATTERN: Final = rf"\[[A-Z][A-Z0-9_]{{0,31}}:{KEY_ID}:[0-9a-f]{{{2 * MARK_BYTES}}}\]"
"""What marks look like, as Python's re and RE2 read it; no anchors, so that it is found in texts."""

_DIGEST = re.compile(rf"{KEY_ID}:[0-9a-f]{{64}}")
_MARK = re.compile(MARK_PATTERN)
_KEY_ID = re.compile(KEY_ID)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")

SEPARATED: Final = frozenset(["credit_card", "iban", "national_id", "phone", "ssn"])
"""Names whose values people group as they like: `4111-1111…` and `4111 1111…` are one card."""


@dataclass(frozen=True, slots=True)
class PseudonymKey:
    """A secret and the name that it is known by in marks; ValueError for one that does not fit."""

    id: str
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not _KEY_ID.fullmatch(self.id):
            raise ValueError("id takes 1 to 16 of a-z, 0-9, _ and -, with a letter or digit first")
        if not MIN_SECRET_BYTES <= len(self.secret) <= MAX_SECRET_BYTES:
            raise ValueError(f"secret takes {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes")


class Pseudonyms:
    """Makes pseudonyms under the first of its keys, and knows those that the others made."""

    __slots__ = ("_keys", "_signing")

    def __init__(self, keys: Sequence[PseudonymKey]) -> None:
        """Take at least one key; ValueError for none, or for two with one id or one secret."""
        if not keys:
            raise ValueError("there must be a key")
        if len({key.id for key in keys}) < len(keys) or len({key.secret for key in keys}) < len(keys):
            raise ValueError("two keys share an id or a secret")
        self._keys = tuple(keys)
        self._signing = self._keys[0]

    def mark(self, name: str, value: str) -> str:
        """Return what stands for a value: `[USER_ID:k1:<32 hex digits>]`.

        `name` is a detector's or field rule's, in small letters as the table has it (ValueError otherwise): a
        telephone number and a user id of the same digits are not the same.
        """
        return _mark(self._signing, name, _message(name, value))

    def marks(self, name: str, value: str) -> dict[str, str]:
        """Return the marks under every key by the keys' ids, the one that `mark` gives first."""
        message = _message(name, value)
        return {key.id: _mark(key, name, message) for key in self._keys}

    def digest(self, text: str) -> str:
        """Return what stands for a whole text, exactly as it is written: `k1:<64 hex digits>`."""
        message = b"text\0" + text.encode("utf-8", "surrogatepass")
        return f"{self._signing.id}:{hmac.digest(self._signing.secret, message, 'sha256').hex()}"


def normalised(name: str, value: str) -> str:
    """Return the form in which spellings of one value are equal.

    For every name: as redaction matches it (`core.folding`: NFKC, ASCII digits, no invisible characters), composed,
    without white space at its ends, without case (Unicode, section 3.13, "Default Caseless Matching").
    For a name of SEPARATED: its letters and digits alone, where it has any; of a telephone number also the `+` before
    them, for `+44…` and `44…` are two numbers. `020 7946 0958` and `+44 20 7946 0958` stay two as well: a text does
    not say which country it was written in.
    """
    text = _caseless(fold(value)).strip()
    if name not in SEPARATED:
        return text
    kept = "".join(filter(str.isalnum, text))
    if not kept:
        return text
    return f"+{kept}" if name == "phone" and text.lstrip(" (").startswith("+") else kept


def is_mark(text: str, name: str | None = None) -> bool:
    """Say whether a text is a mark and nothing else; of this name, where one is given."""
    return _MARK.fullmatch(text) is not None and (name is None or text.startswith(f"[{name.upper()}:"))


def is_digest(text: str) -> bool:
    """Say whether a text has the form of a digest and is nothing else."""
    return _DIGEST.fullmatch(text) is not None


def _caseless(text: str) -> str:
    if text.isascii():
        return text.lower()
    # Decomposed first: case folding alone does not treat composed and decomposed letters alike.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())


def _message(name: str, value: str) -> bytes:
    """What is signed. No name holds a NUL, so where it ends is plain; digests of texts begin with another word."""
    if not _NAME.fullmatch(name):
        raise ValueError("name takes 1 to 32 of a-z, 0-9 and _, with a letter first")
    return b"mark\0" + name.encode() + b"\0" + normalised(name, value).encode("utf-8", "surrogatepass")


def _mark(key: PseudonymKey, name: str, message: bytes) -> str:
    return f"[{name.upper()}:{key.id}:{hmac.digest(key.secret, message, 'sha256')[:MARK_BYTES].hex()}]"
