"""Which deployments are due for work: each once, and by one worker at a time. Pure.

The manner of controllers in Kubernetes (client-go, util/workqueue): a key that is added while it is
worked on is due again afterwards, and failures put it off for longer and longer. Times are seconds
of a monotonic clock.
"""

import heapq
from typing import Final

_MIN_DELAY_S: Final = 0.5
_MAX_DELAY_S: Final = 60.0


class WorkQueue:
    """Keys that are due, now or at a time.

    `_due_at` has the earliest time of each key that waits; `_heap` may have later ones too, which
    are passed over. `_active` are keys that a worker has, `_added` those of them that are due
    again.
    """

    def __init__(self) -> None:
        self._due_at: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._active: set[str] = set()
        self._added: dict[str, float] = {}
        self._failures: dict[str, int] = {}

    def __len__(self) -> int:
        """Return how many keys wait."""
        return len(self._due_at) + len(self._added)

    def add(self, key: str, at: float) -> None:
        """Have a key worked on at a time, or sooner if it is due sooner already."""
        waiting = self._added if key in self._active else self._due_at
        if at >= waiting.get(key, float("inf")):
            return
        waiting[key] = at
        if waiting is self._due_at:
            heapq.heappush(self._heap, (at, key))

    def take(self, now: float) -> str | None:
        """Return a key that is due, None if none is. Call `finish` when it was worked on."""
        while self._heap and self._heap[0][0] <= now:
            at, key = heapq.heappop(self._heap)
            if self._due_at.get(key) != at:
                continue
            del self._due_at[key]
            self._active.add(key)
            return key
        return None

    def finish(self, key: str) -> None:
        """Give a key back; if it was added meanwhile, it waits again."""
        self._active.discard(key)
        at = self._added.pop(key, None)
        if at is not None:
            self.add(key, at)

    def retry(self, key: str, now: float) -> float:
        """Have a key worked on again after a failure; return the seconds until then."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = min(_MIN_DELAY_S * 2.0 ** min(failures - 1, 20), _MAX_DELAY_S)
        self.add(key, now + delay)
        return delay

    def succeed(self, key: str) -> None:
        """Forget the failures of a key."""
        self._failures.pop(key, None)

    def next_at(self) -> float:
        """Return when the next key is due; infinity without one."""
        return min(self._due_at.values(), default=float("inf"))
