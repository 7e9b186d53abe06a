"""`python -m bench lb sim`: the grid of policies, in virtual time, by the product's own classes."""

import json
import subprocess
import sys
import time
from typing import Any

from bench.lb import grid
from bench.lb.targets import judged

_VALIDATION = {"ci": ("60000", "1"), "full": ("250000", "4"), "holdout": ("60000", "1")}


def run(name: str, tuned: str, *, compiled: bool) -> dict[str, Any]:
    """Return the figures of a grid, and of the simulator's own validation.

    The seeds of the grid `holdout` come from `tuned`, the revision that was tuned last.
    """
    cells, count, requests = grid.read(name)
    first = int(tuned[:6], 16) if tuned else 1
    began = time.monotonic()
    validation = _validated(*_VALIDATION[name], compiled=compiled)
    seeds = list(range(first, first + count))
    done = grid.run(cells, seeds, requests, compiled=compiled)
    return {
        "grid": name,
        "seeds": seeds,
        "requests": requests,
        "compiled": compiled,
        "seconds": round(time.monotonic() - began, 1),
        "validation": validation,
        "cells": done.rows(),
        "targets": judged(done),
    }


def _validated(requests: str, seeds: str, *, compiled: bool) -> list[dict[str, Any]]:
    words = [sys.executable, "-m", "bench.lb.validate", requests, seeds]
    env = grid.environment(compiled=compiled)
    told = subprocess.run(words, env=env, check=True, capture_output=True, text=True)
    checks: list[dict[str, Any]] = json.loads(told.stdout)
    return checks


def table(result: dict[str, Any]) -> str:
    """Return the result as text."""
    told = f"{len(result['seeds'])} seeds of {result['requests']} requests"
    lines = [f"grid {result['grid']}, {told}, {result['seconds']:g} s"]
    for check in result["validation"]:
        off = check["simulated"] / check["known"] - 1
        word = "holds" if check["holds"] else "FAILS"
        lines.append(f"validation: {check['name']:<32} {off:+.1%} of {check['within']:.0%}: {word}")
    lines.append(
        f"{'scenario':<13}{'policy':<16}{'K':>3}{'rho':>6}{'delay':>7}{'p50':>8}{'p99':>9}"
        f"{'95 %':>17}{'p99.9':>9}{'wait p99':>10}{'reports':>9}{'refused':>9}"
    )
    for row in result["cells"]:
        more = "".join(f" {key} {row[key]:g}" for key in ("loss", "report") if key in row)
        more += f" at home {row['kept']:.2f}" if row["kept"] else ""
        more += f" to the liar {row['first']:.3f}" if row["scenario"] == "liar" else ""
        low, high = row["ci95"]
        lines.append(
            f"{row['scenario']:<13}{row['policy']:<16}{row['gateways']:>3}{row['rho']:>6g}"
            f"{row['delay_ms']:>7g}{row['p50_ms']:>8.1f}{row['p99_ms']:>9.1f}"
            f"{f'{low:.1f}..{high:.1f}':>17}{row['p999_ms']:>9.1f}{row['wait_p99_ms']:>10.1f}"
            f"{row['reports_per_request']:>9.2f}{row['refused_per_request']:>9.2f}{more}"
        )
    for told in result["targets"]:
        low, high = told["ci95"]
        word = "sure" if told["sure"] else "holds" if told["holds"] else "MISSED"
        lines.append(
            f"target: {told['target']:<42} {told['value']:g} ({low:g}..{high:g}) "
            f"of {told['most']:g}: {word}"
        )
    return "\n".join(lines)
