"""The ids that callers gave their events in the last minutes, so that a retry is not a second event."""

from collections import OrderedDict


class RecentIds:
    """A bounded memory of (tenant, event_id) pairs. Times are monotonic seconds."""

    def __init__(self, max_ids: int, max_age_s: float) -> None:
        """Keep at most `max_ids`, none longer than `max_age_s`."""
        self._max_ids = max_ids
        self._max_age_s = max_age_s
        self._seen_s: OrderedDict[tuple[str, str], float] = OrderedDict()

    def add(self, tenant: str, event_id: str, now_s: float) -> bool:
        """Remember the id; return False when it was known already."""
        self._forget(now_s)
        pair = (tenant, event_id)
        if pair in self._seen_s:
            return False
        self._seen_s[pair] = now_s
        if len(self._seen_s) > self._max_ids:
            self._seen_s.popitem(last=False)
        return True

    def knows(self, tenant: str, event_id: str) -> bool:
        """Say whether the id is remembered."""
        return (tenant, event_id) in self._seen_s

    def discard(self, tenant: str, event_id: str) -> None:
        """Forget an id whose event was not kept after all."""
        self._seen_s.pop((tenant, event_id), None)

    def _forget(self, now_s: float) -> None:
        while self._seen_s:
            oldest = next(iter(self._seen_s.values()))
            if now_s - oldest < self._max_age_s:
                return
            self._seen_s.popitem(last=False)
