"""HTTP of a loader for operators: `/metrics`, `/livez` and `/readyz` on a port of its own.

It runs in threads, so that a wrapper that blocks the event loop can still be looked at.
"""

import socket
import socketserver
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

_TIMEOUT_S = 5.0  # for a client that sends or reads nothing


class MetricsServer:
    """Serves the metrics of `registries` until `close`.

    `is_ready` is called for `/readyz`, in another thread than the event loop's.
    """

    def __init__(self, registries: list[CollectorRegistry], is_ready: Callable[[], bool]) -> None:
        self._handler = _handler_class(registries, is_ready)
        self._server: ThreadingHTTPServer | None = None

    def start(self, host: str, port: int) -> int:
        """Listen; return the port, which the system chooses if it is 0. Raises OSError."""
        try:
            server = self._server = _Server((host, port), self._handler)
        except OSError as error:
            raise OSError(error.errno, f"{error.strerror}: metrics port {host}:{port}") from error
        threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
        chosen_port: int = server.server_address[1]
        return chosen_port

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


class _Server(ThreadingHTTPServer):
    """Binds without a look-up of the host's name, and does not report clients that go away."""

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Bind the socket."""
        socketserver.TCPServer.server_bind(self)
        host, port = self.socket.getsockname()[:2]
        self.server_name, self.server_port = host, port

    def handle_error(self, *_: object) -> None:
        """Ignore a connection that was reset."""


def _handler_class(
    registries: list[CollectorRegistry], is_ready: Callable[[], bool]
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _TIMEOUT_S
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            match self.path.partition("?")[0]:
                case "/metrics":
                    body = b"".join(map(generate_latest, registries))
                    self._respond(200, CONTENT_TYPE_LATEST, body)
                case "/livez":
                    self._respond(200, "text/plain", b"ok\n")
                case "/readyz" if is_ready():
                    self._respond(200, "text/plain", b"ok\n")
                case "/readyz":
                    self._respond(503, "text/plain", b"draining\n")
                case _:
                    self._respond(404, "text/plain", b"there is: /metrics, /livez, /readyz\n")

        def _respond(self, status: int, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Log nothing: a scrape each few seconds is no event."""

    return Handler
