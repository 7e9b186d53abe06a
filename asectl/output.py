"""The form in which a command prints what it has read: a table for people, or JSON or YAML."""

import argparse
import json
from collections.abc import Iterable
from typing import Any

import yaml

from asectl.table import printable

_FORMS = ("table", "json", "yaml")


def add_output_argument(parser: argparse.ArgumentParser, *others: str) -> None:
    """Declare `-o`; `others` are forms that the command prints itself. `--json` is `-o json`."""
    parser.add_argument(
        "-o", "--output", default="table", choices=(*_FORMS, *others), help="(table)"
    )
    parser.add_argument(
        "--json", dest="output", action="store_const", const="json", help="short for -o json"
    )


def print_output(form: str, content: Any, lines: Iterable[str]) -> None:
    """Print `content`, of JSON types, in the form `form`; `lines` are its table."""
    if form == "json":
        print(json.dumps(content, indent=2))
    elif form == "yaml":
        print(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), end="")
    else:
        print("\n".join(map(printable, lines)))
