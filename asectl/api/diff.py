"""`asectl api diff OLD NEW`: what changed between two schemas, and whether it breaks a client."""

import argparse
import json

from asectl.api import sources
from schemas import difference

EXIT_DIFFERS = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    sources.add_source(parser, "old", "the version that clients know")
    sources.add_source(parser, "new", "the version that is to come")
    sources.add_url(parser)
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument(
        "--exit-code", action="store_true", help="exit 6 when a change breaks a client"
    )


def run(told: argparse.Namespace) -> int:
    """Print the changes, breaking ones first."""
    old, new = sources.tree(told.old, told.url), sources.tree(told.new, told.url)
    changes = difference.compare(old, new)
    breaking = sum(change.breaking for change in changes)
    if told.json:
        lines = [
            {"path": ".".join(map(str, c.path)), "message": c.message, "breaking": c.breaking}
            for c in changes
        ]
        print(json.dumps({"breaking": breaking, "changes": lines}, indent=2))
    else:
        for change in changes:
            print(change)
        many = "1 change" if len(changes) == 1 else f"{len(changes)} changes"
        print(f"{many}, {breaking} breaking" if changes else "no change")
    return EXIT_DIFFERS if breaking and told.exit_code else 0
