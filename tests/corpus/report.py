"""A score as plain tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.corpus.scoring import Miss, Score, Tally, Touched

_COLUMNS = ("positives", "hits", "recall", "false findings", "precision", "excess a hit")


def lines(score: Score, *, entity: str | None = None, quoted: int = 0) -> Iterator[str]:
    """Yield the report's lines: by entity, or by one entity's ways of writing; then what was missed and touched."""
    if entity is None:
        yield from _table(
            "entity", ((name, tally) for name, tally in (*sorted(score.by_entity.items()), ("all", score.total)))
        )
    else:
        ways = sorted((variant, tally) for (name, variant), tally in score.by_variant.items() if name == entity)
        yield from _table(f"{entity}, written as", (*ways, ("all", score.by_entity[entity])))
    yield ""
    yield f"clean texts: {score.clean_touched} of {score.clean} touched ({score.clean_rate:.2%})"
    yield ""
    yield from _detectors(score)
    yield from _quoted("missed", [_miss(miss) for miss in score.misses if entity in {None, miss.span.entity}], quoted)
    if entity is None:
        yield from _quoted("touched clean texts", [_touch(touch) for touch in score.touched], quoted)
    of_entity = [touch for touch in score.false_findings if entity in {None, touch.sample.spans[0].entity}]
    yield from _quoted("false findings in texts with labels", [_touch(touch) for touch in of_entity], quoted)


def _table(head: str, rows: Iterable[tuple[str, Tally]]) -> Iterator[str]:
    listed = list(rows)
    width = max(len(head), *(len(name) for name, _ in listed))
    yield f"{head:<{width}}  " + "  ".join(f"{column:>14}" for column in _COLUMNS)
    for name, tally in listed:
        excess = tally.beyond / tally.hits if tally.hits else 0.0
        cells = (
            tally.positives,
            tally.hits,
            f"{tally.recall:.2%}",
            tally.false_findings,
            f"{tally.precision:.2%}",
            f"{excess:.2f}",
        )
        yield f"{name:<{width}}  " + "  ".join(f"{cell:>14}" for cell in cells)


def _detectors(score: Score) -> Iterator[str]:
    names = sorted({name for name, _ in score.detectors})
    width = max((len(name) for name in ("taken as", *names)), default=8)
    yield f"{'taken as':<{width}}  {'labelled':>10}  {'unlabelled':>10}  {'in clean texts':>14}  {'precision':>10}"
    for name in names:
        true, false, clean = (score.detectors[name, kind] for kind in ("true", "false", "clean"))
        yield f"{name:<{width}}  {true:>10}  {false:>10}  {clean:>14}  {true / (true + false + clean):>10.2%}"


def _quoted(head: str, entries: list[str], quoted: int) -> Iterator[str]:
    if quoted and entries:
        yield ""
        yield f"{head}: {len(entries)}" + (f", of which {quoted}" if len(entries) > quoted else "")
        yield from (f"  {entry}" for entry in entries[:quoted])


def _miss(miss: Miss) -> str:
    sample, span = miss.sample, miss.span
    return f"{span.entity} ({span.variant}; {sample.template}, {sample.carrier}) {miss.value!r:.90} -> {around(miss.after)}"


def _touch(touch: Touched) -> str:
    return f"{touch.name} ({touch.sample.template}, {touch.sample.carrier}) {touch.taken!r:.90} of {around(touch.text)}"


def around(text: str, most: int = 240) -> str:
    """Return a text fit for one line."""
    shown = repr(text)
    return shown if len(shown) <= most else f"{shown[: most // 2]} ... {shown[-most // 2 :]}"
