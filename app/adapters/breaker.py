"""A circuit breaker: after some failures in a row, do not even try for a while."""

from dataclasses import dataclass


@dataclass(slots=True)
class Breaker:
    """Opens after `failures` in a row, for `open_s`; then one call in that time may try. Times are monotonic."""

    failures: int
    open_s: float
    failed: int = 0
    closed_again_s: float = 0.0

    def allows(self, now_s: float) -> bool:
        """Say whether a call may be tried now."""
        if self.failed < self.failures:
            return True
        if now_s < self.closed_again_s:
            return False
        # Half open: this call tries, the others wait for what it finds.
        self.closed_again_s = now_s + self.open_s
        return True

    def succeeded(self) -> None:
        """Close the circuit."""
        self.failed = 0

    def failed_at(self, now_s: float) -> None:
        """Count a failure."""
        self.failed += 1
        if self.failed >= self.failures:
            self.closed_again_s = now_s + self.open_s
