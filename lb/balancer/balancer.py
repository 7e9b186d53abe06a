"""The picker a gateway asks: a table, a policy, tickets that count. No await, no RPC. Pure."""

from collections.abc import Callable, Collection
from functools import partial
from random import Random
from types import TracebackType
from typing import Final, Self

from lb.balancer.affinity import prefer_affine
from lb.balancer.least_expected_delay import LeastExpectedDelay
from lb.balancer.pending_queue import CallLater, PendingQueue, PendingRequest
from lb.balancer.policy import Policy
from lb.balancer.retry_budget import RetryBudget
from lb.endpoints.endpoint import Endpoint
from lb.endpoints.outlier import EjectionState
from lb.endpoints.report import Instance, ReportMode
from lb.endpoints.table import EndpointTable
from schemas.model.errors import (
    CLIENT_GONE,
    DEADLINE,
    LOADER_FULL,
    NO_INSTANCE,
    UNREACHABLE,
    AseError,
    ErrorSource,
    ErrorSpec,
)

# What was asked for is not waited for any more, yet may still run.
_ABANDONED_ERRORS: Final = (CLIENT_GONE, DEADLINE)
# One pick of 1,024 is timed.
_TIMING_MASK: Final = 1023


class Lease:
    """A place at an instance: counted when given, given back exactly once, whatever happens."""

    __slots__ = ("_balancer", "_entry", "_expected_ms", "_is_released", "_policy", "_started_at")

    def __init__(
        self, balancer: "Balancer", policy: Policy, endpoint: Endpoint, now: float
    ) -> None:
        self._balancer = balancer
        self._policy = policy
        self._entry = endpoint
        self._started_at = now
        self._is_released = False
        self._expected_ms = endpoint.expected_ms()
        endpoint.picks += 1
        endpoint.inflight += 1
        endpoint.update_load_level()

    @property
    def instance(self) -> Instance:
        """Return the instance that the place is at."""
        return self._entry.instance

    def release(
        self,
        error_spec: ErrorSpec | None = None,
        *,
        abandoned: bool = False,
        is_session: bool = False,
    ) -> None:
        """Give the place back; a second time does nothing.

        `fault` tells how the request ended, None: well. `given_up`: nobody waited for its end.
        `lasting`: it was a session, whose length says nothing of the instance's speed.
        """
        if self._is_released:
            return
        self._is_released = True
        endpoint = self._entry
        endpoint.inflight -= 1
        if abandoned and endpoint.report_mode is not ReportMode.NONE:
            endpoint.abandoned += 1
        endpoint.update_load_level()
        balancer = self._balancer
        now = balancer.clock()
        succeeded = error_spec is None and not abandoned
        self._policy.record_result(
            endpoint, now - self._started_at, now, succeeded and not is_session
        )
        if succeeded and not is_session:
            if endpoint.instance.report_mode is ReportMode.NONE:
                endpoint.learn_service_time(now - self._started_at, now)
            else:
                endpoint.record_latency((now - self._started_at) * 1000, self._expected_ms, now)
        balancer.on_request_end(endpoint, error_spec, abandoned, now)

    def release_unused(self) -> None:
        """Give the place back: nothing was sent, so it tells nothing of the instance."""
        if self._is_released:
            return
        self._is_released = True
        self._entry.inflight -= 1
        self._entry.update_load_level()
        self._balancer.on_lease_unused(self._entry)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc is None:
            self.release()
        elif isinstance(exc, AseError):
            self.release(exc.spec, abandoned=exc.spec in _ABANDONED_ERRORS)
        else:
            self.release(abandoned=True)

    def __del__(self) -> None:
        if not self._is_released:
            self._balancer.counts.leaked += 1
            self.release(abandoned=True)


class PickCounts:
    """What a balancer counted since it began.

    `dropped`: tickets that nobody gave back, each a fault of ours. `timed` picks took `timed_s`.
    """

    __slots__ = ("ejections", "leaked", "picks", "timed_picks", "timed_s", "waits")

    def __init__(self) -> None:
        self.picks = self.waits = self.leaked = self.timed_picks = 0
        self.timed_s = 0.0
        self.ejections: dict[str, int] = {}


