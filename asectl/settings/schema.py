"""`asectl config schema`: print the JSON Schema of `ase.yaml`, or the options table of the docs."""

import argparse
import json

from config import describe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("--table", action="store_true", help="print a Markdown table instead")


def run(args: argparse.Namespace) -> int:
    """Print the JSON Schema; with `--table`, the Markdown table."""
    if args.table:
        print(describe.markdown_table(), end="")
    else:
        print(json.dumps(describe.json_schema(), indent=2))
    return 0
