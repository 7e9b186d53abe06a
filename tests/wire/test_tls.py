"""TLS of the public port and of the lb port, on real sockets: rotation, and hostile handshakes."""

import contextlib
import hashlib
import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.harness import Gateway, Hub, Loader, Process
from tests.requests import GET, read_statuses, valid_request

pytestmark = pytest.mark.peer("openssl")


def install(certificates: Path, name: str, folder: Path) -> None:
    for suffix in ("key", "pem"):
        (folder / f"tls.{suffix}").write_bytes((certificates / f"{name}.{suffix}").read_bytes())


@contextlib.contextmanager
def tls_gateway(folder: Path, *flags: str) -> Iterator[Gateway]:
    files = ("--gateway-tls-cert", f"{folder}/tls.pem", "--gateway-tls-key", f"{folder}/tls.key")
    with Gateway(*files, *flags) as gateway:
        yield gateway


def connect(url: str, preamble: bytes = b"") -> ssl.SSLSocket:
    """Return a TLS connection; `preamble` is sent before the handshake."""
    parts = urlsplit(url if "//" in url else f"//{url}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    sock = socket.create_connection((parts.hostname or "", parts.port or 0), timeout=30)
    sock.sendall(preamble)
    return context.wrap_socket(sock, server_hostname="localhost")


def served_certificate(url: str) -> str:
    with connect(url) as sock:
        certificate = sock.getpeercert(binary_form=True)
    assert certificate is not None
    return hashlib.sha256(certificate).hexdigest()


def digest_of(certificates: Path, name: str) -> str:
    text = (certificates / f"{name}.pem").read_text()
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(text)).hexdigest()


def test_new_certificate_is_served_without_a_restart(certificates: Path, tmp_path: Path) -> None:
    install(certificates, "one", tmp_path)
    with tls_gateway(tmp_path) as gateway, connect(gateway.url) as old_connection:
        assert served_certificate(gateway.url) == digest_of(certificates, "one")
        install(certificates, "two", tmp_path)
        gateway.wait_for_event("certificate reloaded", files=f"{tmp_path}/tls.pem with {tmp_path}/"
                               "tls.key")  # fmt: skip
        assert served_certificate(gateway.url) == digest_of(certificates, "two")
        old_connection.sendall(GET + b"\r\n")
        assert read_statuses(old_connection, 1) == [200], "open connections stay"


def test_broken_pair_leaves_the_old_certificate(certificates: Path, tmp_path: Path) -> None:
    install(certificates, "one", tmp_path)
    with tls_gateway(tmp_path) as gateway:
        (tmp_path / "tls.key").write_text("no key")
        refusal = gateway.wait_for_event("certificate refused; the old one is served")
        assert f"{tmp_path}/tls.pem with {tmp_path}/tls.key" in refusal["reason"]
        assert served_certificate(gateway.url) == digest_of(certificates, "one")
        gateway.signal(signal.SIGHUP)
        gateway.wait_for_event("reloaded; nothing changed")
        assert gateway.count("certificate refused; the old one is served") == 2
        assert 'ase_reloads_total{outcome="refused"} 2.0' in gateway.metrics()


def test_pair_that_does_not_fit_prevents_the_start(certificates: Path, tmp_path: Path) -> None:
    install(certificates, "one", tmp_path)
    (tmp_path / "tls.key").write_bytes((certificates / "two.key").read_bytes())
    flags = ("--gateway-tls-cert", f"{tmp_path}/tls.pem", "--gateway-tls-key",
             f"{tmp_path}/tls.key")  # fmt: skip
    with Process("gateway", *flags) as process:
        assert process.wait_for_exit() == 3
        output = "\n".join(process.text)
    assert f"gateway.tls_cert: {tmp_path}/tls.pem with {tmp_path}/tls.key: " in output


