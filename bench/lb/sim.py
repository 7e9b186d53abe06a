"""`python -m bench lb sim`: a grid of policies in virtual time, with the product's classes."""

import json
import subprocess
import sys
import time
from typing import Any

from bench.lb import grid
from bench.lb.targets import evaluate_targets

_VALIDATION = {"ci": ("60000", "1"), "full": ("250000", "4"), "holdout": ("60000", "1")}


def run(name: str, tuned_revision: str, *, compiled: bool) -> dict[str, Any]:
    """Return the results of the grid `name`, its targets, and the validation of the simulator.

    The first seed is the first six hexadecimal digits of `tuned_revision`, 1 if that is empty. For
    the grid `holdout`, `tuned_revision` is the hash of the last revision that was tuned. `seconds`
    is the run time.
    """
    cells, seed_count, requests = grid.read_grid(name)
    first_seed = int(tuned_revision[:6], 16) if tuned_revision else 1
    started_at = time.monotonic()
    validation = _run_validation(*_VALIDATION[name], compiled=compiled)
    seeds = list(range(first_seed, first_seed + seed_count))
    results = grid.run_grid(cells, seeds, requests, compiled=compiled)
    return {
        "grid": name,
        "seeds": seeds,
        "requests": requests,
        "compiled": compiled,
        "seconds": round(time.monotonic() - started_at, 1),
        "validation": validation,
        "cells": results.rows(),
        "targets": evaluate_targets(results),
    }


def _run_validation(requests: str, seeds: str, *, compiled: bool) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "bench.lb.validate", requests, seeds]
    env = grid.environment(compiled=compiled)
    completed = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
    checks: list[dict[str, Any]] = json.loads(completed.stdout)
    return checks


def format_table(result: dict[str, Any]) -> str:
    """Return the result as text, one line per check, cell and target."""
    target = f"{len(result['seeds'])} seeds of {result['requests']} requests"
    lines = [f"grid {result['grid']}, {target}, {result['seconds']:g} s"]
    for check in result["validation"]:
        relative_error = check["simulated"] / check["known"] - 1
        verdict = "holds" if check["holds"] else "FAILS"
        lines.append(
            f"validation: {check['name']:<32} "
            f"{relative_error:+.1%} of {check['within']:.0%}: {verdict}"
        )
    lines.append(
        f"{'scenario':<13}{'policy':<16}{'K':>3}{'rho':>6}{'delay':>7}{'p50':>8}{'p99':>9}"
        f"{'95 %':>17}{'p99.9':>9}{'wait p99':>10}{'reports':>9}{'refused':>9}"
    )
    for row in result["cells"]:
        extras = "".join(f" {key} {row[key]:g}" for key in ("loss", "report") if key in row)
        extras += f" at home {row['kept']:.2f}" if row["kept"] else ""
        extras += f" to the liar {row['first']:.3f}" if row["scenario"] == "liar" else ""
        low, high = row["ci95"]
        lines.append(
            f"{row['scenario']:<13}{row['policy']:<16}{row['gateways']:>3}{row['rho']:>6g}"
            f"{row['delay_ms']:>7g}{row['p50_ms']:>8.1f}{row['p99_ms']:>9.1f}"
            f"{f'{low:.1f}..{high:.1f}':>17}{row['p999_ms']:>9.1f}{row['wait_p99_ms']:>10.1f}"
            f"{row['reports_per_request']:>9.2f}{row['refused_per_request']:>9.2f}{extras}"
        )
    for target in result["targets"]:
        low, high = target["ci95"]
        verdict = "sure" if target["sure"] else "holds" if target["holds"] else "MISSED"
        lines.append(
            f"target: {target['target']:<42} {target['value']:g} ({low:g}..{high:g}) "
            f"of {target['most']:g}: {verdict}"
        )
    return "\n".join(lines)
