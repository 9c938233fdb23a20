"""Tables in texts (Markdown, CSV, TSV): which heading stands over a value. Bytes of folded text.

A table is a line of short headings, and lines right below it with as many separators. Time is linear in the text.
"""

from bisect import bisect_right
from typing import Final, NamedTuple

_SEPARATORS: Final = (b"|", b"\t", b";", b",")
_HEADING_BYTES: Final = 32
"""A longer cell is no heading, and its line a sentence."""

_LINE_BYTES: Final = 1024
"""Cells of a longer line are not counted."""

_AROUND: Final = b" \"'`*"
_EDGES: Final = frozenset((b"", b"\n", b"\r", *_SEPARATORS))
"""What may stand beside a cell."""


class _Table(NamedTuple):
    start: int
    """Where the lines below the headings begin."""
    end: int
    separator: bytes
    headings: list[tuple[int, int]]
    """From where to where each stands."""


class Columns:
    """The tables of a text; looked for when first asked about."""

    __slots__ = ("_data", "_starts", "_tables")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._tables: list[_Table] | None = None
        self._starts: list[int] = []

    def heading_of(self, start: int, end: int) -> tuple[int, int] | None:
        """Return where the heading stands over a value that is a cell by itself; None: there is none."""
        before, behind = self._beside(start, end)
        # Most numbers stand between words: no table is looked for then.
        if before not in _EDGES or behind not in _EDGES:
            return None
        if self._tables is None:
            self._tables = _tables(self._data) if b"\n" in self._data else []
            self._starts = [table.start for table in self._tables]
        place = bisect_right(self._starts, start) - 1
        if place < 0 or start >= self._tables[place].end:
            return None
        table, data = self._tables[place], self._data
        first = data.rfind(b"\n", 0, start) + 1
        if start - first > _LINE_BYTES:
            return None
        column = data.count(table.separator, first, start)
        is_cell = before in (b"", b"\n", table.separator) and behind in (b"", b"\n", b"\r", table.separator)
        return table.headings[column] if is_cell and column < len(table.headings) else None

    def _beside(self, start: int, end: int) -> tuple[bytes, bytes]:
        """The signs before and behind a value, without what may be around it in its cell; b"": the text's end."""
        data = self._data
        while start and data[start - 1 : start] in _AROUND:
            start -= 1
        while end < len(data) and data[end : end + 1] in _AROUND:
            end += 1
        return data[max(0, start - 1) : start], data[end : end + 1]


def _tables(data: bytes) -> list[_Table]:
    lines = data.split(b"\n")
    found: list[_Table] = []
    place = start = 0
    while place < len(lines) - 1:
        separator = _separator_of(lines[place], lines[place + 1])
        end = start + len(lines[place]) + 1
        place += 1
        if separator is not None:
            headings, below = _cells(lines[place - 1], separator, start), end
            while place < len(lines) and lines[place].count(separator) == len(headings) - 1:
                end += len(lines[place]) + 1
                place += 1
            found.append(_Table(below, end, separator, headings))
        start = end
    return found


def _separator_of(line: bytes, below: bytes) -> bytes | None:
    for separator in _SEPARATORS:
        count = line.count(separator)
        if count and below.count(separator) == count:
            is_heading = all(len(cell) <= _HEADING_BYTES for cell in line.split(separator))
            return separator if is_heading else None
    return None


def _cells(line: bytes, separator: bytes, start: int) -> list[tuple[int, int]]:
    cells = []
    for cell in line.split(separator):
        cells.append((start, start + len(cell)))
        start += len(cell) + len(separator)
    return cells