class Balancer:
    """Picks among the instances of a table by a policy.

    `policy` makes one for each service. `clock` gives seconds that never step back,
    `later(s, call)` calls after so many. `most` may wait for room at a time, of all services.
    `on_health` is told when an instance's standing changed.
    """

    def __init__(
        self,
        table: EndpointTable,
        new_policy: Callable[[], Policy],
        *,
        clock: Callable[[], float],
        rng: Random,
        call_later: CallLater,
        max_waiting: int = 256,
        on_ejection_change: Callable[[Endpoint], None] | None = None,
    ) -> None:
        self._table = table
        self._new_policy = new_policy
        self._policies: dict[str, Policy] = {}
        self.clock = clock
        self._rng = rng
        self._call_later = call_later
        self._max_waiting = max_waiting
        self._on_ejection_change = on_ejection_change
        self._pending_queues: dict[str, PendingQueue] = {}
        self._retry_budget = RetryBudget()
        self.counts = PickCounts()
        table.set_report_listener(self._on_report)

    def acquire(
        self, service_id: str, digest: str, exclude: Collection[str] = (), key: str = "", /
    ) -> Lease:
        """Return a ticket for the best instance of a service whose schema is the active one.

        An instance that tells no digest follows the gateway's own schema. `exclude` are addresses
        tried before. Requests of one `key` go to few instances (`lb/balancer/affinity.py`). Raises
        AseError
        20002 when no live instance is left, 10110 when each holds all it takes.
        """
        if self._pending_queues:
            queue = self._pending_queues.get(service_id)
            if queue is not None and len(queue):  # others came before
                queue.notify_capacity()
                raise AseError(LOADER_FULL)
        self._retry_budget.add_request()
        counts = self.counts
        counts.picks += 1
        if counts.picks & _TIMING_MASK:
            return self._acquire(service_id, digest, exclude, key)
        started = self.clock()
        lease = self._acquire(service_id, digest, exclude, key)
        counts.timed_picks += 1
        counts.timed_s += self.clock() - started
        return lease

    def waiting_count(self) -> int:
        """Return how many requests wait for room."""
        return sum(map(len, self._pending_queues.values()))

    def picks_by_basis(self) -> tuple[int, int]:
        """Return how many picks stood on reports, and on own load alone, where a policy tells."""
        delay_policies = [
            policy for policy in self._policies.values() if isinstance(policy, LeastExpectedDelay)
        ]
        return sum(delay_policy.picks_by_report for delay_policy in delay_policies), sum(
            delay_policy.picks_by_own_load for delay_policy in delay_policies
        )

    def wait(
        self,
        service_id: str,
        digest: str,
        key: str,
        timeout: float,
        at_front: bool,
        on_done: Callable[[PendingRequest], None],
        /,
    ) -> PendingRequest:
        """Wait for a place for so many seconds at most; `done` is told when it is over.

        One that had its turn, and was refused by an instance that seemed to have room, waits
        `ahead` of the others.
        """
        queue = self._pending_queues.get(service_id)
        if queue is None:
            acquire = partial(self._acquire, service_id)
            queue = self._pending_queues[service_id] = PendingQueue(
                acquire, self.clock, self._call_later
            )
        self.counts.waits += 1
        allowed_s = timeout if self.waiting_count() < self._max_waiting else 0.0
        return queue.enqueue(digest, key, allowed_s, on_done, at_front=at_front)

    def try_acquire_retry(self) -> bool:
        """Return whether a request may be tried elsewhere, and count it."""
        return self._retry_budget.try_acquire(self.clock())

    def _acquire(self, service_id: str, digest: str, exclude: Collection[str], key: str) -> Lease:
        now = self.clock()
        pool = self._table.pool(service_id, digest, now)
        policy = self._policies.get(service_id)
        if policy is None:
            policy = self._policies[service_id] = self._new_policy()
        endpoint = pool.take_trial(now) if pool.trials and not exclude else None
        is_trial = endpoint is not None
        if endpoint is None:
            endpoint = policy.choose(pool, now, exclude)
        if endpoint is None:
            detail = (
                " that speaks the active schema" if self._table.endpoints_of(service_id) else ""
            )
            raise AseError(NO_INSTANCE, f"no live instance of service {service_id!r}{detail}")
        if key and not is_trial:
            endpoint = prefer_affine(pool.members, endpoint, key, exclude, now)
        if not endpoint.has_capacity(now):
            raise AseError(LOADER_FULL)
        return Lease(self, policy, endpoint, now)

    def on_request_end(
        self, endpoint: Endpoint, error_spec: ErrorSpec | None, abandoned: bool, now: float, /
    ) -> None:
        """Take in how a request ended: what it says of the instance's health."""
        succeeded = error_spec is None and not abandoned
        detector = endpoint.outlier_detector
        if succeeded or (
            error_spec is not None and error_spec.source is ErrorSource.CALLER and not abandoned
        ):
            changed = detector.record_success(now)
        elif error_spec is None or error_spec is CLIENT_GONE:
            changed = detector.state is EjectionState.PROBING  # it told nothing; another may try
        elif error_spec is LOADER_FULL:
            endpoint.mark_full(now)
            changed = detector.state is EjectionState.PROBING
        elif error_spec is UNREACHABLE:
            changed = detector.record_unreachable(now, self._rng)
        else:
            changed = detector.record_failure(now, self._rng)
        if changed:
            self._publish_ejection_change(endpoint)
        if self._pending_queues:
            queue = self._pending_queues.get(endpoint.instance.service)
            if queue is not None:
                queue.notify_capacity()

    def on_lease_unused(self, endpoint: Endpoint, /) -> None:
        """Take in that a place was given back that nothing was sent to."""
        if endpoint.outlier_detector.state is EjectionState.PROBING:
            self._table.invalidate_pool(endpoint.instance.service)
        queue = self._pending_queues.get(endpoint.instance.service)
        if queue is not None:
            queue.notify_capacity()

    def _publish_ejection_change(self, endpoint: Endpoint) -> None:
        """Take in that an instance's standing changed."""
        detector = endpoint.outlier_detector
        self._table.invalidate_pool(endpoint.instance.service)
        if detector.state is EjectionState.EJECTED:
            reason = detector.cause.value
            self.counts.ejections[reason] = self.counts.ejections.get(reason, 0) + 1
        if self._on_ejection_change is not None:
            self._on_ejection_change(endpoint)

    def _on_report(self, endpoint: Endpoint) -> None:
        """Take in that an instance joined or reported: how it fares, and room for who waits.

        All gateways hear of the same room at the same time: each takes its share.
        """
        load, now = endpoint.load, self.clock()
        if endpoint.outlier_detector.record_report(load.served, load.errors, now, self._rng):
            self._publish_ejection_change(endpoint)
        if not self._pending_queues:
            return
        queue = self._pending_queues.get(endpoint.instance.service)
        if queue is None or not len(queue) or not endpoint.has_capacity(now):
            return
        share = (endpoint.inflight + 1) / (endpoint.inflight + endpoint.remote_load + 1)
        if self._rng.random() < share:
            queue.notify_capacity()
