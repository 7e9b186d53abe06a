"""The parameters of an experiment: loaders, requests, reports and policy. Pure."""

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
    """The parameters of one experiment.

    - `loaders`, `slots`: the number of loaders, and of requests that each runs at a time.
    - `mean_s`: the mean service time in seconds at speed 1.
    - `speeds`: the speed of each loader; empty means 1.0 for all.
    - `rho`: the offered load divided by the capacity.
    - `service`: the distribution of service times: exp, const, cv4 or bimodal.
    - `antagonist`: each loader alternates between full speed for 6 s and half speed for 2 s
      (exponential, means).
    - `delay_ms`: the time from sending a report until the gateways have it.
    - `report`: seconds between two reports; 0 means reports after changes and keep-alives.
    - `loss`: the share of reports that are lost.
    - `limit`: the most requests that a loader accepts; at least `slots` apply.
    - `wait_s`: seconds that a request may wait at its gateway while all loaders are full; then it
      fails.
    - `keys`: the number of affinity keys, 0 for none. Each key should stay on few loaders.
    - `lies`: the first loader accepts 10,000 requests, reports twice its slots and its limit, no
      running or queued requests, and a thousandth of its service time.
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
    wait_s: float = 60.0
    keys: int = 0
    lies: bool = False

    def speed(self, number: int) -> float:
        """Return the speed of the loader `number`; 1.0 is the normal speed."""
        return self.speeds[number] if self.speeds else 1.0

    def rate(self) -> float:
        """Return the arrival rate in requests per second, for all gateways together."""
        speeds = sum(self.speeds) if self.speeds else float(self.loaders)
        return self.rho * speeds * self.slots / self.mean_s

    def labels(self) -> dict[str, Any]:
        """Return the parameters that identify this cell in a row of results."""
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

    The policy `ours` is the product with its defaults: loaders queue few requests
    (`default_queue_size`) and reject the others, which then wait at a gateway. With
    `ours_unbounded` and all other policies, loaders accept up to the default `limit` of 10,000
    requests. Raises KeyError for an unknown scenario.
    """
    fields = {**SCENARIOS[scenario], **overrides}
    result = Cell(scenario=scenario, policy=policy, gateways=gateways, **fields)
    return (
        replace(result, limit=result.slots + default_queue_size(result.slots))
        if policy == "ours"
        else result
    )


def service_time_sampler(distribution: str, mean: float, rng: Random) -> Callable[[], float]:
    """Return a function that draws service times with the mean `mean`, in its unit.

    Raises ValueError for an unknown distribution.
    """
    if distribution == "exp":
        return lambda: rng.expovariate(1 / mean)
    if distribution == "const":
        return lambda: mean
    if distribution == "cv4":
        sigma = sqrt(log1p(16.0))
        return lambda: rng.lognormvariate(log(mean) - sigma * sigma / 2, sigma)
    if distribution == "bimodal":  # 5 % of the requests take 20 times as long
        short = mean / (0.95 + 0.05 * 20)
        return lambda: short if rng.random() < 0.95 else short * 20
    raise ValueError(f"service {distribution!r}: must be exp, const, cv4 or bimodal")


def iter_arrivals(cell: Cell, seed: int) -> Iterator[tuple[float, float, int]]:
    """Yield (time, work, gateway index) of each request, in seconds and without end.

    They depend only on the seed and on the load of the cell, so all policies get the same requests.
    """
    arrival_rng, work_rng, gateway_rng = (Random(seed * 7919 + n) for n in (1, 2, 3))  # noqa: S311
    rate, sample_work, now = (
        cell.rate(),
        service_time_sampler(cell.service, cell.mean_s, work_rng),
        0.0,
    )
    while True:
        now += arrival_rng.expovariate(rate)
        yield now, sample_work(), int(gateway_rng.random() * cell.gateways)
