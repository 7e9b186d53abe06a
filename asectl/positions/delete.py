"""`asectl position delete NAME`: end a position; its replicas finish their requests."""

import argparse

from asectl.deployments.api import add_deployer_arguments
from asectl.positions.client import position_client


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("name", metavar="NAME", help="the position")
    add_deployer_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """End it. Raises Failure."""
    position_client(args).send("DELETE", f"/positions/{args.name}")
    print(f"position {args.name} ends")
    return 0
