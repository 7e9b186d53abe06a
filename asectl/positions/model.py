"""`asectl model add|list|delete`: the models of an application."""

import argparse
from pathlib import Path

from asectl.deployments.api import add_deployer_arguments
from asectl.main import EXIT_CONFIG, Failure
from asectl.output import add_output_argument, print_output
from asectl.positions.client import position_client, require_argument, table_lines
from config.source import ConfigError, parse_yaml

_COLUMNS = {
    "ID": "id", "ACCURACY": "accuracy", "SOURCE": "source", "WRAPPER": "wrapper",
    "IMAGE": "image", "CREATED": "createTime", "DESCRIPTION": "description",
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("action", choices=("add", "list", "delete"))
    parser.add_argument(
        "model", metavar="FILE|NAME:VERSION", nargs="?", help="YAML or JSON to add; one to delete"
    )
    parser.add_argument("--application", required=True, help="whose models")
    add_output_argument(parser)
    add_deployer_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Add, list or delete. Raises Failure (exit code 3 for a file that cannot be read)."""
    client = position_client(args)
    path = f"/applications/{args.application}/models"
    if args.action == "list":
        rows = client.get(path)
        print_output(args.output, rows, table_lines(_COLUMNS, rows, "no models"))
        return 0
    model = require_argument(args, "model", f"model {args.action}")
    if args.action == "add":
        try:
            body = parse_yaml(Path(model).read_text("utf-8-sig"), model).tree
        except (OSError, UnicodeDecodeError) as error:
            raise Failure(f"{model}: {error}", EXIT_CONFIG) from None
        except ConfigError as error:
            raise Failure(f"\n{error}", EXIT_CONFIG) from None
        if isinstance(body, dict):
            body["application"] = args.application
        model = client.send("POST", "/models", body)["id"]
    else:
        client.send("DELETE", f"{path}/{model}")
    print(f"model {model} {'added' if args.action == 'add' else 'deleted'}")
    return 0
