"""The listening sockets, opened and inherited."""

import socket

import pytest

from config.options import Config, GatewayOptions, LbOptions
from gateway.sockets import ListeningSockets, inherit_sockets, open_sockets
from rpc.addresses import binds_to, listen

ANY_PORT = {"port": 0, "admin_port": 0, "grpc_port": 0}


def config(hub: str = "", **options: object) -> Config:
    gateway = GatewayOptions(**{**ANY_PORT, **options})  # type: ignore[arg-type]
    return Config(gateway=gateway, lb=LbOptions(port=0, hub=hub))


def test_ports_that_nobody_serves_are_not_opened() -> None:
    sockets = open_sockets(config(hub="127.0.0.1:8220"), {})
    assert set(sockets.by_name()) == {"public", "admin"}
    sockets.close()
    sockets = open_sockets(config(grpc=True), {})
    assert set(sockets.by_name()) == {"public", "admin", "grpc", "lb"}
    sockets.close()


def test_sockets_are_inherited_by_their_descriptors() -> None:
    public, admin = socket.socket(), socket.socket()
    sockets = ListeningSockets(public, admin, None, None)
    text = sockets.to_text()
    descriptors = [public.detach(), admin.detach()]
    assert text == f"public={descriptors[0]},admin={descriptors[1]}"
    inherited = inherit_sockets(text)
    assert {name: sock.fileno() for name, sock in inherited.items()} == {
        "public": descriptors[0],
        "admin": descriptors[1],
    }
    for sock in inherited.values():
        sock.close()
    assert inherit_sockets("") == {}


def test_inherited_socket_is_used_if_it_has_the_address_of_the_config(
    caplog: pytest.LogCaptureFixture,
) -> None:
    public, other = listen("127.0.0.1", 0), listen("127.0.0.1", 0)
    port = public.getsockname()[1]
    inherited = {"public": public, "admin": other, "lb": listen("127.0.0.1", 0)}
    sockets = open_sockets(config(port=port, admin_host="127.0.0.2", hub="h:1"), inherited)
    assert sockets.public is public
    assert sockets.admin is not other
    assert sockets.admin.getsockname()[0] == "127.0.0.2"
    assert other.fileno() == inherited["lb"].fileno() == -1, "those of other addresses are closed"
    assert {vars(r)["socket"] for r in caplog.records} == {"admin", "lb"}, "and it is told"
    sockets.close()


@pytest.mark.parametrize(
    ("host", "port", "fits"),
    [
        ("127.0.0.1", 0, True),
        ("localhost", 0, True),
        ("127.0.0.1", 1, False),
        ("0.0.0.0", 0, False),
        ("::1", 0, False),
        ("unix:/tmp/x", 0, False),
        ("no.such.host.invalid", 0, False),
    ],
)
def test_socket_binds_to_an_address(host: str, port: int, fits: bool) -> None:
    with listen("127.0.0.1", 0) as sock:
        assert binds_to(sock, host, port) is fits
        assert binds_to(sock, "127.0.0.1", sock.getsockname()[1])
