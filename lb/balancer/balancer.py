"""The picker of a gateway: a table, a policy and leases. No await, no RPC. Pure."""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from random import Random
from types import TracebackType
from typing import Final, Self

from lb.balancer.affinity import key_fraction, prefer_affine
from lb.balancer.health_checks import HealthCheck, HealthChecks
from lb.balancer.least_expected_delay import LeastExpectedDelay
from lb.balancer.pending_queue import EQUAL_WEIGHTS, PendingQueue, PendingRequest
from lb.balancer.policy import Policy
from lb.balancer.retry_budget import RetryBudget
from lb.endpoints.candidates import Pool
from lb.endpoints.endpoint import Endpoint
from lb.endpoints.outlier import EjectionState
from lb.endpoints.report import ReportMode
from lb.endpoints.table import EndpointTable
from rpc.bounded_cache import BoundedCache
from rpc.timer import CallLater
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

# After these errors the gateway does not wait for the request any more, but it may still run.
_ABANDONED_ERRORS: Final = (CLIENT_GONE, DEADLINE)
_MAX_VERSION_POLICIES: Final = 1024
# One pick of 1,024 is timed.
_TIMING_MASK: Final = 1023


class Lease:
    """A slot at an endpoint: counted in `inflight` when created, and released exactly once.

    As a context manager it is released on exit, with the error that left the block. A lease that is
    collected without a release is released then and counted as leaked. `instance` is the instance
    of the slot. `_expected_ms` is the delay that was expected when the lease was created; a service
    time was known then if `_was_estimated`. `_reported_at` is the time of the report, `_started_at`
    is in seconds.
    """

    __slots__ = (
        "_balancer", "_endpoint", "_expected_ms", "_is_released", "_policy", "_reported_at",
        "_started_at", "_was_estimated", "instance",
    )  # fmt: skip

    def __init__(
        self, balancer: "Balancer", policy: Policy, endpoint: Endpoint, now: float
    ) -> None:
        self._balancer = balancer
        self._policy = policy
        self._endpoint = endpoint
        self.instance = endpoint.instance
        self._started_at = now
        self._is_released = False
        self._expected_ms = endpoint.expected_ms()
        self._was_estimated = endpoint.is_estimated
        self._reported_at = endpoint.last_report_at
        endpoint.picks += 1
        endpoint.inflight += 1
        endpoint.update_load_level()

    def pick_figures(self) -> tuple[float, float]:
        """Return the delay that was expected, and the age of the report, in milliseconds.

        The age is -1 for an instance that does not report.
        """
        if self._endpoint.report_mode is ReportMode.NONE:
            return self._expected_ms, -1.0
        return self._expected_ms, (self._started_at - self._reported_at) * 1000.0

    def release(
        self,
        error_spec: ErrorSpec | None = None,
        *,
        abandoned: bool = False,
        is_session: bool = False,
    ) -> None:
        """Release the slot; a second call does nothing.

        `error_spec` is the error of the request, None if it succeeded. `abandoned` means that the
        gateway did not wait for its end, so that it may still run. `is_session` means that its
        duration says nothing about the speed of the endpoint.
        """
        if self._is_released:
            return
        self._is_released = True
        endpoint = self._endpoint
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
            elif self._was_estimated is endpoint.is_estimated:
                endpoint.record_latency((now - self._started_at) * 1000, self._expected_ms, now)
        balancer.on_request_end(endpoint, error_spec, abandoned, now)

    def release_unused(self) -> None:
        """Release the slot without a result, because nothing was sent to the endpoint."""
        if self._is_released:
            return
        self._is_released = True
        self._endpoint.inflight -= 1
        self._endpoint.update_load_level()
        self._balancer.on_lease_unused(self._endpoint)

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
    """Counters of a balancer since its start.

    `leaked` counts leases that were never released; each is an internal error. `timed_picks` picks
    took `timed_s` seconds in total. `waits` counts requests that were queued. `ejections` is by
    cause.
    """

    __slots__ = ("ejections", "leaked", "picks", "timed_picks", "timed_s", "waits")

    def __init__(self) -> None:
        self.picks = self.waits = self.leaked = self.timed_picks = 0
        self.timed_s = 0.0
        self.ejections: dict[str, int] = {}


