"""`asectl registry approval`: have the releases of a project need a second person, or not."""

import argparse

from asectl.main import EXIT_USAGE, Failure
from asectl.releases.api import RegistryApiClient, add_registry_arguments
from registry.names import InvalidNameError, check_part


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("project", metavar="PROJECT")
    parser.add_argument("state", choices=("on", "off"))
    add_registry_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """RecordChange the setting. Raises Failure."""
    client = RegistryApiClient.from_args(args)
    body = {"approval": args.state == "on"}
    try:
        check_part(args.project, "project")
    except InvalidNameError as error:
        raise Failure(str(error), EXIT_USAGE) from None
    client.request("PUT", f"/v1/projects/{args.project}", json=body)
    need = "need the approval of a second person" if args.state == "on" else "need no approval"
    print(f"releases of {args.project} {need}")
    return 0
