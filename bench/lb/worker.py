"""Simulates what it is told, line by line: {"cell", "seed", "requests"} in, what came of it out.

A process of its own, so that it can run the compiled product.
"""

import json
import sys
from typing import Any

from bench.lb.cell import Cell
from bench.lb.simulate import simulate
from bench.lb.stats import mean, quantile


def measured(told: dict[str, Any]) -> dict[str, float]:
    """Return the figures of one cell under one seed, times in milliseconds."""
    speeds = tuple(told["cell"].pop("speeds"))
    came = simulate(Cell(speeds=speeds, **told["cell"]), told["seed"], told["requests"])
    responses, waits = sorted(came.responses), sorted(came.waits)
    return {
        "p50_ms": quantile(responses, 0.5) * 1000,
        "p99_ms": quantile(responses, 0.99) * 1000,
        "p999_ms": quantile(responses, 0.999) * 1000,
        "wait_p99_ms": quantile(waits, 0.99) * 1000,
        "wait_mean_ms": mean(waits) * 1000,
        "reports_per_request": came.reports / came.requests,
        "refused_per_request": came.refused / came.requests,
        "kept": came.kept / came.requests,
        "first": came.first / came.requests,
        "leaked": came.leaked,
    }


def main() -> None:
    """Work until nothing more is told."""
    for line in sys.stdin:
        print(json.dumps(measured(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
