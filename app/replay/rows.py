"""The rows of JSONL files: what was asked, what was answered. Reading only; no reason quotes a row."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The names under which published prompt sets keep the two texts, most particular pair first:
# GSM8K; HumanEval; chat logs; completion and fine-tuning sets; a tool's own calls.
FIELD_PAIRS: tuple[tuple[str, str], ...] = (
    ("question", "answer"),
    ("prompt", "canonical_solution"),
    ("prompt", "response"),
    ("prompt", "completion"),
    ("input", "output"),
)

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands, which is all that a report may say of it.

    file: the path as the caller gave it. line: counted from 1, blank lines included.
    """

    file: str
    line: int

    def __str__(self) -> str:
        """Give the form that editors jump to: `file:line`."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt and its answer; `number` counts the good rows of all files from 0, in the order given."""

    number: int
    place: Place
    prompt: str
    answer: str


@dataclass(frozen=True, slots=True)
class BadRow:
    """A line that cannot be played, and why, in words that hold none of it."""

    place: Place
    reason: str


@dataclass(frozen=True, slots=True)
class Fields:
    """The names given on the command line; None takes all names that `FIELD_PAIRS` knows for that side."""

    prompt: str | None = None
    answer: str | None = None

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Give the (prompt, answer) names to look for, best first, each pair once."""
        named = ((self.prompt or prompt, self.answer or answer) for prompt, answer in FIELD_PAIRS)
        return tuple(dict.fromkeys(named))


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything that the files hold: the rows to play and those that cannot be played."""

    rows: tuple[Row, ...]
    bad: tuple[BadRow, ...]


class BadRowError(ValueError):
    """A line is no row; the message is the reason, without the line's text."""


def read_files(paths: Sequence[str], fields: Fields) -> Reading:
    """Read all rows of all files into memory: the second pass compares with every answer once more.

    Blank lines are no rows. Raises OSError where a file cannot be read.
    """
    rows: list[Row] = []
    bad: list[BadRow] = []
    pairs = fields.pairs()
    for place, line in _lines(paths):
        try:
            prompt, answer = parse_row(line, pairs)
        except BadRowError as exc:
            bad.append(BadRow(place, str(exc)))
        else:
            rows.append(Row(len(rows), place, prompt, answer))
    return Reading(tuple(rows), tuple(bad))


def parse_row(line: bytes, pairs: Iterable[tuple[str, str]]) -> tuple[str, str]:
    """Take (prompt, answer) from one line of JSON by the first of `pairs` whose names are both there.

    Raises BadRowError for a line that is no such row, that UTF-8 cannot carry, or whose answer is empty.
    """
    row = _parse_object(line)
    for prompt_name, answer_name in pairs:
        if prompt_name in row and answer_name in row:
            return _checked(row[prompt_name], row[answer_name])
    raise BadRowError("no prompt and answer under a known pair of names")


def _lines(paths: Sequence[str]) -> Iterator[tuple[Place, bytes]]:
    # Bytes, because text mode and str.splitlines would also break a row at U+2028 and its like.
    for path in paths:
        with Path(path).open("rb") as file:
            for number, line in enumerate(file, start=1):
                bare = line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line
                if bare.strip():
                    yield Place(path, number), bare


def _parse_object(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as exc:
        raise BadRowError("not UTF-8") from exc
    except (ValueError, RecursionError) as exc:
        raise BadRowError("not JSON") from exc
    if not isinstance(row, dict):
        raise BadRowError("not a JSON object")
    return row


def _checked(prompt: Any, answer: Any) -> tuple[str, str]:
    if not isinstance(prompt, str) or not isinstance(answer, str):
        raise BadRowError("prompt or answer is not a text")
    if not answer:
        raise BadRowError("the answer is empty, and the cache refuses an empty answer")
    try:
        (prompt + answer).encode("utf-8")
    except UnicodeEncodeError as exc:
        raise BadRowError("a lone surrogate, which UTF-8 cannot carry") from exc
    return prompt, answer
