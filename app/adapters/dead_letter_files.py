"""Dead letters as NDJSON under `DATA_DIR/dead-letters/`, one file a worker slot."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import orjson

from app.adapters.file_sink import Offload
from app.adapters.files import AppendFile
from app.core.events import Redacted
from app.errors import SinkError

MAX_DETAIL: Final = 500
"""Characters of the sink's own words that are kept."""


class DeadLetterFiles:
    """Appends an event with its labels, nanosecond, line and the reason, so that it can be sent again as it was."""

    def __init__(self, directory: Path, slot: int, *, clean: Callable[[str], str], offload: Offload) -> None:
        """`clean` redacts the sink's words: they may quote a line."""
        self._path = directory / f"{slot}.ndjson"
        self._clean = clean
        self._offload = offload
        self._file: AppendFile | None = None

    def add(self, entry: Redacted, reason: str, detail: str) -> None:
        """Keep an event, durably; raise SinkError."""
        self.add_all([entry], reason, detail)

    def add_all(self, entries: Sequence[Redacted], reason: str, detail: str) -> None:
        """Keep events that share a reason, with one sync; raise SinkError, then none of them is kept."""
        clean = self._clean(detail)[:MAX_DETAIL]  # in this order: half a value is not recognised
        letters = b"".join(_letter(entry, reason, clean) for entry in entries)
        try:
            self._offload(lambda: self._append(letters))
        except OSError as exc:
            raise SinkError("dead letters could not be written") from exc

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _append(self, lines: bytes) -> None:
        if self._file is None:
            self._file = AppendFile(self._path)
        self._file.append(lines)


def _letter(entry: Redacted, reason: str, detail: str) -> bytes:
    return orjson.dumps(
        {
            "reason": reason,
            "detail": detail,
            "event_id": entry.event_id,
            "tenant": entry.tenant,
            "labels": dict(entry.labels),
            "timestamp_ns": str(entry.timestamp_ns),
            "line": entry.line.decode(),
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )
