"""Requests of the commands to the deployer's paths of projects, applications and positions."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from asectl.deployments.api import DeployerClient
from asectl.main import EXIT_USAGE, Failure
from asectl.table import align
from deploy.openapi import PREFIX


def position_client(args: argparse.Namespace) -> DeployerClient:
    """Return a client of the deployer that the flags name. Raises Failure."""
    return DeployerClient.from_args(args, PREFIX)


def require_argument(args: argparse.Namespace, name: str, action: str) -> str:
    """Return an argument that an action needs. Raises Failure (exit code 2) without it."""
    value = getattr(args, name.lower().replace("-", "_"))
    if not value:
        raise Failure(f"{action} needs {name}", EXIT_USAGE)
    return str(value)


def table_lines(
    columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]], without: str
) -> list[str]:
    """Return a table of rows: columns are heads with their members; `without` rows, that text."""
    if not rows:
        return [without]
    cells = [[_cell(row.get(member)) for member in columns.values()] for row in rows]
    return align([[*columns], *cells])


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    return str(value).partition("\n")[0][:100]
