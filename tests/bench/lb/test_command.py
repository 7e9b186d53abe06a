"""`python -m bench lb ...` gives the JSON that its README says."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.lb import grid
from bench.lb.targets import TARGETS, evaluate_targets

ROOT = Path(__file__).parent.parent.parent.parent


def run_bench(*args: str) -> dict[str, Any]:
    completed = subprocess.run(
        [sys.executable, "-m", "bench", "lb", *args, "--json", "-"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    result: dict[str, Any] = json.loads(completed.stdout)
    return result


@pytest.mark.unmeasured
def test_grid_runs_in_worker_processes() -> None:
    cells = [grid.make_cell("homogeneous", policy, 4) for policy in ("ours", "poll")]
    results = grid.run_grid(cells, [1, 2], 1000, compiled=False)
    rows = results.rows()
    assert [row["policy"] for row in rows] == ["ours", "poll"]
    for row in rows:
        assert set(row) >= {
            "scenario",
            "gateways",
            "policy",
            "rho",
            "delay_ms",
            "p50_ms",
            "p99_ms",
            "p999_ms",
            "wait_p99_ms",
            "reports_per_request",
            "ci95",
        }
        assert row["ci95"][0] <= row["p99_ms"] <= row["ci95"][1]
    assert results.values_of("homogeneous", "poll", 4, "leaked") == [0, 0]


def test_grids_are_readable_and_cover_all_targets() -> None:
    full_cells, _, _ = grid.read_grid("full")
    grid_cells = {(cell.scenario, cell.policy, cell.gateways) for cell in full_cells}
    for target in TARGETS:
        assert target.cell in grid_cells
        assert target.baseline is None or target.baseline in grid_cells
    for name in ("ci", "holdout"):
        cells, seeds, requests = grid.read_grid(name)
        assert cells
        assert seeds >= 3
        assert requests >= 20_000


def test_targets_are_evaluated_by_mean_and_interval() -> None:
    cell = grid.make_cell("homogeneous", "ours", 16)
    rows = evaluate_targets(
        grid.GridResults({cell: [{"p99_ms": 100.0, "wait_p99_ms": 46.0, "p999_ms": 100.0}] * 3})
    )
    verdicts = {row["target"]: (row["holds"], row["sure"]) for row in rows}
    assert verdicts["p99, homogeneous, 16"] == (True, True)
    assert verdicts["wait p99, homogeneous, 16"] == (False, False)


@pytest.mark.first
def test_micro_bench_measures_pick_cost() -> None:
    result = run_bench("micro", "--quick", "--sources")
    assert set(result["pick_ns"]) == {"8", "64"}
    for pick_ns in result["pick_ns"].values():
        assert 0 < pick_ns["p50"] <= pick_ns["p99"]
    for key in ("picks_per_second", "release_ns", "report_hook_ns", "apply_ns", "frame_us"):
        assert result[key]
    hub = result["hub"]["20"]
    assert 0 < hub["cpu"] < 2
    assert min(hub["reports_per_second"], hub["frames_per_second"]) > 0
    assert 0 < hub["age_p50_ms"] <= hub["age_p99_ms"]
