"""From events to observations, by the rows of `config/kpis.toml`.

A value that is not a finite number in [0, `MAX_VALUE`] is not observed and is reported, since one such
value would spoil a sum for good.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import Any, Final

from app.core.events import Observation

MAX_VALUE: Final = 1e12
"""Tokens, seconds and counts end far below; a float sum stays exact to the unit up to 2^53 (9e15)."""

OTHER: Final = "other"
UNKNOWN: Final = "unknown"
"""Label values: not allowed or past the cap; not sent at all."""

Path = tuple[str, ...]

_LABEL_VALUE = re.compile(r"[a-zA-Z0-9_.:/@+ -]{1,64}")


@dataclass(frozen=True, slots=True)
class LabelSource:
    """Where a label's value comes from: a constant, or a path with allowed values or a cap."""

    value: str | None
    path: tuple[Path, ...]
    allowed: frozenset[str]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value comes from. See the head of `config/kpis.toml`."""

    events: frozenset[str]
    path: tuple[Path, ...]
    count: float | None
    minus: tuple[Path, ...]
    optional_minus: bool
    over: tuple[Path, ...]
    over_minus: float
    scale: float
    when: tuple[Path, ...]
    unless: tuple[Path, ...]
    labels: tuple[LabelSource, ...]


@dataclass(frozen=True, slots=True)
class Kpi:
    """One metric and its sources."""

    name: str
    type: str
    unit: str
    help: str
    buckets: tuple[float, ...]
    labels: tuple[str, ...]
    label_caps: tuple[int, ...]
    """The most values that each label may take in one worker; then `other`."""
    numerator: tuple[str, ...]
    denominator: tuple[str, ...]
    window: bool
    every: bool
    together: tuple[str, ...]
    """Other metrics of the table: this one is observed only with all of them, so that a quotient stays one."""
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Observed:
    """What one event gives: the observations, and the metrics whose value could not be used."""

    observations: tuple[Observation, ...]
    unusable: tuple[str, ...]


class Observer:
    """Says what events are worth to a table of KPIs.

    Each path of the table is looked up once an event, however many sources name it: what is there is noted
    in a dict by the path's number, and in a mask of bits that tells which sources have anything to say.
    """

    def __init__(self, kpis: Sequence[Kpi]) -> None:
        """Number the paths."""
        self._numbers: dict[Path, int] = {}
        self._steps: _Steps = {}
        self._rows = tuple(self._row(kpi) for kpi in kpis if kpi.sources)
        self._together = {kpi.name: frozenset(kpi.together) for kpi in kpis if kpi.together}

    def __call__(self, event: str, payload: Mapping[str, Any]) -> Observed:
        """Return what an event's (redacted) payload says of each KPI."""
        there = _There()
        there.look(payload, self._steps)
        found: list[Observation] = []
        unusable: list[str] = []
        for row in self._rows:
            if row.may_say & there.mask or not row.may_say:
                _observe(row, event, there, found, unusable)
        if self._together and found:
            seen = {one.metric for one in found}
            alone = {name for name, others in self._together.items() if name in seen and not seen.issuperset(others)}
            if alone:
                found = [one for one in found if one.metric not in alone]
        return Observed(tuple(found), tuple(unusable))

    def _row(self, kpi: Kpi) -> "_Row":
        sources = tuple(self._numbered(source) for source in kpi.sources)
        # 0: some source asks for no path, so that nothing which is missing silences the row.
        may_say = 0 if any(not one.needs for one in sources) else _union([one.needs for one in sources])
        return _Row(kpi.name, kpi.every, may_say, sources)

    def _numbered(self, source: Source) -> "_Source":
        path = self._numbers_of(source.path)
        return _Source(
            source=source,
            needs=_bits(path),
            path=path,
            minus=self._numbers_of(source.minus),
            over=self._numbers_of(source.over),
            when=_bits(self._numbers_of(source.when)),
            unless=_bits(self._numbers_of(source.unless)),
            labels=tuple((label, self._numbers_of(label.path)) for label in source.labels),
        )

    def _numbers_of(self, paths: Sequence[Path]) -> "_Numbers":
        return tuple(self._number_of(path) for path in paths)

    def _number_of(self, path: Path) -> int:
        number = self._numbers.setdefault(path, len(self._numbers))
        steps = self._steps
        for step in path[:-1]:
            steps = steps.setdefault(step, _Step()).below
        steps.setdefault(path[-1], _Step()).number = number
        return number


