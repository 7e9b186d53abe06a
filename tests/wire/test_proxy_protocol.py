"""Connections that begin with a PROXY header, from HAProxy and from sockets of our own."""

import contextlib
import json
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import httpx
import pytest

from rpc.proxy_protocol import SIGNATURE
from schemas.wire import InferRequest
from tests.harness import TIMEOUT_S, Gateway, Loader, Process, free_port, make_envelope
from tests.requests import GET, read_all, read_statuses, valid_request
from tests.rpc.test_peers import run_process
from tests.wire.test_tls import connect, install

SENDERS = ("--gateway-proxy-protocol", "127.0.0.0/8")
GRPC = ("--gateway-grpc", "true", "--gateway-grpc-port", "0")

HAPROXY = """
global
  nbthread 1
defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend door
  bind 127.0.0.1:{port}
  default_backend gateways
backend gateways
  server one 127.0.0.1:{backend} send-proxy-v2
"""


def header(source: str = "192.0.2.7", command: int = 0x21) -> bytes:
    rest = socket.inet_aton(source) + socket.inet_aton("10.0.0.1") + struct.pack("!HH", 51234, 443)
    return SIGNATURE + struct.pack("!BBH", command, 0x11, len(rest)) + rest


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with Gateway(*SENDERS, *GRPC) as started, Loader(started.lb) as loader:
        started.wait_until_up(loader)
        yield started


@contextlib.contextmanager
def open_socket(gateway: Gateway) -> Iterator[socket.socket]:
    parts = urlsplit(gateway.url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), TIMEOUT_S) as sock:
        yield sock


def client_of(gateway: Gateway, sid: str) -> Any:
    return gateway.wait_for_event("request", sid=sid)["client"]


def sid_of(response: bytes) -> str:
    return str(json.loads(response.partition(b"\r\n\r\n")[2])["header"]["sid"])


@pytest.mark.parametrize(
    ("command", "client"), [(0x21, "192.0.2.7"), (0x20, "127.0.0.1")], ids=["proxy", "local"]
)
def test_client_is_whom_the_header_names(gateway: Gateway, command: int, client: str) -> None:
    for in_pieces in (False, True):
        with open_socket(gateway) as sock:
            data = header(command=command) + valid_request()
            for piece in (data[:5], data[5:20], data[20:]) if in_pieces else (data,):
                sock.sendall(piece)
            response = sock.recv(65536)
        assert response.startswith(b"HTTP/1.1 200")
        assert client_of(gateway, sid_of(response)) == client


def test_stranger_behind_the_load_balancer_is_no_trusted_proxy(gateway: Gateway) -> None:
    """Loopback is trusted to name clients; whom its header names is not."""
    named = valid_request().replace(b"Host: a", b"Host: a\r\nX-Forwarded-For: 198.51.100.9", 1)
    for source, client in (("192.0.2.7", "192.0.2.7"), ("127.0.0.9", "198.51.100.9")):
        with open_socket(gateway) as sock:
            sock.sendall(header(source) + named)
            assert client_of(gateway, sid_of(sock.recv(65536))) == client


@pytest.mark.parametrize(
    "data",
    [
        GET + b"\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 51234 443\r\n" + GET + b"\r\n",
        header()[:-1],
        SIGNATURE + b"\x21\x11\xff\xff",
        SIGNATURE + b"\x21\x11\x00\x02ab" + GET + b"\r\n",
    ],
    ids=["none", "version 1", "cut", "too large", "without addresses"],
)
def test_connection_without_a_valid_header_is_closed(gateway: Gateway, data: bytes) -> None:
    with open_socket(gateway) as sock:
        sock.sendall(data)
        with contextlib.suppress(OSError):  # it may be closed already
            sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b""


def test_reason_is_logged_once_a_second() -> None:
    with Gateway(*SENDERS) as gateway:
        for _ in range(5):
            with open_socket(gateway) as sock:
                sock.sendall(GET + b"\r\n")
                assert read_all(sock) == b""
        line = gateway.wait_for_event("connection refused")
        assert line["peer"] == "127.0.0.1"
        assert "no PROXY header of version 2" in line["reason"]
        assert gateway.count("connection refused") < 5


