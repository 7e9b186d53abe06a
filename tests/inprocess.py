"""Clients of a gateway in the same process: no sockets, no threads, and time that does not pass.

The event loop has a clock of its own, which jumps to the next timer when nothing else is left to
do. A test that lasts a minute of that clock takes a millisecond, and every run is the same.
"""

import asyncio
import selectors
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, Self

from config.options import GatewayOptions, SessionOptions
from tests.fakes import FakeGateway


class _JumpingSelector(selectors.SelectSelector):
    """A selector that never waits: it moves the clock on by the time it was to wait.

    While `on_idle` is set, it calls that instead, and counts the iterations until then.
    """

    clock = 1000.0
    on_idle: Callable[[], None] | None = None
    iterations = 0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is not None and timeout <= 0:
            self.iterations += 1
            assert self.on_idle is None or self.iterations < 10_000, "the loop is never idle"
            return []
        if self.on_idle is not None:
            self.on_idle()
        elif timeout is None:
            raise RuntimeError("nothing is left to do: the test would wait for ever")
        else:
            self.clock += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock only timers move."""

    def __init__(self) -> None:
        self._virtual_selector = _JumpingSelector()
        super().__init__(self._virtual_selector)

    def time(self) -> float:
        return self._virtual_selector.clock

    def sleep(self, seconds: float) -> None:
        """Run the loop for a time of its clock."""
        self.run_until_complete(asyncio.sleep(seconds))

    def settle(self) -> None:
        """Run what is ready, and what follows from it, without moving the clock."""
        self._virtual_selector.on_idle = self.stop
        self._virtual_selector.iterations = 0
        try:
            self.run_forever()
        finally:
            self._virtual_selector.on_idle = None


class _NoSocket:
    """What stands for the socket of a `MemoryTransport`: its peer is always connected."""

    def getpeername(self) -> tuple[str, int]:
        return ("192.0.2.1", 50_000)

    def getsockname(self) -> tuple[str, int]:
        return ("192.0.2.2", 8200)

    def setsockopt(self, *_: object) -> None: ...

    def getsockopt(self, *_: int) -> bytes:
        return b"\x01"  # TCP_ESTABLISHED

    def fileno(self) -> int:
        raise OSError("there is no descriptor")


class MemoryTransport(asyncio.Transport):
    """The server's end of a connection.

    `delivered` are the bytes that the client's host has; `readable` is set while there are some,
    and at the end. `writes` are the sizes of all writes. While `client_reads` is False, written
    bytes stay in the buffer, and the protocol's writing is paused beyond the high-water mark.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: Any) -> None:
        super().__init__()
        self._loop = loop
        self._protocol = protocol
        self._buffer = bytearray()
        self._writing_paused = self._closing = False
        self._incoming: list[bytes] = []
        self._eof_pending = False
        self._reading_paused = False
        self.high_water = 64 * 1024
        self.delivered = bytearray()
        self.lost = self.aborted = self.eof_written = False
        self.client_reads = True
        self.writes: list[int] = []
        self.readable = asyncio.Event()

    # The server's side.

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return _NoSocket() if name == "socket" else default

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            if not self._buffer:
                self._loop.call_soon(self._lose, None)

    def abort(self) -> None:
        self._buffer.clear()
        self.aborted = self._closing = True
        self._loop.call_soon(self._lose, None)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.eof_written, "a write after the end"
        self.writes.append(len(data))
        if self.lost:
            return
        if self.client_reads:
            self._deliver_to_client(data)
            return
        self._buffer += data
        if len(self._buffer) > self.high_water and not self._writing_paused:
            self._writing_paused = True
            self._protocol.pause_writing()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.eof_written = True
        self.readable.set()

    def buffered(self) -> bytes:
        """Return what is written and not read."""
        return bytes(self._buffer)

    def get_write_buffer_size(self) -> int:
        return len(self._buffer)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high is not None
        self.high_water = high

    def pause_reading(self) -> None:
        self._reading_paused = True

    def resume_reading(self) -> None:
        self._reading_paused = False
        self._loop.call_soon(self._deliver)

    def is_reading(self) -> bool:
        return not self._reading_paused and not self._closing

    # The client's side.

    def receive(self, data: bytes) -> None:
        """Let the protocol receive bytes, when it reads."""
        self._incoming.append(data)
        self._deliver()

    def receive_eof(self) -> None:
        """Let the protocol receive the end of the client's data."""
        self._eof_pending = True
        self._deliver()

    def reset(self) -> None:
        """End the connection with a reset by the client."""
        self._closing = True
        self._lose(ConnectionResetError("reset by the client"))

    def read_buffered(self, size: int) -> None:
        """Let the client read `size` bytes of what waits in the buffer."""
        self._deliver_to_client(bytes(self._buffer[:size]))
        del self._buffer[:size]

    def take(self, size: int, *, remove: bool) -> bytes:
        """Return at most `size` delivered bytes; b"" at the end of the server's data."""
        data = bytes(self.delivered[:size])
        if remove:
            del self.delivered[:size]
        if not self.delivered and not self.eof_written and not self.lost:
            self.readable.clear()
        return data

    def set_client_reads(self, reads: bool) -> None:
        """Let the client read, or stop it."""
        self.client_reads = reads
        if not reads or self.lost:
            return
        self._deliver_to_client(bytes(self._buffer))
        self._buffer.clear()
        if self._writing_paused:
            self._writing_paused = False
            self._protocol.resume_writing()
        if self._closing:
            self._loop.call_soon(self._lose, None)

    def _deliver(self) -> None:
        while self._incoming and not self._reading_paused and not self._closing:
            self._protocol.data_received(self._incoming.pop(0))
        if self._eof_pending and not self._incoming and not self._closing:
            self._eof_pending = False
            if not self._protocol.eof_received():
                self.close()

    def _deliver_to_client(self, data: bytes) -> None:
        if data:
            self.delivered += data
            self.readable.set()

    def _lose(self, error: Exception | None) -> None:
        if not self.lost:
            self.lost = True
            self.readable.set()
            self._protocol.connection_lost(error)


