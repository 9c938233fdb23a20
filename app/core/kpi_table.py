"""The table in `config/kpis.toml`, read and checked: a bad row is refused with its name and its fault."""

import math
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from app.core.kpi import Kpi, LabelSource, Path, Source
from app.core.metrics import DECLARED
from app.core.toml_lines import header_lines, place

TYPES: Final = ("histogram", "counter", "gauge")
DEFAULT_CAP: Final = 50

_METRIC_NAME = re.compile(r"[a-z][a-z0-9_]*")
_KPI_KEYS = frozenset(
    [
        "name",
        "type",
        "unit",
        "help",
        "buckets",
        "labels",
        "numerator",
        "denominator",
        "window",
        "every",
        "source",
        "together",
    ]
)
_SOURCE_KEYS = frozenset(
    [
        "events",
        "path",
        "count",
        "minus",
        "optional_minus",
        "over",
        "over_minus",
        "scale",
        "when",
        "unless",
        "label",
    ]
)
_RESERVED_LABELS: Final = frozenset(["le", "quantile"])
_HTTP_METRICS: Final = ("flask_http_request", "flask_exporter_info")
"""What prometheus-flask-exporter writes."""

_SUFFIXES: Final[Mapping[str, Sequence[str]]] = {
    "gauge": (),
    "counter": ("_total", "_created"),
    "histogram": ("_bucket", "_sum", "_count", "_created"),
}
"""What Prometheus' client puts behind a metric's name."""


class KpiError(Exception):
    """A row of the table is wrong; the message names its line, the row and the fault."""


