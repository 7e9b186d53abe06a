"""The flags of the registry: those of its own process, and those of processes that follow it."""

import argparse

from config.options import RegistryOptions, option_fields

_CLIENT_NAMES = (
    "servers", "token", "ca", "project", "group", "service", "version", "region", "labels",
    "instance", "cache", "wait",
)  # fmt: skip
# Options that those read who follow a registry, and options of the registry's own process.
CLIENT_OPTIONS = tuple(f"registry.{name}" for name in _CLIENT_NAMES)
SERVER_OPTIONS = tuple(
    f"registry.{field.name}"
    for field in option_fields(RegistryOptions)
    if field.name not in _CLIENT_NAMES
)


def add_registry_argument(parser: argparse.ArgumentParser) -> None:
    """Declare `--registry`."""
    parser.add_argument(
        "--registry",
        dest="registry.servers",
        metavar="HOST:PORT,...",
        help="short for --registry-servers: take the configuration from there",
    )
