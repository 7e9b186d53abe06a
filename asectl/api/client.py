"""`asectl api client`: print a typed client of a service, as one module."""

import argparse
import sys

from asectl.api import sources
from asectl.http_client import HttpTarget
from schemas.model import document
from schemas.output import client
from schemas.sources import from_document


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    sources.add_source_argument(parser, "schema", "a schema file, or a service")
    sources.add_url_arguments(parser)
    parser.add_argument("--lang", default="python", choices=("python",), help="(%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Print the module.

    Each part of the request schema that the client does not support is listed on stderr.
    """
    schema_document = sources.load_document(args.schema, HttpTarget.from_args(args))
    declaration, unsupported = from_document.declaration_from_document(schema_document)
    service = document.service_from_document(schema_document)
    print(client.render_client(declaration, service), end="")
    for path in unsupported:
        if path.startswith("schemainput"):
            print(f"asectl: the client knows nothing of {path}", file=sys.stderr)
    return 0
