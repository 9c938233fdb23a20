"""From events to observations, by the rows of `config/kpis.toml`.

A value that is not a finite number in [0, `MAX_VALUE`] is not observed and is reported, since one such
value would spoil a sum for good.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from app.core.events import Observation

MAX_VALUE: Final = 1e12
"""Tokens, seconds and counts end far below; a float sum stays exact to the unit up to 2^53 (9e15)."""

OTHER: Final = "other"
UNKNOWN: Final = "unknown"
"""Label values: not allowed or past the cap; not sent at all."""

Path = tuple[str, ...]

_MEMORY: Final = 1024
"""Sets of paths whose plan is remembered. Events repeat; callers cannot make the memory grow."""

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


class Observed(NamedTuple):
    """What one event gives: the observations, and the metrics whose value could not be used."""

    observations: tuple[Observation, ...]
    unusable: tuple[str, ...]


class Observer:
    """Says what events are worth to a table of KPIs.

    Each path of the table is looked up once an event, however many sources name it. Which of them are there decides
    which sources have anything to say, so that this is worked out once for events alike (same paths, same name
    where a source asks for it) and remembered.
    """

    def __init__(self, kpis: Sequence[Kpi]) -> None:
        """Number the paths."""
        self._kpis = tuple(kpi for kpi in kpis if kpi.sources)
        self._together = {kpi.name: frozenset(kpi.together) for kpi in kpis if kpi.together}
        self._asked_for = frozenset(event for kpi in self._kpis for source in kpi.sources for event in source.events)
        self._numbers: dict[Path, int] = {}
        self._steps: _Steps = {}
        self._plans: dict[tuple[str, int], _Plan] = {}
        for kpi in self._kpis:
            for source in kpi.sources:
                labels = [path for label in source.labels for path in label.path]
                for path in (*source.path, *source.minus, *source.over, *source.when, *source.unless, *labels):
                    self._add_path(path)

    def __call__(self, event: str, payload: Mapping[str, Any]) -> Observed:
        """Return what an event's (redacted) payload says of each KPI."""
        values: dict[int, Any] = {}
        there = _look(payload, self._steps, values)
        alike = (event if event in self._asked_for else "", there)
        plan = self._plans.get(alike)
        if plan is None:
            plan = self._plan(*alike)
            if len(self._plans) >= _MEMORY:
                self._plans.clear()
            self._plans[alike] = plan
        found: list[Observation] = []
        unusable: list[str] = []
        for row in plan.rows:
            _observe(row, values, found, unusable)
        if plan.has_fellows:
            found = self._in_company(found)
        return Observed(tuple(found), tuple(unusable))

    def _in_company(self, found: list[Observation]) -> list[Observation]:
        """Without those whose fellows were not observed."""
        seen = {one.metric for one in found}
        alone = [name for name, others in self._together.items() if name in seen and not seen.issuperset(others)]
        return [one for one in found if one.metric not in alone] if alone else found

    def _plan(self, event: str, there: int) -> "_Plan":
        """The rows with something to say of events that have these paths and this name ("": one nobody asks for)."""
        ready = (_Row(kpi.name, kpi.every, self._ready(kpi.sources, event, there)) for kpi in self._kpis)
        rows = tuple(row for row in ready if row.sources)
        return _Plan(rows, has_fellows=any(row.name in self._together for row in rows))

    def _ready(self, sources: Sequence[Source], event: str, there: int) -> "tuple[_Ready, ...]":
        return tuple(
            _Ready(
                source=source,
                value=self._first(source.path, there),
                minus=self._first(source.minus, there),
                over=self._first(source.over, there),
                when=self._all(source.when, there),
                unless=self._all(source.unless, there),
                labels=tuple((label, self._first(label.path, there)) for label in source.labels),
            )
            for source in sources
            if (not source.events or event in source.events)
            and (source.count is not None or self._first(source.path, there) is not None)
        )

    def _first(self, paths: Sequence[Path], there: int) -> int | None:
        return next(iter(self._all(paths, there)), None)

    def _all(self, paths: Sequence[Path], there: int) -> tuple[int, ...]:
        numbers = [self._numbers[path] for path in paths]
        return tuple(number for number in numbers if there >> number & 1)

    def _add_path(self, path: Path) -> None:
        number = self._numbers.setdefault(path, len(self._numbers))
        steps = self._steps
        for step in path[:-1]:
            steps = steps.setdefault(step, _Step()).below
        steps.setdefault(path[-1], _Step()).number = number


