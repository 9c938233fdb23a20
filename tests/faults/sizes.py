"""How large the fault runs are: the defaults are CI's; `make faults` and `make soak` ask for more by environment."""

from __future__ import annotations

import os
import random
from typing import Final


def _number(name: str, default: int) -> int:
    return int(os.environ.get(name, default))


KILLS: Final = _number("FAULTS_KILLS", 20)
"""SIGKILLs at random instants, a quarter of them of the whole process group."""

ORDERED_REQUESTS: Final = _number("FAULTS_ORDERED_REQUESTS", 1_000)
"""Requests whose answer must come after the fdatasync of their frame."""

PARTIAL_REFUSALS: Final = _number("FAULTS_PARTIAL_REFUSALS", 1_000)
"""Batches of which Loki refuses one entry."""

SOAK_S: Final = _number("FAULTS_SOAK_S", 60)
SOAK_EVENTS_PER_S: Final = _number("FAULTS_SOAK_EVENTS_PER_S", 500)
SOAK_RECYCLE_S: Final = _number("FAULTS_SOAK_RECYCLE_S", max(10, min(60, SOAK_S // 4)))
"""How often a worker is recycled."""

SEED: Final = _number("FAULTS_SEED", random.SystemRandom().randrange(1_000_000))
"""Said in the message of a failure, so that a run can be repeated as far as chance in it goes."""
