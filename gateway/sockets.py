"""The listening sockets of a gateway, which workers and the process that replaces it inherit."""

import logging
import socket
from collections.abc import Mapping
from dataclasses import dataclass, fields

from config.options import Config, GatewayOptions
from rpc.addresses import binds_to, dial_host, listen

_logger = logging.getLogger("ase.gateway")

# File descriptors that are not available to clients, if the limit of open files is large.
_RESERVED_FILES = 1024


def max_connections(files: int) -> int:
    """Return the number of client connections that a limit of open files allows.

    A quarter of the limit, but at least 16 and at most 1024 descriptors, is reserved: loaders,
    hubs, logs and the admin API need descriptors when clients use all of theirs.
    """
    return max(1, files - min(_RESERVED_FILES, max(files // 4, 16)))


@dataclass(frozen=True, slots=True)
class ListeningSockets:
    """The sockets of one gateway process.

    `grpc` is None if it serves no gRPC clients, `lb` if its hub is in another process.
    """

    public: socket.socket
    admin: socket.socket
    grpc: socket.socket | None
    lb: socket.socket | None

    def by_name(self) -> dict[str, socket.socket]:
        """Return the sockets by the names of their fields."""
        sockets = {name: getattr(self, name) for name in SOCKET_NAMES}
        return {name: sock for name, sock in sockets.items() if sock is not None}

    def descriptors(self) -> list[int]:
        """Return the file descriptors, for a process that inherits them."""
        return [sock.fileno() for sock in self.by_name().values()]

    def to_text(self) -> str:
        """Return the descriptors by name, for `inherit_sockets` in another process."""
        return ",".join(f"{name}={sock.fileno()}" for name, sock in self.by_name().items())

    def close(self) -> None:
        """Close the descriptors; the ports stay open in processes that inherited them."""
        for sock in self.by_name().values():
            sock.close()


SOCKET_NAMES = tuple(field.name for field in fields(ListeningSockets))


def inherit_sockets(text: str) -> dict[str, socket.socket]:
    """Return the sockets of `ListeningSockets.to_text` by name; none for an empty text."""
    pairs = (pair.split("=") for pair in text.split(",") if pair)
    return {name: socket.socket(fileno=int(descriptor)) for name, descriptor in pairs}


def open_sockets(config: Config, inherited: Mapping[str, socket.socket]) -> ListeningSockets:
    """Open the ports of a gateway, or take the `inherited` sockets that listen there already.

    Inherited sockets of other addresses are closed. Raises OSError, with its address, if a port
    cannot be bound.
    """
    options = config.gateway
    addresses = {
        "public": (options.host, options.port),
        "admin": (options.admin_host, options.admin_port),
        "grpc": (options.host, options.grpc_port) if options.grpc else None,
        "lb": (config.lb.host, config.lb.port) if not config.lb.hub else None,
    }
    usable = {
        name: sock
        for name, sock in inherited.items()
        if (address := addresses[name]) is not None and binds_to(sock, *address)
    }
    for name, sock in inherited.items():
        if name not in usable:
            log_fields = {"socket": name, "address": str(sock.getsockname())}
            _logger.warning("inherited socket is not that of the config; closed", extra=log_fields)
            sock.close()
    sockets = {
        name: usable.get(name) or (None if address is None else listen(*address))
        for name, address in addresses.items()
    }
    return ListeningSockets(**sockets)  # type: ignore[arg-type]  # those that are always open


def worker_sockets(inherited: Mapping[str, socket.socket]) -> ListeningSockets:
    """Return the sockets of a worker: all that it inherits, its own admin port among them.

    The address of the config is that of the admin port of the process that started it.
    """
    sockets = {name: inherited.get(name) for name in SOCKET_NAMES}
    return ListeningSockets(**sockets)  # type: ignore[arg-type]  # those that are always there


def listen_addresses(options: GatewayOptions, sockets: ListeningSockets) -> dict[str, str]:
    """Return the addresses for clients on this machine: two URLs, and host:port for gRPC or ""."""
    scheme = "https" if options.tls_cert else "http"
    public = f"{dial_host(options.host)}:{sockets.public.getsockname()[1]}"
    admin = f"{dial_host(options.admin_host)}:{sockets.admin.getsockname()[1]}"
    grpc = sockets.grpc
    return {
        "gateway": f"{scheme}://{public}",
        "admin": f"http://{admin}",
        "grpc": f"{dial_host(options.host)}:{grpc.getsockname()[1]}" if grpc is not None else "",
    }
