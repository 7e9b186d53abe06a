"""Loaders and gateways of the simulator. Pure.

All decisions are made by classes of the product: `ConcurrencyLimiter` and `ReportSchedule` in the
loader, `EndpointTable`, `Balancer` and a policy in the gateway.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from random import Random

from bench.lb.cell import Cell
from bench.lb.virtual_time import VirtualTimeLoop
from lb.balancer.balancer import Balancer, Lease
from lb.balancer.policy import Policy
from lb.endpoints.report import Instance, Report, ReportMode
from lb.endpoints.table import EndpointTable
from lb.reporter.limiter import ConcurrencyLimiter
from lb.reporter.schedule import ReportSchedule

SERVICE = "bench"
_SWEEP_S = 0.05
_CALM_S, _DISTURBED_S = 6.0, 2.0


class SimRequest:
    """A simulated request. All times are in seconds of virtual time.

    `remaining_work_s` is the work left at time `updated_at`, in seconds at a loader of speed 1.
    `arrived_at` is when it arrived at the gateway, `started_at` when a loader began to work on it.
    `generation` is incremented whenever its end is scheduled, so that an end that was scheduled
    earlier is ignored. `lease` is set from the pick until the request has finished. `is_measured`
    is False during the warm-up. `tried_addrs` are the loaders that rejected it.
    """

    __slots__ = (
        "affinity_key",
        "arrived_at",
        "gateway",
        "generation",
        "is_measured",
        "lease",
        "remaining_work_s",
        "started_at",
        "tried_addrs",
        "updated_at",
    )

    def __init__(
        self,
        arrived_at: float,
        work_s: float,
        gateway: str,
        affinity_key: str,
        *,
        is_measured: bool,
    ) -> None:
        self.arrived_at = arrived_at
        self.remaining_work_s = work_s
        self.gateway = gateway
        self.affinity_key = affinity_key
        self.is_measured = is_measured
        self.started_at = self.updated_at = 0.0
        self.generation = 0
        self.lease: Lease | None = None
        self.tried_addrs: tuple[str, ...] = ()


class SimLoader:
    """A loader with slots and a queue, and the product's limiter and report schedule.

    `record_result` is called with each request that has finished, `emit_report` with each report.

    `running` has at most `cell.slots` requests, and `_queue` is empty while a slot is free.
    `limiter.inflight` is the number of requests in both. `speed` divides the work of a request into
    its duration; an antagonist changes it. `_report_pending` is True while a report after a change
    is scheduled, so that there is at most one. If `cell.lies`, the loader number 0 accepts 10,000
    requests but reports twice the normal `total` and `best`, no load, and a thousandth of its
    service time.
    """

    def __init__(
        self,
        number: int,
        cell: Cell,
        loop: VirtualTimeLoop,
        rng: Random,
        record_result: Callable[[SimRequest], None],
        emit_report: Callable[[Report], None],
    ) -> None:
        self.speed = cell.speed(number)
        self._is_liar = cell.lies and not number
        limit = 10_000 if self._is_liar else max(cell.limit, cell.slots)
        self.limiter = ConcurrencyLimiter(limit, self._on_load_change, best=cell.slots)
        self.instance = Instance(
            "ase",
            SERVICE,
            f"loader-{number}:1",
            7,
            total=self.limiter.total,
            best=cell.slots,
            report_mode=ReportMode.PERIODIC if cell.report else ReportMode.ON_CHANGE,
        )
        self.running: list[SimRequest] = []
        self._queue: deque[SimRequest] = deque()
        self._slots = cell.slots
        self._report_period_s = cell.report
        self._has_antagonist = cell.antagonist
        self._loop = loop
        self._rng = rng
        self._on_finished = record_result
        self._emit_report = emit_report
        self._report_schedule = ReportSchedule()
        self._report_pending = False
        if self._is_liar:
            total, best = 2 * max(cell.limit, cell.slots), 2 * cell.slots
            self.instance = replace(self.instance, total=total, best=best)

    def start(self) -> None:
        """Report at once, then by the report schedule, or periodically if `cell.report` is set.

        The first periodic report has a random phase. If the cell has antagonists, schedule the
        first one.
        """
        self._send_report()
        if self._report_period_s:
            self._loop.call_at(
                self._rng.random() * self._report_period_s, self._report_periodically
            )
        else:
            self._report_keepalive()
        if self._has_antagonist:
            self._loop.call_at(self._rng.expovariate(1 / _CALM_S), self._change_speed, 0.5)

    def try_accept(self, request: SimRequest) -> bool:
        """Run or queue a request; return False if the loader is full."""
        if not self.limiter.try_acquire(request.gateway):
            return False
        if len(self.running) < self._slots:
            self._start_request(request)
        else:
            self._queue.append(request)
        return True

    def _start_request(self, request: SimRequest) -> None:
        request.started_at = self._loop.now
        self.running.append(request)
        self._schedule_finish(request)

    def _schedule_finish(self, request: SimRequest) -> None:
        now = self._loop.now
        request.generation += 1
        request.updated_at = now
        self._loop.call_at(
            now + request.remaining_work_s / self.speed,
            self._finish_request,
            request,
            request.generation,
        )

    def _finish_request(self, request: SimRequest, generation: int) -> None:
        if generation != request.generation:
            return  # the speed changed, so the end was scheduled again
        self.running.remove(request)
        worked_s = self._loop.now - request.started_at
        self.limiter.release(request.gateway, worked_s * 1000, succeeded=True)
        if self._queue:
            self._start_request(self._queue.popleft())
        self._on_finished(request)

    def _change_speed(self, factor: float) -> None:
        """Multiply the speed by `factor` and reschedule the running requests.

        An antagonist arrives with the factor 0.5 and leaves with 2. Its stays and the times between
        them are exponential, with means of 2 s and 6 s.
        """
        now = self._loop.now
        for request in self.running:
            request.remaining_work_s = max(
                0.0, request.remaining_work_s - (now - request.updated_at) * self.speed
            )
        self.speed *= factor
        for request in self.running:
            self._schedule_finish(request)
        mean_duration_s = _DISTURBED_S if factor < 1 else _CALM_S
        self._loop.call_at(
            now + self._rng.expovariate(1 / mean_duration_s), self._change_speed, 1 / factor
        )

    def _on_load_change(self) -> None:
        if (
            self._report_period_s
            or self._report_pending
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
        if self._report_schedule.should_report(self.limiter):
            self._send_report()

    def _report_keepalive(self) -> None:
        if self._report_schedule.next_report_at(self.limiter) <= self._loop.now:
            self._send_report()
        next_keepalive = self._loop.now + self._report_schedule.gap
        self._loop.call_at(
            max(next_keepalive, self._report_schedule.next_report_at(self.limiter)),
            self._report_keepalive,
        )

    def _report_periodically(self) -> None:
        self._send_report()
        self._loop.call_at(self._loop.now + self._report_period_s, self._report_periodically)

    def _send_report(self) -> None:
        self._report_schedule.mark_sent(self.limiter, self._loop.now)
        load = self.limiter.next_load()
        if self._is_liar:
            reported_ms = load.service_ms / 1000
            load = replace(
                load, running=0, queued=0, service_ms=reported_ms, requests_by_gateway={}
            )
        self._emit_report(Report(self.instance, load))


class SimGateway:
    """A gateway: the product's table, balancer and policy, without a network.

    Silence of loaders is not detected. `ramp` is the time in seconds until a new endpoint gets its
    full share. The table is swept every 50 ms, with a random phase.
    """

    def __init__(
        self,
        name: str,
        loop: VirtualTimeLoop,
        rng: Random,
        make_policy: Callable[[], Policy],
        ramp: float,
    ) -> None:
        self.name = name
        self.table = EndpointTable(name, silence_timeout=None, ramp=ramp)
        self.balancer = Balancer(
            self.table,
            make_policy,
            clock=loop.clock,
            rng=rng,
            call_later=loop.call_later,
            max_waiting=1_000_000,
        )
        self._loop = loop
        loop.call_at(rng.random() * _SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        self.table.expire(self._loop.now)
        self._loop.call_at(self._loop.now + _SWEEP_S, self._sweep)