_Numbers = tuple[int, ...]


@dataclass(slots=True)
class _Step:
    """A name on the way to a value: the number of the path that ends here, and the names below."""

    number: int | None = None
    below: "_Steps" = field(default_factory=dict)


_Steps = dict[str, _Step]


@dataclass(slots=True)
class _There:
    """Which of the table's paths an event has: their values, and their numbers as bits."""

    mask: int = 0
    values: dict[int, Any] = field(default_factory=dict)

    def look(self, payload: Mapping[str, Any], steps: _Steps) -> None:
        """Note what `payload` has of the paths that go through `steps`."""
        for name in payload.keys() & steps.keys():
            step = steps[name]
            value = payload[name]
            if step.number is not None:
                self.mask |= 1 << step.number
                self.values[step.number] = value
            if step.below and isinstance(value, dict):
                self.look(value, step.below)


@dataclass(frozen=True, slots=True)
class _Source:
    """A source with its paths as numbers, or as bits; of `needs` one must be there."""

    source: Source
    needs: int
    path: _Numbers
    minus: _Numbers
    over: _Numbers
    when: int
    unless: int
    labels: tuple[tuple[LabelSource, _Numbers], ...]


@dataclass(frozen=True, slots=True)
class _Row:
    """A metric's sources, in order; `may_say` has the bits of which one must be there, or is 0 (always ask)."""

    name: str
    every: bool
    may_say: int
    sources: tuple[_Source, ...]


def _observe(row: _Row, event: str, there: _There, found: list[Observation], unusable: list[str]) -> None:
    """Add what the first source that has a value says (with `every`: all of them)."""
    for one in row.sources:
        if one.needs and not one.needs & there.mask:
            continue
        if one.source.events and event not in one.source.events:
            continue
        value = _value(there, one)
        if value is None:
            continue
        if not 0 <= value <= MAX_VALUE:  # NaN fails it too
            unusable.append(row.name)
        else:
            labels = tuple([_label(there.values, label, path) for label, path in one.labels])
            found.append(Observation(row.name, value, labels))
        if not row.every:
            return


def _value(there: _There, one: _Source) -> float | None:
    """The value in the metric's unit; None where the event says nothing; NaN where it says nonsense."""
    values, source = there.values, one.source
    if one.when and not _is_any_true(there, one.when):
        return None
    if one.unless and _is_any_true(there, one.unless):
        return None
    value = source.count if source.count is not None else _number(values, one.path)
    if value is None:
        return None
    if one.minus:
        less = _number(values, one.minus)
        if less is None and not source.optional_minus:
            return None
        # An answer that was not streamed may report both alike; then all of it was generation.
        value = value if source.optional_minus and less == value else value - (less or 0.0)
    if one.over:
        divisor = _number(values, one.over)
        if divisor is None or divisor - source.over_minus <= 0:
            return None
        value /= divisor - source.over_minus
    return value * source.scale


def _number(values: Mapping[int, Any], path: _Numbers) -> float | None:
    found = _first(values, path)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        return math.nan
    return float(found)


def _is_any_true(there: _There, bits: int) -> bool:
    bits &= there.mask
    return bits != 0 and any(there.values[number] is True for number in there.values if bits >> number & 1)


def _first(values: Mapping[int, Any], path: _Numbers) -> Any:
    """The first that is there, be it null; None where none is."""
    for number in path:
        if number in values:
            return values[number]
    return None


def _label(values: Mapping[int, Any], source: LabelSource, path: _Numbers) -> str:
    if source.value is not None:
        return source.value
    found = _first(values, path)
    if found is None:
        return UNKNOWN
    if not isinstance(found, str) or not _LABEL_VALUE.fullmatch(found):
        return OTHER
    return found if not source.allowed or found in source.allowed else OTHER


def _bits(numbers: _Numbers) -> int:
    return _union([1 << number for number in numbers])


def _union(masks: Sequence[int]) -> int:
    return reduce(or_, masks, 0)
