"""How far a cleaning has come, on stderr: a bar on a terminal, else a line now and then."""

import time
from typing import Final, TextIO

from tqdm import tqdm

LINE_INTERVAL_S: Final = 5.0
"""Often enough to see that it lives, seldom enough not to fill a build's log."""

_MB: Final = 1e6


class Progress:
    """Counts bytes towards `total_bytes`; None where nobody knows it (a pipe)."""

    def __init__(self, total_bytes: int | None, stream: TextIO, *, has_bar: bool) -> None:
        self._total_bytes = total_bytes
        self._stream = stream
        self._next_line_s = time.monotonic() + LINE_INTERVAL_S
        self._bar = tqdm(total=total_bytes, file=stream, unit="B", unit_scale=True, leave=False) if has_bar else None

    def show(self, position_bytes: int) -> None:
        """Show that so much is done."""
        if self._bar is not None:
            self._bar.update(position_bytes - self._bar.n)
        elif time.monotonic() >= self._next_line_s:
            self._next_line_s = time.monotonic() + LINE_INTERVAL_S
            total = "" if self._total_bytes is None else f" of {self._total_bytes / _MB:,.0f}"
            self._stream.write(f"redact: {position_bytes / _MB:,.0f}{total} MB\n")
            self._stream.flush()

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
