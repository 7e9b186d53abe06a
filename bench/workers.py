"""One worker and two workers on one core: a request must not cost more if there are more workers.

With more cores, each worker would be pinned to a core of its own. With two cores, the load needs
the second one, so only the processor time per request can be compared.
"""

import contextlib
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from bench import product
from bench.arms import (
    ARM_CORE,
    LOAD_CORE,
    Arm,
    BenchContext,
    start_asectl,
    start_backend,
    start_reporter,
    wait_for_log_record,
    wait_until_ready,
)
from bench.gateway import measure_arm
from bench.workload import SCHEMA, envelope_request


def run(rounds: int, seconds: int, connections: int = 0) -> dict[str, Any]:
    """Return {"arms": {"1": {...}, "2": {...}}, "ratios": {"cpu 2/1", "rps 2/1"}}.

    `connections` is the number of connections of the load. 0 means 32 per worker, because workers
    are added to serve more load. With the same load on both arms, each of the two workers finds
    half as much work in an iteration of its event loop, and fewer requests share the cost of the
    iteration. Ratios are medians of the ratios of one round. Raises RuntimeError if a gateway does
    not respond correctly.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        context = start_backend(folder, stack)
        hub = _start_hub(context)
        arms = [_start_gateway(context, hub, worker_count) for worker_count in (1, 2)]
        start_reporter(context, hub)
        connections_by_arm = {arm.name: connections or 32 * int(arm.name) for arm in arms}
        for arm in arms:
            wait_until_ready(arm)
            (folder / f"{arm.name}.body").write_bytes(arm.request.body)
            measure_arm(arm, folder, 1, connections_by_arm[arm.name])
        results_by_arm: dict[str, list[Any]] = {arm.name: [] for arm in arms}
        for _ in range(rounds):
            for arm in arms:
                results_by_arm[arm.name].append(
                    measure_arm(arm, folder, seconds, connections_by_arm[arm.name])
                )
    pairs = list(zip(results_by_arm["1"], results_by_arm["2"], strict=True))
    return {
        "arms": {
            name: {
                "connections": connections_by_arm[name],
                "rps": round(median(t.rps for t in results), 1),
                "cpu_us_per_request": round(median(t.cpu_us for t in results), 2),
                "errors": sum(t.errors for t in results),
            }
            for name, results in results_by_arm.items()
        },
        "ratios": {
            "cpu 2/1": round(median(two.cpu_us / one.cpu_us for one, two in pairs), 3),
            "rps 2/1": round(median(two.rps / one.rps for one, two in pairs), 3),
        },
    }


def format_table(result: dict[str, Any]) -> str:
    """Return the figures as text, one line per arm and ratio."""
    lines = ["workers  connections  requests/s   CPU us  errors   (all on one core)"]
    lines += [
        f"{name:<8}{figures['connections']:>12}{figures['rps']:>12,.0f}{figures['cpu_us_per_request']:>9.1f}{figures['errors']:>8}"
        for name, figures in result["arms"].items()
    ]
    return "\n".join([*lines, *(f"{name}: {ratio}" for name, ratio in result["ratios"].items())])


def _start_hub(context: BenchContext) -> str:
    log = context.folder / "hub.log"
    args = ["lb", "--lb-port", "0", "--lb-admin-port", "0"]
    start_asectl(
        context, LOAD_CORE, args, log, product.import_environment(product.ensure_installed())
    )
    return wait_for_log_record(log, "listening")["lb"]


def _start_gateway(context: BenchContext, hub: str, worker_count: int) -> Arm:
    schemas = context.folder / f"workers-{worker_count}"
    schemas.mkdir()
    (schemas / "schema_bench.json").write_bytes(SCHEMA)
    log = context.folder / f"workers-{worker_count}.log"
    args = ["gateway", "--schemas", str(schemas), "--gateway-port", "0", "--lb-hub", hub]
    args += [
        "--gateway-admin-port",
        "0",
        "--gateway-lame-duck",
        "0",
        "--workers",
        str(worker_count),
    ]
    env = product.import_environment(product.ensure_installed())
    process = start_asectl(context, ARM_CORE, args, log, env)
    return Arm(
        str(worker_count),
        process.pid,
        wait_for_log_record(log, "listening")["gateway"],
        envelope_request("small"),
    )
