"""What a process tells its loader through a pipe: that it is ready, and the curve of its batches.

A message is a line with two numbers, the `base_ms` and `item_ms` of `BatchCurve`. The first one
says that the process is ready; both are 0 while the curve is not known.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator


class StatusWriter:
    """The end of the process. `write` never blocks, since it is called in the event loop."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor

    def write(self, base_ms: float, item_ms: float) -> None:
        """Send a curve; drop it if the pipe is full or the loader has gone: others follow."""
        with contextlib.suppress(OSError):
            os.write(self._descriptor, b"%.6f %.6f\n" % (base_ms, item_ms))


async def open_reader(descriptor: int) -> tuple[asyncio.ReadTransport, asyncio.StreamReader]:
    """Return the transport and the reader of a pipe; closing the transport closes the pipe.

    The descriptor is closed, too, if it cannot be read: raises OSError, or ValueError for a file.
    """
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    try:
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
    except BaseException:
        pipe.close()
        raise
    return transport, reader


async def read_curves(reader: asyncio.StreamReader) -> AsyncIterator[tuple[float, float]]:
    """Yield the curves that come from a pipe until its writer has closed it."""
    while (line := await reader.readline()).endswith(b"\n"):
        base_ms, _, item_ms = line.partition(b" ")
        yield float(base_ms), float(item_ms)
