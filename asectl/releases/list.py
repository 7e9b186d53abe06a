"""`asectl config list`: the versions in a registry, or the files of one."""

import argparse
from typing import Any

from asectl.keys.store import time_text
from asectl.output import add_output_argument, print_output
from asectl.releases.api import RegistryApiClient, add_registry_arguments, version_path
from asectl.table import align


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="a version, for its files")
    add_registry_arguments(parser)
    add_output_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print the table. Raises Failure."""
    client = RegistryApiClient.from_args(args)
    if args.name:
        content = client.get(version_path(client.version(args.name)))
        print_output(args.output, content, _file_lines(content))
    else:
        content = client.get("/v1/versions")
        print_output(args.output, content, _version_lines(content["versions"]))
    return 0


def _version_lines(versions: list[dict[str, Any]]) -> list[str]:
    rows = [["VERSION", "STABLE", "SINCE", "GRAY", "STATE"]]
    rows += [
        [
            version["name"],
            str(version["stable"] or "-"),
            time_text(version["since"]) if version["since"] else "-",
            describe_gray(version),
            describe_state(version),
        ]
        for version in versions
    ]
    return align(rows)


def describe_gray(version: dict[str, Any]) -> str:
    """Return a gray release and who sees it; "-" without one."""
    gray = version["gray"]
    return f"{gray['release']} to {gray['rule_text']}" if gray else "-"


def describe_state(version: dict[str, Any]) -> str:
    """Return what an operator has to know of a version."""
    parts = ["retired"] if version["retired"] else []
    parts += ["draft"] if version["has_draft"] else []
    if version["pending"]:
        pending = version["pending"]
        parts.append(f"release {pending['release']} of {pending['author']} waits for approval")
    return ", ".join(parts) or "in service"


def _file_lines(content: dict[str, Any]) -> list[str]:
    rows = [["FILE", "KIND", "BYTES", "DIGEST"]]
    rows += [
        [file, ref["kind"], str(ref["size"]), ref["digest"][:12]]
        for file, ref in content["files"].items()
    ]
    stable = content["stable"] or "none"
    heading = [f"{content['name']}: release {stable}, {describe_state(content)}"]
    return [*heading, *align(rows)]
