"""The bench runs as its README says: right answers, no errors, the shape of its JSON."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

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
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    layers = json.loads(told.stdout)["layers"]
    assert list(layers) == [
        "head",
        "parse",
        "validate",
        "encode",
        "pick",
        "call",
        "loader",
        "decode",
        "write",
    ]
    assert all(step["ns"] > 0 for step in layers.values())
    assert layers["validate"]["naive_ns"] > layers["validate"]["ns"]
    assert json.loads(told.stdout)["load_1000_schemas_s"] > 0


def bench(*words: str) -> dict[str, Any]:
    told = subprocess.run(
        [sys.executable, "-m", "bench", *words, "--json", "-"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    result: dict[str, Any] = json.loads(told.stdout)
    return result


@pytest.mark.peer("cc")
def test_the_other_benches_have_their_shapes() -> None:
    quick = ("--rounds", "1", "--seconds", "1")
    latency = bench("latency", "--peer", "ours-asgi", "--rate", "50", *quick)
    assert set(latency["arms"]) == {"direct", "ours", "ours-asgi"}
    assert set(latency["ratios"]) == {f"ours/ours-asgi added {p}" for p in ("p50", "p99")}
    assert bench("idle", "--connections", "20")["rss_kib_each"] >= 0
    assert bench("calls", *quick)["ratios"]["ours/grpc.aio"] > 0


@pytest.mark.peer("wrk")
@pytest.mark.peer("cc")
def test_the_bench_of_workers() -> None:
    told = bench("workers", "--rounds", "1", "--seconds", "1")
    assert {name: arm["errors"] for name, arm in told["arms"].items()} == {"1": 0, "2": 0}
    assert told["ratios"]["cpu 2/1"] > 0
