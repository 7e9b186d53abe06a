"""Load a schema from a file of any kind, from the folder `schemas`, or from a gateway."""

import argparse
import json
from pathlib import Path
from typing import Any

import httpx

from asectl import gateway_apis, http_client
from asectl.http_client import HttpTarget
from asectl.main import EXIT_CONFIG, EXIT_UNREACHABLE, Failure
from config.source import ConfigError
from gateway.services import schema_file, schema_folder
from gateway.services.catalog import Contract, build_contract
from schemas.model import document
from schemas.model.document import DocumentError


def add_source_argument(parser: argparse.ArgumentParser, name: str, help_text: str) -> None:
    """Declare a positional argument that names a schema: a file or a service id."""
    parser.add_argument(name, metavar="FILE|SERVICE", help=help_text)


def add_url_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `--url` and `--ca`: the gateway that is asked for a service without a local file."""
    http_client.add_url_arguments(parser, "the gateway that has it")


def load_contract(source: str, gateway: HttpTarget | None = None) -> Contract:
    """Return the contract of a file or of a service id.

    The schema of a service is `schemas/schema_<id>.json` if that exists, else that of `gateway`, if
    it is given. Raises Failure with every error in the file, or if there is no such schema.
    """
    path = _schema_path(source)
    try:
        if path is not None:
            return schema_folder.load_file(path, {}, 0.0)
        return build_contract(_fetch_schema(source, gateway), "file", {}, 0.0)
    except ConfigError as error:
        raise Failure(f"\n{error}", EXIT_CONFIG) from None
    except DocumentError as error:
        raise Failure(f"{source}: no schema that can be read: {error}", EXIT_CONFIG) from None


def load_document(source: str, gateway: HttpTarget | None = None) -> dict[str, Any]:
    """Return the schema document of a file or of a service id. Raises Failure."""
    schema: dict[str, Any] = json.loads(load_contract(source, gateway).schema_document)
    return schema


def _schema_path(source: str) -> Path | None:
    for path in (Path(source), Path("schemas") / f"schema_{source}.json"):
        if path.is_file():
            return path
    if Path(source).suffix in (*schema_file.SUFFIXES, ".py") or "/" in source:
        raise Failure(f"{source}: no such file", EXIT_CONFIG)
    return None


def _fetch_schema(service: str, gateway: HttpTarget | None) -> bytes:
    if gateway is None:
        raise Failure(f"{service}: no such file, nor schemas/schema_{service}.json", EXIT_CONFIG)
    try:
        with gateway.client() as client:
            return document.canonical(gateway_apis.fetch_schema(client, service))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        message = f"{service}: no such file, and {gateway.url} cannot be asked ({error})"
        raise Failure(message, EXIT_UNREACHABLE) from None
