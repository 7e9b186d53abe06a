"""Unary gRPC calls of our client to two servers on one core: ours and grpc.aio's, alternating."""

import contextlib
import subprocess
import sys
import time
from statistics import median
from typing import Any

import uvloop

from bench import workload
from bench.arms import ARM_CORE, LOAD_CORE
from bench.calls import measure_rate
from bench.echo_server import METHOD
from bench.machine import cpu_seconds, pin
from rpc.client import Channel

_METADATA = (("ase-gateway", "bench"),)
_ARMS = ("ours", "grpc.aio")


def run(rounds: int, seconds: int) -> dict[str, Any]:
    """Return {"arms": {"ours": {"calls_per_second", "cpu_us_per_call"}, ...}, "ratios": {...}}.

    Each server is called for `seconds` in each of `rounds` rounds, with 64 calls in flight. Figures
    are medians over the rounds. The ratio is that of the calls per second of processor time of the
    server, the median of the ratios of one round: the client may limit the rate.
    """
    with contextlib.ExitStack() as stack:
        servers = {arm: stack.enter_context(_server(arm)) for arm in _ARMS}
        pin(LOAD_CORE)
        figures = uvloop.run(_run_rounds(servers, rounds, seconds))
    ratio = median(
        aio[1] / ours[1] for ours, aio in zip(figures["ours"], figures["grpc.aio"], strict=True)
    )
    arms = {
        arm: {
            "calls_per_second": round(median(rate for rate, _ in measured)),
            "cpu_us_per_call": round(median(cost for _, cost in measured) * 1e6, 1),
        }
        for arm, measured in figures.items()
    }
    return {"arms": arms, "ratios": {"ours/grpc.aio": round(ratio, 2)}}


def format_table(result: dict[str, Any]) -> str:
    """Return the figures as text, one line per server and ratio."""
    lines = [
        f"{arm:<10}{row['calls_per_second']:>10,} calls/s{row['cpu_us_per_call']:>8} us of the core"
        for arm, row in result["arms"].items()
    ]
    return "\n".join([*lines, *(f"{name}: {ratio}" for name, ratio in result["ratios"].items())])


@contextlib.contextmanager
def _server(arm: str) -> Any:
    """Run a server on its core; yield its port and its process id."""
    args = ["taskset", "-c", ARM_CORE, sys.executable, "-m", "bench.echo_server", arm]
    with subprocess.Popen(args, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None  # noqa: S101 (it is a pipe)
            yield int(process.stdout.readline()), process.pid
        finally:
            process.kill()


async def _run_rounds(
    servers: dict[str, tuple[int, int]], rounds: int, seconds: int
) -> dict[str, list[tuple[float, float]]]:
    """Return (calls per second, processor seconds of the server per call) of each round."""
    frame = workload.grpc_request("small").body[5:]
    figures: dict[str, list[tuple[float, float]]] = {arm: [] for arm in servers}
    channels = {arm: Channel(f"127.0.0.1:{port}") for arm, (port, _) in servers.items()}
    for round_number in range(rounds + 1):  # the first round is a warm-up
        for arm, channel in channels.items():
            pid = servers[arm][1]
            cpu_before, started_at = cpu_seconds(pid), time.perf_counter()

            async def call(channel: Channel = channel) -> bytes:
                return await channel.unary(METHOD, frame, timeout=5.0, metadata=_METADATA)

            rate = await measure_rate(call, seconds if round_number else 1)
            calls = rate * (time.perf_counter() - started_at)
            if round_number:
                figures[arm].append((rate, (cpu_seconds(pid) - cpu_before) / calls))
    for channel in channels.values():
        await channel.close()
    return figures
