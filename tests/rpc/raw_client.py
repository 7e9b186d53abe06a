"""A client that writes frames by hand, against a server in the same loop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from rpc import frames
from rpc.frames import DATA, GOAWAY, HEADERS, RST_STREAM
from rpc.headers import TABLE_SIZE_UPDATE, encode_header_block
from rpc.messages import length_prefix
from rpc.server import CallContext, Server

START = frames.PREFACE + frames.frame(frames.SETTINGS, 0, 0)
Frame = tuple[int, int, int, bytes]  # type, flags, stream, payload


def request_block(path: str = "/t.T/Echo", **fields: str) -> bytes:
    """Return the header block of a request, without a table; `_` in a name means `-`."""
    own = {name.replace("_", "-").encode(): value.encode() for name, value in fields.items()}
    base = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": path.encode(),
        b":authority": b"t",
        b"te": b"trailers",
        b"content-type": b"application/grpc",
    }
    return TABLE_SIZE_UPDATE + encode_header_block((base | own).items())


def open_call(stream_id: int, path: str = "/t.T/Echo", **fields: str) -> bytes:
    """Return the HEADERS of a call."""
    return frames.frame(HEADERS, frames.END_HEADERS, stream_id, request_block(path, **fields))


def message(stream_id: int, data: bytes, *, end: bool = True) -> bytes:
    """Return a DATA frame with one message."""
    flags = frames.END_STREAM if end else 0
    return frames.frame(DATA, flags, stream_id, length_prefix(len(data)) + data)


def unary_call(stream_id: int, data: bytes = b"hi", path: str = "/t.T/Echo") -> bytes:
    """Return the frames of a unary call."""
    return open_call(stream_id, path) + message(stream_id, data)


class RawClient:
    """One connection; `frames` are those received."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._buffer = b""
        self.frames: list[Frame] = []

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    def is_closing(self) -> bool:
        """Return whether nothing more can be sent, as the server has ended the connection."""
        return self._writer.is_closing()

    async def read_until(self, fits: Callable[[Frame], bool]) -> Frame:
        """Read frames until one fits; return it. Raises EOFError at the end of the connection."""
        while True:
            frame = await self._read_frame()
            self.frames.append(frame)
            if fits(frame):
                return frame

    async def read_to_end(self) -> list[Frame]:
        """Read to the end of the connection; return all frames."""
        with contextlib.suppress(EOFError, ConnectionError):
            await self.read_until(lambda _: False)
        return self.frames

    async def response(self, stream_id: int) -> tuple[bytes, bytes]:
        """Return the data and the last header block of a stream's response."""
        _, _, _, trailers = await self.read_until(
            lambda f: f[0] == HEADERS and f[2] == stream_id and f[1] & frames.END_STREAM != 0
        )
        data = b"".join(f[3] for f in self.frames if f[0] == DATA and f[2] == stream_id)
        return data, trailers

    async def reset_code(self, stream_id: int) -> int:
        """Return the code of the RST_STREAM of a stream."""
        frame = await self.read_until(lambda f: f[0] == RST_STREAM and f[2] == stream_id)
        return int.from_bytes(frame[3], "big")

    async def goaway_code(self) -> int:
        """Return the code of the GOAWAY."""
        frame = await self.read_until(lambda f: f[0] == GOAWAY)
        return int.from_bytes(frame[3][4:8], "big")

    async def _read_frame(self) -> Frame:
        while len(self._buffer) < 9 or len(self._buffer) < 9 + self._size():
            data = await asyncio.wait_for(self._reader.read(65536), 30)
            if not data:
                raise EOFError
            self._buffer += data
        size, buffer = self._size(), self._buffer
        self._buffer = buffer[9 + size :]
        stream_id = int.from_bytes(buffer[5:9], "big")
        return buffer[3], buffer[4], stream_id, buffer[9 : 9 + size]

    def _size(self) -> int:
        return int.from_bytes(self._buffer[:3], "big")

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


async def echo(data: bytes, _: CallContext) -> bytes:
    return data


async def stream_echo(requests: AsyncIterator[bytes], _: CallContext) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request


class TestServer:
    """A server with an echo of each kind, and further handlers; `connect` returns a client."""

    __test__ = False

    def __init__(self, unary: dict[str, Any], stream: dict[str, Any], **limits: Any) -> None:
        self.server = Server(
            unary={"/t.T/Echo": echo} | unary,
            stream={"/t.T/Stream": stream_echo} | stream,
            **limits,
        )
        self.port = 0
        self._clients: list[RawClient] = []

    async def connect(self, start: bytes = START) -> RawClient:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 26)
        client = RawClient(reader, writer)
        self._clients.append(client)
        await client.send(start)
        return client

    async def stop(self) -> None:
        for client in self._clients:
            await client.close()
        await self.server.stop(0)


def run_with_server(
    test: Callable[[TestServer], Coroutine[Any, Any, None]],
    unary: dict[str, Any] | None = None,
    stream: dict[str, Any] | None = None,
    **limits: Any,
) -> None:
    """Run a test with a server."""

    async def main() -> None:
        server = TestServer(unary or {}, stream or {}, **limits)
        server.port = await server.server.start("127.0.0.1", 0)
        try:
            async with asyncio.timeout(60):
                await test(server)
        finally:
            await server.stop()

    asyncio.run(main())
