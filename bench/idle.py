"""What an idle keep-alive connection costs: memory of the gateway, for each of thousands."""

import contextlib
import resource
import socket
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.arms import ARMS, answers, backend
from bench.machine import rss_bytes

_ASK = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"


def run(connections: int) -> dict[str, Any]:
    """Return {"connections", "rss_kib_each"}: each connection has served one request and is idle.

    Raises RuntimeError when the gateway does not keep them.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        arm = ARMS["ours"](backend(folder, stack), "small")
        answers(arm)
        where = urlsplit(arm.url)
        before = rss_bytes(arm.pid)
        served = range(connections)
        socks = [stack.enter_context(_served(where.hostname, where.port)) for _ in served]
        used = rss_bytes(arm.pid) - before
        for sock in socks[:: max(1, connections // 100)]:  # they are still there
            _ask(sock)
    return {"connections": connections, "rss_kib_each": round(used / connections / 1024, 2)}


def table(result: dict[str, Any]) -> str:
    """Return the figures as a line."""
    return f"{result['connections']} idle connections: {result['rss_kib_each']} KiB each"


def _served(host: str | None, port: int | None) -> socket.socket:
    sock = socket.create_connection((host or "", port or 0), timeout=30)
    _ask(sock)
    return sock


def _ask(sock: socket.socket) -> None:
    sock.sendall(_ASK)
    answer = b""
    while not answer.endswith(b'"alive"}'):
        piece = sock.recv(4096)
        if not piece:
            raise RuntimeError("the gateway did not answer on a connection")
        answer += piece
