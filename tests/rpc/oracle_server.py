"""A grpcio server in a process of its own; prints its port. Usage: PORT MAX_STREAMS [CERT KEY]."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
from grpc import aio

MAX_MESSAGE_SIZE = 64 << 20


class Service:
    """What the table of calls asks for."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.release_held, self.start_reading = asyncio.Event(), asyncio.Event()

    async def echo(self, data: bytes, context: Any) -> bytes:
        return data

    async def fail(self, data: bytes, context: Any) -> bytes:
        code = next(code for code in grpc.StatusCode if code.value[0] == data[0])
        await context.abort(code, data[1:].decode(), (("x-why", "so"), ("x-why-bin", b"\0\xff")))
        return b""

    async def echo_metadata(self, data: bytes, context: Any) -> bytes:
        metadata = tuple((k, v) for k, v in context.invocation_metadata() if k.startswith("x-"))
        await context.send_initial_metadata(metadata)
        context.set_trailing_metadata(metadata)
        return data

    async def hold(self, data: bytes, context: Any) -> bytes:
        self.counts["held"] += 1
        try:
            await self.release_held.wait()
        except asyncio.CancelledError:
            self.counts["cancelled"] += 1
            raise
        return data

    async def echo_gzip(self, data: bytes, context: Any) -> bytes:
        context.set_compression(grpc.Compression.Gzip)
        return data

    async def release(self, data: bytes, context: Any) -> bytes:
        self.release_held.set()
        self.start_reading.set()
        return b""

    async def reset(self, data: bytes, context: Any) -> bytes:
        self.release_held.clear()
        self.start_reading.clear()
        self.counts.clear()
        return b""

    async def report_counts(self, data: bytes, context: Any) -> bytes:
        return json.dumps(self.counts).encode()

    async def stream_messages(
        self, requests: AsyncIterator[bytes], context: Any
    ) -> AsyncIterator[bytes]:
        message_count, message_size = map(int, (await anext(aiter(requests))).split())
        for _ in range(message_count):
            yield b"m" * message_size
            self.counts["sent"] += 1

    async def echo_stream(
        self, requests: AsyncIterator[bytes], context: Any
    ) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request + b"!"
        yield b"bye"

    async def consume(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        await self.start_reading.wait()
        total = 0
        async for request in requests:
            total += len(request)
        yield str(total).encode()


async def main() -> None:
    port, max_streams, *file_names = sys.argv[1:]
    files = [Path(name).read_bytes() for name in file_names]  # noqa: ASYNC240 (nothing runs yet)
    service = Service()
    unary = {
        "Echo": service.echo, "Fail": service.fail, "Meta": service.echo_metadata,
        "Hold": service.hold, "LetGo": service.release, "HoldOn": service.reset,
        "Tell": service.report_counts, "Zip": service.echo_gzip,
    }  # fmt: skip
    streaming = {
        "Count": service.stream_messages,
        "Chat": service.echo_stream,
        "Swallow": service.consume,
    }
    handlers: dict[str, Any] = {
        name: grpc.unary_unary_rpc_method_handler(method) for name, method in unary.items()
    } | {name: grpc.stream_stream_rpc_method_handler(method) for name, method in streaming.items()}
    server = aio.server(
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE_SIZE),
            ("grpc.max_send_message_length", MAX_MESSAGE_SIZE),
            ("grpc.max_concurrent_streams", int(max_streams)),
            ("grpc.so_reuseport", 0),
            ("grpc.server.max_pending_requests", 100_000),
            ("grpc.server.max_pending_requests_hard_limit", 100_000),
        ]
    )
    generic_handler = grpc.method_handlers_generic_handler("t.T", handlers)
    server.add_generic_rpc_handlers((generic_handler,))
    if files:
        cert, key = files
        credentials = grpc.ssl_server_credentials([(key, cert)])
        bound_port = server.add_secure_port(f"127.0.0.1:{port}", credentials)
    else:
        bound_port = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    print(bound_port, flush=True)  # noqa: T201 (it is what the test reads)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
