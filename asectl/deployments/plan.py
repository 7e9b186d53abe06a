"""`asectl deploy plan FILE`: show what deploying a file would change."""

import argparse
from typing import Any

from asectl.deployments.api import DeployerClient, add_deployer_arguments, read_spec_file
from asectl.main import EXIT_FAILED
from asectl.table import printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("file", metavar="FILE", help="a specification, YAML or JSON")
    add_deployer_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the changes; return 1 if they could not be made. Raises Failure."""
    client = DeployerClient.from_args(args)
    is_possible = print_plan(client, read_spec_file(args.file).to_json())
    return 0 if is_possible else EXIT_FAILED


def print_plan(client: DeployerClient, body: dict[str, Any]) -> bool:
    """Print what a specification would change; return whether it may be made. Raises Failure."""
    plan = client.send("POST", "/plan", body)
    print("\n".join(map(printable, plan["changes"])))
    if plan["problem"]:
        print(f"problem: {printable(plan['problem'])}")
    return not plan["problem"]
