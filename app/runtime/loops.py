"""Steps that are run again and again, and a way to stop them."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

import gevent
from gevent.event import Event
from gevent.pool import Pool

Step = Callable[[float, bool], float | None]
"""Does one piece of work: (monotonic now, stopping) -> seconds until there may be more, None when done for good."""

LONGEST_NAP_S: Final = 0.2
"""How late a loop may see that there is work: a fifth of the age at which a batch is due."""

_BREATH_S: Final = 0.002

_EASE_S: Final = 0.005
_EASES: Final = 10
"""50 ms in all: a caller who waits for his answer sends nothing new meanwhile."""

_FAULT_PAUSE_S: Final = 1.0

_log = logging.getLogger("telemetry_cache.runtime")


class Runtime:
    """Runs steps again and again, one greenlet each, until it is closed."""

    def __init__(self) -> None:
        """Nothing runs before `start`."""
        self._pool = Pool()
        self._stopping = Event()

    def start(self, steps: Sequence[Step]) -> None:
        """Give each step a greenlet of its own."""
        for step in steps:
            self._pool.spawn(self._loop, step)

    def close(self, deadline_s: float) -> bool:
        """Tell the steps to finish; wait at most `deadline_s`; say whether all of them did."""
        self._stopping.set()
        done = self._pool.join(timeout=deadline_s)
        if not done:
            self._pool.kill(timeout=1.0)
        return bool(done)

    def breathe(self) -> None:
        """Let the others run: for long work between whose parts nothing is half done."""
        # Not sleep(0): a request needs several turns of the loop from its connection to its answer.
        gevent.sleep(_BREATH_S)

    def ease(self, is_crowded: Callable[[], bool]) -> None:
        """Wait while it is crowded, but not long: what drains the crowd runs meanwhile."""
        for _ in range(_EASES):
            if not is_crowded():
                return
            gevent.sleep(_EASE_S)

    def _loop(self, step: Step) -> None:
        while True:
            try:
                wait_s = step(time.monotonic(), self._stopping.is_set())
            except Exception:  # noqa: BLE001 - a loop that dies would stop delivery for good
                _log.exception("a background step failed")
                wait_s = None if self._stopping.is_set() else _FAULT_PAUSE_S
            if wait_s is None:
                return
            if wait_s > 0:
                self._stopping.wait(min(wait_s, LONGEST_NAP_S))
            else:
                gevent.sleep(0)
