"""Values that may be used once: signatures of requests. Pure."""

from rpc.bounded_cache import BoundedCache


class NonceCache:
    """The values used within the last `window` seconds, at most `max_entries` of them.

    Only values that were verified are added, so that strangers cannot push others out. A full cache
    forgets the value that was used first.
    """

    __slots__ = ("_expiries", "_window")

    def __init__(self, max_entries: int, window: float) -> None:
        self._expiries: BoundedCache[bytes, float] = BoundedCache(max_entries)
        self._window = window

    def use(self, value: bytes, now: float) -> bool:
        """Note the use of a value at `now` seconds; return False if it was used before."""
        expiries = self._expiries
        if expiries.entries.get(value, 0.0) > now:
            return False
        expiries.add(value, now + self._window)
        return True
