"""The listening sockets of a gateway, which worker processes inherit."""

import socket
from dataclasses import dataclass

from config.options import GatewayOptions
from rpc.addresses import dial_host, listen

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
    """The sockets of one gateway process; `grpc` is None if it serves no gRPC clients."""

    public: socket.socket
    admin: socket.socket
    grpc: socket.socket | None

    @classmethod
    def inherit(cls, descriptors: str) -> "ListeningSockets":
        """Return the sockets of `descriptors`, as another process has written them."""
        public, admin, *grpc = (
            socket.socket(fileno=int(number)) for number in descriptors.split(",")
        )
        return cls(public, admin, grpc[0] if grpc else None)

    def descriptors(self) -> list[int]:
        """Return the file descriptors, for `inherit`."""
        sockets = [self.public, self.admin, *([self.grpc] if self.grpc is not None else [])]
        return [sock.fileno() for sock in sockets]


def open_sockets(options: GatewayOptions) -> ListeningSockets:
    """Open the ports of a gateway. Raises OSError, with its address, if one cannot be bound."""
    public = listen(options.host, options.port)
    admin = listen(options.admin_host, options.admin_port)
    grpc = listen(options.host, options.grpc_port) if options.grpc else None
    return ListeningSockets(public, admin, grpc)


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
