"""How a connection ends whose peer does not read."""

import asyncio
import contextlib
import socket
import struct

# Close without waiting, and drop what was not sent: socket(7), SO_LINGER.
_NO_LINGER = struct.pack("ii", 1, 0)


def reset_connection(transport: asyncio.Transport) -> None:
    """Close a connection at once, by RST, and drop what its peer has not read.

    A mere `abort` leaves what the kernel has not sent in its buffers, megabytes for each
    connection, until the peer reads it or the kernel gives up after minutes.
    """
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):  # it is closed already
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()
