"""Simulates what it is told, line by line: {"cell", "seed", "requests"} in, what came of it out.

A process of its own, so that it can run the compiled product.
"""

import json
import sys
from typing import Any

from bench.lb.cell import Cell
from bench.lb.simulate import simulate
from bench.lb.stats import mean, quantile


def simulate_job(job: dict[str, Any]) -> dict[str, float]:
    """Return the figures of one cell under one seed, times in milliseconds."""
    speeds = tuple(job["cell"].pop("speeds"))
    result = simulate(Cell(speeds=speeds, **job["cell"]), job["seed"], job["requests"])
    responses, waits = sorted(result.responses), sorted(result.waits)
    return {
        "p50_ms": quantile(responses, 0.5) * 1000,
        "p99_ms": quantile(responses, 0.99) * 1000,
        "p999_ms": quantile(responses, 0.999) * 1000,
        "wait_p99_ms": quantile(waits, 0.99) * 1000,
        "wait_mean_ms": mean(waits) * 1000,
        "reports_per_request": result.reports / result.requests,
        "refused_per_request": result.refusals / result.requests,
        "kept": result.served_at_home / result.requests,
        "first": result.served_by_first / result.requests,
        "leaked": result.leaked,
    }


def main() -> None:
    """Work until nothing more is told."""
    for line in sys.stdin:
        print(json.dumps(simulate_job(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
