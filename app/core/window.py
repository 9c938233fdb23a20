"""Figures of the last minute, as differences between snapshots of cumulative counters.

Counters of all workers are merged before they come here, so what stands here is right for the whole
service, whichever worker is asked.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

Sample = Mapping[str, float]
"""Cumulative values by series: a counter's name, or a histogram's name and upper edge."""

_EMPTY: Final[Sample] = {}


class SnapshotWindow:
    """The snapshots of one window. Times are monotonic seconds, shared by all processes of a machine."""

    def __init__(self, window_s: float, started_s: float) -> None:
        """Everything before `started_s`, when the service started with counters at zero, is nothing."""
        self._window_s = window_s
        self._snapshots: deque[tuple[float, Sample]] = deque([(started_s, _EMPTY)])

    def add(self, now_s: float, sample: Sample) -> None:
        """Keep a snapshot, and forget those that no window will ask for."""
        self._snapshots.append((now_s, sample))
        while len(self._snapshots) > 1 and self._snapshots[1][0] <= now_s - self._window_s:
            self._snapshots.popleft()

    def since(self, now_s: float, sample: Sample) -> dict[str, float]:
        """Return how much each series rose within the window that ends now."""
        base = self._base(now_s)
        return {name: max(0.0, value - base.get(name, 0.0)) for name, value in sample.items()}

    def _base(self, now_s: float) -> Sample:
        """The newest snapshot that is at least a window old, or else the oldest there is."""
        base = self._snapshots[0][1]
        for taken_s, sample in self._snapshots:
            if taken_s > now_s - self._window_s:
                break
            base = sample
        return base


def ratio(numerator: float, denominator: float) -> float | None:
    """Return the quotient, or None where nothing was counted."""
    return numerator / denominator if denominator > 0 else None


def quantile(q: float, edges: Sequence[float], cumulative: Sequence[float]) -> float | None:
    """Return the q-quantile of a histogram (upper `edges`, the last +Inf, and counts up to each).

    Linear within a bucket, and the highest finite edge for what lies beyond it, as PromQL's
    histogram_quantile has it. None where nothing was observed.
    """
    total = cumulative[-1] if cumulative else 0.0
    if total <= 0:
        return None
    rank = q * total
    below_edge, below_count = 0.0, 0.0
    for edge, count in zip(edges, cumulative, strict=True):
        if count >= rank:
            if math.isinf(edge):
                return below_edge
            inside = count - below_count
            return below_edge + (edge - below_edge) * ((rank - below_count) / inside if inside else 1.0)
        below_edge, below_count = edge, count
    return below_edge
