"""The file of pseudonym keys (PSEUDONYM_KEYS_FILE): TOML, a row a key; taking a row away is erasure.

    [[key]]
    id = "k2"        # the first row signs
    secret = "…"     # hex digits

A fault is told by row and kind. Nothing that stands in the file is repeated: a secret may be in the wrong place.
"""

import os
import re
import stat
import tomllib
from pathlib import Path
from typing import Any, Final

from app.core.pseudonyms import MAX_SECRET_BYTES, MIN_SECRET_BYTES, PseudonymKey, Pseudonyms
from app.errors import ConfigError

VARIABLE: Final = "PSEUDONYM_KEYS_FILE"

_SECRET = re.compile(rf"(?:[0-9a-fA-F]{{2}}){{{MIN_SECRET_BYTES},{MAX_SECRET_BYTES}}}")
_LINE = re.compile(r"at line (\d+)")


def read_pseudonyms(path: Path) -> Pseudonyms:
    """Return what signs with the file's first key and knows all of them; raise ConfigError, in one line."""
    rows = _rows(path)
    keys: list[PseudonymKey] = []
    for number, row in enumerate(rows, 1):
        try:
            key = _key(row)
            _check_new(key, keys)
        except ValueError as exc:
            raise ConfigError(f"{VARIABLE}: {path}, row {number}: {exc}") from None
        keys.append(key)
    return Pseudonyms(keys)


def _rows(path: Path) -> list[Any]:
    content = _content(path)
    try:
        table = tomllib.loads(content.decode())
    except UnicodeDecodeError:
        raise ConfigError(f"{VARIABLE}: {path}: not UTF-8") from None
    except tomllib.TOMLDecodeError as exc:
        line = _LINE.search(str(exc))
        where = f", line {line[1]}" if line else ""
        raise ConfigError(f"{VARIABLE}: {path}{where}: not TOML") from None
    rows = table.get("key")
    if set(table) - {"key"} or (rows is not None and not _is_tables(rows)):
        raise ConfigError(f"{VARIABLE}: {path}: takes [[key]] rows of id and secret, and nothing else")
    if not rows:
        raise ConfigError(f"{VARIABLE}: {path}: has no [[key]] row; leave the variable unset to have no pseudonyms")
    return list(rows)


def _content(path: Path) -> bytes:
    """The path is named only once there is a file: what cannot be opened may be a secret in the wrong place."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & stat.S_IWOTH:
                raise ConfigError(f"{VARIABLE}: {path}: anyone may write to it; chmod o-w")
            return file.read()
    except OSError as exc:
        raise ConfigError(f"{VARIABLE}: takes a file that can be read ({type(exc).__name__})") from None


def _is_tables(rows: object) -> bool:
    return isinstance(rows, list) and all(isinstance(row, dict) for row in rows)


def _key(row: dict[str, Any]) -> PseudonymKey:
    if set(row) != {"id", "secret"}:
        raise ValueError("takes id and secret, and nothing else")
    key_id, secret = row["id"], row["secret"]
    if not isinstance(key_id, str):
        raise ValueError("id takes a string")  # noqa: TRY004 - a fault of the file, not of a caller of ours
    if not isinstance(secret, str) or not _SECRET.fullmatch(secret):
        raise ValueError(f"secret takes {2 * MIN_SECRET_BYTES} to {2 * MAX_SECRET_BYTES} hex digits, an even number")
    return PseudonymKey(key_id, bytes.fromhex(secret))


def _check_new(key: PseudonymKey, keys: list[PseudonymKey]) -> None:
    for number, other in enumerate(keys, 1):
        if other.id == key.id:
            raise ValueError(f"has the id of row {number}")
        if other.secret == key.secret:
            # Else the pseudonyms of a destroyed key could still be made.
            raise ValueError(f"has the secret of row {number}")
