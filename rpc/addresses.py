"""Addresses of a host and a port: how they are written, dialled and bound. IPv6 needs brackets.

`unix:PATH` instead of a host is a Unix socket, as in gRPC's names; it has no port.
"""

import errno
import socket
from ipaddress import ip_address
from typing import Any, Final

# What a socket that listens on every interface is dialled by, on the same machine.
_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_UNIX: Final = "unix:"


def unix_path(address: str) -> str:
    """Return the path of the Unix socket that `address` names; "" for a host."""
    return address[len(_UNIX) :] if address.startswith(_UNIX) else ""


def bare_host(host: str) -> str:
    """Return a host without the brackets that an IPv6 address may be written in."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def join_host_port(host: str, port: int | str) -> str:
    """Return host:port, with brackets around an IPv6 address (RFC 3986, 3.2.2).

    A Unix socket is returned as it is.
    """
    if unix_path(host):
        return host
    host = bare_host(host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def dial_host(host: str) -> str:
    """Return the host by which this machine connects to a socket that listens on `host`.

    An IPv6 address has brackets, as in a URL.
    """
    host = _LOOPBACK.get(bare_host(host), bare_host(host))
    return f"[{host}]" if ":" in host else host


def advertised_address(advertise: str, host: str, port: int) -> str:
    """Return the host:port by which others reach a socket that listens on `host` and `port`.

    `advertise` is that address, with port 0 for `port`; "" for `host` and `port`.
    """
    other_host, _, other_port = advertise.rpartition(":") if advertise else (host, "", "0")
    return join_host_port(other_host, other_port if other_port != "0" else port)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a socket that listens on `host`."""
    try:
        return unix_path(host) != "" or ip_address(bare_host(host)).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def listen(host: str, port: int, backlog: int = 2048) -> socket.socket:
    """Return a listening socket; port 0 selects a free port.

    Raises OSError whose `filename` is host:port if the address cannot be bound.
    """
    try:
        family, address = _resolve(host, port)
        return socket.create_server(address, family=family, backlog=backlog)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(error.errno or errno.EINVAL, reason, join_host_port(host, port)) from error


def binds_to(sock: socket.socket, host: str, port: int) -> bool:
    """Return whether a listening socket is what `listen` would open; any port fits port 0.

    False if the host cannot be resolved: `listen` says why.
    """
    try:
        family, address = _resolve(host, port)
    except OSError:
        return False
    bound = sock.getsockname()
    if family == socket.AF_UNIX or sock.family != family:
        return sock.family == family and bound == address
    return bound[0] == address[0] and port in (0, bound[1])


def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, Any]:
    """Return the family of an address, and the address to bind. Raises OSError."""
    if path := unix_path(host):
        return socket.AF_UNIX, path
    addresses = socket.getaddrinfo(
        bare_host(host), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    return addresses[0][0], addresses[0][4][:2]
