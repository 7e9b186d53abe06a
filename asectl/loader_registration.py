"""A loader and the registry: the hubs to report to, the config of `init`, its own registration."""

import argparse
import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

from asectl import options, registry_link
from asectl.main import EXIT_CONFIG, Failure
from asectl.registry_flags import SERVER_OPTIONS, add_registry_argument
from asectl.registry_link import HUB_SERVICE, RegistryLink, hub_addresses
from config.source import ConfigError, Diagnostic, parse_yaml
from registry.client.subscriber import ApplyResult
from registry.feedback import Outcome

# The file of a loader's version whose members are the config of `init`.
CONFIG_FILE: Final = "init.yaml"
_PROTOCOL: Final = "ase"
_SERVERS_VARIABLE: Final = "ASE_REGISTRY_SERVERS"


def add_loader_registry_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of a loader that has a registry."""
    options.add_config_arguments(
        parser, ("registry",), exclude=(*SERVER_OPTIONS, *options.TOP_LEVEL_OPTIONS)
    )
    add_registry_argument(parser)


class LoaderRegistration:
    """The registry of one loader. Call `start` when it listens, and `leave` at its end."""

    def __init__(self, link: RegistryLink, service: str) -> None:
        self._link = link
        self._service = service
        self._gateway = ""  # a URL

    @classmethod
    def prepare(cls, args: argparse.Namespace, service: str) -> "LoaderRegistration | None":
        """Return the registration of a loader that names a registry, else None.

        Its files are on the disk then. Raises Failure.
        """
        named = vars(args).get("registry.servers") or os.environ.get(_SERVERS_VARIABLE)
        if not named and not args.config:
            return None
        link = registry_link.prepare(
            args, service, lambda _: (args.host, args.port), _check_files, takes_schemas=False
        )
        return cls(link, service) if link is not None else None

    def hubs(self) -> str:
        """Return the addresses of the hubs, with commas: all that gateways of the group watch."""
        gateways = self._link.discover("gateway")
        if gateways:
            self._gateway = f"{gateways[0].protocol}://{gateways[0].address}"
        return ",".join(hub_addresses(self._link.discover(HUB_SERVICE), for_loader=True))

    def hub_changes(self) -> AsyncIterator[Sequence[str]]:
        """Yield the addresses of the hubs, now and after each change."""
        return self._link.hub_changes(for_loader=True)

    def config(self) -> dict[str, str]:
        """Return the config of `init`. Raises Failure."""
        try:
            return _read_init_config(self._link.mirror.current / CONFIG_FILE)
        except (ConfigError, OSError, UnicodeDecodeError) as error:
            raise Failure(f"registry: {CONFIG_FILE}: {error}", EXIT_CONFIG) from None

    def urls(self) -> dict[str, str]:
        """Return where the service is called, and its documentation; nothing without a gateway."""
        if not self._gateway:
            return {}
        return {
            "api": f"{self._gateway}/v1/private/{self._service}",
            "docs": f"{self._gateway}/docs",
        }

    def start(self, address: str) -> list["asyncio.Task[None]"]:
        """Register the loader, and follow its version. Call it in the event loop."""
        self._link.listen_at(address)
        return [
            self._link.follow_until_restart(),
            self._link.register(self._service, address, _PROTOCOL),
        ]

    def leave(self) -> None:
        """Deregister: it takes no further requests."""
        self._link.start_leaving()


def _read_init_config(path: Path) -> dict[str, str]:
    """Return the members of a file as texts. Raises ConfigError, OSError, UnicodeDecodeError."""
    if not path.is_file():
        return {}
    parsed = parse_yaml(path.read_text("utf-8-sig"), f"registry:{CONFIG_FILE}")
    tree = parsed.tree or {}
    if not isinstance(tree, dict) or any(isinstance(v, dict | list) for v in tree.values()):
        raise ConfigError(parsed.name, parsed.lines, [Diagnostic("must map names to texts")])
    return {name: parsed.texts.get((name,), str(value)) for name, value in tree.items()}


def _check_files(args: argparse.Namespace) -> ApplyResult:
    own, base = options.load_own_config(args)
    path = options.registry_cache(own.registry, base) / "current" / CONFIG_FILE
    try:
        _read_init_config(path)
    except (ConfigError, OSError, UnicodeDecodeError) as error:
        return ApplyResult(Outcome.REFUSED, str(error))
    return ApplyResult(Outcome.APPLIED)
