"""`asectl registry backup`: have a registry write a copy of its store, beside it."""

import argparse

from asectl.releases.api import RegistryApiClient, add_registry_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    add_registry_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Make the backup and print its path on the registry's host. Raises Failure."""
    client = RegistryApiClient.from_args(args)
    print(f"{client.post('/v1/backup', {})['backup']}, on the host of {client.url}")
    return 0
