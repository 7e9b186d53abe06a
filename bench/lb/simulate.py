"""One cell, one seed: the requests of a schedule through gateways and loaders. Pure."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

from bench.lb.actors import SERVICE, Request, SimGateway, SimLoader
from bench.lb.cell import Cell, arrivals
from bench.lb.world import World
from lb.affinity import rendezvous_candidates
from lb.arms import policy_factories
from lb.entry import Endpoint
from lb.policy import Policy
from lb.pool import Pool
from lb.report import Report
from schemas.errors import LOADER_FULL, AseError

WARM_S = 4.0
# A58 knows nothing for its first ten seconds, and then has to work off what piled up.
_LONGER_WARM_S = {"orca_wrr": 40.0}
_PROBE_S = 0.0005
_REFUSAL_S = 0.0005
_PATIENCE_S = 60.0


@dataclass(slots=True)
class Measured:
    """What came of it: times in seconds of the requests after the warm-up, in their order."""

    responses: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    requests: int = 0
    reports: int = 0
    leaked: int = 0
    refused: int = 0
    kept: int = 0  # requests that ran where their key is at home
    first: int = 0  # requests that the first loader answered
    present: float = 0.0  # requests in the system, in the mean over the time they came in


class _Oracle:
    """The limit of any policy that sends at once: it sees every loader as it is now."""

    def __init__(self, rng: Random, loaders: dict[str, SimLoader], mean_s: float) -> None:
        self._rng = rng
        self._loaders = loaders
        self._mean_s = mean_s

    def choose(self, pool: Pool, _now: float, _exclude: Any, /) -> Endpoint | None:
        """Return the least expected delay of all."""
        members = pool.members
        start = int(self._rng.random() * len(members))
        return min(members[start:] + members[:start], key=self._expected)

    def record_result(self, entry: Endpoint, seconds: float, now: float, good: bool, /) -> None:
        """Learn nothing: it knows."""

    def _expected(self, entry: Endpoint) -> float:
        loader = self._loaders[entry.instance.addr]
        best = loader.meter.best
        ahead = max(0, loader.meter.inflight - best + 1)
        return self._mean_s / loader.speed * (1 + (ahead + loader.meter.inflight / 1000) / best)


class Simulation:
    """A cell under one seed, for so many requests after the warm-up."""

    def __init__(self, cell: Cell, seed: int, requests: int) -> None:
        self._cell = cell
        self._world = World()
        self._measured = Measured()
        self._warm = int(_LONGER_WARM_S.get(cell.policy, WARM_S) * cell.rate())
        self._total = self._warm + requests
        self._begun = self._ended = 0
        self._schedule = arrivals(cell, seed)
        self._chance = Random(seed * 7919 + 4)  # noqa: S311 (a simulation)
        self._keys = Random(seed * 7919 + 5)  # noqa: S311
        rngs = [Random(seed * 7919 + 1000 + n) for n in range(cell.loaders)]  # noqa: S311
        self._loaders = [
            SimLoader(n, cell, self._world, rng, self._over, self._report)
            for n, rng in enumerate(rngs)
        ]
        self._by_addr = {loader.instance.addr: loader for loader in self._loaders}
        self._gateways = [
            SimGateway(f"g{n}", self._world, rng, self._policy(rng), 0.0)
            for n in range(cell.gateways)
            for rng in [Random(seed * 7919 + 2000 + n)]  # noqa: S311
        ]
        self._central: deque[Request] = deque()
        self._present = self._area = self._since = self._from = 0.0

    def run(self) -> Measured:
        """Run it to the end."""
        for loader in self._loaders:
            loader.start()
        self._world.at(0.0, self._next)
        self._world.run(lambda: self._ended < self._total)
        self._measured.leaked = sum(
            entry.inflight for gateway in self._gateways for entry in gateway.table
        )
        return self._measured

    def _policy(self, rng: Random) -> Callable[[], Policy]:
        if self._cell.policy in ("oracle", "central"):
            return partial(_Oracle, rng, self._by_addr, self._cell.mean_s)
        name = self._cell.policy.removesuffix("_unbounded")
        return policy_factories(rng, self._probe)[name]

    def _probe(self, entry: Endpoint, answer: Callable[[int, float], None]) -> None:
        meter = self._by_addr[entry.instance.addr].meter
        latency = meter.service_ms / 1000 * max(1.0, meter.inflight / meter.best)
        self._world.at(self._world.now + _PROBE_S, answer, meter.inflight, latency)

    def _next(self) -> None:
        """Let the next request come."""
        if self._begun >= self._total:
            return
        time, work, door = next(self._schedule)
        self._begun += 1
        counts = self._begun > self._warm
        gateway = self._gateways[door]
        key = str(int(self._keys.random() * self._cell.keys)) if self._cell.keys else ""
        request = Request(time, work, gateway.name, key, counts=counts)
        self._world.at(time, self._arrive, request, gateway)

    def _step(self, change: int) -> None:
        """Count who is in the system, as long as requests that count come."""
        now, measured = self._world.now, self._measured
        if measured.requests > 0 and self._begun < self._total:
            self._area += self._present * (now - self._since)
            measured.present = self._area / (now - self._from) if now > self._from else 0.0
        self._since = now
        self._present += change

    def _arrive(self, request: Request, gateway: SimGateway) -> None:
        self._next()
        self._step(1)
        if request.counts:
            if not self._measured.requests:
                self._from = self._world.now
            self._measured.requests += 1
        if self._cell.policy == "central":
            self._central.append(request)
            self._serve_central()
        else:
            self._place(request, gateway)

    def _place(self, request: Request, gateway: SimGateway) -> None:
        try:
            ticket = gateway.balancer.acquire(SERVICE, "", (), request.key)
        except AseError:
            self._wait(request, gateway, False)
        else:
            self._send(request, gateway, ticket)

    def _wait(self, request: Request, gateway: SimGateway, ahead: bool) -> None:
        def done(waiter: Any) -> None:
            self._send(request, gateway, waiter.outcome())

        gateway.balancer.wait(SERVICE, "", request.key, _PATIENCE_S, ahead, done)

    def _send(self, request: Request, gateway: SimGateway, ticket: Any) -> None:
        request.ticket = ticket
        if not self._by_addr[ticket.instance.addr].take(request):
            self._measured.refused += 1
            self._world.at(self._world.now + _REFUSAL_S, self._refused, request, gateway)

    def _refused(self, request: Request, gateway: SimGateway) -> None:
        """Take in, a round trip later, that a loader held all it takes."""
        if request.ticket is not None:
            request.ticket.release(LOADER_FULL)
        self._wait(request, gateway, True)

    def _serve_central(self) -> None:
        while self._central:
            free = [x for x in self._loaders if len(x.running) < x.meter.best]
            if not free:
                return
            max(free, key=lambda loader: loader.speed).take(self._central.popleft())

    def _over(self, request: Request) -> None:
        self._ended += 1
        self._step(-1)
        if request.ticket is not None:
            if request.counts:
                self._place_told(request.ticket.instance.addr, request.key)
            request.ticket.release()
            request.ticket = None
        if request.counts:
            now, measured = self._world.now, self._measured
            measured.responses.append(now - request.arrived)
            measured.waits.append(request.began - request.arrived)
        if self._cell.policy == "central":
            self._serve_central()

    def _place_told(self, addr: str, key: str) -> None:
        self._measured.first += addr == self._loaders[0].instance.addr
        if key:
            home = rendezvous_candidates(self._gateways[0].table, key, ())[0]
            self._measured.kept += home.instance.addr == addr

    def _report(self, report: Report) -> None:
        if self._begun > self._warm:
            self._measured.reports += 1
        if self._cell.loss and self._chance.random() < self._cell.loss:
            return
        now = self._world.now
        # The first ones are there from the start: nobody picks from an empty fleet.
        arrives = now if now == 0.0 else now + self._cell.delay_ms / 1000
        self._world.at(arrives, self._deliver, report, now)

    def _deliver(self, report: Report, sent: float) -> None:
        for gateway in self._gateways:
            gateway.table.apply(report, sent)


def simulate(cell: Cell, seed: int, requests: int) -> Measured:
    """Return what comes of a cell under one seed."""
    return Simulation(cell, seed, requests).run()
