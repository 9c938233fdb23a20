"""Windowed figures: differences between snapshots, and quantiles as PromQL has them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.window import SnapshotWindow, quantile, ratio

INF = math.inf


def at(second: int) -> dict[str, float]:
    """What the counters showed: one a second since second 100."""
    return {"a": float(second - 100), "b": 2.0 * (second - 100)}


def test_before_any_snapshot_everything_is_recent() -> None:
    """The service started with its counters at zero, so the base is nothing."""
    window = SnapshotWindow(60, 100)
    assert window.since(103, {"a": 7.0, "b": 0.0}) == {"a": 7.0, "b": 0.0}


@pytest.mark.parametrize(
    ("now_s", "rise"),
    [
        (105, 5.0),
        (130, 30.0),
        (159, 59.0),
        (160, 60.0),
        (161, 61.0),
        (165, 60.0),
        (167, 62.0),
        (200, 60.0),
        (400, 60.0),
    ],
)
def test_a_rise_is_that_of_the_window_to_a_snapshots_grain(now_s: int, rise: float) -> None:
    """Snapshots every 5 s: the base is the newest that is a window old, and until then the start."""
    window = SnapshotWindow(60, 100)
    for second in range(105, now_s + 1, 5):
        window.add(second, at(second))
    assert window.since(now_s, at(now_s)) == {"a": rise, "b": 2 * rise}


def test_after_a_pause_the_base_is_the_newest_snapshot_before_the_window() -> None:
    """However old it is: nothing that happened is left out, and nothing before it is counted."""
    window = SnapshotWindow(60, 100)
    window.add(110, at(110))
    assert window.since(500, at(500))["a"] == 390.0
    window.add(500, at(500))
    assert window.since(520, at(520))["a"] == 410.0


def test_a_new_series_rose_from_nothing_and_none_falls() -> None:
    """A counter that went back shows no negative rise, and one that is gone shows none at all."""
    window = SnapshotWindow(10, 0)
    window.add(5, {"a": 5.0, "gone": 3.0})
    assert window.since(20, {"a": 3.0, "new": 2.0}) == {"a": 0.0, "new": 2.0}


def test_old_snapshots_are_forgotten() -> None:
    """A worker that runs for a year holds a window's snapshots and no more."""
    window = SnapshotWindow(60, 0)
    for second in range(0, 100_000, 5):
        window.add(second, {"a": float(second)})
    assert len(window._snapshots) <= 60 / 5 + 2  # noqa: SLF001 - the bound itself
    assert window.since(100_000, {"a": 100_000.0}) == {"a": 60.0}


@pytest.mark.parametrize(
    ("one", "other", "wanted"), [(6, 3, 2.0), (0, 3, 0.0), (3, 0, None), (0, 0, None), (1, -1, None)]
)
def test_a_ratio_of_nothing_is_none(one: float, other: float, wanted: float | None) -> None:
    """Where nothing was counted there is no quotient."""
    assert ratio(one, other) == wanted


# By hand: 10 observations up to 1, 10 more up to 2, 20 more up to 4, 10 beyond.
EDGES = (1.0, 2.0, 4.0, INF)
COUNTS = (10.0, 20.0, 40.0, 50.0)


@pytest.mark.parametrize(
    ("q", "wanted"),
    [
        (0.1, 0.5),
        (0.2, 1.0),
        (0.3, 1.5),
        (0.4, 2.0),
        (0.5, 2.5),
        (0.6, 3.0),
        (0.8, 4.0),
        (0.81, 4.0),
        (0.95, 4.0),
        (1.0, 4.0),
    ],
)
def test_quantiles_by_hand(q: float, wanted: float) -> None:
    """Linear within a bucket, from zero in the first, and the highest finite edge beyond it."""
    assert quantile(q, EDGES, COUNTS) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("edges", "counts", "q", "wanted"),
    [
        ((1.0, INF), (0.0, 0.0), 0.5, None),
        ((), (), 0.5, None),
        ((1.0, INF), (4.0, 4.0), 0.5, 0.5),
        ((1.0, INF), (0.0, 4.0), 0.5, 1.0),
        ((1.0, 2.0, 4.0, INF), (0.0, 0.0, 8.0, 8.0), 0.5, 3.0),
        ((1.0, 2.0, 4.0, INF), (4.0, 4.0, 8.0, 8.0), 0.5, 1.0),
        ((1.0, 2.0, 4.0, INF), (4.0, 4.0, 8.0, 8.0), 0.75, 3.0),
        ((0.1, 0.5, 1.0, 2.0, 5.0, INF), (150.0, 450.0, 780.0, 920.0, 980.0, 1000.0), 0.5, 0.5757575757575758),
        ((0.1, 0.5, 1.0, 2.0, 5.0, INF), (150.0, 450.0, 780.0, 920.0, 980.0, 1000.0), 0.95, 3.5),
        ((0.1, 0.5, 1.0, 2.0, 5.0, INF), (150.0, 450.0, 780.0, 920.0, 980.0, 1000.0), 0.99, 5.0),
    ],
)
def test_quantiles_as_promql_has_them(
    edges: tuple[float, ...], counts: tuple[float, ...], q: float, wanted: float | None
) -> None:
    """Empty buckets are passed over, and the specification's own histogram gives what Prometheus shows."""
    found = quantile(q, edges, counts)
    assert found == (None if wanted is None else pytest.approx(wanted))


def promql(q: float, buckets: list[tuple[float, float]]) -> float:
    """Prometheus' bucketQuantile (promql/quantile.go), for q above 0 and positive edges."""
    rank = q * buckets[-1][1]
    place = next(number for number, (_, count) in enumerate(buckets) if count >= rank or number == len(buckets) - 1)
    if place == len(buckets) - 1:
        return buckets[-2][0]
    start, end, count = 0.0, buckets[place][0], buckets[place][1]
    if place > 0:
        start = buckets[place - 1][0]
        count -= buckets[place - 1][1]
        rank -= buckets[place - 1][1]
    return start + (end - start) * (rank / count)


@given(
    st.lists(st.floats(0.001, 1e6), min_size=1, max_size=8, unique=True).map(sorted),
    st.lists(st.integers(0, 1000), min_size=9, max_size=9),
    st.sampled_from([0.5, 0.95, 0.99]),
)
def test_quantiles_are_prometheus_own(edges: list[float], sizes: list[int], q: float) -> None:
    """Over any histogram, for the quantiles that we show."""
    finite = len(edges)
    counts = [float(sum(sizes[: place + 1])) for place in range(finite + 1)]
    found = quantile(q, (*edges, INF), counts)
    if counts[-1] == 0:
        assert found is None
    else:
        assert found == pytest.approx(promql(q, list(zip((*edges, INF), counts, strict=True))))
