"""Addresses: IPv6 with and without brackets, and why one cannot be bound."""

import errno
import socket
from pathlib import Path

import pytest

from rpc.addresses import bare_host, dial_host, join_host_port, listen, unix_path


def test_addresses_of_ipv6_have_brackets() -> None:
    assert [bare_host(host) for host in ("[::1]", "::1", "h", "")] == ["::1", "::1", "h", ""]
    assert join_host_port("::1", 80) == join_host_port("[::1]", "80") == "[::1]:80"
    assert join_host_port("127.0.0.1", 0) == "127.0.0.1:0"
    hosts = ("0.0.0.0", "::", "[::]", "::1", "[::1]", "h", "10.0.0.1")
    dialled = ["127.0.0.1", "[::1]", "[::1]", "[::1]", "[::1]", "h", "10.0.0.1"]
    assert [dial_host(host) for host in hosts] == dialled


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_listen_serves_on_the_address(host: str) -> None:
    with listen(host, 0) as server:
        port = server.getsockname()[1]
        with socket.create_connection((dial_host(host), port)):
            pass


def test_unix_socket_has_no_port(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/a.sock"
    assert (unix_path(address), unix_path("unix.example:80")) == (f"{tmp_path}/a.sock", "")
    assert join_host_port(address, 80) == address
    with listen(address, 80) as server:
        assert server.getsockname() == f"{tmp_path}/a.sock"
        with pytest.raises(OSError, match="in use") as caught:
            listen(address, 0)
    assert caught.value.filename == address


def test_error_names_address_and_reason() -> None:
    with listen("127.0.0.1", 0) as server:
        port = server.getsockname()[1]
        with pytest.raises(OSError, match="in use") as caught:
            listen("127.0.0.1", port)
    assert (caught.value.errno, caught.value.filename) == (errno.EADDRINUSE, f"127.0.0.1:{port}")
    with pytest.raises(OSError, match="assign") as caught:
        listen("192.0.2.1", 0)
    assert (caught.value.errno, caught.value.filename) == (errno.EADDRNOTAVAIL, "192.0.2.1:0")
    with pytest.raises(OSError, match=r"\S") as caught:
        listen("no.such.host.invalid", 0)
    assert caught.value.filename == "no.such.host.invalid:0"
