"""How long to wait before trying again."""

from typing import Final

BASE_S: Final = 0.5
CEILING_S: Final = 300.0
_MAX_DOUBLINGS: Final = 10
"""0.5 s * 2**10 is past the ceiling; more doublings would only make large numbers."""


def delay_s(attempt: int, rand: float) -> float:
    """Return the wait after failure number `attempt` (1 for the first), in seconds.

    Exponential with full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter"): `rand`
    in [0, 1) picks a point between 0 and the bound, so that many instances do not return at once.
    """
    bound = min(CEILING_S, BASE_S * 2.0 ** min(max(attempt - 1, 0), _MAX_DOUBLINGS))
    return bound * rand