class Balancer:
    """Picks endpoints of a table for requests, with one policy per service.

    `new_policy` creates the policy of a service. `weights` are those of applications whose requests
    wait. `clock` returns monotonic seconds, `call_later(seconds, callback)` schedules a callback.
    At most `max_waiting` requests of all services wait for capacity at a time. `on_ejection_change`
    is called with an endpoint whose ejection state changed. An endpoint that joins, or was ejected,
    has to pass the `health_check` before it gets requests; without one it always passes. Policies
    and queues are created at the first request of a service.
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
        health_check: HealthCheck | None = None,
        weights: Mapping[str, int] = EQUAL_WEIGHTS,
    ) -> None:
        self._weights = weights
        self._table = table
        self._new_policy = new_policy
        self._policies: dict[str, Policy] = {}
        self._version_policies: BoundedCache[tuple[str, str], Policy] = BoundedCache(
            _MAX_VERSION_POLICIES
        )
        self.clock = clock
        self._rng = rng
        self._call_later = call_later
        self._max_waiting = max_waiting
        self._on_ejection_change = on_ejection_change
        self._pending_queues: dict[str, PendingQueue[Lease]] = {}
        self._retry_budget = RetryBudget()
        self.counts = PickCounts()
        self._health_checks = HealthChecks(
            health_check, clock, call_later, rng, self._publish_ejection_change
        )
        table.set_listeners(self._health_checks.on_join, self._on_report)

    def acquire(
        self, service_id: str, digest: str, exclude: Collection[str] = (), key: str = "", /
    ) -> Lease:
        """Return a lease at the best endpoint of a service that has the active schema, `digest`.

        An instance without a digest counts as having the active schema. `exclude` are addresses
        tried before. Requests of one `key` go to few instances (`lb/balancer/affinity.py`). Raises
        AseError 20002 if no live instance is left, 10110 if every instance is full or if other
        requests of the service are queued already.
        """
        only_free_slots = False
        if self._pending_queues:
            queue = self._pending_queues.get(service_id)
            if queue is not None and len(queue):  # earlier requests go first
                queue.notify_capacity()
                raise AseError(LOADER_FULL)
            only_free_slots = queue is not None and queue.is_contended(self.clock())
        counts = self.counts
        counts.picks += 1
        if counts.picks & _TIMING_MASK:
            return self._acquire(service_id, digest, exclude, key, only_free_slots)
        started = self.clock()
        lease = self._acquire(service_id, digest, exclude, key, only_free_slots)
        counts.timed_picks += 1
        counts.timed_s += self.clock() - started
        return lease

    def waiting_count(self) -> int:
        """Return the number of requests of all services that wait for capacity."""
        return sum(map(len, self._pending_queues.values()))

    def picks_by_basis(self) -> tuple[int, int]:
        """Return the number of picks by report and by own load alone; 0 for other policies."""
        delay_policies = [
            policy
            for policy in (*self._policies.values(), *self._version_policies.entries.values())
            if isinstance(policy, LeastExpectedDelay)
        ]
        return sum(delay_policy.picks_by_report for delay_policy in delay_policies), sum(
            delay_policy.picks_by_own_load for delay_policy in delay_policies
        )

    def wait(
        self,
        service_id: str,
        digest: str,
        key: str,
        app_id: str,
        timeout: float,
        at_front: bool,
        on_done: Callable[[PendingRequest[Lease]], None],
        /,
    ) -> PendingRequest[Lease]:
        """Queue a request for a lease for at most `timeout` seconds, and return it.

        `on_done` is called when it has a lease or an error. `at_front` places it before the others:
        for a request that had a lease and was rejected by an instance that seemed to have capacity.
        If the request may not wait, the timeout is 0; see `must_shed`. If `max_waiting` requests
        wait already, the last one of the application with the most of them makes place.
        """
        queue = self._pending_queues.get(service_id)
        if queue is None:
            acquire = partial(self._acquire, service_id)
            queue = self._pending_queues[service_id] = PendingQueue(
                acquire,
                self.clock,
                self._call_later,
                self._weights,
                partial(self._has_versions, service_id),
            )
        self.counts.waits += 1
        if not self._has_place(queue, app_id) or not (
            at_front or queue.can_serve_in_time(app_id, timeout)
        ):
            timeout = 0.0
        elif self.waiting_count() >= self._max_waiting:
            fullest, (heaviest_app, _) = self._heaviest()
            fullest.reject_last(heaviest_app)
        return queue.enqueue(digest, key, app_id, timeout, on_done, at_front=at_front)

    def is_crowded(self, service_id: str) -> bool:
        """Return whether requests of a service wait for capacity, or none may wait at all."""
        queue = self._pending_queues.get(service_id) if self._pending_queues else None
        return (queue is not None and len(queue) > 0) or self._max_waiting == 0

    def must_shed(self, service_id: str, digest: str, app_id: str, timeout: float) -> bool:
        """Return whether a new request of an application would not get a slot within `timeout`.

        That is so if every instance is full, and the request may not wait: those before it would
        not be served in time, or `max_waiting` requests wait, and no application has more of them.
        Costs far less than to read and validate the request.
        """
        queue = self._pending_queues.get(service_id) if self._pending_queues else None
        if queue is not None and len(queue):
            return not (self._has_place(queue, app_id) and queue.can_serve_in_time(app_id, timeout))
        return (timeout <= 0.0 or self._max_waiting == 0) and self._is_full(service_id, digest)

    def _has_place(self, queue: PendingQueue[Lease], app_id: str) -> bool:
        """Return whether an application may add a request to a queue.

        Perhaps in place of a request of the application that has the most, at whichever service.
        """
        is_below_limit = self.waiting_count() < self._max_waiting
        return is_below_limit or self._heaviest()[1][1] > queue.backlog_of(app_id, 1)

    def _heaviest(self) -> tuple[PendingQueue[Lease], tuple[str, float]]:
        """Return the application with the most waiting requests of one service, and its queue."""
        by_queue = [(queue, queue.heaviest_app()) for queue in self._pending_queues.values()]
        return max(by_queue, key=lambda pair: pair[1][1])

    def _is_full(self, service_id: str, digest: str) -> bool:
        now, pool = self.clock(), self._table.pool(service_id, digest)
        for endpoint in pool.members:
            if endpoint.has_capacity(now):
                return False
        for share, group in pool.groups:
            if share > 0 and any(endpoint.has_capacity(now) for endpoint in group.members):
                return False
        return bool(pool.members)

    def eject(self, endpoint: Endpoint, seconds: float) -> None:
        """Give an endpoint no requests for `seconds`; then it has to pass a health check."""
        endpoint.outlier_detector.eject(self.clock(), seconds)
        self._publish_ejection_change(endpoint)

    def uneject(self, endpoint: Endpoint) -> bool:
        """Let an ejected endpoint be checked now; return whether it was ejected."""
        if not endpoint.outlier_detector.end_ejection(self.clock()):
            return False
        self._health_checks.on_ejection(endpoint)
        return True

    def try_acquire_retry(self) -> bool:
        """Return whether the retry budget allows a retry, and charge it."""
        return self._retry_budget.try_acquire(self.counts.picks, self.clock())

    def _acquire(
        self,
        service_id: str,
        digest: str,
        exclude: Collection[str],
        key: str,
        only_free_slots: bool,
    ) -> Lease:
        """Return a lease as `acquire` does, whoever waits.

        With `only_free_slots` no request waits in a loader, where later ones of other applications
        would have to wait behind it.
        """
        pool = self._table.pool(service_id, digest)
        if not pool.groups:
            return self._acquire_from(pool, service_id, exclude, key, only_free_slots)
        if key:
            choices = [pool.group_of_key(key_fraction(key)), pool]
        else:
            choices = pool.pools_in_turn(self._rng)
        for picked in choices[:-1]:
            try:
                lease = self._acquire_from(picked, service_id, exclude, key, only_free_slots)
            except AseError:
                continue  # full, or tried before: the other versions take what is beyond it
            if not key:
                pool.count_pick(picked)
            return lease
        lease = self._acquire_from(pool, service_id, exclude, key, only_free_slots)
        if not key:
            pool.count_pick(pool)
        return lease

    def _acquire_from(
        self,
        pool: Pool,
        service_id: str,
        exclude: Collection[str],
        key: str,
        only_free_slots: bool,
    ) -> Lease:
        """Return a lease at an endpoint of a pool; its groups do not count."""
        now = self.clock()
        policy = self._policies.get(service_id) if not pool.version else None
        if policy is None:
            policy = self._policy_of(service_id, pool.version)
        endpoint = pool.pop_trial(now) if pool.trials and not exclude else None
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
        if only_free_slots and not is_trial and not endpoint.has_free_slot(now):
            endpoint = self._find_free_slot(pool, exclude, now)
        return Lease(self, policy, endpoint, now)

    def _policy_of(self, service_id: str, version: str) -> Policy:
        """Return the policy of a service, or that of a limited version of it."""
        if version:
            name = (service_id, version)
            version_policy = self._version_policies.entries.get(name)
            if version_policy is None:
                version_policy = self._new_policy()
                self._version_policies.add(name, version_policy)
            return version_policy
        policy = self._policies.get(service_id)
        if policy is None:
            policy = self._policies[service_id] = self._new_policy()
        return policy

    def _has_versions(self, service_id: str, digest: str) -> bool:
        """Return whether requests of a service are shared among versions."""
        return bool(self._table.pool(service_id, digest).groups)

    def _find_free_slot(self, pool: Pool, exclude: Collection[str], now: float) -> Endpoint:
        """Return an endpoint with a free slot. Raises AseError 10110 if there is none."""
        members = pool.members
        size = len(members)
        index = int(self._rng.random() * size)
        for _ in range(size):
            index = index + 1 if index + 1 < size else 0
            endpoint = members[index]
            if endpoint.has_free_slot(now) and endpoint.instance.addr not in exclude:
                return endpoint
        raise AseError(LOADER_FULL)

    def on_request_end(
        self, endpoint: Endpoint, error_spec: ErrorSpec | None, abandoned: bool, now: float, /
    ) -> None:
        """Update the ejection state after a request, and serve waiting requests.

        An error that the caller caused counts as a success of the endpoint.
        """
        succeeded = error_spec is None and not abandoned
        detector = endpoint.outlier_detector
        if succeeded or (
            error_spec is not None and error_spec.source is ErrorSource.CALLER and not abandoned
        ):
            changed = detector.record_success(now)
        elif error_spec is None or error_spec is CLIENT_GONE:
            changed = detector.state is EjectionState.PROBING  # no result: probe again
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
        """Probe again if this was a probe, and serve waiting requests."""
        if endpoint.outlier_detector.state is EjectionState.PROBING:
            self._table.invalidate_pool(endpoint.instance.service)
        queue = self._pending_queues.get(endpoint.instance.service)
        if queue is not None:
            queue.notify_capacity()

    def _publish_ejection_change(self, endpoint: Endpoint) -> None:
        """Rebuild the pool, call `on_ejection_change`; count an ejection and schedule its check."""
        detector = endpoint.outlier_detector
        self._table.invalidate_pool(endpoint.instance.service)
        if detector.state is EjectionState.EJECTED:
            reason = detector.cause.value
            self.counts.ejections[reason] = self.counts.ejections.get(reason, 0) + 1
            self._health_checks.on_ejection(endpoint)
        if self._on_ejection_change is not None:
            self._on_ejection_change(endpoint)

    def _on_report(self, endpoint: Endpoint) -> None:
        """Update the ejection state after a report, and serve waiting requests if capacity is free.

        All gateways see the same free capacity at the same time, so each uses it only with the
        probability that it is this gateway's share.
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
