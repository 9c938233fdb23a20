"""The redaction rows as Markdown. Pure: figures in, text out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.figures import Figure, ratio
from tests.bench.redact_rows import OURS, PRESIDIO, RE, SIDES, SPEC
from tests.bench.report import spread, table
from tests.bench.worst import MATCH_MS, REDACT_MS, SIZE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.bench.redact_rows import Redaction, Sight, Turn
    from tests.bench.worst import Worst

MB_PER_S = 40
OF_PRESIDIO = 100
REACH_CASES = ("mixed", "prose", "foreign")
"""The bar is of events with 1 to 4 KB of text."""

PRESIDIO_CASES = ("mixed",)
"""How slow Presidio is hangs on the digits in a text: the bar is of real ones, which have some."""

RATES = ("row", *(f"{side} MB/s" for side in SIDES), f"{OURS} ÷ {PRESIDIO}", f"{OURS} ÷ {RE}")
COSTS = ("row", "text B an event", *(f"{side} µs an event" for side in SIDES))
FOUND = ("row", "events", "planted", "planted left", "clean touched", *(f"{side} touched" for side in SIDES))
WORST = ("detector", "matching ms", "its worst input", "redact() ms", "the worst input of it")
REACHES = ("reach", "should reach", "is", "")

LEGEND = f"""Medians of the rounds (least-most). *MB/s*: bytes of string values (UTF-8; names, numbers and braces do not
count) by the CPU time of one process; ratios are of the same round. *{RE}*: the specification's patterns and those of
the table that Python's `re` takes, each over each string, without checks by code. *{SPEC.capitalize()}*: its algorithm
as it stands there, which replaces a string whole at the first pattern that occurs. *{PRESIDIO}*: its recognizers one by
one, without its engine and without replacing. *Touched*: events that were changed or in which something was found."""
WORST_LEGEND = f"""Texts of {SIZE_BYTES // 1024} KiB made to be slow, the worst of all that were tried. *Matching*:
`finditer` of the detector's own pattern; *redact()*: all detectors. CPU time, medians of 5 (least-most)."""


def render(found: Redaction, worst: Sequence[Worst]) -> str:
    """Return the part of the report about redaction."""
    parts = ["## Redaction"]
    if found.facts:
        parts.append("\n".join(f"- {name}: {value}" for name, value in found.facts.items()))
    if found.sights:
        parts += [
            table(RATES, [_rate(one, found.turns) for one in found.sights]),
            table(COSTS, [_cost(one, found.turns) for one in found.sights]),
            table(FOUND, [_found(one) for one in found.sights]),
        ]
    if worst:
        parts += ["### Worst inputs", table(WORST, [_worst(one) for one in worst])]
    reaches = [*_reaches(found), *_worst_reaches(worst)]
    if reaches:
        parts += ["### Reaches of redaction", table(REACHES, reaches)]
    parts += [*([LEGEND] if found.sights else []), *([WORST_LEGEND] if worst else [])]
    return "\n\n".join(parts) + "\n"


def _of(case: str, side: str, turns: Sequence[Turn], value: Callable[[Turn], float]) -> Figure | None:
    values = [value(one) for one in turns if (one.case, one.side) == (case, side)]
    return Figure.of(values) if values else None


def times(case: str, side: str, turns: Sequence[Turn]) -> Figure | None:
    """Return how often our rate is another side's, by rounds that have both; None where there are none."""
    rates = {(one.side, one.round): one.mb_per_s for one in turns if one.case == case}
    rounds = [number for name, number in rates if name == OURS and (side, number) in rates]
    return Figure.of(ratio(rates[OURS, number], rates[side, number]) for number in rounds) if rounds else None


def _shown(figure: Figure | None, digits: int = 0) -> str:
    return spread(figure, digits) if figure else "not installed"


def _rate(sight: Sight, turns: Sequence[Turn]) -> list[str]:
    return [
        sight.title,
        *(_shown(_of(sight.case, side, turns, lambda one: one.mb_per_s), 2) for side in SIDES),
        _shown(times(sight.case, PRESIDIO, turns), 1),
        _shown(times(sight.case, RE, turns), 1),
    ]


def _cost(sight: Sight, turns: Sequence[Turn]) -> list[str]:
    size = f"{sight.text_bytes / sight.events:,.0f}"
    return [sight.title, size, *(_shown(_of(sight.case, side, turns, lambda one: one.us), 1) for side in SIDES)]


def _found(sight: Sight) -> list[str]:
    left = ", ".join(f"{count} {kind}" for kind, count in sight.left.items()) or "none"
    shares = [sight.touched.get(side) for side in SIDES]
    return [
        sight.title,
        f"{sight.events}",
        f"{sight.planted}",
        left,
        f"{sight.clean_touched}",
        *(f"{share[0]} of {share[1]}" if share else "not installed" for share in shares),
    ]


def _worst(one: Worst) -> list[str]:
    return [
        one.detector,
        spread(one.match_ms, 3) if one.match_ms else "",
        _code(one.match_input),
        spread(one.redact_ms, 2),
        _code(one.redact_input),
    ]


def _reaches(found: Redaction) -> list[list[str]]:
    rows = []
    for sight in found.sights:
        if sight.case not in REACH_CASES:
            continue
        rate = _of(sight.case, OURS, found.turns, lambda one: one.mb_per_s)
        more = times(sight.case, PRESIDIO, found.turns)
        if rate:
            rows.append([sight.title, f"{MB_PER_S} MB/s", spread(rate, 1), _verdict(rate.median >= MB_PER_S, sight)])
        if more and sight.case in PRESIDIO_CASES:
            wanted = f"{OF_PRESIDIO} x {PRESIDIO}"
            rows.append([sight.title, wanted, spread(more), _verdict(more.median >= OF_PRESIDIO, sight)])
    return rows


def _verdict(is_reached: bool, sight: Sight) -> str:  # noqa: FBT001
    if sight.left:
        return "not valid: planted findings are left"
    return "reached" if is_reached else "not reached"


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _worst_reaches(worst: Sequence[Worst]) -> list[list[str]]:
    matched = [(one.match_ms, one.detector) for one in worst if one.match_ms]
    redacted = [(one.redact_ms, one.detector) for one in worst]
    bounds = (("matching", MATCH_MS, matched), ("redact()", REDACT_MS, redacted))
    rows = []
    for what, bound_ms, measured in bounds:
        if measured:
            figure, detector = max(measured, key=lambda pair: pair[0].median)
            verdict = "reached" if figure.median < bound_ms else "not reached"
            rows.append([f"worst input, {what}: {detector}", f"under {bound_ms:g} ms", spread(figure, 2), verdict])
    return rows
