"""`asectl deploy delete ID`: let a deployment finish its requests, and end it."""

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
    """Delete it and wait until nothing of it is left. Raises Failure."""
    client = DeployerClient.from_args(args)
    client.send("DELETE", f"/{args.id}")
    return follow(client, args.id, args.wait, ends=True)
