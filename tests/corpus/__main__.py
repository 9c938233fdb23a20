"""`python -m tests.corpus`: judge redaction on the labelled corpus, or list what it touches in files of JSON lines."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.corpus.generate import corpus
from tests.corpus.judging import redactor
from tests.corpus.report import around, lines
from tests.corpus.scoring import changes, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from app.core.events import RedactedPayload


def main(arguments: Sequence[str]) -> int:
    """Print the report; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.corpus", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="another seed is another corpus (default 1)")
    parser.add_argument("--size", type=float, default=1.0, help="so many times the usual number of texts (default 1)")
    parser.add_argument("--misses", type=int, default=0, metavar="N", help="quote so many misses and false findings")
    parser.add_argument("--entity", help="one entity, by its ways of writing")
    parser.add_argument(
        "--data", type=Path, nargs="+", default=[], metavar="FILE.jsonl", help="list each touched row of these"
    )
    asked = parser.parse_args(arguments)
    if asked.data:
        for file in asked.data:
            sys.stdout.write("\n".join(_of_file(redactor(), file)) + "\n")
        return 0
    drawn = corpus(asked.seed, asked.size)
    known = sorted({span.entity for sample in drawn.positives for span in sample.spans})
    if asked.entity not in {None, *known}:
        parser.error(f"--entity is one of {', '.join(known)}")
    sys.stdout.write("\n".join(lines(judge(redactor(), drawn), entity=asked.entity, quoted=asked.misses)) + "\n")
    return 0


def _of_file(redacted: Callable[[Any], RedactedPayload], file: Path) -> Iterator[str]:
    rows = touched = 0
    for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
        if not line.strip():
            continue
        rows += 1
        row = json.loads(line)
        found = list(changes(row, redacted(row).value))
        touched += bool(found)
        for change in found:
            for run in change.gone:
                taken = change.original[run.start : run.end]
                beside = change.original[max(0, run.start - 40) : run.end + 40]
                place = "/".join(map(str, change.path))
                yield f"{file.name}:{number} /{place}: {run.name} {taken!r:.90} in {around(beside)}"
    yield f"{file.name}: {touched} of {rows} rows touched ({touched / max(rows, 1):.2%})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
