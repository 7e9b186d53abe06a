"""Loaders and gateways of the simulated world. Pure.

What decides in them is the product's own: `Meter` and `Trigger` at the loader, `Table`, `Balancer`
and a policy at the gateway.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from random import Random

from bench.lb.cell import Cell
from bench.lb.world import World
from lb.balancer import Balancer, Lease
from lb.meter import ConcurrencyLimiter
from lb.policy import Policy
from lb.report import Instance, Report, ReportMode
from lb.table import EndpointTable
from lb.trigger import ReportSchedule

SERVICE = "bench"
_SWEEP_S = 0.05
_CALM_S, _DISTURBED_S = 6.0, 2.0


class Request:
    """A request on its way; `left` are seconds of work at a loader of speed 1, at time `since`."""

    __slots__ = ("arrived", "began", "counts", "gateway", "key", "left", "since", "ticket", "turn")

    def __init__(
        self, arrived: float, work: float, gateway: str, key: str, *, counts: bool
    ) -> None:
        self.arrived = arrived
        self.left = work
        self.gateway = gateway
        self.key = key
        self.counts = counts
        self.began = self.since = 0.0
        self.turn = 0
        self.ticket: Lease | None = None


class SimLoader:
    """A loader: slots, a queue, the product's meter and trigger.

    `ended` is told of each request that was served, `emit` of each report.
    """

    def __init__(
        self,
        number: int,
        cell: Cell,
        world: World,
        rng: Random,
        ended: Callable[[Request], None],
        emit: Callable[[Report], None],
    ) -> None:
        self.speed = cell.speed(number)
        self._lies = cell.lies and not number
        limit = 10_000 if self._lies else max(cell.limit, cell.slots)
        self.meter = ConcurrencyLimiter(limit, self._changed, best=cell.slots)
        self.instance = Instance(
            "ase",
            SERVICE,
            f"loader-{number}:1",
            7,
            total=self.meter.total,
            best=cell.slots,
            report_mode=ReportMode.PERIODIC if cell.report else ReportMode.ON_CHANGE,
        )
        self.running: list[Request] = []
        self._queue: deque[Request] = deque()
        self._slots = cell.slots
        self._period = cell.report
        self._antagonist = cell.antagonist
        self._world = world
        self._rng = rng
        self._ended = ended
        self._emit = emit
        self._trigger = ReportSchedule()
        self._waits = False
        if self._lies:
            total, best = 2 * max(cell.limit, cell.slots), 2 * cell.slots
            self.instance = replace(self.instance, total=total, best=best)

    def start(self) -> None:
        """Report at once; then by the trigger, or each so many seconds."""
        self._report()
        if self._period:
            self._world.at(self._rng.random() * self._period, self._periodic)
        else:
            self._keep_alive()
        if self._antagonist:
            self._world.at(self._rng.expovariate(1 / _CALM_S), self._turn, 0.5)

    def take(self, request: Request) -> bool:
        """Take a request on; False when it holds all it takes."""
        if not self.meter.try_acquire(request.gateway):
            return False
        if len(self.running) < self._slots:
            self._begin(request)
        else:
            self._queue.append(request)
        return True

    def _begin(self, request: Request) -> None:
        request.began = self._world.now
        self.running.append(request)
        self._go_on(request)

    def _go_on(self, request: Request) -> None:
        now = self._world.now
        request.turn += 1
        request.since = now
        self._world.at(now + request.left / self.speed, self._end, request, request.turn)

    def _end(self, request: Request, turn: int) -> None:
        if turn != request.turn:
            return  # the speed changed meanwhile
        self.running.remove(request)
        worked = self._world.now - request.began
        self.meter.release(request.gateway, worked * 1000, succeeded=True)
        if self._queue:
            self._begin(self._queue.popleft())
        self._ended(request)

    def _turn(self, factor: float) -> None:
        """Let an antagonist come or go: what runs goes on at another speed."""
        now = self._world.now
        for request in self.running:
            request.left = max(0.0, request.left - (now - request.since) * self.speed)
        self.speed *= factor
        for request in self.running:
            self._go_on(request)
        lasts = _DISTURBED_S if factor < 1 else _CALM_S
        self._world.at(now + self._rng.expovariate(1 / lasts), self._turn, 1 / factor)

    def _changed(self) -> None:
        if self._period or self._waits or not self._trigger.should_report(self.meter):
            return
        due = self._trigger.next_report_at(self.meter)
        if due <= self._world.now:
            self._report()
        else:
            self._waits = True
            self._world.at(due, self._due)

    def _due(self) -> None:
        self._waits = False
        if self._trigger.should_report(self.meter):
            self._report()

    def _keep_alive(self) -> None:
        if self._trigger.next_report_at(self.meter) <= self._world.now:
            self._report()
        soon = self._world.now + self._trigger.gap
        self._world.at(max(soon, self._trigger.next_report_at(self.meter)), self._keep_alive)

    def _periodic(self) -> None:
        self._report()
        self._world.at(self._world.now + self._period, self._periodic)

    def _report(self) -> None:
        self._trigger.mark_sent(self.meter, self._world.now)
        load = self.meter.next_load()
        if self._lies:
            told_ms = load.service_ms / 1000
            load = replace(load, running=0, queued=0, service_ms=told_ms, requests_by_gateway={})
        self._emit(Report(self.instance, load))


class SimGateway:
    """A gateway: the product's table, balancer and policy."""

    def __init__(
        self, name: str, world: World, rng: Random, policy: Callable[[], Policy], ramp: float
    ) -> None:
        self.name = name
        self.table = EndpointTable(name, silence_timeout=None, ramp=ramp)
        self.balancer = Balancer(
            self.table,
            policy,
            clock=world.clock,
            rng=rng,
            call_later=world.later,
            max_waiting=1_000_000,
        )
        self._world = world
        world.at(rng.random() * _SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        self.table.expire(self._world.now)
        self._world.at(self._world.now + _SWEEP_S, self._sweep)
