"""Cache keys: two unequal calls never share one, two equal calls, however written, always do (cache.md)."""

import hashlib
import re
import string
import unicodedata
from typing import Any, Final

import orjson

from app.core.cache_policy import ToolPolicy

READABLE_BYTES: Final = 200
"""How much of a key a person can read; what follows `#` is what tells calls apart."""

DIGEST_HEX: Final = 32
"""128 bits of SHA-256: at 10^12 entries the odds of one collision are about 10^-15."""

MAX_KEY_BYTES: Final = 4096
"""Contract.md, 422: a key has 1 to 4,096 bytes and no control characters."""

_EXACT_INTEGERS: Final = 2.0**63
"""Beyond it no JSON integer that we accept can equal a float."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class ArgumentsError(ValueError):
    """Arguments that have no canonical form: two of their names are one in Unicode NFC."""


def normalize_tool_args(tool: str, args: dict[str, Any]) -> str:
    """Return the specification's readable form of a call, exactly as its code computes it.

    It collides (equal first 50 characters, `<` and `>`, any two Chinese prompts of one length), so
    it is never a key by itself. Source: telemetry-cache-agent.md, "Tool Argument Normalization".
    """
    parts = []
    for key, value in sorted(args.items()):
        if isinstance(value, float):
            text = f"{value:.2f}"
        elif isinstance(value, str):
            text = re.sub(r"[^a-z0-9]", "_", value.lower())[:50]
        else:
            text = str(value)
        parts.append(f"{key}:{text}")
    return f"tool:{tool}:{':'.join(parts)}"


def cache_key(tool: str, args: dict[str, Any], policy: ToolPolicy) -> tuple[str, str]:
    """Return (key, readable) of a call; raise ArgumentsError where names collide in NFC.

    The key is the readable form of the canonical arguments, cut to 200 bytes at a character
    boundary, `#`, and 32 hex digits of SHA-256 over tool and canonical arguments.
    """
    canonical = canonical_args(args, policy)
    tool = unicodedata.normalize("NFC", tool)
    readable = _CONTROL.sub("_", normalize_tool_args(tool, canonical))
    readable = readable.encode()[:READABLE_BYTES].decode(errors="ignore")
    exact = orjson.dumps([tool, canonical], option=orjson.OPT_SORT_KEYS)
    return f"{readable}#{hashlib.sha256(exact).hexdigest()[:DIGEST_HEX]}", readable


def canonical_args(args: dict[str, Any], policy: ToolPolicy) -> dict[str, Any]:
    """Return the arguments as every equal call has them: sorted, NFC, `1.0` as `1`, without the ignored."""
    kept = {name: value for name, value in args.items() if unicodedata.normalize("NFC", name) not in policy.ignore}
    canonical: dict[str, Any] = _canonical(kept, loose=policy.loose)
    return canonical


def is_key(key: str) -> bool:
    """Say whether a caller's own key has 1 to 4,096 bytes and no control characters."""
    return bool(key) and len(key.encode()) <= MAX_KEY_BYTES and _CONTROL.search(key) is None


def storage_digest(key: str, secret: bytes) -> str:
    """Return what stands for a key in Redis: BLAKE2b, keyed, 32 hex digits.

    Prompts hold personal data, and Redis keys show up in MONITOR, SLOWLOG, RDB files and dashboards.
    """
    return hashlib.blake2b(key.encode(), key=secret, digest_size=16).hexdigest()


def _canonical(value: Any, *, loose: bool) -> Any:
    if isinstance(value, str):
        text = unicodedata.normalize("NFC", value)
        return _loosened(text) if loose else text
    if isinstance(value, float):
        number = round(value, 2) if loose else value
        return int(number) if number.is_integer() and -_EXACT_INTEGERS <= number < _EXACT_INTEGERS else number
    if isinstance(value, dict):
        return _canonical_members(value, loose=loose)
    if isinstance(value, list):
        return [_canonical(item, loose=loose) for item in value]
    return value


def _loosened(text: str) -> str:
    """Case and punctuation do not count; letters of every script, their vowel signs, digits and symbols do."""
    folded = unicodedata.normalize("NFC", text.casefold())
    return "".join(sign if _counts(sign) else "_" for sign in folded)


def _counts(sign: str) -> bool:
    # ASCII's `<`, `+` or `$` are symbols to Unicode and punctuation to whoever types them.
    return sign not in string.punctuation and unicodedata.category(sign)[0] in "LMNS"


def _canonical_members(members: dict[str, Any], *, loose: bool) -> dict[str, Any]:
    named = {unicodedata.normalize("NFC", name): member for name, member in members.items()}
    if len(named) != len(members):
        raise ArgumentsError("two argument names are the same in Unicode NFC")
    return {name: _canonical(named[name], loose=loose) for name in sorted(named)}
