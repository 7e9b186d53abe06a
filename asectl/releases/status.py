"""`asectl config status`: who runs which release of a version since when, and why not."""

import argparse

from asectl.output import add_output_argument, print_output
from asectl.releases.api import (
    RegistryApiClient,
    add_name_argument,
    add_registry_arguments,
    version_path,
)
from asectl.releases.list import describe_gray
from asectl.releases.rollout import status_lines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    add_name_argument(parser)
    add_registry_arguments(parser)
    add_output_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print the table. Raises Failure."""
    client = RegistryApiClient.from_args(args)
    name = client.version(args.name)
    status = client.get(version_path(name, "status"))
    publication = status["publication"]
    heading = (
        f"{name}: release {publication['stable'] or 'none'}, gray {describe_gray(publication)}"
    )
    print_output(args.output, status, [heading, *status_lines(status)])
    return 0
