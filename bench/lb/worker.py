"""Simulates one job per line of stdin and prints its figures; both are lines of JSON.

A job is {"cell", "seed", "requests"}. The worker is a process of its own, so that it can import the
compiled product.
"""

import json
import sys
from typing import Any

from bench.lb.cell import Cell
from bench.lb.simulate import simulate
from bench.lb.stats import mean, quantile


def simulate_job(job: dict[str, Any]) -> dict[str, float]:
    """Return the figures of one cell with one seed; times are in milliseconds.

    Removes `speeds` from the cell of `job`. `kept` is the share of requests that ran on the first
    candidate of their affinity key, `first` the share that ran on the first loader.
    """
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
        "failed_per_request": result.failed / result.requests,
        "kept": result.served_at_home / result.requests,
        "first": result.served_by_first / result.requests,
        "leaked": result.leaked,
    }


def main() -> None:
    """Process jobs until the end of stdin."""
    for line in sys.stdin:
        print(json.dumps(simulate_job(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
