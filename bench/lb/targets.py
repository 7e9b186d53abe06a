"""The targets of the load-balancing grid, and whether the results of a grid reach them.

The limits are documented in `docs/load-balancing.md`. A target holds if its value is at most the
limit. It is sure if the upper end of its 95 % interval is at most the limit.
"""

from dataclasses import dataclass
from random import Random
from typing import Any

from bench.lb.grid import GridResults
from bench.lb.stats import bootstrap_interval, mean, ratio_interval

CellName = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Goal:
    """A limit for the mean of `metric` in `cell`, or for its ratio to the mean in `baseline`.

    Cells are (scenario, policy, gateways).
    """

    name: str
    metric: str
    cell: CellName
    limit: float
    baseline: CellName | None = None


def _our_cell(scenario: str, gateways: int) -> CellName:
    return (scenario, "ours", gateways)


TARGETS = (
    Goal("p99, 64 gateways / 1", "p99_ms", _our_cell("homogeneous", 64), 1.12,
           _our_cell("homogeneous", 1)),
    Goal("p99, homogeneous, 16", "p99_ms", _our_cell("homogeneous", 16), 104.0),
    Goal("wait p99, homogeneous, 16", "wait_p99_ms", _our_cell("homogeneous", 16), 45.0),
    Goal("p99.9, homogeneous, 16", "p999_ms", _our_cell("homogeneous", 16), 152.0),
    Goal("p99, half 2x, 16", "p99_ms", _our_cell("half_2x", 16), 115.0),
    Goal("p99, antagonists, 16", "p99_ms", _our_cell("antagonist", 16), 126.0),
    Goal("p99, antagonists, 16 / Prequal", "p99_ms", _our_cell("antagonist", 16), 126 / 167,
           ("antagonist", "prequal", 16)),
    Goal("wait p99, CV 4, 16", "wait_p99_ms", _our_cell("cv4", 16), 55.0),
    Goal("p99, reports 1 s old, 16 / least request", "p99_ms", _our_cell("stale_1s", 16), 1.03,
           ("stale_1s", "least_request", 16)),
    Goal("p99, reports 1 s old, 64 / least request", "p99_ms", _our_cell("stale_1s", 64), 1.03,
           ("stale_1s", "least_request", 64)),
    Goal("p99, public grid, 16", "p99_ms", _our_cell("public_grid", 16), 105.0),
    Goal("p99, public grid, 64", "p99_ms", _our_cell("public_grid", 64), 106.0),
    Goal("p99, 100 single slots, 64", "p99_ms", _our_cell("many_single", 64), 175.0),
    Goal("reports per request, homogeneous, 64", "reports_per_request",
           _our_cell("homogeneous", 64), 0.6),
    Goal("reports per request, public grid, 64", "reports_per_request",
           _our_cell("public_grid", 64), 0.65),
    Goal("in flight after the last answer, 64", "leaked", _our_cell("homogeneous", 64), 0.0),
    Goal("wait p99, 16 / Prequal", "wait_p99_ms", _our_cell("homogeneous", 16), 0.6,
           ("homogeneous", "prequal", 16)),
)  # fmt: skip


def evaluate_targets(results: GridResults) -> list[dict[str, Any]]:
    """Return a row for each target whose cells were run.

    A row has the value, its 95 % interval, the limit (`most`), and whether it holds and is sure.
    """
    rng = Random(2)  # noqa: S311 (resampling)
    rows = []
    for target in TARGETS:
        values = results.values_of(*target.cell, target.metric)
        if not values:
            continue
        if target.baseline is None:
            value, (low, high) = mean(values), bootstrap_interval(values, rng)
        else:
            baseline_values = results.values_of(*target.baseline, target.metric)
            if not baseline_values:
                continue
            value, low, high = ratio_interval(values, baseline_values, rng)
        rows.append(
            {
                "target": target.name,
                "value": round(value, 3),
                "ci95": [round(low, 3), round(high, 3)],
                "most": round(target.limit, 3),
                "holds": value <= target.limit,
                "sure": high <= target.limit,
            }
        )
    return rows
