"""A picture is well-formed, and shows what it is given where it belongs."""

import re
from xml.etree import ElementTree

from bench.lb.chart import render_chart
from bench.lb.charts import render_charts

SERIES = {"ours": [(1.0, 95.0), (64.0, 103.0)], "a & b": [(1.0, 110.0), (64.0, 400.0)]}


def test_chart_is_well_formed_and_labelled() -> None:
    text = render_chart("p99 <against> K", "gateways", "ms", SERIES, y_max=180)
    root = ElementTree.fromstring(text)  # noqa: S314 (our own)
    labels = {node.text for node in root.iter() if node.tag.endswith("text")}
    assert {"p99 <against> K", "gateways", "ms", "ours", "a & b", "1", "64", "0", "200"} <= labels


def test_larger_values_are_higher_and_clipped_at_the_edge() -> None:
    text = render_chart("t", "x", "y", SERIES, y_max=180)
    first, second = (
        [tuple(map(float, point.split(","))) for point in points.split()]
        for points in re.findall(r'<polyline points="([^"]+)"', text)
    )
    assert first[0][0] < first[1][0]
    assert first[0][1] > first[1][1] > second[1][1], "y grows downwards"
    assert second[1][1] == 44, "at the top edge"
    assert text.count("<circle") == 3, "no dot where it was cut"


def test_all_charts_of_a_grid() -> None:
    rows = [
        {"scenario": scenario, "policy": policy, "gateways": gateways, "rho": rho,
         "delay_ms": delay, "p99_ms": 100.0, "wait_p99_ms": 40.0}
        for scenario in ("homogeneous", "half_2x", "public_grid")
        for policy in ("ours", "prequal")
        for gateways in (1, 16, 64)
        for rho, delay in ((0.9, 5.0), (0.5, 5.0), (0.9, 50.0))
    ]  # fmt: skip
    charts = render_charts(rows)
    assert len(charts) == 10
    for text in charts.values():
        assert text.count("<polyline") == 2


def test_names_on_the_axis() -> None:
    text = render_chart("t", "x", "y", {"a": [(0, 1), (1, 2)]}, y_max=2, x_names=["v1", "v2"])
    assert ">v1<" in text
    assert ">v2<" in text
    assert ">0<" in text, "of the other axis"
