"""Processor time of a gateway and of a loader without requests: timers, reports, their receipt."""

import contextlib
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import product
from bench.arms import ARM_CORE, BenchContext, start_asectl, wait_for_log_record

_WRAPPER = """\
from aseloader import service


@service("echo")
async def echo(text: str) -> str:
    return text
"""
_SETTLING_S = 3.0  # the loader joins, its schema is compiled, the first reports are over


def run(seconds: int) -> dict[str, Any]:
    """Return {"seconds", "gateway_percent", "loader_percent"}: shares of a core, in percent.

    The gateway runs the hub, and the loader reports to it. Both are compiled and on one core.
    Raises RuntimeError if they do not find each other.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        context = BenchContext(folder, 0, stack)
        env = product.import_environment(product.ensure_installed())
        log = folder / "gateway.log"
        args = ["gateway", "--gateway-port", "0", "--lb-port", "0", "--gateway-admin-port", "0"]
        args += ["--gateway-lame-duck", "0", "--lb-accept-schemas", "true"]
        gateway = start_asectl(context, ARM_CORE, args, log, env)
        hub = wait_for_log_record(log, "listening")["lb"]
        wrapper = folder / "wrapper.py"
        wrapper.write_text(_WRAPPER, encoding="utf-8")
        loader_args = ["loader", "run", f"{wrapper}:echo", "--lb", hub]
        loader = start_asectl(context, ARM_CORE, loader_args, folder / "loader.log", env)
        wait_for_log_record(log, "instance admitted")
        time.sleep(_SETTLING_S)
        pids = {"gateway_percent": gateway.pid, "loader_percent": loader.pid}
        before = {name: _run_time_ns(pid) for name, pid in pids.items()}
        started_at = time.monotonic()
        time.sleep(seconds)
        elapsed_ns = (time.monotonic() - started_at) * 1e9
        shares = {
            name: round(100 * (_run_time_ns(pid) - before[name]) / elapsed_ns, 2)
            for name, pid in pids.items()
        }
    return {"seconds": seconds, **shares}


def format_table(result: dict[str, Any]) -> str:
    """Return the figures as one line of text."""
    return (
        f"without requests, of a core: gateway {result['gateway_percent']:.2f} %, "
        f"loader {result['loader_percent']:.2f} %"
    )


def _run_time_ns(pid: int) -> int:
    """Return the processor time of all threads of a process (proc(5), schedstat).

    The ticks of `/proc/PID/stat` are too coarse: a wake-up takes less than one.
    """
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text(encoding="utf-8").split()[0]) for task in tasks)
