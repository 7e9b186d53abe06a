"""A reset drops what the peer has not read; an abort leaves it in the kernel."""

import asyncio
import socket
from collections.abc import Callable

import pytest
import uvloop

from rpc.reset import reset_connection

_SIZE = 8 << 20


async def _serve_and_end(end: Callable[[asyncio.Transport], None], client: socket.socket) -> None:
    """Write more than the kernel takes to a client that does not read, then end the connection."""
    transport: asyncio.Future[asyncio.Transport] = asyncio.get_running_loop().create_future()

    class Writer(asyncio.Protocol):
        def connection_made(self, made: asyncio.BaseTransport) -> None:
            made.write(b"x" * _SIZE)  # type: ignore[attr-defined]
            transport.set_result(made)  # type: ignore[arg-type]

    server = await asyncio.get_running_loop().create_server(Writer, "127.0.0.1", 0)
    await asyncio.to_thread(client.connect, server.sockets[0].getsockname())
    connection = await transport
    assert connection.get_write_buffer_size() > 0
    end(connection)
    await asyncio.sleep(0)
    server.close()
    await asyncio.sleep(0.01)  # the loop closes the descriptor


def _received(end: Callable[[asyncio.Transport], None], loop: Callable[[], object]) -> int:
    with socket.socket() as client, asyncio.Runner(loop_factory=loop) as runner:  # type: ignore[arg-type]
        client.settimeout(30)
        runner.run(_serve_and_end(end, client))
        count = 0
        while data := client.recv(1 << 16):
            count += len(data)
        return count


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_reset_drops_what_was_not_read(loop: Callable[[], object]) -> None:
    with pytest.raises(ConnectionResetError):
        _received(reset_connection, loop)
    assert 0 < _received(lambda transport: transport.abort(), loop) < _SIZE


def test_transport_without_a_socket_is_aborted() -> None:
    class Transport(asyncio.Transport):
        aborted = False

        def abort(self) -> None:
            self.aborted = True

    transport = Transport()
    reset_connection(transport)
    assert transport.aborted
