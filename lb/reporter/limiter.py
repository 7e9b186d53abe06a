"""The licences of one loader: taken and freed, counted, measured. Pure."""

from collections.abc import Callable
from math import exp, log
from typing import Final

from lb.endpoints.report import Load, ServingState

# The last request counts for so much in the slot time, and the first ones for more.
_SMOOTHING: Final = 1 / 128
_MIN_SERVICE_MS: Final = 0.001
_MIN_QUEUE: Final = 16


def default_queue_size(best: int) -> int:
    """Return how many requests may wait where nobody says: as many as are worked on, at least some.

    A short queue lets the others wait at the gateways, for whoever is free first; too short a one
    refuses so often that slots stand empty meanwhile (figures in `docs/load-balancing.md`).
    """
    return max(best, _MIN_QUEUE // best)


class ConcurrencyLimiter:
    """Counts the licences of a loader process.

    `total`: how many requests it takes; `best`: how many it works on at a time, the others wait.
    `changed` is called after every change that a hub may have to hear of.
    """

    def __init__(self, total: int, on_change: Callable[[], None], *, best: int = 0) -> None:
        self.total = total
        self.best = best or total
        self.serving_state = ServingState.UP
        self.inflight = 0
        self.service_ms = 0.0
        self.errors = 0
        self._on_change = on_change
        self._seq = 0
        self._mean_log_ms = 0.0
        self._sample_count = 0
        self._requests_by_gateway: dict[str, int] = {}
        self.served = self._rejected = 0

    def try_acquire(self, gateway: str) -> bool:
        """Take a licence for a request of that gateway; False when none is to be had."""
        acquired = self.inflight < self.total and self.serving_state is ServingState.UP
        if acquired:
            self.inflight += 1
            self._requests_by_gateway[gateway] = self._requests_by_gateway.get(gateway, 0) + 1
        else:
            self._rejected += 1
        self._on_change()
        return acquired

    def release(
        self, gateway: str, worked_ms: float, *, succeeded: bool, failed: bool = False
    ) -> None:
        """Give a licence back that the gateway's request had, after `worked_ms` of work.

        `failed`: by this loader's fault. Only good ones tell how long work takes. The slot time is
        a mean of logarithms: one request that took a hundred times as long must not make a loader
        look slow.
        """
        self.inflight -= 1
        self.served += 1
        remaining = self._requests_by_gateway[gateway] - 1
        if remaining:
            self._requests_by_gateway[gateway] = remaining
        else:
            del self._requests_by_gateway[gateway]
        if succeeded:
            self._sample_count += 1
            weight = max(_SMOOTHING, 1 / self._sample_count)
            self._mean_log_ms += (log(max(worked_ms, _MIN_SERVICE_MS)) - self._mean_log_ms) * weight
            self.service_ms = exp(self._mean_log_ms)
        self.errors += failed
        self._on_change()

    def set_serving_state(self, serving_state: ServingState) -> None:
        """Say that the loader is up, drains, or goes down."""
        self.serving_state = serving_state
        self._on_change()

    def next_load(self) -> Load:
        """Return the figures for the next report; each call is one report."""
        self._seq += 1
        running = min(self.inflight, self.best)
        return Load(
            seq=self._seq,
            serving_state=self.serving_state,
            running=running,
            queued=self.inflight - running,
            service_ms=self.service_ms,
            served=self.served,
            errors=self.errors,
            rejected=self._rejected,
            requests_by_gateway=dict(self._requests_by_gateway),
        )
