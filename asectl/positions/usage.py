"""`asectl position usage NAME`: what a position uses, and how much of what it may use."""

import argparse
from typing import Any

from asectl.deployments.api import add_deployer_arguments
from asectl.output import add_output_argument, print_output
from asectl.positions.client import position_client, table_lines

_COLUMNS = {
    "REPLICA": "replica", "CPU": "cpu", "OF LIMIT": "cpu_share", "MEMORY": "memory",
    " OF LIMIT": "memory_share",
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("name", metavar="NAME", help="the position")
    add_output_argument(parser)
    add_deployer_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print it. Raises Failure."""
    usage = position_client(args).get(f"/positions/{args.name}/usage")
    requests = usage["requests"]
    summary = (
        f"{usage['name']}: {requests['running']} requests run and {requests['queued']} wait, of "
        f"{requests['slots']} slots; {usage['cpu']:.2f} CPUs, {usage['memory'] / 2**20:.0f}Mi"
    )
    rows = table_lines(_COLUMNS, [*map(_row, usage["replicas"])], "no replicas")
    print_output(args.output, usage, [summary, *rows])
    return 0


def _row(replica: dict[str, Any]) -> dict[str, str]:
    return {
        "replica": replica["name"],
        "cpu": f"{replica['cpu']:.2f}" if replica["cpu"] >= 0 else "",
        "cpu_share": _percent(replica["cpuShare"]),
        "memory": f"{replica['memory'] / 2**20:.0f}Mi" if replica["memory"] >= 0 else "",
        "memory_share": _percent(replica["memoryShare"]),
    }


def _percent(share: float | None) -> str:
    return f"{share:.0%}" if share is not None else ""