@dataclass(slots=True)
class _Step:
    """A name on the way to a value: the number of the path that ends here, and the names below."""

    number: int | None = None
    below: "_Steps" = field(default_factory=dict)


_Steps = dict[str, _Step]


@dataclass(frozen=True, slots=True)
class _Ready:
    """A source for events that have certain paths: the number of the first that is there, or None, or all of them."""

    source: Source
    value: int | None
    minus: int | None
    over: int | None
    when: tuple[int, ...]
    unless: tuple[int, ...]
    labels: tuple[tuple[LabelSource, int | None], ...]


@dataclass(frozen=True, slots=True)
class _Row:
    """A metric's sources, in order; with `every` all of them are observed, else the first that has a value."""

    name: str
    every: bool
    sources: tuple[_Ready, ...]


@dataclass(frozen=True, slots=True)
class _Plan:
    """The rows for events that are alike; `has_fellows`: some of them only count together with others."""

    rows: tuple[_Row, ...]
    has_fellows: bool


def _look(payload: Mapping[str, Any], steps: _Steps, values: dict[int, Any]) -> int:
    """Note in `values` what `payload` has of the paths that go through `steps`; return their numbers as bits."""
    there = 0
    for name in payload.keys() & steps.keys():
        step = steps[name]
        value = payload[name]
        if step.number is not None:
            there |= 1 << step.number
            values[step.number] = value
        if step.below and isinstance(value, dict):
            there |= _look(value, step.below, values)
    return there


def _observe(row: _Row, values: Mapping[int, Any], found: list[Observation], unusable: list[str]) -> None:
    """Add what the row's sources say."""
    for one in row.sources:
        value = _value(values, one)
        if value is None:
            continue
        if not 0 <= value <= MAX_VALUE:  # NaN fails it too
            unusable.append(row.name)
        else:
            labels = tuple([_label(values, label, number) for label, number in one.labels])
            found.append(Observation(row.name, value, labels))
        if not row.every:
            return


def _value(values: Mapping[int, Any], one: _Ready) -> float | None:
    """The value in the metric's unit; None where the event says nothing; NaN where it says nonsense."""
    source = one.source
    if source.when and not _is_any_true(values, one.when):
        return None
    if one.unless and _is_any_true(values, one.unless):
        return None
    value = source.count if source.count is not None else _number(values, one.value)
    if value is None:
        return None
    if source.minus:
        less = _number(values, one.minus)
        if less is None and not source.optional_minus:
            return None
        # An answer that was not streamed may report both alike; then all of it was generation.
        value = value if source.optional_minus and less == value else value - (less or 0.0)
    if source.over:
        divisor = _number(values, one.over)
        if divisor is None or divisor - source.over_minus <= 0:
            return None
        value /= divisor - source.over_minus
    return value * source.scale


def _number(values: Mapping[int, Any], number: int | None) -> float | None:
    found = None if number is None else values[number]
    kind = type(found)
    if kind is float or kind is int:
        return float(found)  # type: ignore[arg-type]
    return None if found is None else math.nan


def _is_any_true(values: Mapping[int, Any], numbers: Sequence[int]) -> bool:
    return any(values[number] is True for number in numbers)


def _label(values: Mapping[int, Any], source: LabelSource, number: int | None) -> str:
    if source.value is not None:
        return source.value
    found = None if number is None else values[number]
    if found is None:
        return UNKNOWN
    if not isinstance(found, str) or not _LABEL_VALUE.fullmatch(found):
        return OTHER
    return found if not source.allowed or found in source.allowed else OTHER
