"""Loaders and gateways of a simulation. Pure.

All decisions are made by classes of the product: `ConcurrencyLimiter` and `ReportSchedule` in the
loader, `EndpointTable`, `Balancer`, a policy and the rules for retries in the gateway.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from gateway.request.retry import may_retry, needs_retry_budget
from gateway.simulation.virtual_time import VirtualTimeLoop
from lb.balancer.balancer import Balancer, Lease
from lb.balancer.pending_queue import PendingRequest
from lb.balancer.policy import Policy
from lb.endpoints.endpoint import Endpoint
from lb.endpoints.report import Instance, InstanceKey, Load, Report, ReportMode, ServingState
from lb.endpoints.table import EndpointTable
from lb.reporter.limiter import ConcurrencyLimiter
from lb.reporter.schedule import ReportSchedule
from schemas.model.errors import LOADER_FULL, AseError

_SWEEP_S = 0.05
# A rejection by a loader, and the result of a probe, take this long.
_ROUND_TRIP_S = 0.0005


class SimRequest:
    """A simulated request. All times are in seconds of virtual time.

    `remaining_work_s` is the work left at time `updated_at`, in seconds at a loader of speed 1.
    `arrived_at` is when it arrived at the gateway, `sent_at` when it was last sent to a loader,
    `started_at` when a loader began to work on it. `generation` is incremented whenever its end is
    scheduled, so that an end that was scheduled earlier is ignored. `lease` is set from the pick
    until the request has finished. A session (`is_session`) lasts as long at any loader, and says
    nothing about its speed. `is_measured` is False during a warm-up. `tried_addrs` are the loaders
    that rejected it.
    """

    __slots__ = (
        "affinity_key", "app_id", "arrived_at", "gateway", "generation", "is_measured",
        "is_session", "lease", "remaining_work_s", "sent_at", "service", "started_at",
        "tried_addrs", "updated_at",
    )  # fmt: skip

    def __init__(
        self,
        service: str,
        arrived_at: float,
        work_s: float,
        gateway: str,
        affinity_key: str = "",
        app_id: str = "",
        *,
        is_session: bool = False,
        is_measured: bool = True,
    ) -> None:
        self.service = service
        self.arrived_at = arrived_at
        self.remaining_work_s = work_s
        self.gateway = gateway
        self.affinity_key = affinity_key
        self.app_id = app_id
        self.is_session = is_session
        self.is_measured = is_measured
        self.sent_at = self.started_at = self.updated_at = 0.0
        self.generation = 0
        self.lease: Lease | None = None
        self.tried_addrs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LoaderModel:
    """How a simulated loader works.

    It accepts at most `limit` requests of `service` at a time and runs `slots` of them. `speed`
    divides the work of a request into its duration. Each request spends `overhead_s` seconds more
    on its way, while it has no slot. With `report_period_s` it reports at that interval in seconds,
    else after changes and to be known alive. Before the simulation it has `served` requests, which
    took `service_ms` milliseconds in the mean; 0: not known.
    """

    addr: str
    service: str
    slots: int
    limit: int
    speed: float = 1.0
    overhead_s: float = 0.0
    report_mode: ReportMode = ReportMode.ON_CHANGE
    report_period_s: float = 0.0
    served: int = 0
    service_ms: float = 0.0


class SimLoader:
    """A loader with slots and a queue, and the product's limiter and report schedule.

    `on_finished` is called with each request that has finished, `emit_report` with each report.

    `running` has at most `_slots` requests, and `_queue` is empty while a slot is free.
    `limiter.inflight` is the number of requests in both. `speed` divides the work of a request into
    its duration. `_report_pending` is True while a report after a change is scheduled, so that
    there is at most one.
    """

    def __init__(
        self,
        model: LoaderModel,
        loop: VirtualTimeLoop,
        rng: Random,
        on_finished: Callable[[SimRequest], None],
        emit_report: Callable[[Report], None],
    ) -> None:
        self.speed = model.speed
        self.limiter = ConcurrencyLimiter(model.limit, self._on_load_change, best=model.slots)
        self.limiter.restore(model.served, model.service_ms)
        self.instance = Instance(
            "ase",
            model.service,
            model.addr,
            epoch=7,
            total=self.limiter.total,
            best=model.slots,
            report_mode=model.report_mode,
        )
        self.running: list[SimRequest] = []
        self._queue: deque[SimRequest] = deque()
        self._slots = model.slots
        self._overhead_s = model.overhead_s
        self._report_period_s = model.report_period_s
        self._loop = loop
        self._rng = rng
        self._on_finished = on_finished
        self._emit_report = emit_report
        self._report_schedule = ReportSchedule()
        self._report_pending = False

    def start(self) -> None:
        """Report at once, then by the report schedule, or periodically.

        The first periodic report has a random phase.
        """
        self._send_report()
        if self._report_period_s:
            self._loop.call_at(
                self._loop.now + self._rng.random() * self._report_period_s,
                self._report_periodically,
            )
        else:
            self._report_keepalive()

    def leave(self) -> None:
        """Report that no request may come any more; those that are here are finished."""
        self.limiter.serving_state = ServingState.DOWN
        self._send_report()

    def try_accept(self, request: SimRequest) -> bool:
        """Run or queue a request; return False if the loader is full."""
        if not self.limiter.try_acquire(request.gateway):
            return False
        if len(self.running) < self._slots:
            self._start_request(request)
        else:
            self._queue.append(request)
        return True

    def change_speed(self, factor: float) -> None:
        """Multiply the speed by `factor` and reschedule the running requests."""
        now = self._loop.now
        for request in self.running:
            request.remaining_work_s = max(
                0.0, request.remaining_work_s - (now - request.updated_at) * self._pace(request)
            )
        self.speed *= factor
        for request in self.running:
            self._schedule_finish(request)

    def _start_request(self, request: SimRequest) -> None:
        request.started_at = self._loop.now
        self.running.append(request)
        self._schedule_finish(request)

    def _schedule_finish(self, request: SimRequest) -> None:
        now = self._loop.now
        request.generation += 1
        request.updated_at = now
        self._loop.call_at(
            now + request.remaining_work_s / self._pace(request),
            self._finish_request,
            request,
            request.generation,
        )

    def _pace(self, request: SimRequest) -> float:
        """Return the work of a request that is done in a second."""
        return 1.0 if request.is_session else self.speed

    def _finish_request(self, request: SimRequest, generation: int) -> None:
        if generation != request.generation:
            return  # the speed changed, so the end was scheduled again
        self.running.remove(request)
        worked_s = self._loop.now - request.started_at
        succeeded = not request.is_session
        self.limiter.release(request.gateway, worked_s * 1000, succeeded=succeeded)
        if self._queue:
            self._start_request(self._queue.popleft())
        if self._overhead_s:
            self._loop.call_at(self._loop.now + self._overhead_s, self._on_finished, request)
        else:
            self._on_finished(request)

    def _has_left(self) -> bool:
        return self.limiter.serving_state is ServingState.DOWN

    def _on_load_change(self) -> None:
        if (
            self._report_period_s
            or self._report_pending
            or self._has_left()
            or not self._report_schedule.should_report(self.limiter)
        ):
            return
        due = self._report_schedule.next_report_at(self.limiter)
        if due <= self._loop.now:
            self._send_report()
        else:
            self._report_pending = True
            self._loop.call_at(due, self._on_report_due)

    def _on_report_due(self) -> None:
        self._report_pending = False
        if self._report_schedule.should_report(self.limiter) and not self._has_left():
            self._send_report()

    def _report_keepalive(self) -> None:
        if self._has_left():
            return
        if self._report_schedule.next_report_at(self.limiter) <= self._loop.now:
            self._send_report()
        next_keepalive = self._loop.now + self._report_schedule.gap
        self._loop.call_at(
            max(next_keepalive, self._report_schedule.next_report_at(self.limiter)),
            self._report_keepalive,
        )

    def _report_periodically(self) -> None:
        if self._has_left():
            return
        self._send_report()
        self._loop.call_at(self._loop.now + self._report_period_s, self._report_periodically)

    def _send_report(self) -> None:
        self._report_schedule.mark_sent(self.limiter, self._loop.now)
        self._emit_report(Report(self.instance, self._reported_load()))

    def _reported_load(self) -> Load:
        return self.limiter.next_load()


class Probes:
    """The probes of a policy that asks loaders for their load: each takes a round trip."""

    def __init__(self, loop: VirtualTimeLoop, loaders: Mapping[InstanceKey, SimLoader]) -> None:
        self._loop = loop
        self._loaders = loaders

    def send(self, endpoint: Endpoint, on_answer: Callable[[int, float], None]) -> None:
        """Call `on_answer` with requests in flight and latency in seconds of a loader, later."""
        limiter = self._loaders[endpoint.instance.key].limiter
        latency_s = limiter.service_ms / 1000 * max(1.0, limiter.inflight / limiter.best)
        self._loop.call_at(self._loop.now + _ROUND_TRIP_S, on_answer, limiter.inflight, latency_s)


@dataclass(frozen=True, slots=True)
class GatewayModel:
    """How a simulated gateway works.

    A request waits at most `wait_s` seconds while all instances are full, with at most
    `max_waiting` others. `ramp_s` is the time in seconds until a new endpoint gets its full share.
    """

    name: str
    wait_s: float
    max_waiting: int = 1_000_000
    ramp_s: float = 0.0


class SimGateway:
    """A gateway: the product's table, balancer, policy and retries, without a network.

    `loaders` are those of the simulation. `on_refused` is called with a request that a
    full loader rejects, `on_failed` with one that got no slot in time. The silence of loaders is
    not detected. The table is swept every 50 ms, with a random phase.
    """

    def __init__(
        self,
        model: GatewayModel,
        loop: VirtualTimeLoop,
        rng: Random,
        new_policy: Callable[[], Policy],
        loaders: Mapping[InstanceKey, SimLoader],
        on_refused: Callable[[SimRequest], None],
        on_failed: Callable[[SimRequest], None],
    ) -> None:
        self.name = model.name
        self.table = EndpointTable(model.name, silence_timeout=None, ramp=model.ramp_s)
        self.balancer = Balancer(
            self.table,
            new_policy,
            clock=loop.clock,
            rng=rng,
            call_later=loop.call_later,
            max_waiting=model.max_waiting,
        )
        self._wait_s = model.wait_s
        self._loop = loop
        self._loaders = loaders
        self._on_refused = on_refused
        self._on_failed = on_failed
        loop.call_at(rng.random() * _SWEEP_S, self._sweep)

    def submit(self, request: SimRequest) -> None:
        """Send a request to a loader, or let it wait for a slot."""
        self._acquire(request, is_retry=False)

    def _acquire(self, request: SimRequest, *, is_retry: bool) -> None:
        try:
            lease = self.balancer.acquire(
                request.service, "", request.tried_addrs, request.affinity_key
            )
        except AseError as error:
            if is_retry or error.spec is LOADER_FULL:
                self._enqueue(request, at_front=is_retry)
            else:
                self._on_failed(request)
        else:
            self._send(request, lease)

    def _enqueue(self, request: SimRequest, *, at_front: bool) -> None:
        def on_done(pending: PendingRequest[Lease]) -> None:
            try:
                lease = pending.outcome()
            except AseError:
                self._on_failed(request)
            else:
                self._send(request, lease)

        timeout = request.arrived_at + self._wait_s - self._loop.now
        self.balancer.wait(
            request.service,
            "",
            request.affinity_key,
            request.app_id,
            timeout,
            at_front,
            on_done,
        )

    def _send(self, request: SimRequest, lease: Lease) -> None:
        request.lease = lease
        request.sent_at = self._loop.now
        if not self._loaders[lease.instance.key].try_accept(request):
            self._on_refused(request)
            self._loop.call_at(self._loop.now + _ROUND_TRIP_S, self._on_refusal, request)

    def _on_refusal(self, request: SimRequest) -> None:
        """Handle the rejection by a full loader, a round trip after the request was sent.

        The rules for retries are those of the gateway (`gateway/request/retry.py`).
        """
        if request.lease is not None:
            request.lease.release(LOADER_FULL)
            request.tried_addrs += (request.lease.instance.addr,)
        error = AseError(LOADER_FULL)
        can_wait = self._loop.now < request.arrived_at + self._wait_s
        attempts = len(request.tried_addrs)
        if not may_retry(error, attempts, is_idempotent=False, can_wait=can_wait) or (
            needs_retry_budget(error) and not self.balancer.try_acquire_retry()
        ):
            self._on_failed(request)
        else:
            self._acquire(request, is_retry=True)

    def _sweep(self) -> None:
        self.table.expire(self._loop.now)
        self._loop.call_at(self._loop.now + _SWEEP_S, self._sweep)
