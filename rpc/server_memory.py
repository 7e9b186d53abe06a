"""Bounds of what a server holds in memory for its clients, in sum over all connections. Pure.

A limit of each connection alone does not bound the process: an attacker opens thousands.
"""

from collections.abc import Callable


class ServerMemory:
    """What the connections of a server hold: at most `max_received` and `max_unsent` bytes.

    `received` are the bytes of requests that are being received or served, `unsent` those of
    responses that clients have not read. Beyond a limit the connection that holds most is closed.
    `cuts` counts these.
    """

    __slots__ = ("_connections", "cuts", "max_received", "max_unsent", "received", "unsent")

    def __init__(self, max_received: int, max_unsent: int) -> None:
        self.max_received = max_received
        self.max_unsent = max_unsent
        self.received = self.unsent = self.cuts = 0
        self._connections: set[ConnectionMemory] = set()

    def add_connection(self, abort: Callable[[], None]) -> "ConnectionMemory":
        """Return the share of a new connection; `abort` closes the connection soon."""
        connection = ConnectionMemory(self, abort)
        self._connections.add(connection)
        return connection

    def remove_connection(self, connection: "ConnectionMemory") -> None:
        """Count a connection no more."""
        self._connections.discard(connection)
        connection.close()

    def cut_receiver(self) -> None:
        """Close the connection that holds most of what was received."""
        self._cut(max(self._connections, key=_received))

    def cut_reader(self) -> None:
        """Close the connection whose client has left most unread."""
        self._cut(max(self._connections, key=_unsent))

    def _cut(self, connection: "ConnectionMemory") -> None:
        """Close a connection, and count it no more: it releases its bytes when it has ended."""
        self.cuts += 1
        self.remove_connection(connection)
        connection.abort()


class ConnectionMemory:
    """The share of one connection. Whoever adds bytes takes them back when they are released.

    `abort` closes the connection soon, not at once: it is called in the middle of its work.
    """

    __slots__ = ("_is_closed", "_server", "abort", "received", "unsent")

    def __init__(self, server: ServerMemory, abort: Callable[[], None]) -> None:
        self._server = server
        self._is_closed = False
        self.abort = abort
        self.received = self.unsent = 0

    def close(self) -> None:
        """Take back all bytes; what is added or taken back later is ignored."""
        if not self._is_closed:
            self._is_closed = True
            self._server.received -= self.received
            self._server.unsent -= self.unsent
            self.received = self.unsent = 0

    def add_received(self, size: int) -> None:
        """Count bytes of requests; a negative size takes them back. This may close a connection."""
        if self._is_closed:
            return
        server = self._server
        self.received += size
        server.received += size
        if size > 0 and server.received > server.max_received:
            server.cut_receiver()

    def add_unsent(self, size: int) -> None:
        """Count bytes of responses, as `add_received` does those of requests."""
        if self._is_closed:
            return
        server = self._server
        self.unsent += size
        server.unsent += size
        if size > 0 and server.unsent > server.max_unsent:
            server.cut_reader()


def _received(connection: ConnectionMemory) -> int:
    return connection.received


def _unsent(connection: ConnectionMemory) -> int:
    return connection.unsent
