"""One worker against two, on one core: what a request costs must not grow with their number.

With enough cores two workers would be pinned to two; where the load needs the other core, CPU time
per request is what can be told.
"""

import contextlib
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from bench import product
from bench.arms import ARM_CORE, LOAD_CORE, Arm, Ground, answers, asectl, backend, said, start
from bench.gateway import turn
from bench.workload import SCHEMA, envelope


def run(rounds: int, seconds: int, connections: int = 0) -> dict[str, Any]:
    """Return {"arms": {"1": {...}, "2": {...}}, "ratios": {"cpu 2/1", "rps 2/1"}}.

    `connections` are those of the load; 0 means 32 for each worker: one that is added for more load
    gets it. With the same load on both, two find half as much to do in each turn of their loops,
    and less of the work is shared. Raises RuntimeError when a gateway answers wrong.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ground = backend(folder, stack)
        lb = _hub(ground)
        arms = [_arm(ground, lb, number) for number in (1, 2)]
        start(
            ground,
            LOAD_CORE,
            [sys.executable, "-m", "bench.reporter", f"127.0.0.1:{ground.backend}", lb],
        )
        loads = {arm.name: connections or 32 * int(arm.name) for arm in arms}
        for arm in arms:
            answers(arm)
            (folder / f"{arm.name}.body").write_bytes(arm.ask.body)
            turn(arm, folder, 1, loads[arm.name])
        told: dict[str, list[Any]] = {arm.name: [] for arm in arms}
        for _ in range(rounds):
            for arm in arms:
                told[arm.name].append(turn(arm, folder, seconds, loads[arm.name]))
    pairs = list(zip(told["1"], told["2"], strict=True))
    return {
        "arms": {
            name: {
                "connections": loads[name],
                "rps": round(median(t.rps for t in turns), 1),
                "cpu_us_per_request": round(median(t.cpu_us for t in turns), 2),
                "errors": sum(t.errors for t in turns),
            }
            for name, turns in told.items()
        },
        "ratios": {
            "cpu 2/1": round(median(two.cpu_us / one.cpu_us for one, two in pairs), 3),
            "rps 2/1": round(median(two.rps / one.rps for one, two in pairs), 3),
        },
    }


def table(result: dict[str, Any]) -> str:
    """Return the figures as lines."""
    lines = ["workers  connections  requests/s   CPU us  errors   (all on one core)"]
    lines += [
        f"{name:<8}{told['connections']:>12}{told['rps']:>12,.0f}{told['cpu_us_per_request']:>9.1f}{told['errors']:>8}"
        for name, told in result["arms"].items()
    ]
    return "\n".join([*lines, *(f"{name}: {ratio}" for name, ratio in result["ratios"].items())])


def _hub(ground: Ground) -> str:
    log = ground.folder / "hub.log"
    words = ["lb", "--lb-port", "0", "--lb-admin-port", "0"]
    asectl(ground, LOAD_CORE, words, log, product.environment(product.installed()))
    return said(log, "listening")["lb"]


def _arm(ground: Ground, lb: str, number: int) -> Arm:
    schemas = ground.folder / f"workers-{number}"
    schemas.mkdir()
    (schemas / "schema_bench.json").write_bytes(SCHEMA)
    log = ground.folder / f"workers-{number}.log"
    words = ["gateway", "--schemas", str(schemas), "--gateway-port", "0", "--lb-hub", lb]
    words += ["--gateway-admin-port", "0", "--gateway-lame-duck", "0", "--workers", str(number)]
    env = product.environment(product.installed())
    process = asectl(ground, ARM_CORE, words, log, env)
    return Arm(str(number), process.pid, said(log, "listening")["gateway"], envelope("small"))
