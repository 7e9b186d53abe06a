"""The cost of a hub: its processor time, and the age of its loads at the gateways.

The hub is `asectl lb` on core 0. Its clients (`bench/lb/hub_clients.py`) run on the last core.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.arms import BenchContext, start_asectl, wait_for_log_record
from bench.lb import grid
from bench.machine import cpu_seconds

_GATEWAYS = 64
# Requests per second of 16 loaders with 4 slots and 20 ms at a load of 0.9.
_RATE = 2880.0


def measure_hub(loaders: int, seconds: float, *, compiled: bool) -> dict[str, float]:
    """Return the figures of a hub with `loaders` loaders and 64 gateways, over `seconds`.

    `cpu` is the processor time of the hub in cores; for the others see `bench/lb/hub_clients.py`.
    """
    env = grid.environment(compiled=compiled)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        log = folder / "hub.log"
        args = ["lb", "--lb-port", "0", "--lb-admin-port", "0"]
        args += ["--lb-max-instances-per-peer", str(loaders)]  # they all are on this machine
        hub = start_asectl(BenchContext(folder, 0, stack), "0", args, log, env)
        spec = {
            "hub": wait_for_log_record(log, "listening")["lb"], "loaders": loaders,
            "gateways": _GATEWAYS, "rate": _RATE, "seconds": seconds,
        }  # fmt: skip
        client_process = subprocess.Popen(
            [
                "taskset",
                "-c",
                str((os.cpu_count() or 1) - 1),
                sys.executable,
                "-m",
                "bench.lb.hub_clients",
            ],
            env=env,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        stack.callback(client_process.kill)
        if client_process.stdin is None or client_process.stdout is None:
            raise RuntimeError("a crowd without pipes")
        client_process.stdin.write(json.dumps(spec) + "\n")
        client_process.stdin.flush()
        client_process.stdout.readline()
        cpu_before = cpu_seconds(hub.pid)
        client_process.stdout.readline()
        cpu_used = cpu_seconds(hub.pid) - cpu_before
        figures: dict[str, Any] = json.loads(client_process.stdout.readline())
    return {"cpu": round(cpu_used / seconds, 3)} | {key: round(v, 3) for key, v in figures.items()}
