"""Simulates one cell with one seed: requests go through gateways to loaders. Pure."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

from bench.lb.cell import Cell, iter_arrivals
from bench.lb.disturbances import Antagonist, LyingLoader
from gateway.simulation.actors import (
    GatewayModel,
    LoaderModel,
    Probes,
    SimGateway,
    SimLoader,
    SimRequest,
)
from gateway.simulation.virtual_time import VirtualTimeLoop
from lb.balancer.affinity import rendezvous_candidates
from lb.balancer.policies import policy_factories
from lb.balancer.policy import Policy
from lb.endpoints.candidates import Pool
from lb.endpoints.endpoint import Endpoint
from lb.endpoints.report import Report, ReportMode

_SERVICE = "bench"
WARMUP_S = 4.0
# gRFC A58 has no weights for the first 10 s and must then drain the queues of that time.
_WARMUP_BY_POLICY_S = {"orca_wrr": 40.0}


@dataclass(slots=True)
class SimulationResult:
    """The results of one simulation, for the requests after the warm-up.

    `failed` counts the requests that got no slot in time.

    `responses` and `waits` are in seconds, in the order in which the requests ended. `reports`
    counts after the warm-up too, but `refusals` counts from the start. `leaked` is the number of
    slots that are still held after the last response.
    """

    responses: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    requests: int = 0
    reports: int = 0
    leaked: int = 0
    refusals: int = 0
    failed: int = 0
    served_at_home: int = 0  # requests that ran on the first candidate of their key
    served_by_first: int = 0  # requests that ran on the first loader
    mean_in_system: float = 0.0  # mean requests in the system while measured requests arrive


class _Oracle:
    """A policy that knows the current state of every loader.

    It is the limit of any policy that sends each request at once.
    """

    def __init__(self, rng: Random, loaders: dict[str, SimLoader], mean_s: float) -> None:
        self._rng = rng
        self._loaders = loaders
        self._mean_s = mean_s

    def choose(self, pool: Pool, _now: float, _exclude: Any, /) -> Endpoint | None:
        """Return the member with the least expected delay; the scan starts at a random member."""
        members = pool.members
        start = int(self._rng.random() * len(members))
        return min(members[start:] + members[:start], key=self._expected_delay)

    def record_result(self, entry: Endpoint, seconds: float, now: float, good: bool, /) -> None:
        """Ignore the result; the state of the loaders is known."""

    def _expected_delay(self, endpoint: Endpoint) -> float:
        loader = self._loaders[endpoint.instance.addr]
        best = loader.limiter.best
        queued_ahead = max(0, loader.limiter.inflight - best + 1)
        return (
            self._mean_s
            / loader.speed
            * (1 + (queued_ahead + loader.limiter.inflight / 1000) / best)
        )


class Simulation:
    """One cell with one seed, for `requests` requests after the warm-up.

    The schedule, the keys, the losses, each loader and each gateway have random generators of their
    own, derived from the seed. So all policies see the same arrivals, work, gateways and keys. With
    the policy `central`, requests wait in `_central_queue` and go to the fastest loader with a free
    slot; there are no leases.

    `_arrived_count` includes the request whose arrival is scheduled. `_in_system` is the number of
    requests that have arrived and not finished. `_in_system_integral` is its integral since
    `_measured_from`, the arrival of the first measured request, up to `_changed_at`.
    """

    def __init__(self, cell: Cell, seed: int, requests: int, warmup_s: float | None) -> None:
        self._cell = cell
        self._loop = VirtualTimeLoop()
        self._result = SimulationResult()
        if warmup_s is None:
            warmup_s = _WARMUP_BY_POLICY_S.get(cell.policy, WARMUP_S)
        self._warmup_requests = int(warmup_s * cell.rate())
        self._total_requests = self._warmup_requests + requests
        self._arrived_count = self._finished_count = 0
        self._schedule = iter_arrivals(cell, seed)
        self._loss_rng = Random(seed * 7919 + 4)  # noqa: S311 (a simulation)
        self._key_rng = Random(seed * 7919 + 5)  # noqa: S311
        rngs = [Random(seed * 7919 + 1000 + n) for n in range(cell.loaders)]  # noqa: S311
        self._loaders = [self._create_loader(n, rng) for n, rng in enumerate(rngs)]
        self._antagonists = [
            Antagonist(loader, self._loop, rng)
            for loader, rng in zip(self._loaders, rngs, strict=True)
            if cell.antagonist
        ]
        self._by_addr = {loader.instance.addr: loader for loader in self._loaders}
        self._by_key = {loader.instance.key: loader for loader in self._loaders}
        self._gateways = [
            SimGateway(
                GatewayModel(f"g{n}", cell.wait_s),
                self._loop,
                rng,
                self._policy_factory(rng),
                self._by_key,
                self._on_refused,
                self._fail,
            )
            for n in range(cell.gateways)
            for rng in [Random(seed * 7919 + 2000 + n)]  # noqa: S311
        ]
        self._central_queue: deque[SimRequest] = deque()
        self._in_system = self._in_system_integral = self._changed_at = self._measured_from = 0.0

    def run(self) -> SimulationResult:
        """Run until the last request has finished and return the results."""
        for number, loader in enumerate(self._loaders):
            loader.start()
            if self._antagonists:
                self._antagonists[number].start()
        self._loop.call_at(0.0, self._schedule_arrival)
        self._loop.run(lambda: self._finished_count < self._total_requests)
        self._result.leaked = sum(
            endpoint.inflight for gateway in self._gateways for endpoint in gateway.table
        )
        return self._result

    def _create_loader(self, number: int, rng: Random) -> SimLoader:
        cell = self._cell
        model = LoaderModel(
            f"loader-{number}:1",
            _SERVICE,
            cell.slots,
            max(cell.limit, cell.slots),
            cell.speed(number),
            report_mode=ReportMode.PERIODIC if cell.report else ReportMode.ON_CHANGE,
            report_period_s=cell.report,
        )
        loader_class = LyingLoader if cell.lies and not number else SimLoader
        return loader_class(model, self._loop, rng, self._on_finished, self._on_report)

    def _policy_factory(self, rng: Random) -> Callable[[], Policy]:
        if self._cell.policy in ("oracle", "central"):
            return partial(_Oracle, rng, self._by_addr, self._cell.mean_s)
        name = self._cell.policy.removesuffix("_unbounded")
        return policy_factories(rng, Probes(self._loop, self._by_key).send)[name]

    def _schedule_arrival(self) -> None:
        """Schedule the arrival of the next request, if there is one."""
        if self._arrived_count >= self._total_requests:
            return
        arrived_at, work_s, gateway_index = next(self._schedule)
        self._arrived_count += 1
        is_measured = self._arrived_count > self._warmup_requests
        gateway = self._gateways[gateway_index]
        affinity_key = str(int(self._key_rng.random() * self._cell.keys)) if self._cell.keys else ""
        request = SimRequest(
            _SERVICE, arrived_at, work_s, gateway.name, affinity_key, is_measured=is_measured
        )
        self._loop.call_at(arrived_at, self._on_arrival, request, gateway)

    def _change_in_system(self, change: int) -> None:
        """Add `change` to the requests in the system.

        The mean is updated only while measured requests arrive.
        """
        now, result = self._loop.now, self._result
        if result.requests > 0 and self._arrived_count < self._total_requests:
            self._in_system_integral += self._in_system * (now - self._changed_at)
            result.mean_in_system = (
                self._in_system_integral / (now - self._measured_from)
                if now > self._measured_from
                else 0.0
            )
        self._changed_at = now
        self._in_system += change

    def _on_arrival(self, request: SimRequest, gateway: SimGateway) -> None:
        self._schedule_arrival()
        self._change_in_system(1)
        if request.is_measured:
            if not self._result.requests:
                self._measured_from = self._loop.now
            self._result.requests += 1
        if self._cell.policy == "central":
            self._central_queue.append(request)
            self._serve_central()
        else:
            gateway.submit(request)

    def _on_refused(self, _: SimRequest) -> None:
        self._result.refusals += 1

    def _fail(self, request: SimRequest) -> None:
        """Count a request that got no slot in time."""
        self._finished_count += 1
        self._change_in_system(-1)
        self._result.failed += request.is_measured

    def _serve_central(self) -> None:
        while self._central_queue:
            free_loaders = [
                candidate
                for candidate in self._loaders
                if len(candidate.running) < candidate.limiter.best
            ]
            if not free_loaders:
                return
            max(free_loaders, key=lambda loader: loader.speed).try_accept(
                self._central_queue.popleft()
            )

    def _on_finished(self, request: SimRequest) -> None:
        self._finished_count += 1
        self._change_in_system(-1)
        if request.lease is not None:
            if request.is_measured:
                self._count_placement(request.lease.instance.addr, request.affinity_key)
            request.lease.release()
            request.lease = None
        if request.is_measured:
            now, result = self._loop.now, self._result
            result.responses.append(now - request.arrived_at)
            result.waits.append(request.started_at - request.arrived_at)
        if self._cell.policy == "central":
            self._serve_central()

    def _count_placement(self, addr: str, affinity_key: str) -> None:
        self._result.served_by_first += addr == self._loaders[0].instance.addr
        if affinity_key:
            home_endpoint = rendezvous_candidates(self._gateways[0].table, affinity_key, ())[0]
            self._result.served_at_home += home_endpoint.instance.addr == addr

    def _on_report(self, report: Report) -> None:
        if self._arrived_count > self._warmup_requests:
            self._result.reports += 1
        if self._cell.loss and self._loss_rng.random() < self._cell.loss:
            return
        now = self._loop.now
        # The first reports arrive at once, so that no pick finds an empty table.
        arrives_at = now if now == 0.0 else now + self._cell.delay_ms / 1000
        self._loop.call_at(arrives_at, self._deliver_report, report, now)

    def _deliver_report(self, report: Report, sent_at: float) -> None:
        for gateway in self._gateways:
            gateway.table.apply(report, sent_at)


def simulate(
    cell: Cell, seed: int, requests: int, warmup_s: float | None = None
) -> SimulationResult:
    """Simulate a cell with one seed, for `requests` requests after the warm-up.

    The warm-up lasts `warmup_s` simulated seconds; by default as long as the policy needs.
    """
    return Simulation(cell, seed, requests, warmup_s).run()
