"""`asectl api list`: the services of a gateway, or the schemas of a folder."""

import argparse
import json
from pathlib import Path
from typing import Any

import httpx

from asectl.main import EXIT_CONFIG, EXIT_UNREACHABLE, Failure
from gateway import folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("folder", nargs="?", help="a folder of schemas; none: ask the gateway")
    parser.add_argument(
        "--url", default="http://127.0.0.1:8200", help="the gateway to ask (%(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(told: argparse.Namespace) -> int:
    """Print a line for each."""
    lines = _of_folder(Path(told.folder)) if told.folder else _of_gateway(told.url)
    if told.json:
        print(json.dumps(lines, indent=2))
        return 0
    heads = {"service": "SERVICE", "version": "VERSION", "digest": "DIGEST", "source": "SOURCE",
             "instances": "INSTANCES", "description": "DESCRIPTION"}  # fmt: skip
    rows = [list(heads.values())]
    rows += [[_cell(key, line.get(key)) for key in heads] for line in lines]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(map(str.ljust, row, widths)).rstrip())
    return 0


def _cell(key: str, value: Any) -> str:
    if value is None:
        return "-"
    return str(value)[:12] if key == "digest" else str(value)


def _of_folder(path: Path) -> list[dict[str, Any]]:
    try:
        contracts = folder.load_folder(path, {}, 0.0)
    except folder.SchemaFolderError as error:
        raise Failure(f"\n{error}", EXIT_CONFIG) from None
    return [
        {
            "service": told.service.id,
            "version": told.service.version,
            "digest": told.digest,
            "source": told.source,
            "description": told.service.description,
        }
        for told in contracts
    ]


def _of_gateway(url: str) -> list[dict[str, Any]]:
    try:
        answer = httpx.get(f"{url.rstrip('/')}/v1/apis", timeout=5.0, trust_env=False)
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()["apis"]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError) as error:
        raise Failure(f"{url}: no services to be had ({error})", EXIT_UNREACHABLE) from None
    return found
