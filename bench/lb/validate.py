"""Validates the simulator against closed forms of queueing theory.

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
    """A figure with a known value: `within` is the relative error that the simulator may have."""

    name: str
    simulated: float
    known: float
    within: float

    def is_within_tolerance(self) -> bool:
        """Return whether the relative error of the simulator is at most `within`."""
        return abs(self.simulated - self.known) <= self.within * self.known


def run_checks(requests: int, seeds: int) -> list[Check]:
    """Return all checks: M/M/1, M/M/k, M/G/1, Little's law, and that no request is lost.

    `requests` is the number of measured requests per seed.
    """
    results = []
    single_server = {"policy": "central", "gateways": 1, "loaders": 1, "slots": 1}
    for rho in (0.5, 0.8):
        waits, _ = _simulate_seeds(Cell(rho=rho, **single_server), requests, seeds)  # type: ignore[arg-type]
        exact = theory.mm_wait_mean(1, rho, 0.02)
        results.append(Check(f"M/M/1 {rho:g}, mean wait", mean(waits), exact, 0.04))
    waits, responses = _simulate_seeds(Cell(policy="central", gateways=1), requests, seeds)
    exact = theory.mm_response_quantile(64, 0.9, 0.02, 0.99)
    results.append(
        Check("M/M/64 0.9, p99 of responses", quantile(sorted(responses), 0.99), exact, 0.02)
    )
    exact = theory.mm_wait_mean(64, 0.9, 0.02)
    results.append(Check("M/M/64 0.9, mean wait", mean(waits), exact, 0.15))
    for service, cv in (("const", 0.0), ("bimodal", _bimodal_cv())):
        cell = Cell(rho=0.7, service=service, **single_server)  # type: ignore[arg-type]
        waits, _ = _simulate_seeds(cell, requests, seeds)
        exact = theory.mg1_wait_mean(0.7, 0.02, cv)
        results.append(Check(f"M/G/1 {service} 0.7, mean wait", mean(waits), exact, 0.06))
    simulation = simulate(Cell(), 1, requests)
    expected_in_system = Cell().rate() * mean(simulation.responses)
    results.append(
        Check("Little: in the system", simulation.mean_in_system, expected_in_system, 0.03)
    )
    answered = len(simulation.responses) - simulation.leaked
    results.append(Check("answered, and no place kept", answered, simulation.requests, 0.0))
    return results


def _bimodal_cv() -> float:
    short_s = 0.02 / (0.95 + 0.05 * 20)
    second_moment = 0.95 * short_s**2 + 0.05 * (20 * short_s) ** 2
    return float((second_moment / 0.02**2 - 1) ** 0.5)


def _simulate_seeds(cell: Cell, requests: int, seeds: int) -> tuple[list[float], list[float]]:
    waits: list[float] = []
    responses: list[float] = []
    for seed in range(1, seeds + 1):
        result = simulate(cell, seed, requests)
        waits += result.waits
        responses += result.responses
    return waits, responses


if __name__ == "__main__":
    results = run_checks(int(sys.argv[1]), int(sys.argv[2]))
    print(
        json.dumps([{**asdict(check), "holds": check.is_within_tolerance()} for check in results])
    )
