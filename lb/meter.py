"""The licences of one loader: taken and freed, counted, measured. Pure."""

from collections.abc import Callable
from math import exp, log
from typing import Final

from lb.report import Live, Load

# The last request counts for so much in the slot time, and the first ones for more.
_SMOOTHING: Final = 1 / 128
_LEAST_MS: Final = 0.001
_FEW: Final = 16


def usual_queue(best: int) -> int:
    """Return how many requests may wait where nobody says: as many as are worked on, at least some.

    A short queue lets the others wait at the gateways, for whoever is free first; too short a one
    refuses so often that slots stand empty meanwhile (figures in `docs/load-balancing.md`).
    """
    return max(best, _FEW // best)


class Meter:
    """Counts the licences of a loader process.

    `total`: how many requests it takes; `best`: how many it works on at a time, the others wait.
    `changed` is called after every change that a hub may have to hear of.
    """

    def __init__(self, total: int, changed: Callable[[], None], *, best: int = 0) -> None:
        self.total = total
        self.best = best or total
        self.live = Live.UP
        self.used = 0
        self.service_ms = 0.0
        self.errors = 0
        self._changed = changed
        self._seq = 0
        self._logs = 0.0
        self._told = 0
        self._held: dict[str, int] = {}
        self.served = self._rejected = 0

    def take(self, gateway: str) -> bool:
        """Take a licence for a request of that gateway; False when none is to be had."""
        taken = self.used < self.total and self.live is Live.UP
        if taken:
            self.used += 1
            self._held[gateway] = self._held.get(gateway, 0) + 1
        else:
            self._rejected += 1
        self._changed()
        return taken

    def free(self, gateway: str, worked_ms: float, *, good: bool, failed: bool = False) -> None:
        """Give a licence back that the gateway's request had, after `worked_ms` of work.

        `failed`: by this loader's fault. Only good ones tell how long work takes. The slot time is
        a mean of logarithms: one request that took a hundred times as long must not make a loader
        look slow.
        """
        self.used -= 1
        self.served += 1
        left = self._held[gateway] - 1
        if left:
            self._held[gateway] = left
        else:
            del self._held[gateway]
        if good:
            self._told += 1
            part = max(_SMOOTHING, 1 / self._told)
            self._logs += (log(max(worked_ms, _LEAST_MS)) - self._logs) * part
            self.service_ms = exp(self._logs)
        self.errors += failed
        self._changed()

    def turn(self, live: Live) -> None:
        """Say that the loader is up, drains, or goes down."""
        self.live = live
        self._changed()

    def load(self) -> Load:
        """Return the figures for the next report; each call is one report."""
        self._seq += 1
        running = min(self.used, self.best)
        return Load(
            seq=self._seq,
            live=self.live,
            running=running,
            queued=self.used - running,
            service_ms=self.service_ms,
            served=self.served,
            errors=self.errors,
            rejected=self._rejected,
            held=dict(self._held),
        )
