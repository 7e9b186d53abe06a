"""`asectl position status [NAME]`: list the positions, or show how one is."""

import argparse

from asectl.deployments.api import add_deployer_arguments
from asectl.output import add_output_argument, print_output
from asectl.positions.client import position_client, table_lines
from asectl.positions.progress import position_lines

_COLUMNS = {
    "NAME": "name", "APPLICATION": "application", "MODEL": "model", "PHASE": "phase",
    "REPLICAS": "replicaCount", "ENDPOINT": "endpoint", "REASON": "reason",
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="a position (all of them)")
    add_output_argument(parser)
    add_deployer_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print it. Raises Failure."""
    client = position_client(args)
    if args.name:
        shown = client.get(f"/positions/{args.name}")
        print_output(args.output, shown, position_lines(shown))
        return 0
    rows = client.get("/positions")
    print_output(args.output, rows, table_lines(_COLUMNS, rows, "no positions"))
    return 0
