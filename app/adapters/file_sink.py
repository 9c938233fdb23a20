"""The embedded sink: redacted events as NDJSON under `DATA_DIR/logs/`, when there is no Loki."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from app.adapters.files import AppendFile
from app.core.events import Redacted
from app.core.verdicts import Delivered, Retry, Verdict

Offload = Callable[[Callable[[], Any]], Any]
"""Runs a blocking call where it holds nobody up."""


class FileSink:
    """One worker's log files: `<slot>.ndjson` is written, `<slot>-<nanosecond>.ndjson` are full.

    The nanosecond is that of the first event which came after the file was full.
    """

    def __init__(self, directory: Path, slot: int, *, max_bytes: int, offload: Offload) -> None:
        """Open nothing yet."""
        self._directory = directory
        self._slot = slot
        self._max_bytes = max_bytes
        self._offload = offload
        self._file: AppendFile | None = None

    def send(self, batch: Sequence[Redacted]) -> Verdict:
        """Write and sync the lines."""
        try:
            self._offload(lambda: self._write(batch))
        except OSError:
            return Retry("disk")
        return Delivered()

    def probe(self) -> str | None:
        """Say whether the folder can be written to."""
        try:
            self._offload(self._open)
        except OSError:
            return "disk"
        return None

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, batch: Sequence[Redacted]) -> None:
        lines = b"".join(entry.line + b"\n" for entry in batch)
        self._open()
        if self._file is not None and self._file.size_bytes and self._file.size_bytes + len(lines) > self._max_bytes:
            self._rotate(batch[0].timestamp_ns)
        if self._file is not None:
            self._file.append(lines)

    def _open(self) -> None:
        if self._file is None:
            self._file = AppendFile(self._directory / f"{self._slot}.ndjson")

    def _rotate(self, stamp_ns: int) -> None:
        path = self._directory / f"{self._slot}.ndjson"
        self.close()
        path.rename(self._directory / f"{self._slot}-{stamp_ns}.ndjson")
        self._open()
