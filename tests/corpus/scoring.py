"""Judges redaction by the labels: what of each span is gone, and what else was taken.

A positive is a hit when at least nine tenths of its span's characters are gone. A finding in a positive text that touches no
label is a false finding. A clean text that came back in any way different is a false positive.
"""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.corpus.model import leaf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from app.core.events import RedactedPayload
    from tests.corpus.generate import Corpus
    from tests.corpus.model import Sample, Span, Step

HIT_SHARE = 0.9
_PLACEHOLDER = re.compile(
    r"\[(REDACTED(?:_[A-Z0-9_]+)?|[A-Z0-9_]+(?=:[A-Za-z0-9]+:))(?::[A-Za-z0-9]+:[A-Za-z0-9_=-]+)?\]"
)
"""What stands where something was: `[REDACTED_EMAIL]`, `[USER_ID:k1:3f9a...]`."""


class Gone(NamedTuple):
    """A run of an original text that is not in the redacted one."""

    start: int
    end: int
    name: str
    """The placeholder's name in small letters, without `redacted_`."""


class Change(NamedTuple):
    """A text (a value, or a member's name) that came back different."""

    path: tuple[Step, ...]
    in_name: bool
    original: str
    gone: tuple[Gone, ...]


def gone(original: str, redacted: str) -> tuple[Gone, ...]:
    """Return which runs of `original` are not in `redacted`, by what is left between the placeholders."""
    marks = list(_PLACEHOLDER.finditer(redacted))
    names = [mark[1].lower().removeprefix("redacted_") for mark in marks]
    kept = [
        redacted[start:end]
        for start, end in zip([0, *(m.end() for m in marks)], [*(m.start() for m in marks), len(redacted)], strict=True)
    ]
    if marks and original.startswith(kept[0]) and original.endswith(kept[-1]):
        # Each kept piece where it first occurs behind the one before it: a run that is gone is as short as can be.
        matched = re.fullmatch("(.+?)".join(map(re.escape, kept)), original, re.DOTALL)
        if matched:
            return tuple(Gone(*matched.span(number), name) for number, name in enumerate(names, 1))
    # Not a text with holes (it was folded, or replaced in another way): what a diff does not find again is gone.
    left = _PLACEHOLDER.sub("", redacted)
    blocks = difflib.SequenceMatcher(None, original, left, autojunk=False).get_matching_blocks()
    found, at = [], 0
    for block in blocks:
        if block.a > at:
            found.append(Gone(at, block.a, names[0] if names else "?"))
        at = block.a + block.size
    return tuple(found)


def changes(original: Any, redacted: Any, path: tuple[Step, ...] = ()) -> Iterator[Change]:
    """Yield every value and name of a document that redaction changed."""
    if isinstance(original, dict) and isinstance(redacted, dict):
        # Members keep their order; a member that is missing was dropped whole.
        same = len(original) == len(redacted)
        names = dict(zip(original, redacted, strict=True)) if same else {name: name for name in original}
        for name, value in original.items():
            if names[name] not in redacted:
                yield _whole((*path, name), value, "dropped")
                continue
            if names[name] != name:
                yield Change((*path, name), in_name=True, original=name, gone=gone(name, names[name]))
            yield from changes(value, redacted[names[name]], (*path, name))
    elif isinstance(original, list) and isinstance(redacted, list) and len(original) == len(redacted):
        for index, (before, after) in enumerate(zip(original, redacted, strict=True)):
            yield from changes(before, after, (*path, index))
    elif isinstance(original, str) and isinstance(redacted, str):
        if original != redacted:
            yield Change(path, in_name=False, original=original, gone=gone(original, redacted))
    elif original != redacted:
        yield _whole(path, original, str(redacted))


def _whole(path: tuple[Step, ...], value: Any, replaced: str) -> Change:
    text = str(value)
    mark = _PLACEHOLDER.fullmatch(replaced)
    name = mark[1].lower().removeprefix("redacted_") if mark else replaced
    return Change(path, in_name=False, original=text, gone=(Gone(0, len(text), name),))


class Miss(NamedTuple):
    """A label whose value, or too much of it, is still there."""

    span: Span
    sample: Sample
    value: str
    after: str
    """The text that had it, redacted; the whole document as JSON if that text is gone."""


class Touched(NamedTuple):
    """Something that was taken and is not personal."""

    sample: Sample
    taken: str
    name: str
    text: str


