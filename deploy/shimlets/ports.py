"""Ports for loaders."""

import socket


def free_port(host: str) -> int:
    """Return a port of an address of this host that nobody listens on now. Raises OSError.

    Somebody may take it before the loader does: that ends then, and is started with another one.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.bind((host, 0))
        port: int = listener.getsockname()[1]
        return port
