"""Writes docs/settings.md and docs/metrics.md from what the code declares: `make docs`. A test keeps them fresh."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from app import config_files
from app.core.kpi import Kpi
from app.core.metrics import DECLARED
from app.settings import ROOT, documented

if TYPE_CHECKING:
    from dataclasses import Field

_HTTP: Final[Sequence[tuple[str, str, str, str]]] = (
    (
        "flask_http_request_duration_seconds",
        "histogram",
        "method, url_rule, status",
        "Time to answer a request, by URL rule (`unmatched`: no rule)",
    ),
    ("flask_http_request_total", "counter", "method, status", "Requests answered"),
    ("flask_exporter_info", "gauge", "version", "Version of prometheus-flask-exporter"),
)
"""What prometheus-flask-exporter adds."""


def settings_page() -> str:
    """Return docs/settings.md."""
    head = (
        "# Settings\n\n"
        "Environment variables, read once at the start. A value that does not fit stops the start with one line that\n"
        "names the variable and what it takes. A variable set to nothing counts as unset.\n\n"
        "Written from `app/settings.py` by `make docs`.\n\n"
    )
    rows = [_setting_row(setting) for setting in documented()]
    return head + _table(("variable", "takes", "default", "meaning"), rows)


def metrics_page(kpis: Iterable[Kpi]) -> str:
    """Return docs/metrics.md."""
    own = [(f"`{m.name}`", m.type, m.unit, ", ".join(m.labels), m.help) for m in DECLARED]
    rows = [(f"`{k.name}`", k.type, k.unit, ", ".join(k.labels), _kpi_help(k)) for k in kpis]
    http = [(f"`{name}`", kind, labels, words) for name, kind, labels, words in _HTTP]
    return (
        "# Metrics\n\n"
        "`GET /metrics` gives all of them, the workers merged; `GET /kpis` gives the KPIs as JSON.\n"
        "No label value is a caller's word unbounded: past a cap, or where it is no name, it is `other`.\n\n"
        "Written from `app/core/metrics.py` and `config/kpis.toml` by `make docs`.\n\n"
        "## KPIs\n\n"
        "The rows of `config/kpis.toml`; a row of your own is one more metric, with no code.\n\n"
        + _table(("metric", "type", "unit", "labels", "meaning"), rows)
        + "\n## The service\n\n"
        + _table(("metric", "type", "unit", "labels", "meaning"), own)
        + "\n## HTTP\n\n"
        + _table(("metric", "type", "labels", "meaning"), http)
    )


def pages(config_dir: Path) -> dict[str, str]:
    """Return every generated page by its name under docs/."""
    return {"settings.md": settings_page(), "metrics.md": metrics_page(config_files.load(config_dir).kpis)}


def _setting_row(setting: "Field[Any]") -> tuple[str, str, str, str]:
    facts = setting.metadata
    default = facts["shown"] or (str(setting.default).lower() if setting.type is bool else _shown(setting.default))
    return f"`{facts['env']}`", facts["takes"], default, facts["means"]


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, int):
        return f"{default:,}" if default > 9999 else str(default)  # noqa: PLR2004 - a port reads without a comma
    return f"{default:g}" if isinstance(default, float) else f"`{default}`"


def _kpi_help(kpi: Kpi) -> str:
    if kpi.buckets:
        return f"{kpi.help}. Buckets: {' '.join(f'{edge:g}' for edge in kpi.buckets)} +Inf"
    return kpi.help


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def main() -> None:
    """Write the pages."""
    for name, page in pages(ROOT / "config").items():
        (ROOT / "docs" / name).write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
