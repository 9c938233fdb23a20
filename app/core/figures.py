"""The KPIs as plain numbers, from the merged samples of all workers: for people, and for gauges that are quotients."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from app.core.kpi import Kpi
from app.core.metrics import DECLARED
from app.core.window import SnapshotWindow, quantile, ratio

QUANTILES: Final = (0.5, 0.95, 0.99)

Samples = Iterable[tuple[Any, ...]]
"""(series' name, labels, value), and whatever a client library adds behind them."""


class Figures:
    """Turns samples into numbers: counters over the service's life, and what is windowed over the last `window_s`."""

    def __init__(self, kpis: Sequence[Kpi], *, window_s: float, started_s: float) -> None:
        """Times are monotonic seconds; the counters stood at zero at `started_s`."""
        self._kpis = kpis
        self._window_s = window_s
        self._window = SnapshotWindow(window_s, started_s)
        self._shown = _shown_series(kpis)

    def snapshot(self, now_s: float, samples: Samples) -> None:
        """Keep the counters for windowed figures."""
        self._window.add(now_s, self._sums(samples))

    def shown(self, now_s: float, samples: Samples) -> Mapping[str, Any]:
        """Return all of it for people and scripts."""
        samples = list(samples)
        sums = self._sums(samples)
        recent = self._window.since(now_s, sums)
        return {
            "window_s": self._window_s,
            "kpis": {kpi.name: _figure(kpi, sums, recent) for kpi in self._kpis},
            "counts": _counts(samples),
        }

    def ratios(self, now_s: float, samples: Samples) -> list[tuple[Kpi, float]]:
        """Return the gauges that are quotients; 0 where nothing was counted, as the specification's code has it."""
        sums = self._sums(samples)
        recent = self._window.since(now_s, sums)
        return [(kpi, _ratio(kpi, recent if kpi.window else sums) or 0.0) for kpi in self._kpis if kpi.numerator]

    def _sums(self, samples: Samples) -> dict[str, float]:
        """Sums over all labels of the series that figures are made from."""
        sums = dict.fromkeys(self._shown, 0.0)
        for name, labels, value, *_ in samples:
            key = _bucket_key(name.removesuffix("_bucket"), float(labels["le"])) if "le" in labels else name
            if key in sums:
                sums[key] += value
        return sums


def _figure(kpi: Kpi, sums: Mapping[str, float], recent: Mapping[str, float]) -> Any:
    if kpi.numerator:
        return _ratio(kpi, recent if kpi.window else sums)
    if kpi.type == "histogram":
        edges = (*kpi.buckets, math.inf)
        counts = [recent.get(_bucket_key(kpi.name, edge), 0.0) for edge in edges]
        shares = {f"p{round(q * 100)}": quantile(q, edges, counts) for q in QUANTILES}
        return {"count": counts[-1], **shares}
    return sums.get(kpi.name, 0.0)


def _shown_series(kpis: Sequence[Kpi]) -> tuple[str, ...]:
    series = [name for kpi in kpis for name in (*kpi.numerator, *kpi.denominator)]
    series += [kpi.name for kpi in kpis if kpi.type != "histogram"]
    series += [
        _bucket_key(kpi.name, edge) for kpi in kpis if kpi.type == "histogram" for edge in (*kpi.buckets, math.inf)
    ]
    return tuple(series)


def _bucket_key(name: str, edge: float) -> str:
    return f"{name}|{edge}"


def _ratio(kpi: Kpi, sums: Mapping[str, float]) -> float | None:
    return ratio(
        sum(sums.get(name, 0.0) for name in kpi.numerator), sum(sums.get(name, 0.0) for name in kpi.denominator)
    )


def _counts(samples: Samples) -> dict[str, Any]:
    """The service's own counters: a number, or numbers by the last label (the outcome)."""
    own = {metric.name: metric for metric in DECLARED if metric.type == "counter"}
    counts: dict[str, Any] = {}
    for name, labels, value, *_ in samples:
        declared = own.get(name)
        if declared is None:
            continue
        short = name.removeprefix("telemetry_cache_").removesuffix("_total")
        if declared.labels:
            group = "outcome" if "outcome" in declared.labels else declared.labels[0]
            by = counts.setdefault(short, {})
            by[labels[group]] = by.get(labels[group], 0.0) + value
        else:
            counts[short] = value
    return counts
