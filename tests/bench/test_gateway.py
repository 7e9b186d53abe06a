"""The bench runs as its README says: right answers, no errors, the shape of its JSON."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.peer("wrk")
@pytest.mark.peer("cc")
def test_the_gateway_bench_measures_ours_beside_a_peer() -> None:
    words = ["gateway", "--peer", "naive", "--rounds", "1", "--seconds", "1", "--json", "-"]
    told = subprocess.run(
        [sys.executable, "-m", "bench", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    result = json.loads(told.stdout)
    assert set(result["machine"]) >= {"cpu", "cores", "python", "versions", "date", "revision"}
    assert set(result["arms"]) == {"ours", "naive"}
    for arm in result["arms"].values():
        assert arm["errors"] == 0
        assert arm["rps"] > 0
        assert set(arm) >= {"p50_ms", "p99_ms", "cpu_us_per_request", "rss_mib", "load_limited"}
    assert result["ratios"]["ours/naive"] > 0


def test_the_layers_bench_tells_every_step() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "bench", "layers", "--rounds", "1", "--json", "-"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    layers = json.loads(told.stdout)["layers"]
    assert set(layers) == {"parse", "validate", "encode", "pick", "loader", "decode"}
    assert all(step["ns"] > 0 for step in layers.values())
