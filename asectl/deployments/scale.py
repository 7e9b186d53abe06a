"""`asectl deploy scale ID N`: change the number of replicas."""

import argparse

from asectl.deployments.api import DeployerClient, add_deployer_arguments, add_id_argument
from asectl.deployments.apply import add_wait_argument
from asectl.deployments.progress import follow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    add_id_argument(parser)
    parser.add_argument("replicas", metavar="N", type=int, help="how many; 0 stops all")
    add_wait_argument(parser)
    add_deployer_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Change it and wait; the exit code is that of `asectl deploy`. Raises Failure."""
    client = DeployerClient.from_args(args)
    client.send("POST", f"/{args.id}/scale", {"replicaCount": args.replicas})
    return follow(client, args.id, args.wait)
