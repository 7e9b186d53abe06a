"""Bounds of what waits in memory for clients, in sum over all connections of a process. Pure.

A limit of each connection alone does not bound the process: an attacker opens thousands. So what a
client has not read, and the bodies that have not arrived, are counted together.
"""

from collections.abc import Callable
from typing import Final, Protocol

# Smaller buffers are not counted: they are bounded by the number of connections.
UNCOUNTED_BYTES: Final = 1 << 16


class WriteBuffer(Protocol):
    """What holds that which a client has not read."""

    def get_write_buffer_size(self) -> int:
        """Return the number of bytes that wait to be sent."""

    def abort(self) -> None:
        """Close the connection and drop them."""


class UnreadOutput:
    """What clients have not read of their responses, at most `max_bytes` in sum.

    Beyond that the connection that has read nothing for the longest time is aborted, but never the
    only one: a large response to one client is no overload. `on_cut` is called with the bytes
    dropped.

    `cuts` counts the connections that were aborted. `_sizes` are the bytes in each write buffer
    when it was last counted, the longest waiting first; `_total` is their sum.
    """

    def __init__(self, max_bytes: int, on_cut: Callable[[int], None]) -> None:
        self._max_bytes = max_bytes
        self._on_cut = on_cut
        self._sizes: dict[WriteBuffer, int] = {}
        self._total = 0
        self.cuts = 0

    @property
    def total(self) -> int:
        """Return the bytes that wait, as last counted."""
        return self._total

    def count(self, write_buffer: WriteBuffer) -> None:
        """Count what waits for a client that does not keep up, again if it was counted before."""
        size = write_buffer.get_write_buffer_size()
        if not size:
            self.forget(write_buffer)
            return
        self._total += size - self._sizes.get(write_buffer, 0)
        self._sizes[write_buffer] = size
        while self._total > self._max_bytes and len(self._sizes) > 1:
            self._cut_oldest()

    def forget(self, write_buffer: WriteBuffer) -> None:
        """Count a connection no more: its client has caught up, or it has ended."""
        self._total -= self._sizes.pop(write_buffer, 0)

    def _cut_oldest(self) -> None:
        """Abort the connection that waits longest; one that has read some goes to the end."""
        oldest = next(iter(self._sizes))
        counted = self._sizes.pop(oldest)
        self._total -= counted
        unread = oldest.get_write_buffer_size()
        if unread < counted:
            self._sizes[oldest] = unread
            self._total += unread
        else:
            self.cuts += 1
            self._on_cut(unread)
            oldest.abort()


class BodyHolder(Protocol):
    """A connection on which a body arrives."""

    def reject_body_for_memory(self) -> None:
        """Answer that the body cannot be received now, and release what was received."""


class BodyBudget:
    """The bodies in memory that are larger than 64 KiB, at most `max_bytes` in sum.

    Beyond that the largest body that is not complete is rejected, so that clients with large bodies
    never keep out those with small ones. A complete body counts until it is released. Each holder
    has one body at a time.

    `rejections` counts the bodies rejected. `_arriving` and `_complete` are the sizes of the bodies
    by holder; `_total` is the sum of both.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._arriving: dict[BodyHolder, int] = {}
        self._complete: dict[BodyHolder, int] = {}
        self._total = 0
        self.rejections = 0

    @property
    def total(self) -> int:
        """Return the bytes in memory."""
        return self._total

    def hold(self, holder: BodyHolder, size: int) -> BodyHolder | None:
        """Set the size of an arriving body; return the holder that has to reject its body, if any.

        That may be `holder` itself.
        """
        self._total += size - self._arriving.get(holder, 0)
        self._arriving[holder] = size
        if self._total <= self._max_bytes:
            return None
        self.rejections += 1
        return max(self._arriving, key=self._arriving.__getitem__)

    def complete(self, holder: BodyHolder) -> None:
        """Note that the body is complete, so that it is not rejected any more."""
        size = self._arriving.pop(holder, 0)
        if size:
            self._complete[holder] = self._complete.get(holder, 0) + size

    def release(self, holder: BodyHolder) -> None:
        """Count the bodies of a holder no more, if it has any."""
        if self._total:
            self._total -= self._arriving.pop(holder, 0) + self._complete.pop(holder, 0)
