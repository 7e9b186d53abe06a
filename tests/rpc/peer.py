"""A scripted server on the `h2` library: it answers by the book until its script breaks it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

HEADERS = [(":status", "200"), ("content-type", "application/grpc")]
TRAILERS = [("grpc-status", "0")]


def encode_message(data: bytes) -> bytes:
    """Return a gRPC message."""
    return b"\0" + len(data).to_bytes(4, "big") + data


class Peer:
    """One connection of a client, from the server's side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        self.h2 = h2.connection.H2Connection(config)
        self.events: list[Any] = []
        self.received = b""

    async def start(self, settings: dict[Any, int] | None = None) -> None:
        if settings:
            self.h2.local_settings = h2.settings.Settings(client=False, initial_values=settings)
        self.h2.initiate_connection()
        await self.flush()

    async def flush(self, raw: bytes = b"") -> None:
        self.writer.write(self.h2.data_to_send() + raw)
        await self.writer.drain()

    async def wait_for_event(self, event_type: type[Any]) -> Any:
        """Read until an event of that kind has come; return it."""
        while True:
            for event in self.events:
                if isinstance(event, event_type):
                    self.events.remove(event)
                    return event
            data = await self.reader.read(65536)
            if not data:
                raise ConnectionError("the client closed")
            self.received += data
            self.events += self.h2.receive_data(data)
            await self.flush()

    async def read_to_end(self) -> bytes:
        """Read to the end of the connection; return all that ever came."""
        with contextlib.suppress(ConnectionError):
            while data := await self.reader.read(65536):
                self.received += data
        return self.received

    async def respond(self, stream_id: int, data: bytes = b"ok") -> None:
        self.h2.send_headers(stream_id, HEADERS)
        self.h2.send_data(stream_id, encode_message(data))
        self.h2.send_headers(stream_id, TRAILERS, end_stream=True)
        await self.flush()


Script = Callable[[Peer], Awaitable[None]]


@contextlib.asynccontextmanager
async def serve_script(script: Script) -> AsyncIterator[str]:
    """Serve a script to every connection; yield the address. What a script raised is raised."""
    tasks: set[asyncio.Task[None]] = set()

    errors: list[Exception] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await script(Peer(reader, writer))
        except (ConnectionError, asyncio.CancelledError):
            pass
        except Exception as error:  # noqa: BLE001 (raised where the test sees it)
            errors.append(error)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        if tasks:
            await asyncio.wait(tasks, timeout=10)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if errors:
        raise errors[0]
