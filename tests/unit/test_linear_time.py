"""Redaction takes work in proportion to its input, whatever the input: counted in calls, not by a clock.

For each pattern of the table as shipped, texts made to be slow (`tests/bench/worst_inputs.py`) are redacted at one
length and at twice that: calls and questions to numbering plans may about double. What one call into RE2 costs is
RE2's promise, and is measured by `make bench ARGS="--only worst"`.
"""

from __future__ import annotations

import cProfile
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from app.core import numbering
from app.core.redaction import redact
from app.settings import ROOT
from tests.bench import worst_inputs

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.rules import Rules

COMMON_BYTES = 16 * 1024
EXAMPLE_BYTES = 2 * 1024
"""Every row has its own, so that they are many; a shorter text tells as much."""

MOST_TIMES = 2.6
"""Twice the text is twice the work; what is more is the rounding of budgets, far from the 4 of quadratic work."""

SPARE_CALLS = 200
"""Work that hangs on the end of a text and not on its length: with few calls, a few more are no factor."""

TABLE = (ROOT / "config" / "detectors.toml").read_text(encoding="utf-8")
EXAMPLES = sorted({(name, *finds) for (name, _), finds in worst_inputs.examples_of(TABLE).items() if finds})
"""By row: its name and its own examples."""

SOURCES = [pattern for _, pattern in worst_inputs.examples_of(TABLE) if worst_inputs.of_letters(pattern, EXAMPLE_BYTES)]
"""The patterns that have letters in them."""

ASKED = numbering.Plans.have.__code__
"""A question to a numbering plan."""

COMMON = sorted(worst_inputs.common(COMMON_BYTES))


def counted(run: Callable[[], Any]) -> Counter[str]:
    """Run something; return how many calls it made, C's among them, and how often a plan was asked ("questions")."""
    profile = cProfile.Profile()
    profile.runcall(run)
    counts: Counter[str] = Counter()
    for entry in profile.getstats():
        counts["calls"] += entry.callcount
        is_code = not isinstance(entry.code, str)
        if is_code and entry.code is ASKED:
            counts["questions"] += entry.callcount
    return counts


def excess(made: Callable[[int], dict[str, str]], size_bytes: int, names: list[str], rules: Rules) -> list[str]:
    """Return what grows faster than the text, of the inputs with these names, from so many bytes to twice that."""
    short, long = made(size_bytes), made(2 * size_bytes)
    found = []
    for name in names:
        few = counted(lambda text=short[name]: redact({"text": text}, rules))
        many = counted(lambda text=long[name]: redact({"text": text}, rules))
        found += [
            f"{name}: {few[what]} {what} at {size_bytes}, {many[what]} at {2 * size_bytes} bytes"
            for what in ("calls", "questions")
            if many[what] > MOST_TIMES * few[what] + SPARE_CALLS
        ]
    return found


def test_quadratic_work_is_seen() -> None:
    """The measure by itself: a loop in a loop makes four times the calls."""

    def work(size: int) -> None:
        for _ in range(size):
            list(map(abs, range(1)))
            for _ in range(size):
                abs(1)

    few, many = counted(lambda: work(50))["calls"], counted(lambda: work(100))["calls"]
    assert many > MOST_TIMES * few + SPARE_CALLS


@pytest.mark.parametrize("name", COMMON)
def test_slow_texts_take_work_in_proportion(name: str, rules: Rules) -> None:
    """Runs, alternations and near-misses that are slow for somebody's patterns."""
    assert excess(worst_inputs.common, COMMON_BYTES, [name], rules) == []


@pytest.mark.parametrize("row", EXAMPLES, ids=[f"{row[0]}-{place}" for place, row in enumerate(EXAMPLES)])
def test_examples_over_and_over_take_work_in_proportion(row: tuple[str, ...], rules: Rules) -> None:
    """A row's own examples, and what is just none, over and over."""

    def made(size_bytes: int) -> dict[str, str]:
        all_of_them = worst_inputs.of_examples(row[1:], size_bytes)
        return {name: text for name, text in all_of_them.items() if "example 1, spaced" in name or "near" in name}

    assert excess(made, EXAMPLE_BYTES, sorted(made(EXAMPLE_BYTES)), rules) == []


@pytest.mark.parametrize("source", SOURCES, ids=range(len(SOURCES)))
def test_beginnings_over_and_over_take_work_in_proportion(source: str, rules: Rules) -> None:
    """What begins a match again and again, each as long as the rest of the text."""

    def made(size_bytes: int) -> dict[str, str]:
        return worst_inputs.of_letters(source, size_bytes)

    assert excess(made, EXAMPLE_BYTES, sorted(made(EXAMPLE_BYTES)), rules) == []
