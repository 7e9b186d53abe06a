"""Concurrency limiter of one loader: acquires, releases, counts and measures requests. Pure."""

from collections.abc import Callable
from math import exp, log
from typing import Final

from lb.endpoints.report import MAX_REQUESTS, Load, ServingState

# Least weight of the last request in the mean service time; request n of the first 128 weighs 1/n.
_SMOOTHING: Final = 1 / 128
_MIN_SERVICE_MS: Final = 0.001
_MIN_QUEUE: Final = 16


def default_queue_size(best: int) -> int:
    """Return the default queue size of a loader with `best` slots: `best`, at least 16 // `best`.

    Slots and queue together are no more than `MAX_REQUESTS`, unless the slots alone are.

    With a short queue, the other requests wait at the gateways and go to the first loader that is
    free. With too short a queue, the loader rejects requests so frequently that slots stay empty in
    the meantime (figures in `docs/load-balancing.md`).
    """
    return max(0, min(max(best, _MIN_QUEUE // best), MAX_REQUESTS - best))


class ConcurrencyLimiter:
    """Counts and measures the requests that a loader process holds.

    The loader accepts at most `total` requests at a time and runs `best` of them; the others are
    queued. `inflight` is the number of requests held: at most `total`, and the sum of
    `_requests_by_gateway`, which has no zero entries. `served`, `errors` and `rejected` only grow.
    `service_ms` is the mean time that a request occupies a slot, 0 before the first success.
    `batch_base_ms` and `batch_item_ms` are those of a report; the loader sets them after a batch.
    `on_change` is called after every change that may need a report to the hub.
    """

    def __init__(self, total: int, on_change: Callable[[], None], *, best: int = 0) -> None:
        self.total = total
        self.best = best or total
        self.serving_state = ServingState.UP
        self.inflight = 0
        self.service_ms = 0.0
        self.batch_base_ms = self.batch_item_ms = 0.0
        self.errors = 0
        self._on_change = on_change
        self._seq = 0
        self._mean_log_ms = 0.0
        self._sample_count = 0
        self._requests_by_gateway: dict[str, int] = {}
        self.served = self.rejected = 0

    def try_acquire(self, gateway: str) -> bool:
        """Acquire a slot for a request of `gateway`; return False if it is rejected.

        A loader rejects requests while it holds `total` requests or is not UP.
        """
        acquired = self.inflight < self.total and self.serving_state is ServingState.UP
        if acquired:
            self.inflight += 1
            self._requests_by_gateway[gateway] = self._requests_by_gateway.get(gateway, 0) + 1
        else:
            self.rejected += 1
        self._on_change()
        return acquired

    def release(
        self, gateway: str, worked_ms: float, *, succeeded: bool, failed: bool = False
    ) -> None:
        """Release the slot of a request of `gateway` that ran for `worked_ms` milliseconds.

        `failed` means that the loader caused the failure. Only requests that `succeeded` count for
        `service_ms`. It is computed from a mean of logarithms, because one request that took a
        hundred times as long must not make the loader look slow.
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

    def restore(self, served: int, service_ms: float) -> None:
        """Continue the figures of a loader that has `served` so many requests.

        They took `service_ms` milliseconds in the mean, 0 if that is not known.
        """
        self.served = served
        if service_ms > 0:
            self._sample_count = served
            self._mean_log_ms = log(service_ms)
            self.service_ms = service_ms

    def set_serving_state(self, serving_state: ServingState) -> None:
        """Set whether the loader is up, drains or goes down."""
        self.serving_state = serving_state
        self._on_change()

    def next_load(self) -> Load:
        """Return the figures for the next report; each call increments `seq`."""
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
            rejected=self.rejected,
            requests_by_gateway=dict(self._requests_by_gateway),
            batch_base_ms=self.batch_base_ms,
            batch_item_ms=self.batch_item_ms,
        )
