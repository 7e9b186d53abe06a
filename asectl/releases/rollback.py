"""`asectl config rollback`: publish the files of an earlier release again."""

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
    parser.add_argument(
        "release", type=int, nargs="?", default=0, help="its number; else the one before"
    )
    parser.add_argument("-m", "--comment", default="", help="why")
    add_wait_argument(parser)
    add_registry_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Roll back; exit codes as those of `asectl config publish`. Raises Failure."""
    client = RegistryApiClient.from_args(args)
    name = client.version(args.name)
    body = {"release": args.release, "comment": args.comment}
    answer = client.post(version_path(name, "rollback"), body)
    if answer["pending"]:
        print(f"release {answer['last_release']} waits for somebody's asectl config approve {name}")
        return 0
    print(f"release {answer['last_release']} published")
    return follow_rollout(client, name, args.wait)
