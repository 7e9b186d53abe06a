"""`asectl deploy logs ID`: print what a replica has written."""

import argparse

from asectl.deployments.api import DeployerClient, add_deployer_arguments, add_id_argument
from asectl.table import printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    add_id_argument(parser)
    parser.add_argument("--replica", default="", help="one of them (the one started last)")
    parser.add_argument("--lines", type=int, default=100, help="the last lines (100)")
    add_deployer_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the lines. Raises Failure."""
    client = DeployerClient.from_args(args)
    query = {"lines": str(args.lines)} | ({"replica": args.replica} if args.replica else {})
    print(printable(client.text(f"/{args.id}/logs", query)))
    return 0
