"""How rows are dealt out: singly or in batches, grouped by prompt, and how a batch is written. Pure."""

import gzip
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from app.replay.client import JSON_HEADERS
from app.replay.rows import Row

# A batch may hold 5 MiB by the contract; a body is cut below that, because rows differ in size.
MAX_BODY_BYTES = 4 * 1024 * 1024
NDJSON_GZIP_HEADERS: Mapping[str, str] = {
    "Content-Type": "application/x-ndjson",
    "Content-Encoding": "gzip",
}


@dataclass(frozen=True, slots=True)
class Turn:
    """Rows whose events go together: one row by `POST /log` (batch_number None), or a numbered batch."""

    rows: tuple[Row, ...]
    batch_number: int | None


def split_turns(rows: Sequence[Row], batch_size: int) -> Iterator[Turn]:
    """Send one half of the rows singly and the other in batches: by turns a run of single ones and a batch.

    Runs and batches are equally long, `batch_size` rows at most; four rows are enough for two batches, so
    that both ways to write a batch are used.
    """
    batches = max(-(-len(rows) // (2 * batch_size)), min(len(rows) // 2, 2), 1)
    edges = [len(rows) * part // (2 * batches) for part in range(2 * batches + 1)]
    for number in range(batches):
        start, middle, end = edges[2 * number : 2 * number + 3]
        yield from (Turn((row,), None) for row in rows[start:middle])
        if middle < end:
            yield Turn(tuple(rows[middle:end]), number)


def group_by_prompt(rows: Sequence[Row]) -> list[tuple[Row, ...]]:
    """Put rows whose prompts are one cache key together, in their order: of their sets the last must win.

    Prompts are compared in Unicode's form NFC, as the service compares arguments.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(unicodedata.normalize("NFC", row.prompt), []).append(row)
    return [tuple(group) for group in groups.values()]


def cut_bodies(sizes: Sequence[int], max_bytes: int) -> Iterator[tuple[int, int]]:
    """Cut lines of `sizes` bytes into slices [start, end) of `max_bytes` at most, or of one line."""
    start = total = 0
    for at, size in enumerate(sizes):
        if at > start and total + size + 1 > max_bytes:
            yield start, at
            start, total = at, 0
        total += size + 1
    yield start, len(sizes)


def batch_body(lines: Sequence[bytes], number: int) -> tuple[bytes, Mapping[str, str]]:
    """Write encoded events as body and headers: even batches as a JSON array, odd ones as gzipped NDJSON."""
    if number % 2 == 0:
        return b"[" + b",".join(lines) + b"]", JSON_HEADERS
    return gzip.compress(b"".join(line + b"\n" for line in lines), mtime=0), NDJSON_GZIP_HEADERS
