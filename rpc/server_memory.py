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
        """Return the share of a new connection; `abort` closes the connection."""
        connection = ConnectionMemory(self, abort)
        self._connections.add(connection)
        return connection

    def remove_connection(self, connection: "ConnectionMemory") -> None:
        """Count a connection no more, after its calls have released what they held."""
        self._connections.discard(connection)

    def cut_receiver(self) -> None:
        """Close the connection that holds most of what was received."""
        self._cut(max(self._connections, key=_received, default=None))

    def cut_reader(self) -> None:
        """Close the connection whose client has left most unread."""
        self._cut(max(self._connections, key=_unsent, default=None))

    def _cut(self, connection: "ConnectionMemory | None") -> None:
        if connection is None:  # the last one is ending
            return
        self._connections.discard(connection)
        self.cuts += 1
        connection.abort()


class ConnectionMemory:
    """The share of one connection. Whoever adds bytes takes them back when they are released."""

    __slots__ = ("_server", "abort", "received", "unsent")

    def __init__(self, server: ServerMemory, abort: Callable[[], None]) -> None:
        self._server = server
        self.abort = abort
        self.received = self.unsent = 0

    def add_received(self, size: int) -> None:
        """Count bytes of requests; a negative size takes them back.

        This may close a connection, and so end calls: the caller's own too.
        """
        server = self._server
        self.received += size
        server.received += size
        if size > 0 and server.received > server.max_received:
            server.cut_receiver()

    def add_unsent(self, size: int) -> None:
        """Count bytes of responses; a negative size takes them back.

        This may close a connection, and so end calls: the caller's own too.
        """
        server = self._server
        self.unsent += size
        server.unsent += size
        if size > 0 and server.unsent > server.max_unsent:
            server.cut_reader()


def _received(connection: ConnectionMemory) -> int:
    return connection.received


def _unsent(connection: ConnectionMemory) -> int:
    return connection.unsent