def load_kpis(text: str, counters: Iterable[str]) -> tuple[Kpi, ...]:
    """Read the table; `counters` are the names a gauge may divide besides the table's own."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise KpiError(f"not TOML: {exc}") from exc
    rows = table.get("kpi", [])
    if set(table) - {"kpi"} or not isinstance(rows, list):
        raise KpiError("write [[kpi]], one for each metric, and nothing else")
    lines = _lines(text, len(rows))
    kpis = tuple(_kpi(row, number, line) for number, (row, line) in enumerate(zip(rows, lines, strict=True), 1))
    _check_together(kpis, lines, frozenset(counters))
    return kpis


def _lines(text: str, rows: int) -> list[int]:
    """The line at which each row starts; 0 where TOML hides it."""
    lines = [line for path, line in header_lines(text) if path == ("kpi",)]
    return lines if len(lines) == rows else [0] * rows


def _kpi(row: Any, number: int, line: int) -> Kpi:
    name = row.get("name") if isinstance(row, dict) else None
    where = f"{place(line)}kpi {number}" + (f" ({name})" if isinstance(name, str) else "")
    if not isinstance(name, str) or not _METRIC_NAME.fullmatch(name):
        raise KpiError(f"{where}: name: a metric name, [a-z][a-z0-9_]*")
    _known(row, _KPI_KEYS, where)
    kind = row.get("type")
    if kind not in TYPES:
        raise KpiError(f"{where}: type: one of {', '.join(TYPES)}")
    if kind == "counter" and not name.endswith("_total"):
        raise KpiError(f"{where}: a counter's name ends in _total")
    if not isinstance(row.get("help"), str) or not isinstance(row.get("unit"), str):
        raise KpiError(f"{where}: help and unit are texts and must be there")
    labels = _label_names(row, where)
    sources = row.get("source", [])
    if not isinstance(sources, list):
        raise KpiError(f"{where}: write [[kpi.source]], one for each source")
    parsed = tuple(_source(source, labels, where) for source in sources)
    kpi = Kpi(
        name=name,
        type=kind,
        unit=row["unit"],
        help=row["help"],
        buckets=_buckets(row, kind, where),
        labels=labels,
        label_caps=_caps(labels, sources, where),
        numerator=_texts(row, "numerator", where),
        denominator=_texts(row, "denominator", where),
        window=_flag(row, "window", where),
        every=_flag(row, "every", where),
        together=_texts(row, "together", where),
        sources=parsed,
    )
    if bool(kpi.sources) == bool(kpi.numerator) or bool(kpi.numerator) != bool(kpi.denominator):
        raise KpiError(f"{where}: either sources, or (a gauge) numerator and denominator")
    if kpi.numerator and kind != "gauge":
        raise KpiError(f"{where}: numerator and denominator make a gauge")
    return kpi


def _label_names(row: Mapping[str, Any], where: str) -> tuple[str, ...]:
    labels = _texts(row, "labels", where)
    for label in labels:
        if not _METRIC_NAME.fullmatch(label) or label in _RESERVED_LABELS or labels.count(label) > 1:
            raise KpiError(f"{where}: labels: {label!r} is no label name, is Prometheus's own, or stands twice")
    return labels


def _source(row: Any, labels: Sequence[str], where: str) -> Source:
    if not isinstance(row, dict):
        raise KpiError(f"{where}: source: a table")
    _known(row, _SOURCE_KEYS, f"{where}: source")
    count = row.get("count")
    if (count is None) == ("path" not in row):
        raise KpiError(f"{where}: source: either path or count")
    given = row.get("label", {})
    if not isinstance(given, dict) or set(given) != set(labels):
        raise KpiError(f"{where}: source: one label.<name> for each of labels, and no other")
    return Source(
        events=frozenset(_texts(row, "events", where)),
        path=_paths(row, "path", where),
        count=None if count is None else _float(row, "count", where, 0.0),
        minus=_paths(row, "minus", where),
        optional_minus=_flag(row, "optional_minus", where),
        over=_paths(row, "over", where),
        over_minus=_float(row, "over_minus", where, 0.0),
        scale=_float(row, "scale", where, 1.0),
        when=_paths(row, "when", where),
        unless=_paths(row, "unless", where),
        labels=tuple(_label_source(given[label], where) for label in labels),
    )


def _label_source(row: Any, where: str) -> LabelSource:
    if not isinstance(row, dict):
        raise KpiError(f"{where}: label: {{value = ...}} or {{path = [...], allowed = [...] or cap = N}}")
    _known(row, frozenset(["value", "path", "allowed", "cap"]), f"{where}: label")
    if ("value" in row) == ("path" in row):
        raise KpiError(f"{where}: label: either value or path")
    value = row.get("value")
    if value is not None and not isinstance(value, str):
        raise KpiError(f"{where}: label: value is a text")
    return LabelSource(value, _paths(row, "path", where), frozenset(_texts(row, "allowed", where)))


def _caps(labels: Sequence[str], sources: Sequence[Any], where: str) -> tuple[int, ...]:
    caps = []
    for label in labels:
        given = [source.get("label", {}).get(label, {}).get("cap") for source in sources]
        cap = max((number for number in given if number is not None), default=DEFAULT_CAP)
        if type(cap) is not int or cap < 1:
            raise KpiError(f"{where}: label.{label}: cap is a whole number from 1")
        caps.append(cap)
    return tuple(caps)


def _check_together(kpis: Sequence[Kpi], lines: Sequence[int], built_in: frozenset[str]) -> None:
    taken = {name for counter in built_in for name in _series(counter, "counter")}
    taken |= {name for metric in DECLARED for name in _series(metric.name, metric.type)}
    for kpi, line in zip(kpis, lines, strict=True):
        names = _series(kpi.name, kpi.type)
        if names & taken or kpi.name.startswith(_HTTP_METRICS):
            raise KpiError(f"{place(line)}{kpi.name}: this metric stands twice, or has the name of another's series")
        taken |= names
    names = {kpi.name for kpi in kpis}
    counters = built_in | {kpi.name for kpi in kpis if kpi.type == "counter"}
    for kpi, line in zip(kpis, lines, strict=True):
        for part in (*kpi.numerator, *kpi.denominator):
            if part not in counters:
                raise KpiError(f"{place(line)}{kpi.name}: {part!r} is no counter")
        for other in kpi.together:
            if other not in names:
                raise KpiError(f"{place(line)}{kpi.name}: together: there is no metric {other!r} in the table")


def _series(name: str, kind: str) -> set[str]:
    """All names that the metric takes: Prometheus' client refuses a second one of them when the worker boots.

    A counter is written with `_total` and known without.
    """
    family = name.removesuffix("_total")
    return {name, family} | {family + suffix for suffix in _SUFFIXES[kind]}


def _buckets(row: Mapping[str, Any], kind: str, where: str) -> tuple[float, ...]:
    given = row.get("buckets", [])
    if (kind == "histogram") != bool(given):
        raise KpiError(f"{where}: buckets belong to a histogram, which needs them")
    if not isinstance(given, list) or not all(type(edge) in (int, float) for edge in given):
        raise KpiError(f"{where}: buckets: a list of numbers")
    edges = tuple(float(edge) for edge in given)
    if list(edges) != sorted(set(edges)) or not all(map(math.isfinite, edges)):
        raise KpiError(f"{where}: buckets: rising and finite (+Inf is added)")
    return edges


def _known(row: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    unknown = sorted(set(row) - known)
    if unknown:
        raise KpiError(f"{where}: unknown key {unknown[0]!r}; there are {', '.join(sorted(known))}")


def _paths(row: Mapping[str, Any], key: str, where: str) -> tuple[Path, ...]:
    return tuple(tuple(path.split(".")) for path in _texts(row, key, where))


def _texts(row: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    given = row.get(key, [])
    given = [given] if isinstance(given, str) else given
    if not isinstance(given, list) or not all(isinstance(item, str) and item for item in given):
        raise KpiError(f"{where}: {key}: a list of texts")
    return tuple(given)


def _flag(row: Mapping[str, Any], key: str, where: str) -> bool:
    given = row.get(key, False)
    if not isinstance(given, bool):
        raise KpiError(f"{where}: {key}: true or false")
    return given


def _float(row: Mapping[str, Any], key: str, where: str, default: float) -> float:
    given = row.get(key, default)
    if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
        raise KpiError(f"{where}: {key}: a number")
    return float(given)
