"""Requests per second beside Envoy of several revisions of the product, in one run.

Each revision is built in a worktree of its own, with the dependencies of this environment. The
results are kept by machine in `results/history.json`, and drawn in `results/history.svg`.
"""

import contextlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from bench import product
from bench.arms import start_backend, start_envoy, start_product, wait_until_ready
from bench.gateway import ArmResult, measure_arm
from bench.lb.chart import render_chart
from bench.machine import describe_machine

_RESULTS = Path(__file__).parent / "results"
_CONNECTIONS = 32


def run(revisions: list[str], rounds: int, seconds: int) -> dict[str, Any]:
    """Measure revisions, the oldest first, and return {"revisions": rows}; keep and draw them.

    `revisions` are names that git knows. Each row has "revision", "date", "subject", "rps",
    "cpu_us_per_request" and "ours/envoy", the median of the ratios of one round. Raises
    CalledProcessError for an unknown revision, and for one that cannot be built.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sites = {name: _build(name, folder, stack) for name in map(_short_name, revisions)}
        context = start_backend(folder, stack)
        arms = [start_envoy(context, "small")]
        for name, site in sites.items():
            environment = product.import_environment(site)
            arms.append(start_product(context, "small", name, environment))
        results: dict[str, list[ArmResult]] = {arm.name: [] for arm in arms}
        for arm in arms:
            wait_until_ready(arm)
            (folder / f"{arm.name}.body").write_bytes(arm.request.body)
            measure_arm(arm, folder, 1, _CONNECTIONS)
        for _ in range(rounds):
            for arm in arms:
                results[arm.name].append(measure_arm(arm, folder, seconds, _CONNECTIONS))
    rows = [_row(name, results[name], results["envoy"]) for name in sites]
    rows.sort(key=lambda row: row["date"])
    _keep(rows)
    return {"revisions": rows}


def format_table(result: dict[str, Any]) -> str:
    """Return the figures as text, one line per revision."""
    lines = ["revision   date         requests/s   CPU us   ours/envoy"]
    lines += [
        f"{row['revision']:<11}{row['date'][:10]}{row['rps']:>13,.0f}"
        f"{row['cpu_us_per_request']:>9.1f}{row['ours/envoy']:>13.3f}  {row['subject']}"
        for row in result["revisions"]
    ]
    return "\n".join(lines)


def draw(runs: dict[str, list[dict[str, Any]]]) -> str:
    """Return a chart of the ratios of each machine as SVG text."""
    names = {row["revision"]: row["date"] for rows in runs.values() for row in rows}
    revisions = sorted(names, key=lambda name: names[name])
    series = {
        machine: [(revisions.index(row["revision"]), row["ours/envoy"]) for row in rows]
        for machine, rows in runs.items()
    }
    highest = max(ratio for points in series.values() for _, ratio in points)
    return render_chart(
        "400-byte requests/s of one core beside Envoy's transcoding",
        "revision",
        "ours / Envoy",
        series,
        y_max=highest,
        x_names=revisions,
    )


def _short_name(revision: str) -> str:
    return _git("rev-parse", "--short=7", f"{revision}^{{commit}}")


def _build(name: str, folder: Path, stack: contextlib.ExitStack) -> Path:
    """Return the folder with the compiled product of a revision."""
    worktree = folder / f"tree-{name}"
    _git("worktree", "add", "--quiet", "--detach", str(worktree), name)
    stack.callback(_git, "worktree", "remove", "--force", str(worktree))
    command = [sys.executable, "-m", "bench.product"]
    output = subprocess.run(command, cwd=worktree, stdout=subprocess.PIPE, check=True, text=True)
    return Path(output.stdout.splitlines()[-1])


def _row(name: str, results: list[ArmResult], envoy: list[ArmResult]) -> dict[str, Any]:
    date, subject = _git("log", "-1", "--format=%cI %s", name).split(" ", 1)
    ratios = [ours.rps / peer.rps for ours, peer in zip(results, envoy, strict=True)]
    return {
        "revision": name,
        "date": date,
        "subject": subject,
        "rps": round(median(result.rps for result in results), 1),
        "cpu_us_per_request": round(median(result.cpu_us for result in results), 2),
        "ours/envoy": round(median(ratios), 3),
    }


def _keep(rows: list[dict[str, Any]]) -> None:
    """Replace the rows of this machine, which are of one run, and draw those of all machines."""
    file = _RESULTS / "history.json"
    runs = json.loads(file.read_text("utf-8")) if file.exists() else {}
    machine = str(describe_machine()["cpu"]).replace("(R)", "").removesuffix(" Processor")
    runs[machine] = rows
    file.write_text(json.dumps(runs, indent=2) + "\n", "utf-8")
    (_RESULTS / "history.svg").write_text(draw(runs), "utf-8")


def _git(*args: str) -> str:
    command = ["git", *args]
    completed = subprocess.run(
        command, cwd=product.ROOT, capture_output=True, text=True, check=True
    )
    return completed.stdout.strip()
