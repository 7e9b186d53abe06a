"""How a client reaches the registries: their addresses, its key, TLS."""

import ssl
from dataclasses import dataclass
from typing import Self

from config.options import RegistryOptions
from rpc.client import Channel
from rpc.metadata import Metadata

MAX_MESSAGE_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class RegistryServers:
    """The registries of a cluster, and the credentials for them.

    `addresses` are tried in turn. `token` is sent as a bearer token, "" for none. `ca` is a file of
    the CA of their certificates, "" for connections without TLS.
    """

    addresses: tuple[str, ...]
    token: str = ""
    ca: str = ""

    @classmethod
    def from_options(cls, options: RegistryOptions) -> Self:
        """Return the servers of the options; the path of the CA is absolute there."""
        return cls(tuple(options.servers.split(",")), options.token, options.ca)

    @property
    def metadata(self) -> Metadata:
        """The metadata of every call."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()

    def open_channel(self, attempt: int) -> Channel:
        """Return a channel to the registry of an attempt, from 0. Raises OSError for the CA."""
        tls = ssl.create_default_context(cafile=self.ca) if self.ca else None
        address = self.address(attempt)
        return Channel(address, tls=tls, max_message_size=MAX_MESSAGE_BYTES)

    def address(self, attempt: int) -> str:
        """Return the address of an attempt."""
        return self.addresses[attempt % len(self.addresses)]