class ClientSocket:
    """The client's end of a connection, with the methods of a socket that tests use.

    `recv` runs the loop until there are bytes or the connection ends. With `settimeout` it raises
    TimeoutError when that time of the loop's clock has passed; by default it waits for an hour.
    """

    def __init__(self, loop: VirtualLoop, transport: MemoryTransport) -> None:
        self.loop = loop
        self.transport = transport
        self._timeout = 3600.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def settimeout(self, seconds: float) -> None:
        self._timeout = seconds

    def sendall(self, data: bytes) -> None:
        """Send bytes, as reads of at most 64 KiB; raises ConnectionResetError at the end."""
        for start in range(0, len(data), 1 << 16):
            if self.transport.lost or self.transport.is_closing():
                raise ConnectionResetError("the server has closed the connection")
            self._run(self.transport.receive, data[start : start + (1 << 16)])

    def recv(self, size: int, flags: int = 0) -> bytes:
        self.loop.run_until_complete(self._wait_until_readable())
        return self.transport.take(size, remove=not flags & socket.MSG_PEEK)

    def shutdown(self, _: int) -> None:
        self._run(self.transport.receive_eof)

    def close(self) -> None:
        if not self.transport.lost:
            self._run(self.transport.receive_eof)

    def reset(self) -> None:
        """End the connection with a reset."""
        self._run(self.transport.reset)

    def stop_reading(self) -> None:
        self._run(self.transport.set_client_reads, False)

    def continue_reading(self) -> None:
        self._run(self.transport.set_client_reads, True)

    def _run(self, callback: Callable[..., None], *args: Any) -> None:
        self.loop.call_soon(callback, *args)
        self.loop.settle()

    async def _wait_until_readable(self) -> None:
        async with asyncio.timeout(self._timeout):
            await self.transport.readable.wait()


class InProcessGateway(FakeGateway):
    """A gateway on fakes, its connections in memory; its clock is that of the virtual loop."""

    def __init__(
        self,
        *,
        options: GatewayOptions | None = None,
        session_options: SessionOptions | None = None,
        schemas: tuple[bytes, ...] = (),
        slot_timeout: float = 0.0,
    ) -> None:
        self.loop = VirtualLoop()
        asyncio.set_event_loop(self.loop)
        super().__init__(
            options=options,
            session_options=session_options,
            schemas=schemas,
            slot_timeout=slot_timeout,
            clock=self.loop.time,
            new_id=partial(format, 5, "032x"),
        )
        self.server.config.load()
        self.caller.run = self.run
        self._transports: list[MemoryTransport] = []

    @property
    def server_context(self) -> Any:
        """Return what its connections share."""
        return self.server.config.http_protocol_class.keywords["server_context"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for transport in self._transports:
            transport.abort()
        self.loop.settle()
        asyncio.set_event_loop(None)
        self.loop.close()

    def run(self, function: Callable[[], None]) -> None:
        """Call a function in the loop, and let the loop run until nothing is ready."""
        self.loop.call_soon(function)
        self.loop.settle()

    def connect(self) -> ClientSocket:
        """Return a client's new connection."""
        config = self.server.config
        protocol = config.http_protocol_class(
            config=config, server_state=self.server.server_state, app_state={}, _loop=self.loop
        )
        transport = MemoryTransport(self.loop, protocol)
        self._transports.append(transport)
        self.loop.call_soon(protocol.connection_made, transport)
        self.loop.settle()
        return ClientSocket(self.loop, transport)
