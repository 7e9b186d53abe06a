"""Watches a deployment until it runs, or says why it does not."""

import sys
import time
from typing import Any, Final

from asectl.deployments.api import DeployerClient
from asectl.live_lines import LiveLines
from asectl.main import EXIT_FAILED
from asectl.table import align, printable

EXIT_WAITING: Final = 5
_INTERVAL_S: Final = 0.3
_SIGNS: Final = {"done": "+", "running": ">", "failed": "!", "undone": "<", "waiting": "."}


def follow(client: DeployerClient, deployment_id: str, wait_s: float, *, ends: bool = False) -> int:
    """Show how far a deployment is until it runs, or with `ends` until it has ended; return 0 then.

    1 if it has failed, 5 if it is not done within `wait_s`. Raises Failure.
    """
    settled = ("terminated",) if ends else ("running", "failed", "terminated")
    live_lines = LiveLines(sys.stderr)
    deadline = time.monotonic() + wait_s
    while True:
        shown = client.get(f"/{deployment_id}")
        is_settled = shown["isObserved"] and shown["status"] in settled
        remaining = deadline - time.monotonic()
        if is_settled or remaining <= 0:
            break
        live_lines.show([*_steps(client, shown), summary(shown)])
        time.sleep(min(_INTERVAL_S, remaining))
    live_lines.erase()
    print("\n".join(map(printable, [*_steps(client, shown), *status_lines(shown)])))
    if not is_settled:
        return EXIT_WAITING
    return EXIT_FAILED if shown["status"] == "failed" else 0


def _steps(client: DeployerClient, shown: dict[str, Any]) -> list[str]:
    """Return the lines of the steps, none of a deployment that ends."""
    if shown["status"] in ("terminating", "terminated"):
        return []
    return step_lines(client.get(f"/{shown['serviceId']}/pipeline"))


def summary(shown: dict[str, Any]) -> str:
    """Return a deployment in a line."""
    reason = shown["reason"].partition("\n")[0]
    return f"{shown['serviceId']}: {shown['status']}{f' ({reason})' if reason else ''}"


def step_lines(pipeline: dict[str, Any]) -> list[str]:
    """Return a line for each step, with a sign: + done, > running, ! failed, < undone, . waits."""
    return [
        f"{_SIGNS.get(step['state'], '?')} {step['name']}"
        + (f": {step['message'].partition(chr(10))[0]}" if step["message"] else "")
        for step in pipeline["steps"]
    ]


def status_lines(shown: dict[str, Any]) -> list[str]:
    """Return what there is to say of a deployment."""
    lines = [f"{shown['serviceId']}: {shown['status']}"]
    if shown["reason"]:
        lines += [f"  {line}" for line in shown["reason"].splitlines()]
    if shown["endpoint"]:
        lines.append(f"  called at {shown['endpoint']}")
    if shown["serving"] and shown["serving"] != shown["revision"]:
        percent = f"{shown['share'] * 100:.3g} %"
        part = f"gets {percent} of the requests" if shown["share"] else "does not"
        lines.append(f"  revision {shown['serving']} serves on; {shown['revision']} {part}")
    if shown.get("replicas"):
        lines += [f"  {line}" for line in align([_HEADER, *map(_row, shown["replicas"])])]
    return lines


_HEADER: Final = ["REPLICA", "STATE", "ADDRESS", "CPU", "MEMORY", "CRASHES", "SINCE"]


def _row(replica: dict[str, Any]) -> list[str]:
    memory = f"{replica['memory'] / 2**20:.0f}Mi" if replica["memory"] >= 0 else "-"
    return [
        replica["name"],
        replica["state"],
        replica["address"] or "-",
        f"{replica['cpu']:.2f}" if replica["cpu"] >= 0 else "-",
        memory,
        str(replica["crashes"]),
        replica["startedAt"] or "-",
    ]
