"""`asectl api diff OLD NEW`: list the changes between two schemas, and which break a client."""

import argparse

from asectl.api import sources
from asectl.http_client import HttpTarget
from asectl.output import add_output_argument, print_output
from schemas.output import diff

EXIT_DIFFERS = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    sources.add_source_argument(parser, "old", "the version that clients know")
    sources.add_source_argument(parser, "new", "the version that is to come")
    sources.add_url_arguments(parser)
    add_output_argument(parser)
    parser.add_argument(
        "--exit-code", action="store_true", help="exit 6 when a change breaks a client"
    )


def run(args: argparse.Namespace) -> int:
    """Print the changes, breaking ones first.

    Return 6 if `--exit-code` is set and a change breaks a client, else 0.
    """
    gateway = HttpTarget.from_args(args)
    old, new = (sources.load_document(source, gateway) for source in (args.old, args.new))
    changes = diff.compare(old, new)
    breaking = sum(change.breaking for change in changes)
    entries = [
        {"path": ".".join(map(str, c.path)), "message": c.message, "breaking": c.breaking}
        for c in changes
    ]
    count_text = "1 change" if len(changes) == 1 else f"{len(changes)} changes"
    summary = f"{count_text}, {breaking} breaking" if changes else "no change"
    content = {"breaking": breaking, "changes": entries}
    print_output(args.output, content, [*map(str, changes), summary])
    return EXIT_DIFFERS if breaking and args.exit_code else 0