@dataclass
class Tally:
    """One entity's counts."""

    positives: int = 0
    hits: int = 0
    findings: int = 0
    """Runs that were taken in this entity's texts and touch a label."""
    false_findings: int = 0
    """Runs that were taken in this entity's texts and touch none."""
    beyond: int = 0
    """Characters taken beyond a label by the runs that touch one."""

    @property
    def recall(self) -> float:
        """Hits a positive."""
        return self.hits / self.positives if self.positives else 1.0

    @property
    def precision(self) -> float:
        """Findings that touch a label, of all findings in texts of this entity."""
        every = self.findings + self.false_findings
        return self.findings / every if every else 1.0


@dataclass
class Score:
    """What redaction did to a corpus."""

    by_entity: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    by_variant: dict[tuple[str, str], Tally] = field(default_factory=lambda: defaultdict(Tally))
    detectors: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often a detector took something: (its name, `true`, `false` or `clean`)."""
    misses: list[Miss] = field(default_factory=list)
    false_findings: list[Touched] = field(default_factory=list)
    clean: int = 0
    touched: list[Touched] = field(default_factory=list)
    clean_touched: int = 0

    @property
    def total(self) -> Tally:
        """All entities together."""
        every = self.by_entity.values()
        return Tally(
            *(
                sum(getattr(tally, name) for tally in every)
                for name in ("positives", "hits", "findings", "false_findings", "beyond")
            )
        )

    @property
    def clean_rate(self) -> float:
        """Clean texts that were touched, of all clean texts."""
        return self.clean_touched / self.clean if self.clean else 0.0


def judge(redact: Callable[[Any], RedactedPayload], samples: Corpus) -> Score:
    """Redact every sample and count."""
    score = Score()
    for sample in samples.positives:
        _judge_positive(score, sample, redact(sample.value).value)
    for sample in samples.clean:
        score.clean += 1
        taken = list(_taken(sample, changes(sample.value, redact(sample.value).value)))
        score.clean_touched += bool(taken)
        score.touched += taken
        score.detectors.update((touch.name, "clean") for touch in taken)
    return score


def _judge_positive(score: Score, sample: Sample, redacted: Any) -> None:
    found = list(changes(sample.value, redacted))
    by_place = {(change.path, change.in_name): change for change in found}
    for span in sample.spans:
        change = by_place.get((span.path, span.in_name))
        runs = change.gone if change else _of_parent(by_place, span)
        covered = sum(max(0, min(run.end, span.end) - max(run.start, span.start)) for run in runs)
        hit = covered >= HIT_SHARE * (span.end - span.start)
        for tally in (score.by_entity[span.entity], score.by_variant[span.entity, span.variant]):
            tally.positives += 1
            tally.hits += hit
        if not hit:
            score.misses.append(
                Miss(span, sample, original_of(sample, span)[span.start : span.end], _after(redacted, span))
            )
    own = score.by_entity[sample.spans[0].entity]
    for change in found:
        labels = [span for span in sample.spans if (span.path, span.in_name) == (change.path, change.in_name)]
        for run in change.gone:
            touching = [span for span in labels if span.start < run.end and run.start < span.end]
            if touching or any(
                span.path[: len(change.path)] == change.path and len(span.path) > len(change.path)
                for span in sample.spans
            ):
                own.findings += 1
                inside = sum(min(run.end, span.end) - max(run.start, span.start) for span in touching)
                own.beyond += run.end - run.start - inside if touching else 0
                score.detectors[run.name, "true"] += 1
            else:
                own.false_findings += 1
                score.detectors[run.name, "false"] += 1
                score.false_findings.append(
                    Touched(sample, change.original[run.start : run.end], run.name, change.original)
                )


def _after(redacted: Any, span: Span) -> str:
    try:
        return str(leaf(redacted, span.path))
    except (KeyError, IndexError, TypeError):
        return json.dumps(redacted, ensure_ascii=False)


def _of_parent(by_place: dict[tuple[tuple[Step, ...], bool], Change], span: Span) -> tuple[Gone, ...]:
    """Return the whole span as gone if a container that holds it was replaced."""
    for size in range(len(span.path)):
        if (span.path[:size], False) in by_place:
            return (Gone(span.start, span.end, "container"),)
    return ()


def original_of(sample: Sample, span: Span) -> str:
    """Return the text that a span points into."""
    return str(span.path[-1]) if span.in_name else str(leaf(sample.value, span.path))


def _taken(sample: Sample, found: Iterable[Change]) -> Iterator[Touched]:
    for change in found:
        for run in change.gone or (Gone(0, len(change.original), "?"),):
            yield Touched(sample, change.original[run.start : run.end], run.name, change.original)
