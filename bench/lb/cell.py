"""An experiment as values: who serves, what comes, how much is known, who picks. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import log, log1p, sqrt
from random import Random
from typing import Any

from lb.reporter.limiter import default_queue_size

HALF_2X_SPEEDS = (4 / 3,) * 8 + (2 / 3,) * 8
PUBLIC_GRID_SPEEDS = (2.0, 2.0, 1.5, 1.5, 1.0, 1.0, 0.5, 0.5)


@dataclass(frozen=True, slots=True)
class Cell:
    """One experiment.

    `loaders` and `slots`: how many, and requests each works on at a time; `speeds` relative to
    `mean_s`, the mean service time; `rho`: offered load by capacity. `service`: exp, const, cv4 or
    bimodal. `antagonist`: each loader at half speed for 2 s after each 6 s (means). `delay_ms`: a
    report's way; `report`: 0 when something changed, or so many seconds between two. `loss`: share
    of reports that do not arrive. `limit`: requests a loader takes at most. `keys`:
    requests are of so many keys, each of which is to stay on few loaders. `lies`: the
    first loader takes all that comes, tells of twice its licences, of no work, and of a thousandth
    of its slot time.
    """

    scenario: str = "homogeneous"
    policy: str = "ours"
    gateways: int = 16
    loaders: int = 16
    slots: int = 4
    mean_s: float = 0.02
    rho: float = 0.9
    speeds: tuple[float, ...] = ()
    service: str = "exp"
    antagonist: bool = False
    delay_ms: float = 5.0
    report: float = 0.0
    loss: float = 0.0
    limit: int = 10_000
    keys: int = 0
    lies: bool = False

    def speed(self, number: int) -> float:
        """Return the speed of a loader."""
        return self.speeds[number] if self.speeds else 1.0

    def rate(self) -> float:
        """Return the requests that come in a second."""
        speeds = sum(self.speeds) if self.speeds else float(self.loaders)
        return self.rho * speeds * self.slots / self.mean_s

    def labels(self) -> dict[str, Any]:
        """Return what a row of results says of its cell."""
        return {
            "scenario": self.scenario,
            "gateways": self.gateways,
            "policy": self.policy,
            "rho": self.rho,
            "delay_ms": self.delay_ms,
        }


SCENARIOS: dict[str, dict[str, Any]] = {
    "homogeneous": {},
    "half_2x": {"speeds": HALF_2X_SPEEDS},
    "antagonist": {"antagonist": True, "rho": 0.75},
    "cv4": {"service": "cv4", "rho": 0.8},
    "stale_1s": {"report": 1.0},
    "public_grid": {"loaders": 8, "slots": 1, "mean_s": 0.01, "speeds": PUBLIC_GRID_SPEEDS},
    "many_single": {"loaders": 100, "slots": 1},
    "affinity": {"keys": 1000},
    "liar": {"lies": True, "rho": 0.7},
}


def make_cell(scenario: str, policy: str, gateways: int, **overrides: Any) -> Cell:
    """Return a cell of a scenario.

    `ours` is the product as it comes: its loaders let few requests wait (`usual_queue`) and refuse
    what is more, which then waits at a gateway. With `ours_unbounded`, and with all other
    policies, loaders take whatever comes. Raises KeyError for an unknown scenario.
    """
    fields = {**SCENARIOS[scenario], **overrides}
    result = Cell(scenario=scenario, policy=policy, gateways=gateways, **fields)
    return (
        replace(result, limit=result.slots + default_queue_size(result.slots))
        if policy == "ours"
        else result
    )


def service_time_sampler(distribution: str, mean: float, rng: Random) -> Callable[[], float]:
    """Return a source of service times. Raises ValueError for an unknown name."""
    if distribution == "exp":
        return lambda: rng.expovariate(1 / mean)
    if distribution == "const":
        return lambda: mean
    if distribution == "cv4":
        sigma = sqrt(log1p(16.0))
        return lambda: rng.lognormvariate(log(mean) - sigma * sigma / 2, sigma)
    if distribution == "bimodal":  # of a hundred, five are twenty times as long
        short = mean / (0.95 + 0.05 * 20)
        return lambda: short if rng.random() < 0.95 else short * 20
    raise ValueError(f"service {distribution!r}: must be exp, const, cv4 or bimodal")


def iter_arrivals(cell: Cell, seed: int) -> Iterator[tuple[float, float, int]]:
    """Yield (time, work, gateway) of each request: the same for every policy of a seed."""
    arrival_rng, work_rng, gateway_rng = (Random(seed * 7919 + n) for n in (1, 2, 3))  # noqa: S311 (a simulation)
    rate, sample_work, now = (
        cell.rate(),
        service_time_sampler(cell.service, cell.mean_s, work_rng),
        0.0,
    )
    while True:
        now += arrival_rng.expovariate(rate)
        yield now, sample_work(), int(gateway_rng.random() * cell.gateways)
