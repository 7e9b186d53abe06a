"""A grid of cells from a JSON file, each simulated with several seeds, on all cores."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from random import Random
from typing import Any

from bench import product
from bench.lb.cell import Cell, make_cell
from bench.lb.stats import bootstrap_interval, mean

HERE = Path(__file__).parent
_OPTIONAL_KEYS = ("loss", "report")


def read_grid(name: str) -> tuple[list[Cell], int, int]:
    """Return the cells of a grid, its number of seeds, and the requests to measure per seed.

    Raises KeyError for an unknown name.
    """
    grids: dict[str, Any] = {}
    for file in ("cells.json", "holdout.json"):
        grids |= json.loads((HERE / file).read_text(encoding="utf-8"))
    grid_spec = grids[name]
    cells = [cell for group in grid_spec["groups"] for cell in _expand_group(group)]
    return cells, grid_spec["seeds"], grid_spec["requests"]


def _expand_group(group: dict[str, Any]) -> Iterator[Cell]:
    fixed_fields = {
        key: tuple(v) if isinstance(v, list) else v for key, v in group.get("with", {}).items()
    }
    ((name, values),) = group.get("each", {"": [None]}).items()
    for value in values:
        overrides = {**fixed_fields, **({name: value} if name else {})}
        for policy in group["policies"]:
            for gateways in group["gateways"]:
                yield make_cell(group["scenario"], policy, gateways, **overrides)


def environment(*, compiled: bool) -> dict[str, str]:
    """Return the environment for a bench process that imports the product, compiled or not.

    Builds the compiled product if necessary. The package `bench` always comes from this checkout.
    """
    root = str(HERE.parent.parent)
    if not compiled:
        return {**os.environ, "PYTHONPATH": root}
    import_path = product.import_environment(product.ensure_installed())
    return {**os.environ, **import_path, "PYTHONPATH": f"{import_path['PYTHONPATH']}:{root}"}


def run_grid(
    cells: list[Cell], seeds: list[int], requests: int, *, compiled: bool = True
) -> "GridResults":
    """Simulate every cell with every seed, in one worker process per core."""
    env = environment(compiled=compiled)
    count = os.cpu_count() or 1
    idle_workers: SimpleQueue[subprocess.Popen[str]] = SimpleQueue()
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "bench.lb.worker"], env=env, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for _ in range(count)
    ]  # fmt: skip
    for worker in processes:
        idle_workers.put(worker)

    def run_job(job: tuple[Cell, int]) -> dict[str, float]:
        worker = idle_workers.get()
        try:
            return _request_simulation(
                worker, {"cell": asdict(job[0]), "seed": job[1], "requests": requests}
            )
        finally:
            idle_workers.put(worker)

    jobs = [(cell, seed) for cell in cells for seed in seeds]
    try:
        with ThreadPoolExecutor(count) as pool:
            results = list(pool.map(run_job, jobs))
    finally:
        for worker in processes:
            worker.kill()
            worker.communicate()
    grouped: dict[Cell, list[dict[str, float]]] = {}
    for (cell, _), figures in zip(jobs, results, strict=True):
        grouped.setdefault(cell, []).append(figures)
    return GridResults(grouped)


def _request_simulation(worker: subprocess.Popen[str], job: dict[str, Any]) -> dict[str, float]:
    if worker.stdin is None or worker.stdout is None:
        raise RuntimeError("a worker without pipes")
    worker.stdin.write(json.dumps(job) + "\n")
    worker.stdin.flush()
    figures: dict[str, float] = json.loads(worker.stdout.readline())
    return figures


class GridResults:
    """The results of a grid: `figures` has one dictionary of figures per seed for each cell."""

    def __init__(self, figures: dict[Cell, list[dict[str, float]]]) -> None:
        self.figures = figures

    def values_of(self, scenario: str, policy: str, gateways: int, metric: str) -> list[float]:
        """Return the values of `metric`, one per seed; an empty list if the cell was not run.

        The cell is the one with the default parameters of the scenario.
        """
        key = make_cell(scenario, policy, gateways)
        return [seed_figures[metric] for seed_figures in self.figures.get(key, [])]

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per cell: means over the seeds, and 95 % intervals of the two p99.

        `ci95` is the interval of `p99_ms`, `wait_ci95` that of `wait_p99_ms`.
        """
        rng = Random(1)  # noqa: S311 (resampling)
        rows = []
        for cell, figures_by_seed in self.figures.items():
            row = cell.labels() | {
                key: getattr(cell, key) for key in _OPTIONAL_KEYS if getattr(cell, key)
            }
            row |= {
                key: round(mean([figures[key] for figures in figures_by_seed]), 4)
                for key in figures_by_seed[0]
            }
            for key, name in (("p99_ms", "ci95"), ("wait_p99_ms", "wait_ci95")):
                low, high = bootstrap_interval([figures[key] for figures in figures_by_seed], rng)
                row[name] = [round(low, 2), round(high, 2)]
            rows.append(row | {"seeds": len(figures_by_seed)})
        return rows
