"""`asectl project create|list|delete`: what applications belong to."""

import argparse

from asectl.deployments.api import add_deployer_arguments
from asectl.output import add_output_argument, print_output
from asectl.positions.client import position_client, require_argument, table_lines

_COLUMNS = {"NAME": "name", "CREATED": "createTime", "DESCRIPTION": "description"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("action", choices=("create", "list", "delete"))
    parser.add_argument("name", metavar="NAME", nargs="?", help="the project")
    parser.add_argument("--description", default="", help="of a new one")
    add_output_argument(parser)
    add_deployer_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Create, list or delete. Raises Failure."""
    client = position_client(args)
    if args.action == "list":
        rows = client.get("/projects")
        print_output(args.output, rows, table_lines(_COLUMNS, rows, "no projects"))
        return 0
    name = require_argument(args, "NAME", f"project {args.action}")
    if args.action == "create":
        client.send("POST", "/projects", {"name": name, "description": args.description})
    else:
        client.send("DELETE", f"/projects/{name}")
    print(f"project {name} {args.action}d")
    return 0
