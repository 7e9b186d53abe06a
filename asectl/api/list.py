"""`asectl api list`: list the services of a gateway, or the schemas in a folder."""

import argparse
import json
from pathlib import Path
from typing import Any

import httpx

from asectl.main import EXIT_CONFIG, EXIT_UNREACHABLE, Failure
from gateway.services import schema_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("folder", nargs="?", help="a folder of schemas; none: ask the gateway")
    parser.add_argument(
        "--url", default="http://127.0.0.1:8200", help="the gateway to ask (%(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(args: argparse.Namespace) -> int:
    """Print one line per service below a header; with `--json`, JSON."""
    services = _folder_services(Path(args.folder)) if args.folder else _gateway_services(args.url)
    if args.json:
        print(json.dumps(services, indent=2))
        return 0
    titles = {"service": "SERVICE", "version": "VERSION", "digest": "DIGEST", "source": "SOURCE",
             "instances": "INSTANCES", "description": "DESCRIPTION"}  # fmt: skip
    rows = [list(titles.values())]
    rows += [[_cell(key, service.get(key)) for key in titles] for service in services]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(map(str.ljust, row, widths)).rstrip())
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


def _gateway_services(url: str) -> list[dict[str, Any]]:
    try:
        response = httpx.get(f"{url.rstrip('/')}/v1/apis", timeout=5.0, trust_env=False)
        response.raise_for_status()
        services: list[dict[str, Any]] = response.json()["apis"]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError) as error:
        raise Failure(f"{url}: no services to be had ({error})", EXIT_UNREACHABLE) from None
    return services