def test_header_must_come_in_time() -> None:
    with Gateway(*SENDERS, "--gateway-tls-handshake-timeout", "0.2") as gateway:
        with open_socket(gateway) as sock:
            assert read_all(sock) == b""
        line = gateway.wait_for_event("connection refused")
        assert line["reason"] == "the PROXY header took too long"


def test_others_send_no_header() -> None:
    with Gateway("--gateway-proxy-protocol", "10.0.0.0/8") as gateway:
        with open_socket(gateway) as sock:
            sock.sendall(GET + b"\r\n")
            assert read_statuses(sock, 1) == [200]
        with open_socket(gateway) as sock:
            sock.sendall(header() + GET + b"\r\n")
            assert read_statuses(sock, 1) == [400]


@pytest.mark.parametrize("name", ["trusted_proxies", "proxy_protocol"])
def test_invalid_network_prevents_the_start(tmp_path: Path, name: str) -> None:
    (tmp_path / "ase.yaml").write_text(f"gateway: {{{name}: [10.0.0.0/99]}}")
    with Process("gateway", "-c", str(tmp_path / "ase.yaml")) as process:
        assert process.wait_for_exit() == 3
        assert f"gateway.{name}: '10.0.0.0/99' does not appear to be" in "\n".join(process.text)


def test_excess_connections_are_closed() -> None:
    with (
        Gateway(*SENDERS, "--gateway-max-connections", "2") as gateway,
        open_socket(gateway) as first,
        open_socket(gateway),
        open_socket(gateway) as third,
    ):
        assert read_all(third) == b""
        first.sendall(header() + GET + b"\r\n")
        assert read_statuses(first, 1) == [200]


@pytest.mark.peer("openssl")
def test_tls_after_the_header(certificates: Path, tmp_path: Path) -> None:
    install(certificates, "one", tmp_path)
    files = (
        "--gateway-tls-cert",
        f"{tmp_path}/tls.pem",
        "--gateway-tls-key",
        f"{tmp_path}/tls.key",
    )
    with Gateway(*SENDERS, *files) as gateway, connect(gateway.url, header()) as sock:
        sock.sendall(GET + b"\r\n")
        assert read_statuses(sock, 1) == [200]


def test_grpc_port(gateway: Gateway) -> None:
    """A gRPC client behind a load balancer, which is a thread here."""
    host, port = gateway.grpc.rsplit(":", 1)
    listener = socket.create_server(("127.0.0.1", 0))
    addr = f"127.0.0.1:{listener.getsockname()[1]}"
    with listener, grpc.insecure_channel(addr) as channel:
        message = InferRequest(service="probe")
        message.members["text"].text = "hi"
        metadata = [("x-app-id", "tests")]
        call = channel.unary_unary("/ase.v1.Gateway/Infer").future(
            message.SerializeToString(), timeout=TIMEOUT_S, metadata=metadata
        )
        client, _ = listener.accept()
        with client, socket.create_connection((host, int(port)), TIMEOUT_S) as backend:
            backend.sendall(header())
            backend.settimeout(0.05)
            client.settimeout(0.05)
            while not call.done():
                for source, target in ((client, backend), (backend, client)):
                    with contextlib.suppress(TimeoutError):
                        target.sendall(source.recv(65536))
        sid = dict(call.trailing_metadata())["x-ase-request-id"]
        assert client_of(gateway, sid) == "192.0.2.7"


@pytest.mark.peer("haproxy")
def test_haproxy(gateway: Gateway, tmp_path: Path) -> None:
    port, path = free_port(), tmp_path / "haproxy.cfg"
    path.write_text(HAPROXY.format(port=port, backend=urlsplit(gateway.url).port))
    with run_process(["haproxy", "-db", "-f", str(path)], port) as addr:
        with httpx.Client(
            transport=httpx.HTTPTransport(local_address="127.0.0.55"), timeout=TIMEOUT_S
        ) as client:
            response = client.post(f"http://{addr}/v1/private/probe", json=make_envelope())
        assert response.status_code == 200
        assert client_of(gateway, response.headers["x-ase-request-id"]) == "127.0.0.55"
