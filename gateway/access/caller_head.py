"""The head of a request, as far as it says who calls. Values only."""

from collections.abc import Mapping

from gateway.access.peer import Peer


def decode_header(value: bytes) -> str:
    """Return a field value as UTF-8, which proxies send, or else as ISO 8859-1 (RFC 9110, 5.5)."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


class CallerHead:
    """What a request says of its caller, and the connection that it came by.

    `path` and `query` are as sent, still encoded. `headers` have lower-case names. `peer` is the
    connection's other end, which may be a proxy.
    """

    __slots__ = ("headers", "method", "path", "peer", "query")

    def __init__(
        self, method: str, path: str, query: str, headers: Mapping[bytes, bytes], peer: Peer
    ) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.peer = peer

    @property
    def target(self) -> str:
        """Return the path and the query, as in the request line."""
        return f"{self.path}?{self.query}" if self.query else self.path

    def header(self, name: str) -> str:
        """Return a header's value as ISO 8859-1, "" without one."""
        return self.headers.get(name.encode(), b"").decode("latin-1")
