"""`python -m bench lb charts FILE`: the pictures of a grid's figures, into `bench/results`."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench.lb.chart import Series, chart

RESULTS = Path(__file__).parent.parent / "results"
_NAMES = ("ours", "ours_unbounded", "least_request", "prequal", "peak_ewma", "loadMini", "oracle",
          "central")  # fmt: skip
_USUAL = {"rho": 0.9, "delay_ms": 5.0}

Row = dict[str, Any]


def run(file: str) -> dict[str, Any]:
    """Draw every picture of a grid's JSON; return the files."""
    rows: list[Row] = json.loads(Path(file).read_text(encoding="utf-8"))["cells"]
    drawn = []
    for name, text in pictures(rows).items():
        path = RESULTS / f"lb-{name}.svg"
        path.write_text(text, encoding="utf-8")
        drawn.append(str(path.relative_to(RESULTS.parent.parent)))
    return {"drawn": drawn}


def pictures(rows: list[Row]) -> dict[str, str]:
    """Return the pictures of rows, by name."""
    made: dict[str, str] = {}
    for metric, word in (("p99_ms", "p99"), ("wait_p99_ms", "wait p99")):
        short = word.replace(" ", "-")
        for scenario, most in (("homogeneous", 180), ("half_2x", 260), ("public_grid", 260)):
            limit = most if metric == "p99_ms" else most * 0.75
            series = _series(rows, metric, "gateways", partial(_plain, scenario))
            made[f"{short}-gateways-{scenario}"] = chart(
                f"{scenario}: {word} against gateways",
                "gateways",
                f"{word}, ms",
                series,
                most=limit,
            )
        series = _series(rows, metric, "delay_ms", _of_delay)
        made[f"{short}-delay"] = chart(
            f"homogeneous, 64 gateways: {word} against the age of reports",
            "a report's way, ms",
            f"{word}, ms",
            series,
            most=320,
        )
        series = _series(rows, metric, "rho", _of_load)
        made[f"{short}-load"] = chart(
            f"homogeneous, 16 gateways: {word} against load",
            "offered load by capacity",
            f"{word}, ms",
            series,
            most=240 if metric == "p99_ms" else 180,
        )
    return made


def _series(rows: list[Row], metric: str, x: str, fits: Callable[[Row], bool]) -> Series:
    found: dict[str, list[tuple[float, float]]] = {}
    for name in _NAMES:
        points = [(row[x], row[metric]) for row in rows if row["policy"] == name and fits(row)]
        if len(points) > 1:
            found[name] = points
    return found


def _plain(scenario: str, row: Row) -> bool:
    usual = all(row[key] == value for key, value in _USUAL.items())
    return row["scenario"] == scenario and usual and "loss" not in row and "report" not in row


def _of_delay(row: Row) -> bool:
    plain = "loss" not in row and "report" not in row and row["rho"] == _USUAL["rho"]
    return plain and row["scenario"] == "homogeneous" and row["gateways"] == 64


def _of_load(row: Row) -> bool:
    plain = "loss" not in row and "report" not in row and row["delay_ms"] == _USUAL["delay_ms"]
    return plain and row["scenario"] == "homogeneous" and row["gateways"] == 16


def table(result: dict[str, Any]) -> str:
    """Return the files as text."""
    return "\n".join(result["drawn"])
