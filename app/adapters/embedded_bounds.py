"""How much an embedded store may hold: fakeredis has no maxmemory of its own."""

from collections import OrderedDict


class EmbeddedBounds:
    """The entries in the order they were set, and their sizes; the oldest make room."""

    def __init__(self, *, max_entries: int, max_bytes: int) -> None:
        """Both hold together."""
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._bytes = 0

    def add(self, name: str, size_bytes: int) -> list[str]:
        """Note an entry; return the names of those that must go. One that expired counts until it goes."""
        self.discard(name)
        self._sizes[name] = size_bytes
        self._bytes += size_bytes
        gone: list[str] = []
        while len(self._sizes) > self._max_entries or (self._bytes > self._max_bytes and len(self._sizes) > 1):
            oldest = next(iter(self._sizes))
            self.discard(oldest)
            gone.append(oldest)
        return gone

    def discard(self, name: str) -> None:
        """Forget an entry that is gone."""
        self._bytes -= self._sizes.pop(name, 0)
