"""Where a schema comes from: a file of any kind, the folder of schemas, or a gateway."""

import argparse
import json
from pathlib import Path
from typing import Any

import httpx

from asectl.main import EXIT_CONFIG, EXIT_UNREACHABLE, Failure
from config.source import ConfigError
from gateway import files, folder
from gateway.contracts import Contract, build_contract
from schemas import document


def add_source(parser: argparse.ArgumentParser, name: str, what: str) -> None:
    """Declare an argument that names a schema."""
    parser.add_argument(name, metavar="FILE|SERVICE", help=what)


def add_url(parser: argparse.ArgumentParser) -> None:
    """Declare where a service is asked for that is no file here."""
    parser.add_argument(
        "--url", default="http://127.0.0.1:8200", help="the gateway that has it (%(default)s)"
    )


def contract(told: str, url: str = "") -> Contract:
    """Return the contract of a file, or of a service: of the folder `schemas`, or of a gateway.

    Raises Failure with everything that is wrong.
    """
    path = _path(told)
    try:
        if path is not None:
            return folder.load_file(path, {}, 0.0)
        return build_contract(_fetched(told, url), "file", {}, 0.0)
    except ConfigError as error:
        raise Failure(f"\n{error}", EXIT_CONFIG) from None


def tree(told: str, url: str = "") -> dict[str, Any]:
    """Return the document of a schema. Raises Failure."""
    found: dict[str, Any] = json.loads(contract(told, url).schema_document)
    return found


def _path(told: str) -> Path | None:
    for path in (Path(told), Path("schemas") / f"schema_{told}.json"):
        if path.is_file():
            return path
    if Path(told).suffix in (*files.SUFFIXES, ".py") or "/" in told:
        raise Failure(f"{told}: no such file", EXIT_CONFIG)
    return None


def _fetched(service: str, url: str) -> bytes:
    if not url:
        raise Failure(f"{service}: no such file, nor schemas/schema_{service}.json", EXIT_CONFIG)
    try:
        answer = httpx.get(
            f"{url.rstrip('/')}/v1/apis/{service}/schema", timeout=5.0, trust_env=False
        )
        if answer.status_code == 404:
            raise Failure(f"{service}: {url} has no such service, and there is no such file")
        answer.raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        words = f"{service}: no such file, and {url} cannot be asked ({error})"
        raise Failure(words, EXIT_UNREACHABLE) from None
    return document.canonical(document.parse(answer.content))
