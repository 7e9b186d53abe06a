"""`asectl deploy FILE`: deploy what a file specifies, or change it to that."""

import argparse
import sys

from asectl.deployments.api import DeployerClient, add_deployer_arguments, read_spec_file
from asectl.deployments.plan import print_plan
from asectl.deployments.progress import follow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("file", metavar="FILE", help="a specification, YAML or JSON")
    add_choice_arguments(parser)
    add_wait_argument(parser)
    add_deployer_arguments(parser)


def add_choice_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where and how, for a file that does not say it."""
    parser.add_argument("--shimlet", default="", help="where it runs (what the file says)")
    parser.add_argument("--pipeline", default="", help="how it is deployed (what the file says)")


def add_wait_argument(parser: argparse.ArgumentParser) -> None:
    """Declare how long a command waits."""
    parser.add_argument(
        "--wait", type=float, default=300.0, metavar="SECONDS", help="until it runs (300)"
    )


def run(args: argparse.Namespace) -> int:
    """Show what changes, have it done, and wait until it runs. Raises Failure.

    Return 0 when it runs, 1 if it fails, 5 if it takes longer than `--wait`.
    """
    client = DeployerClient.from_args(args)
    spec = read_spec_file(args.file)
    body = spec.to_json() | {
        name: value
        for name, value in (("shimlet", args.shimlet), ("pipeline", args.pipeline))
        if value
    }
    print_plan(client, body)
    is_there = any(row["serviceId"] == spec.id for row in client.get("/list") if row["revision"])
    if is_there:
        client.send("PUT", f"/{spec.id}", body)
    else:
        client.send("POST", "/deploy", body)
    sys.stdout.flush()
    return follow(client, spec.id, args.wait)
