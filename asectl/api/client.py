"""`asectl api client`: a typed client of a service, as one module."""

import argparse
import sys

from asectl.api import sources
from schemas import client, recall


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    sources.add_source(parser, "schema", "a schema file, or a service")
    sources.add_url(parser)
    parser.add_argument("--lang", default="python", choices=("python",), help="(%(default)s)")


def run(told: argparse.Namespace) -> int:
    """Print the module; what it cannot say is named on stderr."""
    declared, lost = recall.declaration_from_document(sources.tree(told.schema, told.url))
    print(client.render_client(declared), end="")
    for place in lost:
        if place.startswith("schemainput"):
            print(f"asectl: the client knows nothing of {place}", file=sys.stderr)
    return 0
