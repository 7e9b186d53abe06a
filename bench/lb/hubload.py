"""What a hub costs: its processor time, and how old its figures are, in a crowd of a given size.

The hub is `asectl lb`, on a core of its own; the crowd (`bench/lb/crowd.py`) is on the other.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.arms import Ground, asectl, said
from bench.lb import grid

_GATEWAYS = 64
# What a fleet of 16 loaders of 4 slots is asked at a load of 0.9.
_RATE = 2880.0


def measured(loaders: int, seconds: float, *, compiled: bool) -> dict[str, float]:
    """Return the figures of one crowd; `cpu` is in cores."""
    env = grid.environment(compiled=compiled)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        log = folder / "hub.log"
        words = ["lb", "--lb-port", "0", "--lb-admin-port", "0"]
        hub = asectl(Ground(folder, 0, stack), "0", words, log, env)
        told = {
            "hub": said(log, "listening")["lb"], "loaders": loaders, "gateways": _GATEWAYS,
            "rate": _RATE, "seconds": seconds,
        }  # fmt: skip
        crowd = subprocess.Popen(
            [
                "taskset",
                "-c",
                str((os.cpu_count() or 1) - 1),
                sys.executable,
                "-m",
                "bench.lb.crowd",
            ],
            env=env,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        stack.callback(crowd.kill)
        if crowd.stdin is None or crowd.stdout is None:
            raise RuntimeError("a crowd without pipes")
        crowd.stdin.write(json.dumps(told) + "\n")
        crowd.stdin.flush()
        crowd.stdout.readline()
        before = _spent(hub.pid)
        crowd.stdout.readline()
        spent = _spent(hub.pid) - before
        figures: dict[str, Any] = json.loads(crowd.stdout.readline())
    return {"cpu": round(spent / seconds, 3)} | {key: round(v, 3) for key, v in figures.items()}


def _spent(pid: int) -> float:
    """Return the processor time of a process, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
