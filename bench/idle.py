"""Memory of the gateway per idle keep-alive connection, with thousands of connections open."""

import contextlib
import resource
import socket
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.arms import ARMS, start_backend, wait_until_ready
from bench.machine import rss_bytes

_REQUEST = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"


def run(connections: int) -> dict[str, Any]:
    """Return {"connections", "rss_kib_each"}; each connection has served one request and is idle.

    About a hundred of the connections then send another request, to check that the gateway kept
    them. Raises RuntimeError if it did not. The open-file limit of this process is set to its hard
    limit.
    """
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        arm = ARMS["ours"](start_backend(folder, stack), "small")
        wait_until_ready(arm)
        url = urlsplit(arm.url)
        rss_before = rss_bytes(arm.pid)
        indexes = range(connections)
        sockets = [
            stack.enter_context(_connect_and_request(url.hostname, url.port)) for _ in indexes
        ]
        rss_growth = rss_bytes(arm.pid) - rss_before
        for sock in sockets[:: max(1, connections // 100)]:  # check that they are still open
            _request_liveness(sock)
    return {"connections": connections, "rss_kib_each": round(rss_growth / connections / 1024, 2)}


def format_table(result: dict[str, Any]) -> str:
    """Return the figures as one line of text."""
    return f"{result['connections']} idle connections: {result['rss_kib_each']} KiB each"


def _connect_and_request(host: str | None, port: int | None) -> socket.socket:
    sock = socket.create_connection((host or "", port or 0), timeout=30)
    _request_liveness(sock)
    return sock


def _request_liveness(sock: socket.socket) -> None:
    sock.sendall(_REQUEST)
    response = b""
    while not response.endswith(b'"alive"}'):
        chunk = sock.recv(4096)
        if not chunk:
            raise RuntimeError("the gateway did not answer on a connection")
        response += chunk
