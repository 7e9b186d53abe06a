"""`asectl registry providers`: who serves a version; take one out, or bring it back."""

import argparse
from urllib.parse import quote

from asectl.keys.store import time_text
from asectl.main import EXIT_USAGE, Failure
from asectl.output import add_output_argument, print_output
from asectl.releases.api import (
    RegistryApiClient,
    add_name_argument,
    add_registry_arguments,
    version_path,
)
from asectl.table import align

_STATES = ("online", "offline", "isolated")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    add_name_argument(parser)
    parser.add_argument("address", nargs="?", default="", help="a provider, to change its state")
    parser.add_argument("state", nargs="?", default="", help="online, offline or isolated")
    parser.add_argument("-m", "--comment", default="", help="why")
    add_registry_arguments(parser)
    add_output_argument(parser)


def run(args: argparse.Namespace) -> int:
    """RecordChange the state of a provider, if one is named, and print all. Raises Failure."""
    client = RegistryApiClient.from_args(args)
    name = client.version(args.name)
    if args.address:
        if args.state not in _STATES:
            raise Failure(f"say {', '.join(_STATES[:-1])} or {_STATES[-1]}", EXIT_USAGE)
        path = version_path(name, f"providers/{quote(args.address, safe='')}")
        body = {"state": args.state, "comment": args.comment}
        client.request("PUT", path, json=body)
    content = client.get(version_path(name, "providers"))
    rows = [["ADDRESS", "PROTOCOL", "STATE", "WEIGHT", "LABELS", "SINCE"]]
    rows += [
        [
            row["address"],
            row["protocol"],
            row["state"],
            str(row["weight"]),
            ",".join(f"{k}={v}" for k, v in sorted(row["labels"].items())) or "-",
            time_text(row["since"]),
        ]
        for row in content["providers"]
    ]
    print_output(args.output, content, align(rows))
    return 0
