"""`asectl position switch NAME MODEL`: put another model into the place of the one that serves."""

import argparse

from asectl.deployments.api import add_deployer_arguments
from asectl.deployments.apply import add_wait_argument
from asectl.positions.client import position_client
from asectl.positions.progress import follow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("name", metavar="NAME", help="the position")
    parser.add_argument("model", metavar="NAME:VERSION|best", help="best: the highest accuracy")
    parser.add_argument(
        "--canary", default="", metavar="SHARE", help="first give it a share of requests, as 10%%"
    )
    add_wait_argument(parser)
    add_deployer_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Switch and wait; the exit code is that of `asectl position create`. Raises Failure."""
    client = position_client(args)
    body = {"model": args.model, "canary": {"share": args.canary} if args.canary else None}
    switched = client.send("POST", f"/positions/{args.name}/switch", body)
    print(f"position {args.name} switches to model {switched['model']}")
    return follow(client, args.name, args.wait)
