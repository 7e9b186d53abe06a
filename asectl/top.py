"""`asectl top`: refresh the table of `asectl lb state`, with the request rate between refreshes."""

import argparse
import sys
import time
from typing import Any

from asectl import lb_state
from asectl.http_client import HttpTarget

_HOME, _CLEAR_LINE, _CLEAR_REST = "\x1b[H", "\x1b[K", "\x1b[J"
_CLEAR = "\x1b[2J"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    lb_state.add_arguments(parser)
    parser.add_argument("--every", type=float, default=1.0, metavar="S", help="seconds (1)")
    parser.add_argument("--times", type=int, default=0, metavar="N", help="looks; 0: until Ctrl-C")


def run(args: argparse.Namespace) -> int:
    """Show the table until stopped, or `--times` times."""
    is_terminal = sys.stdout.isatty()
    admin = HttpTarget.from_args(args)
    served: dict[str, int] = {}
    last_read_at, refresh_count = time.monotonic(), 0
    if is_terminal:
        print(_CLEAR, end="")
    while True:
        instances = lb_state.fetch_instances(admin, args.service)
        now = time.monotonic()
        _show(
            summary_lines(instances, served, now - last_read_at) + lb_state.format_table(instances),
            is_terminal=is_terminal,
        )
        served, last_read_at = (
            {instance["instance"]: instance["served"] for instance in instances},
            now,
        )
        refresh_count += 1
        if refresh_count == args.times:
            return 0
        time.sleep(max(0.05, args.every))


def summary_lines(
    instances: list[dict[str, Any]], served: dict[str, int], seconds: float
) -> list[str]:
    """Return the summary above the table: healthy instances, request rate, used slots, queue.

    `served` maps each instance to its `served` count at the previous refresh, `seconds` ago. If it
    is empty, the rate is 0.
    """
    healthy_count = sum(
        instance["state"] == "up" and instance["health"] == "in" for instance in instances
    )
    running = sum(instance["running"] for instance in instances)
    slots = sum(instance["slots"] for instance in instances)
    queued = sum(instance["queued"] for instance in instances)
    newly_served = sum(
        instance["served"] - served.get(instance["instance"], instance["served"])
        for instance in instances
    )
    rate = max(0, newly_served) / seconds if served and seconds > 0 else 0.0
    utilization = f"{running / slots:.0%}" if slots else "-"
    head = f"{len(instances)} instances, {healthy_count} in; {rate:.0f} requests/s"
    return [f"{head}; {running} of {slots} slots ({utilization}), {queued} queued", ""]


def _show(lines: list[str], *, is_terminal: bool) -> None:
    if is_terminal:
        print(_HOME + "\n".join(line + _CLEAR_LINE for line in lines) + _CLEAR_REST, flush=True)
    else:
        print("\n".join(lines), flush=True)
