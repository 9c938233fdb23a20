"""How far a run has come, on stderr: a bar on a terminal, else a line now and then."""

import threading
import time
from typing import TextIO

from tqdm import tqdm

# Often enough to see that it lives, seldom enough not to fill a build's log.
LINE_INTERVAL_S = 5.0


class Progress:
    """Counts steps of `total` from several threads; one step is one row in one pass."""

    def __init__(self, total: int, stream: TextIO) -> None:
        self._total = total
        self._stream = stream
        self._done = 0
        self._title = ""
        self._lock = threading.Lock()
        self._next_line_s = time.monotonic() + LINE_INTERVAL_S
        # A pipe gets no bar at all: tqdm would fill it with carriage returns.
        self._bar = tqdm(total=total, file=stream, unit=" rows", leave=False) if stream.isatty() else None

    def begin(self, title: str) -> None:
        """Name the pass that the next steps belong to."""
        self._title = title
        if self._bar is not None:
            self._bar.set_description(title)

    def advance(self, steps: int) -> None:
        """Count finished steps."""
        with self._lock:
            self._done += steps
            if self._bar is not None:
                self._bar.update(steps)
            elif time.monotonic() >= self._next_line_s:
                self._next_line_s = time.monotonic() + LINE_INTERVAL_S
                self._stream.write(f"replay: {self._title}, {self._done} of {self._total} steps\n")

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
