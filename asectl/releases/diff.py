"""`asectl config diff`: what differs between two releases, or a release and the draft."""

import argparse
from typing import Any

from asectl.output import add_output_argument, print_output
from asectl.releases.api import (
    RegistryApiClient,
    add_name_argument,
    add_registry_arguments,
    version_path,
)

EXIT_DIFFERENCES = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    add_name_argument(parser)
    parser.add_argument("--from", dest="old", default="", help="a release; else the stable one")
    parser.add_argument("--to", dest="new", default="draft", help="a release, or draft (draft)")
    parser.add_argument(
        "--exit-code", action="store_true", help=f"return {EXIT_DIFFERENCES} if they differ"
    )
    add_registry_arguments(parser)
    add_output_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print the differences. Raises Failure."""
    client = RegistryApiClient.from_args(args)
    query = {"to": args.new, **({"from": args.old} if args.old else {})}
    content = client.get(version_path(client.version(args.name), "diff"), **query)
    print_output(args.output, content, diff_lines(content))
    return EXIT_DIFFERENCES if args.exit_code and content["files"] else 0


def diff_lines(content: dict[str, Any]) -> list[str]:
    """Return the lines of a diff of the API."""
    if not content["files"]:
        return ["nothing differs"]
    lines = []
    for diff in content["files"]:
        lines.append(f"{diff['change']}: {diff['file']}")
        lines += diff["lines"] or ["  (no text)"]
    return lines
