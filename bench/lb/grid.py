"""A grid: cells from a file, each under several seeds, in as many processes as there are cores."""

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
from bench.lb.cell import Cell, cell
from bench.lb.stats import interval, mean

HERE = Path(__file__).parent
_VARIED = ("loss", "report")


def read(name: str) -> tuple[list[Cell], int, int]:
    """Return the cells of a grid, its seeds and requests. Raises KeyError for an unknown one."""
    known: dict[str, Any] = {}
    for file in ("cells.json", "holdout.json"):
        known |= json.loads((HERE / file).read_text(encoding="utf-8"))
    told = known[name]
    cells = [made for group in told["groups"] for made in _expanded(group)]
    return cells, told["seeds"], told["requests"]


def _expanded(group: dict[str, Any]) -> Iterator[Cell]:
    fixed = {
        key: tuple(v) if isinstance(v, list) else v for key, v in group.get("with", {}).items()
    }
    ((name, values),) = group.get("each", {"": [None]}).items()
    for value in values:
        more = {**fixed, **({name: value} if name else {})}
        for policy in group["policies"]:
            for gateways in group["gateways"]:
                yield cell(group["scenario"], policy, gateways, **more)


def environment(*, compiled: bool) -> dict[str, str]:
    """Return the environment of a process of this bench: with the compiled product, or not."""
    root = str(HERE.parent.parent)
    if not compiled:
        return {**os.environ, "PYTHONPATH": root}
    told = product.environment(product.installed())
    return {**os.environ, **told, "PYTHONPATH": f"{told['PYTHONPATH']}:{root}"}


def run(cells: list[Cell], seeds: list[int], requests: int, *, compiled: bool = True) -> "Grid":
    """Return what came of every cell under every seed."""
    env = environment(compiled=compiled)
    count = os.cpu_count() or 1
    workers: SimpleQueue[subprocess.Popen[str]] = SimpleQueue()
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "bench.lb.worker"], env=env, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for _ in range(count)
    ]  # fmt: skip
    for worker in started:
        workers.put(worker)

    def work(job: tuple[Cell, int]) -> dict[str, float]:
        worker = workers.get()
        try:
            return _asked(worker, {"cell": asdict(job[0]), "seed": job[1], "requests": requests})
        finally:
            workers.put(worker)

    jobs = [(made, seed) for made in cells for seed in seeds]
    try:
        with ThreadPoolExecutor(count) as pool:
            came = list(pool.map(work, jobs))
    finally:
        for worker in started:
            worker.kill()
            worker.communicate()
    grouped: dict[Cell, list[dict[str, float]]] = {}
    for (made, _), figures in zip(jobs, came, strict=True):
        grouped.setdefault(made, []).append(figures)
    return Grid(grouped)


def _asked(worker: subprocess.Popen[str], told: dict[str, Any]) -> dict[str, float]:
    if worker.stdin is None or worker.stdout is None:
        raise RuntimeError("a worker without pipes")
    worker.stdin.write(json.dumps(told) + "\n")
    worker.stdin.flush()
    figures: dict[str, float] = json.loads(worker.stdout.readline())
    return figures


class Grid:
    """The figures of each cell, one per seed."""

    def __init__(self, figures: dict[Cell, list[dict[str, float]]]) -> None:
        self.figures = figures

    def of(self, scenario: str, policy: str, gateways: int, metric: str) -> list[float]:
        """Return a figure of the cell of that name, one per seed; none where it was not run."""
        wanted = cell(scenario, policy, gateways)
        return [told[metric] for told in self.figures.get(wanted, [])]

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per cell: means over the seeds, and the interval of the p99."""
        rng = Random(1)  # noqa: S311 (resampling)
        rows = []
        for made, told in self.figures.items():
            row = made.facts() | {key: getattr(made, key) for key in _VARIED if getattr(made, key)}
            row |= {key: round(mean([seed[key] for seed in told]), 4) for key in told[0]}
            for key, name in (("p99_ms", "ci95"), ("wait_p99_ms", "wait_ci95")):
                low, high = interval([seed[key] for seed in told], rng)
                row[name] = [round(low, 2), round(high, 2)]
            rows.append(row | {"seeds": len(told)})
        return rows
