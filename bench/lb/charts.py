"""`python -m bench lb charts FILE` draws charts of a grid's results into `bench/results`."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench.lb.chart import Series, render_chart

RESULTS = Path(__file__).parent.parent / "results"
_POLICIES = (
    "ours", "ours_unbounded", "least_request", "prequal", "peak_ewma", "loadMini", "oracle",
    "central",
)  # fmt: skip
_BASE_VALUES = {"rho": 0.9, "delay_ms": 5.0}

Row = dict[str, Any]


def run(file: str) -> dict[str, Any]:
    """Draw all charts of the results in `file`, the JSON of `lb sim`; return {"drawn": paths}."""
    rows: list[Row] = json.loads(Path(file).read_text(encoding="utf-8"))["cells"]
    paths = []
    for name, text in render_charts(rows).items():
        path = RESULTS / f"lb-{name}.svg"
        path.write_text(text, encoding="utf-8")
        paths.append(str(path.relative_to(RESULTS.parent.parent)))
    return {"drawn": paths}


def render_charts(rows: list[Row]) -> dict[str, str]:
    """Return the charts of the rows of a grid as {name: SVG text}."""
    charts: dict[str, str] = {}
    for metric, label in (("p99_ms", "p99"), ("wait_p99_ms", "wait p99")):
        slug = label.replace(" ", "-")
        for scenario, p99_max in (("homogeneous", 180), ("half_2x", 260), ("public_grid", 260)):
            y_max = p99_max if metric == "p99_ms" else p99_max * 0.75
            series = _select_series(rows, metric, "gateways", partial(_is_base_case, scenario))
            charts[f"{slug}-gateways-{scenario}"] = render_chart(
                f"{scenario}: {label} against gateways",
                "gateways",
                f"{label}, ms",
                series,
                y_max=y_max,
            )
        series = _select_series(rows, metric, "delay_ms", _is_delay_case)
        charts[f"{slug}-delay"] = render_chart(
            f"homogeneous, 64 gateways: {label} against the age of reports",
            "a report's way, ms",
            f"{label}, ms",
            series,
            y_max=320,
        )
        series = _select_series(rows, metric, "rho", _is_load_case)
        charts[f"{slug}-load"] = render_chart(
            f"homogeneous, 16 gateways: {label} against load",
            "offered load by capacity",
            f"{label}, ms",
            series,
            y_max=240 if metric == "p99_ms" else 180,
        )
    return charts


def _select_series(
    rows: list[Row], metric: str, x_key: str, is_included: Callable[[Row], bool]
) -> Series:
    points_by_policy: dict[str, list[tuple[float, float]]] = {}
    for name in _POLICIES:
        points = [
            (row[x_key], row[metric]) for row in rows if row["policy"] == name and is_included(row)
        ]
        if len(points) > 1:
            points_by_policy[name] = points
    return points_by_policy


def _is_base_case(scenario: str, row: Row) -> bool:
    has_base_values = all(row[key] == value for key, value in _BASE_VALUES.items())
    return (
        row["scenario"] == scenario
        and has_base_values
        and "loss" not in row
        and "report" not in row
    )


def _is_delay_case(row: Row) -> bool:
    is_unvaried = "loss" not in row and "report" not in row and row["rho"] == _BASE_VALUES["rho"]
    return is_unvaried and row["scenario"] == "homogeneous" and row["gateways"] == 64


def _is_load_case(row: Row) -> bool:
    is_unvaried = (
        "loss" not in row and "report" not in row and row["delay_ms"] == _BASE_VALUES["delay_ms"]
    )
    return is_unvaried and row["scenario"] == "homogeneous" and row["gateways"] == 16


def format_table(result: dict[str, Any]) -> str:
    """Return the paths as text, one per line."""
    return "\n".join(result["drawn"])
