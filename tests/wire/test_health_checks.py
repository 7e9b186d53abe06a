"""Loaders that report as healthy and cannot be called: no caller finds out (hostile reports)."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from lb.endpoints import report
from lb.endpoints.report import Instance, Load, Report
from schemas.model.document import digest as digest_of
from tests.harness import Gateway, Loader
from tests.wire.test_faults import dead_address

REPORT = "/ase.v1.LoadBalancer/Report"


def _reset(sock: socket.socket) -> None:
    sock.close()


def _answer_http1(sock: socket.socket) -> None:
    sock.recv(4096)
    sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def _answer_garbage(sock: socket.socket) -> None:
    sock.sendall(b"\xff" * 4096)


def _answer_settings_then_reset(sock: socket.socket) -> None:
    """Look like HTTP/2 until the first call arrives."""
    sock.sendall(b"\0\0\0\x04\0\0\0\0\0")
    received = b""
    while b"Health" not in received and len(received) < 4096 and (data := sock.recv(4096)):
        received += data
        if received.count(b"\x01\x04\0\0\0\x01"):  # HEADERS of stream 1
            return


@contextlib.contextmanager
def broken_loader(behave: Callable[[socket.socket], None]) -> Iterator[str]:
    """Serve connections by `behave`; yield the address."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                sock, _ = server.accept()
            except OSError:
                return
            with sock, contextlib.suppress(OSError):
                behave(sock)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"127.0.0.1:{server.getsockname()[1]}"
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


@contextlib.contextmanager
def reports(
    lb: str, service: str, addr: str, *, total: int = 4, document: bytes = b""
) -> Iterator[None]:
    """Report an idle instance at an address, every 20 ms, with a schema document or without."""
    stopped = threading.Event()

    def messages() -> Iterator[bytes]:
        digest = digest_of(document) if document else ""
        instance = Instance("ase", service, addr, 7, digest=digest, total=total, best=total)
        seq = 0
        while not stopped.is_set():
            seq += 1
            load = Load(seq, served=1000, service_ms=0.01)
            wire = report.encode_report(Report(instance, load, document if seq == 1 else b""))
            yield wire.SerializeToString()
            stopped.wait(0.02)

    with grpc.insecure_channel(lb) as channel:
        call = channel.stream_stream(REPORT)(messages())
        try:
            yield
        finally:
            stopped.set()
            call.cancel()


@pytest.mark.unmeasured
@pytest.mark.parametrize(
    "behave",
    [_reset, _answer_http1, _answer_garbage, _answer_settings_then_reset],
    ids=["reset", "http1", "garbage", "reset_at_call"],
)
def test_a_loader_that_fails_every_call_costs_no_caller_anything(
    behave: Callable[[socket.socket], None],
) -> None:
    with Gateway() as gateway, Loader(gateway.lb) as loader, broken_loader(behave) as broken:
        gateway.wait_until_up(loader)
        with reports(gateway.lb, "probe", broken), ThreadPoolExecutor(4) as pool:
            gateway.wait_for_event("instance up", instance=broken)
            statuses = list(pool.map(lambda _: gateway.call().status_code, range(200)))
            gateway.wait_for_event("instance ejected", instance=broken, reason="check_failed")
            statuses += pool.map(lambda _: gateway.call().status_code, range(200))
    assert statuses == [200] * 400


def test_twenty_dead_addresses_cost_no_caller_anything() -> None:
    with Gateway() as gateway, Loader(gateway.lb) as loader, contextlib.ExitStack() as stack:
        gateway.wait_until_up(loader)
        dead = [dead_address() for _ in range(20)]
        for addr in dead:
            stack.enter_context(reports(gateway.lb, "probe", addr))
        gateway.wait_for_event("instance up", instance=dead[-1])
        responses = [gateway.call() for _ in range(300)]
        assert [response.status_code for response in responses] == [200] * 300
        assert {response.headers["x-ase-attempts"] for response in responses} == {"1"}
