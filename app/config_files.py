"""Reads config/: each file is parsed by the pure module that knows it, and a fault names file, place and cause.

Of each file the last version that loaded is kept under DATA_DIR (docs/adr/0012-reload.md): a worker that is born while
the file is broken uses that one, for gunicorn stops the whole service when a worker does not boot.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from app.core.cache_policy import CachePolicy, PolicyError, load_policy
from app.core.detectors import RuleError, load_rules
from app.core.kpi import Kpi
from app.core.kpi_table import KpiError, load_kpis
from app.core.metrics import COUNTERS
from app.core.rules import Rules
from app.errors import ConfigError

T = TypeVar("T")

_ROW_ERRORS = (RuleError, KpiError, PolicyError)
"""What the parsers say of a text that is wrong; the message has place and fault."""

_FOLDER: Final = "config"
"""Where the copies lie in DATA_DIR."""

_SEAL: Final = "# sha256:"
"""How the first line of a kept copy begins; the digest is that of all lines after it."""


@dataclass(frozen=True, slots=True)
class Stale:
    """A file that cannot be used, and why; its last good version is used in its place."""

    file: str
    fault: str


@dataclass(frozen=True, slots=True)
class Config:
    """What the files say."""

    rules: Rules
    kpis: tuple[Kpi, ...]
    cache: CachePolicy
    texts: Mapping[str, str]
    """The text that is used of each file, by the file's name."""
    stale: tuple[Stale, ...]


def load(directory: Path, good: Mapping[str, str] | None = None) -> Config:
    """Read all files; for one that cannot be used take its text in `good`, else raise ConfigError (one line)."""
    reading = _Reading(directory, good or {})
    return Config(
        rules=reading.of("detectors.toml", load_rules),
        kpis=reading.of("kpis.toml", lambda text: load_kpis(text, COUNTERS)),
        cache=reading.of("cache.toml", load_policy),
        texts=reading.texts,
        stale=tuple(reading.stale),
    )


def keep(data_dir: Path, texts: Mapping[str, str]) -> None:
    """Write each text under its name (mode 0600), whole or not at all, where it is not there yet; raise OSError.

    For the holder of DATA_DIR's lock alone: two would write to the same draft.
    """
    folder = data_dir / _FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    there = kept(data_dir)
    for name, text in texts.items():
        if there.get(name) != text:
            _replace(folder / name, f"{_SEAL}{_digest(text)}\n{text}".encode())


def kept(data_dir: Path) -> dict[str, str]:
    """Return what `keep` wrote, by name. A copy that is not as it was written is none: half a table redacts half."""
    texts = {}
    for path in (data_dir / _FOLDER).glob("*.toml"):
        try:
            first, _, text = path.read_bytes().decode().partition("\n")
        except (OSError, UnicodeDecodeError):
            continue
        if first == _SEAL + _digest(text):
            texts[path.name] = text
    return texts


class _Reading:
    """The files of a folder, each with a text to fall back on, as they are read one by one."""

    def __init__(self, directory: Path, good: Mapping[str, str]) -> None:
        self._directory = directory
        self._good = good
        self.texts: dict[str, str] = {}
        self.stale: list[Stale] = []

    def of(self, name: str, parse: Callable[[str], T]) -> T:
        path = self._directory / name
        try:
            return self._parsed(name, path.read_text(encoding="utf-8"), parse)
        except Exception as exc:  # noqa: BLE001 - nor may a fault of the parser's own stop a service that runs
            fault = _fault(exc)
            try:
                found = self._parsed(name, self._good[name], parse)
            except Exception:  # noqa: BLE001 - there is no copy, or it is another release's: the file's fault is what counts
                raise ConfigError(f"{path}: {fault}") from exc
            self.stale.append(Stale(name, fault))
            return found

    def _parsed(self, name: str, text: str, parse: Callable[[str], T]) -> T:
        found = parse(text)
        self.texts[name] = text
        return found


def _fault(exc: Exception) -> str:
    """Place and cause, in one line."""
    if isinstance(exc, _ROW_ERRORS):
        return " ".join(str(exc).split())
    verb = "read" if isinstance(exc, OSError | UnicodeDecodeError) else "used"
    return f"cannot be {verb} ({type(exc).__name__})"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _replace(path: Path, content: bytes) -> None:
    """Write aside, sync, rename, sync the name: a crash leaves the old file or the new one."""
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
