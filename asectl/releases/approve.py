"""`asectl config approve`: publish the release of somebody else, or reject it."""

import argparse

from asectl.releases.api import (
    RegistryApiClient,
    add_name_argument,
    add_registry_arguments,
    version_path,
)
from asectl.releases.publish import add_wait_argument
from asectl.releases.rollout import follow_rollout


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    add_name_argument(parser)
    parser.add_argument("--reject", action="store_true", help="give it up instead")
    add_wait_argument(parser)
    add_registry_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Approve or reject; exit codes as those of `asectl config publish`. Raises Failure."""
    client = RegistryApiClient.from_args(args)
    name = client.version(args.name)
    client.post(version_path(name, "reject" if args.reject else "approve"), {})
    if args.reject:
        print("rejected")
        return 0
    return follow_rollout(client, name, args.wait)
