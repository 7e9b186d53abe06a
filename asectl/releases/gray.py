"""`asectl config gray`: show a gray release to others, to all, or to nobody any more."""

import argparse

from asectl.main import EXIT_USAGE, Failure
from asectl.releases.api import (
    RegistryApiClient,
    add_name_argument,
    add_registry_arguments,
    version_path,
)
from asectl.releases.publish import add_rule_arguments, add_wait_argument, read_rule
from asectl.releases.rollout import follow_rollout


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    add_name_argument(parser)
    parser.add_argument("--promote", action="store_true", help="show it to all: it is stable then")
    parser.add_argument("--withdraw", action="store_true", help="end it: all return to the stable")
    add_rule_arguments(parser)
    add_wait_argument(parser)
    add_registry_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Change the gray release; exit codes as those of `asectl config publish`. Raises Failure."""
    rule = read_rule(args)
    if args.promote + args.withdraw + (rule is not None) != 1:
        raise Failure(
            "say one of --promote, --withdraw, or who sees it: --label, --region, --address, "
            "--percent",
            EXIT_USAGE,
        )
    client = RegistryApiClient.from_args(args)
    name = client.version(args.name)
    if rule is not None:
        client.request("PUT", version_path(name, "gray"), json=rule)
    else:
        client.post(version_path(name, "promote" if args.promote else "withdraw"), {})
    return follow_rollout(client, name, args.wait)
