"""Puts an API schema into the registry, under the names that its declaration has."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asectl.releases.api import RegistryApiClient, file_path
from config.source import ConfigError, parse_yaml
from registry.names import ServiceVersion

# The members of `metadata` of an ApiSchema, as the original has them.
_MEMBERS = ("projectName", "group", "serviceName", "version")


def schema_version(client: RegistryApiClient, declaration: Path, service: str) -> ServiceVersion:
    """Return the version that a declaration is of; what it leaves out comes from asectl setup.

    `service` is its service id. Raises Failure for a name that is none.
    """
    return version_of_metadata(client, _metadata(declaration), service)


def version_of_metadata(
    client: RegistryApiClient, metadata: Mapping[str, Any], service: str
) -> ServiceVersion:
    """Return the version that the `metadata` of a declaration names, as `schema_version`."""
    profile = client.profile
    defaults = (profile.project, profile.group, service, profile.version)
    parts = [
        str(metadata.get(member) or default)
        for member, default in zip(_MEMBERS, defaults, strict=True)
    ]
    return client.version("/".join(parts))


def wants_push(args: argparse.Namespace, name: ServiceVersion, url: str) -> bool:
    """Return whether to push: as the flag says, else as somebody at the terminal answers."""
    if args.push is not None:
        return bool(args.push)
    if not sys.stdin.isatty() or not sys.stdout.isatty():
        return False
    answer = input(f"push it to {url}, as a draft of {name}? [y/N] ")
    return answer.strip().lower() in ("y", "yes")


def push_schema(client: RegistryApiClient, name: ServiceVersion, path: Path) -> None:
    """Put a schema document into the draft of a version. Raises Failure."""
    client.request("PUT", file_path(name, path.name), content=path.read_bytes())
    print(f"in the draft of {name}; asectl config publish {name} releases it")


def _metadata(declaration: Path) -> Mapping[str, Any]:
    """Return the `metadata` of a YAML declaration; nothing of other files."""
    if declaration.suffix not in (".yaml", ".yml"):
        return {}
    try:
        parsed = parse_yaml(declaration.read_text("utf-8-sig"), str(declaration))
    except (ConfigError, OSError, UnicodeDecodeError):
        return {}
    tree = parsed.tree if isinstance(parsed.tree, dict) else {}
    metadata = tree.get("metadata")
    if not isinstance(metadata, dict):
        return {}
    # `version: 1.10` is the text as it is written.
    return {key: parsed.texts.get(("metadata", key), value) for key, value in metadata.items()}
