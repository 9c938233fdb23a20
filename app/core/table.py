"""The rows of a rule table as TOML gives them, with the line that each starts at, and checks of what stands in them."""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")

# Of what TOML's reader quotes, the names: `('deny', 'x')`, `'x y'`; signs (`']]'`, `'\\x01'`) stay.
_QUOTED: Final = re.compile(r"""\((?:'.*'|".*"),?\)|'(?!\\)[^']*\w[^']+'|"(?!\\)[^"]*\w[^"]+\"""")


class RuleError(Exception):
    """A row of the table is wrong; `line` is where it starts (0: the whole file)."""

    def __init__(self, line: int, fault: str) -> None:
        """`fault` says what is wrong and what would be right."""
        super().__init__(f"line {line}: {fault}" if line else fault)
        self.line = line
        self.fault = fault


class Row:
    """One row: its keys, and the line that it starts at (0 where TOML hides it)."""

    def __init__(self, keys: Mapping[str, Any], line: int) -> None:
        self.keys = keys
        self.line = line

    def fault(self, text: str) -> RuleError:
        """Return the error that blames this row."""
        return RuleError(self.line, text)

    def check_keys(self, known: frozenset[str], required: Sequence[str]) -> None:
        """Refuse a key that is missing, empty or unknown, and a name that could not stand in a mark."""
        for key in required:
            if not self.keys.get(key):
                raise self.fault(f"{key} is missing")
        unknown = sorted(set(self.keys) - known)
        if unknown:
            raise self.fault(f"unknown key{slip(unknown[0], known)}; there are {', '.join(sorted(known))}")
        if "name" in self.keys and not (isinstance(self.keys["name"], str) and NAME.fullmatch(self.keys["name"])):
            raise self.fault("name: lower-case letters, digits and _, 32 at most")

    def texts(self, key: str, what: str) -> list[str]:
        """Return a list of texts, empty where the key is not there."""
        given = self.keys.get(key, [])
        if not is_texts(given):
            raise self.fault(f"{key}: a list of {what}")
        return list(given)

    def some_texts(self, key: str, what: str) -> list[str]:
        """Return a list of texts that, where the key is there, may not be empty."""
        given = self.texts(key, what)
        if not given and key in self.keys:
            raise self.fault(f"{key}: a list of {what}")
        return given

    def flag(self, key: str) -> bool:
        """Return a truth value, false where the key is not there."""
        given = self.keys.get(key, False)
        if not isinstance(given, bool):
            raise self.fault(f"{key}: true or false")
        return given

    def choice(self, key: str, choices: Sequence[str], default: str) -> str:
        """Return one of several words."""
        given = self.keys.get(key, default)
        if given not in choices:
            raise self.fault(f"{key}: one of {', '.join(choices)}")
        return str(given)


def parse(text: str, kinds: Sequence[str]) -> dict[str, Any]:
    """Return the tables of a TOML text; refuse what is no TOML, and tables of other kinds."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise RuleError(0, f"not TOML: {_QUOTED.sub('a name', str(exc))}") from exc
    unknown = sorted(set(table) - set(kinds))
    if unknown:
        raise RuleError(0, f"unknown table{slip(unknown[0], kinds)}; there are {', '.join(kinds[:-1])} and {kinds[-1]}")
    return table


def rows(table: Mapping[str, Any], kind: str, text: str) -> list[Row]:
    """Return the rows of a kind, in the order in which they stand."""
    given = table.get(kind, [])
    if not isinstance(given, list) or not all(isinstance(row, dict) for row in given):
        raise RuleError(0, f"write [[{kind}]], one for each row")
    header = re.compile(rf"\s*\[\[\s*{kind}\s*\]\]")
    lines = [number for number, line in enumerate(text.splitlines(), 1) if header.match(line)]
    if len(lines) != len(given):
        lines = [0] * len(given)
    return [Row(keys, line) for keys, line in zip(given, lines, strict=True)]


def slip(word: str, known: Iterable[str]) -> str:
    """Return a word of the table as a fault quotes it: only where it is a slip of the pen for one that is known.

    Any other may be a word of the deny-list that stands in the wrong place, and faults are shown at /readyz and logged.
    """
    return f" {word!r}" if get_close_matches(word, known, 1) else ""


def is_texts(value: Any) -> bool:
    """Whether it is a list of texts."""
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
