"""Scrapers that misbehave, and callers that make up names, cost a gateway next to nothing."""

import contextlib
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

from tests.harness import TIMEOUT_S, Gateway, Loader
from tests.requests import read_statuses

_SCRAPE = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def connect(url: str) -> socket.socket:
    address = urlsplit(url)
    return socket.create_connection((address.hostname, address.port), timeout=TIMEOUT_S)


def open_files(gateway: Gateway) -> int:
    return sum(1 for _ in Path(f"/proc/{gateway.pid}/fd").iterdir())


def series(gateway: Gateway) -> set[str]:
    """Return the time series of requests, without their values."""
    lines = gateway.metrics().splitlines()
    return {line.rpartition(" ")[0] for line in lines if line.startswith("ase_request")}


def test_paths_and_app_ids_make_no_series(gateway: Gateway, loader: Loader) -> None:
    gateway.wait_until_up(loader)
    assert gateway.http.get("/v1/nothing").status_code == 404
    assert gateway.call().status_code == 200
    before = series(gateway)
    head = "GET /v1/nothing%d HTTP/1.1\r\nHost: a\r\nX-App-Id: app%d\r\n\r\n"
    with connect(gateway.url) as sock:
        for start in range(0, 3000, 300):
            sock.sendall("".join(head % (n, n) for n in range(start, start + 300)).encode())
            assert read_statuses(sock, 300) == [404] * 300
    assert series(gateway) == before


def test_scrapers_that_never_read_are_disconnected_and_delay_nobody() -> None:
    with Gateway("--gateway-write-timeout", "1") as gateway, contextlib.ExitStack() as stack:
        assert gateway.http.get("/livez").status_code == 200
        before = open_files(gateway)
        scrapers = [stack.enter_context(connect(gateway.admin)) for _ in range(8)]
        for sock in scrapers:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.settimeout(0.1)
            with contextlib.suppress(TimeoutError, ConnectionError):
                while True:  # until the gateway takes no more, as it cannot answer
                    sock.sendall(_SCRAPE * 100)
        assert gateway.http.get("/livez").status_code == 200
        assert "ase_inflight" in gateway.metrics(), "other scrapers get their answers"
        deadline = time.monotonic() + TIMEOUT_S
        while open_files(gateway) > before:
            assert time.monotonic() < deadline, "they are disconnected, and have read nothing"
            time.sleep(0.02)
        assert gateway.http.get("/livez").status_code == 200
