"""`asectl config history`: the releases of a version, or all that was done to it."""

import argparse
from typing import Any

from asectl.keys.store import time_text
from asectl.output import add_output_argument, print_output
from asectl.releases.api import (
    RegistryApiClient,
    add_name_argument,
    add_registry_arguments,
    version_path,
)
from asectl.table import align

_PAGE = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    add_name_argument(parser)
    parser.add_argument("--audit", action="store_true", help="all that was done, gray releases too")
    add_registry_arguments(parser)
    add_output_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print the releases, the newest first; the audit log in the order of time. Raises Failure."""
    client = RegistryApiClient.from_args(args)
    name = client.version(args.name)
    if args.audit:
        entries = _entries(client, str(name))
        rows = [["TIME", "WHO", "WHAT", "DETAIL"]]
        rows += [[time_text(e["at"]), e["author"], e["action"], e["detail"]] for e in entries]
        print_output(args.output, entries, align(rows))
        return 0
    releases = client.get(version_path(name, "releases"))["releases"]
    publication = client.get(version_path(name))
    rows = [["RELEASE", "TIME", "WHO", "FILES", "DIGEST", "COMMENT", ""]]
    rows += [
        [
            str(release["number"]),
            time_text(release["released_at"]),
            release["author"],
            str(len(release["files"])),
            release["digest"][:12],
            release["comment"],
            _mark(release["number"], publication),
        ]
        for release in releases
    ]
    print_output(args.output, releases, align(rows))
    return 0


def _mark(number: int, publication: dict[str, Any]) -> str:
    gray, pending = publication["gray"], publication["pending"]
    if number == publication["stable"]:
        return "stable"
    if gray and gray["release"] == number:
        return f"gray to {gray['rule_text']}"
    return "waits for approval" if pending and pending["release"] == number else ""


def _entries(client: RegistryApiClient, name: str) -> list[dict[str, Any]]:
    """Return the audit entries of a version, page by page."""
    entries: list[dict[str, Any]] = []
    after = ""
    while True:
        page = client.get("/v1/audit", after=after, limit=str(_PAGE))
        entries += [entry for entry in page["entries"] if entry["subject"] == name]
        if not page["after"]:
            return entries
        after = page["after"]
