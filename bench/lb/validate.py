"""The simulator held to closed forms, before anything it says is believed.

`python -m bench.lb.validate REQUESTS SEEDS` prints the checks as JSON.
"""

import json
import sys
from dataclasses import asdict, dataclass

from bench.lb import theory
from bench.lb.cell import Cell
from bench.lb.simulate import simulate
from bench.lb.stats import mean, quantile


@dataclass(frozen=True, slots=True)
class Check:
    """One figure that is known: what the simulator says, and how far it may be off."""

    name: str
    simulated: float
    known: float
    within: float

    def holds(self) -> bool:
        """Return whether the simulator is near enough."""
        return abs(self.simulated - self.known) <= self.within * self.known


def checks(requests: int, seeds: int) -> list[Check]:
    """Return every check: M/M/1, M/M/k, M/G/1, Little's law, and that nothing is lost."""
    found = []
    single = {"policy": "central", "gateways": 1, "loaders": 1, "slots": 1}
    for rho in (0.5, 0.8):
        waits, _ = _run(Cell(rho=rho, **single), requests, seeds)  # type: ignore[arg-type]
        known = theory.mm_wait_mean(1, rho, 0.02)
        found.append(Check(f"M/M/1 {rho:g}, mean wait", mean(waits), known, 0.04))
    waits, times = _run(Cell(policy="central", gateways=1), requests, seeds)
    known = theory.mm_response_quantile(64, 0.9, 0.02, 0.99)
    found.append(Check("M/M/64 0.9, p99 of responses", quantile(sorted(times), 0.99), known, 0.02))
    known = theory.mm_wait_mean(64, 0.9, 0.02)
    found.append(Check("M/M/64 0.9, mean wait", mean(waits), known, 0.15))
    for service, cv in (("const", 0.0), ("bimodal", _bimodal_cv())):
        cell = Cell(rho=0.7, service=service, **single)  # type: ignore[arg-type]
        waits, _ = _run(cell, requests, seeds)
        known = theory.mg1_wait_mean(0.7, 0.02, cv)
        found.append(Check(f"M/G/1 {service} 0.7, mean wait", mean(waits), known, 0.06))
    came = simulate(Cell(), 1, requests)
    expected = Cell().rate() * mean(came.responses)
    found.append(Check("Little: in the system", came.present, expected, 0.03))
    answered = len(came.responses) - came.leaked
    found.append(Check("answered, and no place kept", answered, came.requests, 0.0))
    return found


def _bimodal_cv() -> float:
    short = 0.02 / (0.95 + 0.05 * 20)
    second = 0.95 * short**2 + 0.05 * (20 * short) ** 2
    return float((second / 0.02**2 - 1) ** 0.5)


def _run(cell: Cell, requests: int, seeds: int) -> tuple[list[float], list[float]]:
    waits: list[float] = []
    responses: list[float] = []
    for seed in range(1, seeds + 1):
        came = simulate(cell, seed, requests)
        waits += came.waits
        responses += came.responses
    return waits, responses


if __name__ == "__main__":
    told = checks(int(sys.argv[1]), int(sys.argv[2]))
    print(json.dumps([{**asdict(check), "holds": check.holds()} for check in told]))
