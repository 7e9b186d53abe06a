"""`asectl config schema`: print the JSON Schema of `ase.yaml`, or the options table of the docs."""

import argparse
import json

from config import tell


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("--table", action="store_true", help="a Markdown table in its place")


def run(args: argparse.Namespace) -> int:
    """Print the JSON Schema; with `--table`, the Markdown table."""
    print(tell.markdown_table() if args.table else json.dumps(tell.json_schema(), indent=2), end="")
    if not args.table:
        print()
    return 0
