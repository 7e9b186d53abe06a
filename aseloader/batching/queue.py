"""The requests that wait for a batch, and the time at which the next batch starts. Pure."""

from collections import deque
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

from aseloader.batching.curve import BatchCurve, ReturnPattern
from aseloader.wrapper import Context


class QueuedRequest(Protocol):
    """A request that waits for a batch.

    `group` is equal for requests that may share a batch. `arrived_at` is in seconds.
    """

    group: Hashable
    arrived_at: float
    context: Context


R = TypeVar("R", bound=QueuedRequest)


class BatchQueue(Generic[R]):
    """Requests in the order of their arrival, and the rule that makes batches of them.

    A batch has at most `max_batch` requests, all of one `group`. The group of the oldest request
    comes first. `max_wait_s` is the longest time that a batch waits for more requests while a
    worker is free; `curve` is that of the batches so far.

    When a batch ends, its callers get their responses, and many send the next request at once. If
    the next batch starts before those arrive, two halves of the callers alternate, and each waits
    for the other. So a batch waits for m requests that usually arrive within t after the end of
    the last one, if that is worth it: n that are here wait for t, and m save a batch of their own,
    that is the base time of the curve. It waits if m x base > n x t. If a worker has been free for
    longer, requests do not wait.
    """

    def __init__(self, max_batch: int, max_wait_s: float, curve: BatchCurve) -> None:
        self._max_batch = max_batch
        self._max_wait_s = max_wait_s
        self._curve = curve
        self._returns = ReturnPattern()
        self._groups: dict[Hashable, deque[R]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._groups.values()))

    def add(self, request: R) -> None:
        """Append a request that has just arrived, at its `arrived_at`."""
        self._returns.record_arrival(request.arrived_at)
        self._groups.setdefault(request.group, deque()).append(request)

    def record_batch_end(self, size: int, ms: float | None, now: float) -> None:
        """Note that a batch of `size` requests ended at `now`.

        It took `ms` milliseconds; None if that says nothing, because it failed.
        """
        if ms is not None:
            self._curve.record(size, ms)
        self._returns.record_batch_end(now, min(self._max_wait_s, self._curve.base_ms / 1000))

    def discard(self, request: R) -> bool:
        """Remove a request that waits; return False if it does not wait any more."""
        group = self._groups.get(request.group)
        if group is None or request not in group:
            return False
        group.remove(request)
        if not group:
            del self._groups[request.group]
        return True

    def start_at(self, worker_free_since: float) -> float | None:
        """Return when the next batch starts, if no request arrives before; None without requests.

        A time in the past means now. `worker_free_since`: a worker has been free since then. All
        times are in seconds.
        """
        if not self._groups:
            return None
        group = self._oldest_group()
        size, curve = len(group), self._curve
        possible_since = max(group[0].arrived_at, worker_free_since)
        wait_s = self._returns.expected_until() - possible_since
        missing = self._returns.missing()
        is_worthwhile = wait_s > 0 and missing * curve.base_ms > size * wait_s * 1000
        if size >= self._max_batch or not curve.is_known or missing < 0.5 or not is_worthwhile:
            return possible_since
        start_at = possible_since + min(wait_s, self._max_wait_s)
        deadlines = [r.context.deadline for r in group if r.context.deadline is not None]
        if deadlines:
            start_at = min(start_at, min(deadlines) - curve.time_ms(size) / 1000)
        return start_at

    def pop_batch(self) -> list[R]:
        """Remove the requests of the next batch and return them, the oldest first.

        There must be a request.
        """
        group = self._oldest_group()
        batch = [group.popleft() for _ in range(min(len(group), self._max_batch))]
        if not group:
            del self._groups[batch[0].group]
        return batch

    def _oldest_group(self) -> deque[R]:
        return min(self._groups.values(), key=lambda group: group[0].arrived_at)