def test_lb_port_serves_a_new_certificate(certificates: Path, tmp_path: Path) -> None:
    install(certificates, "one", tmp_path)
    flags = ("--lb-tls-cert", f"{tmp_path}/tls.pem", "--lb-tls-key", f"{tmp_path}/tls.key")
    with Hub(*flags) as hub:
        assert served_certificate(hub.lb) == digest_of(certificates, "one")
        (tmp_path / "tls.key").write_text("no key")
        assert served_certificate(hub.lb) == digest_of(certificates, "one")
        hub.wait_for_event("certificate refused; the old one is served")
        install(certificates, "two", tmp_path)
        assert served_certificate(hub.lb) == digest_of(certificates, "two")
        hub.wait_for_event("certificate reloaded")
        hub.signal(signal.SIGHUP)
        hub.wait_for_event("nothing to reload")
        ca = str(certificates / "two.pem")
        with Loader(hub.lb, "tests/wrappers/probe.py:Probe", "--lb-ca", ca) as loader:
            hub.wait_for_event("instance up", instance=loader.addr)


def address_of(gateway: Gateway) -> tuple[str, int]:
    parts = urlsplit(gateway.url)
    return parts.hostname or "", parts.port or 0


def is_open(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        return sock.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionResetError:
        return False
    finally:
        sock.settimeout(30)


def wait_for_end(sock: socket.socket) -> None:
    with contextlib.suppress(ConnectionResetError):
        assert sock.recv(1) == b""


def test_connections_count_before_their_handshake(certificates: Path, tmp_path: Path) -> None:
    install(certificates, "one", tmp_path)
    limits = ("--gateway-max-connections", "20", "--gateway-tls-handshake-timeout", "300")
    with tls_gateway(tmp_path, *limits) as gateway, contextlib.ExitStack() as clients:
        silent = [
            clients.enter_context(socket.create_connection(address_of(gateway), timeout=30))
            for _ in range(60)
        ]
        for sock in silent[20:]:
            wait_for_end(sock)
        assert all(is_open(sock) for sock in silent[:20])


def test_silent_connection_ends(certificates: Path, tmp_path: Path) -> None:
    install(certificates, "one", tmp_path)
    limits = ("--gateway-tls-handshake-timeout", "0.5")
    with tls_gateway(tmp_path, *limits) as gateway:
        with socket.create_connection(address_of(gateway), timeout=30) as silent:
            wait_for_end(silent)
        with connect(gateway.url) as sock:
            sock.sendall(GET + b"\r\n")
            assert read_statuses(sock, 1) == [200]


def test_excess_connection_is_closed_before_its_handshake(
    certificates: Path, tmp_path: Path
) -> None:
    install(certificates, "one", tmp_path)
    with (
        tls_gateway(tmp_path, "--gateway-max-connections", "2") as gateway,
        connect(gateway.url) as first,
        connect(gateway.url) as second,
    ):
        for sock in (first, second):
            sock.sendall(GET + b"\r\n")
            assert read_statuses(sock, 1) == [200]
        with pytest.raises(OSError, match=r"(?i)EOF|reset|closed"):
            connect(gateway.url)


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01\x00\x05junk!", b"\0" * 5000]
)
def test_what_is_no_tls_is_closed(certificates: Path, tmp_path: Path, data: bytes) -> None:
    install(certificates, "one", tmp_path)
    with tls_gateway(tmp_path) as gateway:
        for _ in range(3):
            with socket.create_connection(address_of(gateway), timeout=30) as sock:
                sock.sendall(data)
                with contextlib.suppress(ConnectionResetError):
                    while sock.recv(4096):
                        pass
        assert served_certificate(gateway.url) == digest_of(certificates, "one")
        assert not [line for line in gateway.text if "Traceback" in line]


def test_requests_sent_with_the_end_of_the_handshake(certificates: Path, tmp_path: Path) -> None:
    """The first request often arrives in the same packet as the client's last handshake message."""
    install(certificates, "one", tmp_path)
    with tls_gateway(tmp_path) as gateway, Loader(gateway.lb) as loader:
        gateway.wait_for_event("instance up", instance=loader.addr)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        for request in (GET + b"\r\n", valid_request()) * 10:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = context.wrap_bio(incoming, outgoing)
            with socket.create_connection(address_of(gateway), timeout=30) as sock:
                while True:
                    try:
                        tls.do_handshake()
                        break
                    except ssl.SSLWantReadError:
                        sock.sendall(outgoing.read())
                        incoming.write(sock.recv(65536))
                tls.write(request)
                sock.sendall(outgoing.read())
                received = b""
                while b"\r\n\r\n" not in received:
                    try:
                        received += tls.read(65536)
                    except ssl.SSLWantReadError:
                        incoming.write(sock.recv(65536))
                assert received.startswith(b"HTTP/1.1 200 ")
