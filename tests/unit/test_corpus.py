"""The labelled corpus judges redaction: what it must find of what people write, and what it must leave alone.

`make corpus` prints the whole report. The figures to reach are redaction.md's for a corpus of the project's own.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from app.core.events import Finding, RedactedPayload
from tests.corpus.__main__ import main
from tests.corpus.generate import Corpus, corpus
from tests.corpus.judging import redactor
from tests.corpus.report import lines
from tests.corpus.scoring import judge
from tests.corpus.writer import LOCALES

if TYPE_CHECKING:
    from pathlib import Path

MIN_RECALL, MIN_RECALL_OF_ANY = 0.97, 0.90
MAX_CLEAN_TOUCHED = 0.003
POSITIVES = 3000
"""The fewest labels that say anything."""

SMALL = 0.05


@pytest.mark.parametrize("seed", [1, 2])
def test_redaction_finds_what_people_write_and_leaves_the_rest(seed: int) -> None:
    """Recall over all, of each entity, and how many clean texts were touched; the misses are in the failure."""
    score = judge(redactor(), corpus(seed))
    report = "\n".join(lines(score, quoted=100))
    assert score.total.positives >= POSITIVES
    assert score.total.recall >= MIN_RECALL, report
    assert {name for name, tally in score.by_entity.items() if tally.recall < MIN_RECALL_OF_ANY} == set(), report
    assert score.clean_rate <= MAX_CLEAN_TOUCHED, report


@pytest.fixture(scope="module")
def small() -> Corpus:
    """A corpus that is drawn in no time."""
    return corpus(3, SMALL)


def test_a_seed_is_a_corpus(small: Corpus) -> None:
    """The same seed draws the same, another one another."""
    assert corpus(3, SMALL) == small
    assert corpus(4, SMALL) != small
    assert len(LOCALES) >= 12


def test_each_label_is_where_the_text_has_it(small: Corpus) -> None:
    """A label names characters of a text that is there."""
    for sample in small.positives:
        assert sample.spans
        for span in sample.spans:
            value: Any = sample.value
            for step in span.path[: -1 if span.in_name else None]:
                value = value[step]
            text = str(span.path[-1] if span.in_name else value)
            assert 0 <= span.start < span.end <= len(text)


def test_who_finds_nothing_is_seen(small: Corpus) -> None:
    """The judge by itself: nothing found is no recall, and no clean text touched."""
    score = judge(lambda value: RedactedPayload(value, ()), small)
    assert score.total.recall == 0.0
    assert score.clean_rate == 0.0
    assert len(score.misses) == score.total.positives


def test_who_takes_everything_is_seen(small: Corpus) -> None:
    """The judge by itself: a document that is gone is all its values, and a clean one that was touched."""

    def withheld(value: Any) -> RedactedPayload:
        return RedactedPayload("[REDACTED]", (Finding(None, "failed", "redact", len(str(value))),))

    score = judge(withheld, small)
    assert score.total.recall > MIN_RECALL
    assert score.clean_rate == 1.0


def test_the_report_says_what_was_missed(small: Corpus) -> None:
    """Each entity has its line, and each miss its text."""
    score = judge(lambda value: RedactedPayload(value, ()), small)
    report = "\n".join(lines(score, quoted=2))
    assert all(f"\n{name} " in f"\n{report}" for name in score.by_entity)
    assert f"missed: {len(score.misses)}" in report
    by_way = "\n".join(lines(score, entity="phone", quoted=1))
    assert "phone, written as" in by_way
    assert "email" not in by_way.split("clean texts", maxsplit=1)[0]


def test_the_command_lists_touched_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of JSON lines: each row that was touched, and how many of all."""
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"note": "12 apples"}) + "\n\n" + json.dumps({"note": "mail bob@example.org"}) + "\n")
    assert main(["--data", str(file)]) == 0
    printed = capsys.readouterr().out
    assert "rows.jsonl:3 /note: email 'bob@example.org'" in printed
    assert "rows.jsonl: 1 of 2 rows touched (50.00%)" in printed
    with pytest.raises(SystemExit):
        main(["--entity", "nobody", "--size", str(SMALL)])
    assert "--entity is one of" in capsys.readouterr().err
