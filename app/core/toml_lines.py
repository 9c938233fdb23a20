"""On which line of a TOML text a table begins, so that a fault can name it; TOML's own reader does not say."""

import tomllib
from collections.abc import Iterator
from typing import Any

Path = tuple[str, ...]


def header_lines(text: str) -> Iterator[tuple[Path, int]]:
    """Yield the path and the line (from 1) of every `[a.b]` and `[[a.b]]`, or what looks like one in a long text."""
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        if not line.lstrip().startswith("["):
            continue
        try:
            table = tomllib.loads(line)
        except tomllib.TOMLDecodeError:
            continue
        yield tuple(_path(table)), number


def place(line: int) -> str:
    """Return how a message begins whose fault is on that line; nothing for 0, which is no line."""
    return f"line {line}: " if line else ""


def _path(table: dict[str, Any]) -> Iterator[str]:
    while table:
        ((name, inner),) = table.items()
        yield name
        table = inner[0] if isinstance(inner, list) else inner
