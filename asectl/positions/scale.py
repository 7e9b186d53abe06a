"""`asectl position scale NAME N`: change the number of replicas."""

import argparse

from asectl.deployments.api import add_deployer_arguments
from asectl.deployments.apply import add_wait_argument
from asectl.positions.client import position_client
from asectl.positions.progress import follow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("name", metavar="NAME", help="the position")
    parser.add_argument("replicas", metavar="N", type=int, help="how many")
    add_wait_argument(parser)
    add_deployer_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Scale and wait; the exit code is that of `asectl position create`. Raises Failure."""
    client = position_client(args)
    client.send("POST", f"/positions/{args.name}/scale", {"replicaCount": args.replicas})
    return follow(client, args.name, args.wait)
