"""A server of model files, which asks for a token and notes what it was asked."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer(ThreadingHTTPServer):
    """Serves `files` by path; those in `tokens` for that token alone, `redirects` to elsewhere.

    `requests` are (path, token) of all requests. Files in `unsized` are sent without a length.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.tokens: dict[str, str] = {}
        self.redirects: dict[str, str] = {}
        self.unsized: set[str] = set()
        self.requests: list[tuple[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        server = self.server
        token = self.headers.get("authorization", "").removeprefix("Bearer ")
        server.requests.append((self.path, token))
        content = server.files.get(self.path)
        if self.path in server.redirects:
            self.send_response(302)
            self.send_header("location", server.redirects[self.path])
            self.send_header("content-length", "0")
            self.end_headers()
            return
        status = 404 if content is None else 200
        if content is not None and token != server.tokens.get(self.path, token):
            status, content = 403, None
        self.send_response(status)
        if self.path not in server.unsized:
            self.send_header("content-length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def file_server() -> Iterator[FileServer]:
    """Run a server in a thread."""
    server = FileServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
