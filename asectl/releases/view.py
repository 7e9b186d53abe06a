"""`asectl config view`: print a file of a version, of its draft or of a release."""

import argparse
import sys

from asectl.releases.api import (
    RegistryApiClient,
    add_name_argument,
    add_registry_arguments,
    file_path,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    add_name_argument(parser)
    parser.add_argument("file", metavar="FILE", help="the file in the registry")
    parser.add_argument("--release", type=int, default=0, help="its number; else the draft")
    add_registry_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Write the content to stdout as it is. Raises Failure."""
    client = RegistryApiClient.from_args(args)
    query = {"release": str(args.release)} if args.release else {}
    path = file_path(client.version(args.name), args.file)
    response = client.request("GET", path, query=query)
    sys.stdout.flush()
    sys.stdout.buffer.write(response.content)
    sys.stdout.buffer.flush()
    return 0
