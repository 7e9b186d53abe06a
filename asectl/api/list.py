"""`asectl api list`: list the services of a gateway, or the schemas in a folder."""

import argparse
from pathlib import Path
from typing import Any

import httpx

from asectl import gateway_apis, http_client
from asectl.http_client import HttpTarget
from asectl.main import EXIT_CONFIG, EXIT_UNREACHABLE, Failure
from asectl.output import add_output_argument, print_output
from asectl.table import align
from gateway.services import schema_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("folder", nargs="?", help="a folder of schemas; none: ask the gateway")
    http_client.add_url_arguments(parser, "the gateway to ask")
    add_output_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print one line per service below a header."""
    services = (
        _folder_services(Path(args.folder))
        if args.folder
        else _gateway_services(HttpTarget.from_args(args))
    )
    titles = {"service": "SERVICE", "version": "VERSION", "digest": "DIGEST", "source": "SOURCE",
             "instances": "INSTANCES", "description": "DESCRIPTION"}  # fmt: skip
    rows = [list(titles.values())]
    rows += [[_cell(key, service.get(key)) for key in titles] for service in services]
    print_output(args.output, services, align(rows))
    return 0


def _cell(key: str, value: Any) -> str:
    if value is None:
        return "-"
    return str(value)[:12] if key == "digest" else str(value)


def _folder_services(path: Path) -> list[dict[str, Any]]:
    try:
        contracts = schema_folder.load_folder(path, {}, 0.0)
    except schema_folder.SchemaFolderError as error:
        raise Failure(f"\n{error}", EXIT_CONFIG) from None
    return [
        {
            "service": contract.service.id,
            "version": contract.service.version,
            "digest": contract.digest,
            "source": contract.source,
            "description": contract.service.description,
        }
        for contract in contracts
    ]


def _gateway_services(gateway: HttpTarget) -> list[dict[str, Any]]:
    try:
        with gateway.client() as client:
            return gateway_apis.fetch_services(client)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Failure(f"{gateway.url}: no services to be had ({error})", EXIT_UNREACHABLE) from None
