"""`asectl deploy promote ID`: let the new revision take all requests."""

import argparse

from asectl.deployments.api import DeployerClient, add_deployer_arguments, add_id_argument
from asectl.deployments.apply import add_wait_argument
from asectl.deployments.progress import follow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    add_id_argument(parser)
    add_wait_argument(parser)
    add_deployer_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """End the canary and wait; the exit code is that of `asectl deploy`. Raises Failure."""
    client = DeployerClient.from_args(args)
    client.send("POST", f"/{args.id}/promote")
    return follow(client, args.id, args.wait)
