"""`asectl application create|list|delete`: what models and positions of a project are for."""

import argparse

from asectl.deployments.api import add_deployer_arguments
from asectl.output import add_output_argument, print_output
from asectl.positions.client import position_client, require_argument, table_lines

_COLUMNS = {
    "NAME": "name", "PROJECT": "project", "CREATED": "createTime", "DESCRIPTION": "description",
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("action", choices=("create", "list", "delete"))
    parser.add_argument("name", metavar="NAME", nargs="?", help="the application")
    parser.add_argument("--project", default="", help="of a new one")
    parser.add_argument("--description", default="", help="of a new one")
    add_output_argument(parser)
    add_deployer_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Create, list or delete. Raises Failure."""
    client = position_client(args)
    if args.action == "list":
        rows = client.get("/applications")
        print_output(args.output, rows, table_lines(_COLUMNS, rows, "no applications"))
        return 0
    name = require_argument(args, "NAME", f"application {args.action}")
    if args.action == "create":
        project = require_argument(args, "project", "application create")
        body = {"name": name, "project": project, "description": args.description}
        client.send("POST", "/applications", body)
    else:
        client.send("DELETE", f"/applications/{name}")
    print(f"application {name} {args.action}d")
    return 0
