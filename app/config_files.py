"""Reads config/: each file is parsed by the pure module that knows it, and a fault names file, place and cause."""

from dataclasses import dataclass
from pathlib import Path

from app.core.cache_policy import CachePolicy, PolicyError, load_policy
from app.core.detectors import RuleError, load_rules
from app.core.kpi import Kpi
from app.core.kpi_table import KpiError, load_kpis
from app.core.metrics import COUNTERS
from app.core.rules import Rules
from app.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Config:
    """What the files say."""

    rules: Rules
    kpis: tuple[Kpi, ...]
    cache: CachePolicy


def load(directory: Path) -> Config:
    """Read detectors.toml, kpis.toml and cache.toml; raise ConfigError for the first fault."""
    try:
        rules = load_rules(_text(directory / "detectors.toml"))
    except RuleError as exc:
        raise ConfigError(f"{directory / 'detectors.toml'}: {exc}") from exc
    try:
        kpis = load_kpis(_text(directory / "kpis.toml"), COUNTERS)
    except KpiError as exc:
        raise ConfigError(f"{directory / 'kpis.toml'}: {exc}") from exc
    try:
        cache = load_policy(_text(directory / "cache.toml"))
    except PolicyError as exc:
        raise ConfigError(f"{directory / 'cache.toml'}: {exc}") from exc
    return Config(rules, kpis, cache)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: cannot be read ({type(exc).__name__})") from exc
