"""`asectl top`: the table of `asectl lb state`, again and again, with rates between two looks."""

import argparse
import sys
import time
from typing import Any

from asectl import state

_HOME, _CLEAR_LINE, _CLEAR_REST = "\x1b[H", "\x1b[K", "\x1b[J"
_CLEAR = "\x1b[2J"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    state.add_arguments(parser)
    parser.add_argument("--every", type=float, default=1.0, metavar="S", help="seconds (1)")
    parser.add_argument("--times", type=int, default=0, metavar="N", help="looks; 0: until Ctrl-C")


def run(told: argparse.Namespace) -> int:
    """Show the table until stopped."""
    live = sys.stdout.isatty()
    served: dict[str, int] = {}
    then, looks = time.monotonic(), 0
    if live:
        print(_CLEAR, end="")
    while True:
        instances = state.read(told.url, told.service)
        now = time.monotonic()
        _show(summary(instances, served, now - then) + state.table(instances), live=live)
        served, then = {line["instance"]: line["served"] for line in instances}, now
        looks += 1
        if looks == told.times:
            return 0
        time.sleep(max(0.05, told.every))


def summary(instances: list[dict[str, Any]], served: dict[str, int], seconds: float) -> list[str]:
    """Return the head of the table: how many are in, what they do; `served` is of the last look."""
    up = sum(line["state"] == "up" and line["health"] == "in" for line in instances)
    running = sum(line["running"] for line in instances)
    slots = sum(line["slots"] for line in instances)
    queued = sum(line["queued"] for line in instances)
    new = sum(line["served"] - served.get(line["instance"], line["served"]) for line in instances)
    rate = max(0, new) / seconds if served and seconds > 0 else 0.0
    share = f"{running / slots:.0%}" if slots else "-"
    head = f"{len(instances)} instances, {up} in; {rate:.0f} requests/s"
    return [f"{head}; {running} of {slots} slots ({share}), {queued} queued", ""]


def _show(lines: list[str], *, live: bool) -> None:
    if live:
        print(_HOME + "\n".join(line + _CLEAR_LINE for line in lines) + _CLEAR_REST, flush=True)
    else:
        print("\n".join(lines), flush=True)
