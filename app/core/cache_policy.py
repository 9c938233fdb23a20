"""Which answers may be kept, for how long, and which arguments count: `config/cache.toml`."""

import tomllib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from app.core.toml_lines import header_lines, place

MIN_TTL_S: Final = 1
MAX_TTL_S: Final = 30 * 24 * 3600
"""Contract.md, 422: a time to live is 1 s to 30 d."""

_ERROR_STATUS = frozenset(["error", "failure"])
_KEYS = frozenset(["ignore", "loose", "ttl", "cacheable"])


class PolicyError(Exception):
    """A row of `config/cache.toml` is wrong; the message names its line and it, and says what would be right."""


@dataclass(frozen=True, slots=True)
class ToolPolicy:
    """How calls of one tool are compared and kept."""

    ignore: frozenset[str]
    loose: bool
    ttl_s: int
    cacheable: bool


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """The default, and what some tools have instead."""

    default: ToolPolicy
    tools: Mapping[str, ToolPolicy]

    def of(self, tool: str) -> ToolPolicy:
        """Return the policy of a tool."""
        return self.tools.get(unicodedata.normalize("NFC", tool), self.default)


def load_policy(text: str) -> CachePolicy:
    """Read the table; raise PolicyError naming the row and the fault."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise PolicyError(f"not TOML: {exc}") from exc
    unknown = sorted(set(table) - {"default", "tool"})
    if unknown:
        raise PolicyError(f"unknown table {unknown[0]!r}; there are default and tool")
    lines = dict(header_lines(text))
    built_in = ToolPolicy(ignore=frozenset(), loose=False, ttl_s=3600, cacheable=True)
    default = _policy(_where(lines, "default"), table.get("default", {}), built_in)
    tools = table.get("tool", {})
    if not isinstance(tools, dict):
        raise PolicyError("write [tool.<name>], one for each tool")
    named = {
        unicodedata.normalize("NFC", name): _policy(_where(lines, "tool", name), row, default)
        for name, row in tools.items()
    }
    return CachePolicy(default, named)


def _where(lines: Mapping[tuple[str, ...], int], *path: str) -> str:
    return f"{place(lines.get(path, 0))}[{'.'.join(path)}]"


def why_not_cacheable(policy: ToolPolicy, data: Mapping[str, Any]) -> str | None:
    """Return why an answer must not be replayed, or None where it may (cache.md, "Cacheability")."""
    if not policy.cacheable:
        return "the tool is marked as having side effects (cacheable = false)"
    status = data.get("status")
    if data.get("error") or (isinstance(status, str) and status.lower() in _ERROR_STATUS):
        return "data.error or data.status says that the call failed"
    if data.get("finish_reason") == "length":
        return "data.finish_reason says that the answer was cut off"
    for name in ("response", "text"):
        if name in data and data[name] in (None, "", [], {}):
            return f"data.{name} is empty"
    return None


def _policy(where: str, row: Any, base: ToolPolicy) -> ToolPolicy:
    if not isinstance(row, dict):
        raise PolicyError(f"{where} is not a table")
    unknown = sorted(set(row) - _KEYS)
    if unknown:
        raise PolicyError(f"{where}: unknown key {unknown[0]!r}; there are {', '.join(sorted(_KEYS))}")
    ignore = row.get("ignore", list(base.ignore))
    if not isinstance(ignore, list) or not all(isinstance(item, str) for item in ignore):
        raise PolicyError(f"{where} ignore: a list of argument names")
    for flag in ("loose", "cacheable"):
        if not isinstance(row.get(flag, False), bool):
            raise PolicyError(f"{where} {flag}: true or false")
    ttl_s = row.get("ttl", base.ttl_s)
    if type(ttl_s) is not int or not MIN_TTL_S <= ttl_s <= MAX_TTL_S:
        raise PolicyError(f"{where} ttl: seconds, {MIN_TTL_S} to {MAX_TTL_S}")
    return replace(
        base,
        ignore=frozenset(unicodedata.normalize("NFC", name) for name in ignore),
        loose=row.get("loose", base.loose),
        ttl_s=ttl_s,
        cacheable=row.get("cacheable", base.cacheable),
    )
