"""`asectl config publish`: release a draft to all, or to some, and see who takes it."""

import argparse
from typing import Any

from asectl.main import EXIT_USAGE, Failure
from asectl.releases.api import (
    RegistryApiClient,
    add_name_argument,
    add_registry_arguments,
    version_path,
)
from asectl.releases.diff import diff_lines
from asectl.releases.rollout import follow_rollout
from asectl.table import printable
from registry.names import ServiceVersion

_MAX_DIFF_LINES = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    add_name_argument(parser)
    parser.add_argument("-m", "--comment", default="", help="what it is for")
    add_rule_arguments(parser)
    parser.add_argument(
        "--force", action="store_true", help="publish a schema although clients would break"
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would be published")
    add_wait_argument(parser)
    add_registry_arguments(parser)


def add_rule_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare who sees a gray release."""
    parser.add_argument(
        "--label", action="append", default=[], metavar="NAME=VALUE", help="gray: instances with it"
    )
    parser.add_argument(
        "--region", default="", help="gray: instances of a region (the label `region`)"
    )
    parser.add_argument(
        "--address", action="append", default=[], metavar="INSTANCE", help="gray: this instance"
    )
    parser.add_argument(
        "--percent", type=float, default=0.0, metavar="P", help="gray: this part of all others"
    )


def add_wait_argument(parser: argparse.ArgumentParser) -> None:
    """Declare how long a command waits for the instances."""
    parser.add_argument(
        "--wait", type=float, default=30.0, metavar="SECONDS", help="for the instances (30)"
    )


def read_rule(args: argparse.Namespace) -> dict[str, Any] | None:
    """Return the rule of the flags, None without one. Raises Failure."""
    labels = {}
    for text in args.label:
        name, separator, value = text.partition("=")
        if not name or not separator:
            raise Failure(f"--label {text}: is not NAME=VALUE", EXIT_USAGE)
        labels[name] = value
    if args.region:
        labels["region"] = args.region
    if not labels and not args.address and not args.percent:
        return None
    return {"labels": labels, "addresses": args.address, "percentage": args.percent}


def run(args: argparse.Namespace) -> int:
    """Publish, and print the answers of the instances as they come.

    Return 0 when all run it, 1 if one refused it, 5 if one has not answered in time. Raises
    Failure.
    """
    client = RegistryApiClient.from_args(args)
    name, rule = client.version(args.name), read_rule(args)
    digest = client.get(version_path(name))["digest"]
    _show_plan(client, name, rule)
    if args.dry_run:
        return 0
    body: dict[str, Any] = {"comment": args.comment, "force": args.force}
    # What was shown is what is released.
    headers = {"if-match": f'"{digest}"'}
    body |= {"gray": rule} if rule else {}
    path = version_path(name, "releases")
    answer = client.request("POST", path, json=body, headers=headers).json()
    if answer["pending"]:
        print(f"release {answer['last_release']} waits for somebody's asectl config approve {name}")
        return 0
    print(f"release {answer['last_release']} published")
    return follow_rollout(client, name, args.wait)


def _show_plan(
    client: RegistryApiClient, name: ServiceVersion, rule: dict[str, Any] | None
) -> None:
    """Print what changes, and which instances follow the version."""
    lines = diff_lines(client.get(version_path(name, "diff")))
    shown = lines[:_MAX_DIFF_LINES]
    if len(lines) > len(shown):
        more = len(lines) - len(shown)
        shown.append(f"... and {more} lines more: asectl config diff {name}")
    print(printable("\n".join(shown)))
    instances = client.get(version_path(name, "status"))["instances"]
    if rule is None:
        print(f"to {len(instances)} instances")
        return
    matching = [
        instance["instance"]
        for instance in instances
        if (rule["labels"] and rule["labels"].items() <= instance["labels"].items())
        or {instance["instance"], instance["address"]} & {*rule["addresses"]}
    ]
    others = f", and {rule['percentage']:g} % of the others" if rule["percentage"] else ""
    print(f"gray, to {', '.join(matching) or 'no instance that is here now'}{others}")
