"""`asectl api client`: print a typed client of a service, as one module."""

import argparse
from typing import Final

from asectl.api import sources
from asectl.http_client import HttpTarget
from schemas.output import openapi, python_client, typescript_client
from schemas.output.client_api import client_api

_RENDERERS: Final = {
    "python": python_client.render_client,
    "typescript": typescript_client.render_client,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    sources.add_source_argument(parser, "schema", "a schema file, or a service")
    sources.add_url_arguments(parser)
    parser.add_argument(
        "--lang", default="python", choices=sorted(_RENDERERS), help="(%(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Print the module."""
    contract = sources.load_contract(args.schema, HttpTarget.from_args(args))
    schema = openapi.to_standard_schema(contract.validator.schema, contract.service)
    print(_RENDERERS[args.lang](client_api(contract.service, schema)), end="")
    return 0
