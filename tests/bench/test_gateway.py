"""The bench runs as its README says: right answers, no errors, the shape of its JSON."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# These benches run the compiled product.
pytestmark = pytest.mark.compiled_only

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.peer("wrk")
@pytest.mark.peer("cc")
def test_gateway_bench_measures_gateway_and_peer() -> None:
    args = ["gateway", "--peer", "naive", "--rounds", "1", "--seconds", "1", "--json", "-"]
    completed = subprocess.run(
        [sys.executable, "-m", "bench", *args],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    result = json.loads(completed.stdout)
    assert set(result["machine"]) >= {"cpu", "cores", "python", "versions", "date", "revision"}
    assert set(result["arms"]) == {"ours", "naive"}
    for arm in result["arms"].values():
        assert arm["errors"] == 0
        assert arm["rps"] > 0
        assert set(arm) >= {"p50_ms", "p99_ms", "cpu_us_per_request", "rss_mib", "load_limited"}
    assert result["ratios"]["ours/naive"] > 0


def test_layers_bench_measures_every_step() -> None:
    completed = subprocess.run(
        [sys.executable, "-m", "bench", "layers", "--rounds", "1", "--json", "-"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    layers = json.loads(completed.stdout)["layers"]
    assert list(layers) == [
        "head",
        "parse",
        "validate",
        "encode",
        "pick",
        "call",
        "decode",
        "write",
    ]
    assert all(step["ns"] > 0 for step in layers.values())
    assert layers["validate"]["naive_ns"] > layers["validate"]["ns"]
    assert json.loads(completed.stdout)["load_1000_schemas_s"] > 0


def run_bench(*args: str) -> dict[str, Any]:
    completed = subprocess.run(
        [sys.executable, "-m", "bench", *args, "--json", "-"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    result: dict[str, Any] = json.loads(completed.stdout)
    return result


@pytest.mark.peer("cc")
def test_result_shapes_of_other_benches() -> None:
    quick_args = ("--rounds", "1", "--seconds", "1")
    args = ("gateway", "--peer", "ours-asgi", "--rate", "50", "--loaders", "4", "--heads", "mixed")
    latency = run_bench(*args, *quick_args)
    assert set(latency["arms"]) == {"direct", "ours", "ours-asgi"}
    assert latency["arms"]["ours"]["cpu_us_per_request"] > 0
    figures = ("added p50", "added p99", "cpu")
    assert set(latency["ratios"]) == {f"ours/ours-asgi {figure}" for figure in figures}
    assert run_bench("idle", "--connections", "20")["rss_kib_each"] >= 0
    rest = run_bench("rest", "--seconds", "1")
    assert 0 < rest["gateway_percent"] < 100
    assert 0 < rest["loader_percent"] < 100
    assert run_bench("calls", *quick_args)["ratios"]["ours/grpc.aio"] > 0


@pytest.mark.peer("wrk")
@pytest.mark.peer("cc")
def test_workers_bench() -> None:
    result = run_bench("workers", "--rounds", "1", "--seconds", "1")
    assert {name: arm["errors"] for name, arm in result["arms"].items()} == {"1": 0, "2": 0}
    assert result["ratios"]["cpu 2/1"] > 0


@pytest.mark.peer("wrk")
def test_overload_bench() -> None:
    result = run_bench("overload", "--rounds", "1", "--seconds", "1")
    assert result["served_us"] > 0
    assert result["refused_per_second"] > 0
    assert set(result["open_loop"]) == {"200", "503"}
    assert sum(figures["count"] for figures in result["open_loop"].values()) == 320


def test_limits_bench() -> None:
    result = run_bench("limits", "--seconds", "1")
    assert result["other_statuses"] == []
    assert 0 < result["hub"] < result["offered"]
    assert 0 < result["no_hub"] < result["offered"]
