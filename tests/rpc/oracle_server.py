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

BIG = 64 << 20


class Service:
    """What the table of calls asks for."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.free, self.read = asyncio.Event(), asyncio.Event()

    async def echo(self, data: bytes, context: Any) -> bytes:
        return data

    async def fail(self, data: bytes, context: Any) -> bytes:
        code = next(code for code in grpc.StatusCode if code.value[0] == data[0])
        await context.abort(code, data[1:].decode(), (("x-why", "so"), ("x-why-bin", b"\0\xff")))
        return b""

    async def meta(self, data: bytes, context: Any) -> bytes:
        told = tuple((k, v) for k, v in context.invocation_metadata() if k.startswith("x-"))
        await context.send_initial_metadata(told)
        context.set_trailing_metadata(told)
        return data

    async def hold(self, data: bytes, context: Any) -> bytes:
        self.counts["held"] += 1
        try:
            await self.free.wait()
        except asyncio.CancelledError:
            self.counts["cancelled"] += 1
            raise
        return data

    async def zip(self, data: bytes, context: Any) -> bytes:
        context.set_compression(grpc.Compression.Gzip)
        return data

    async def let_go(self, data: bytes, context: Any) -> bytes:
        self.free.set()
        self.read.set()
        return b""

    async def hold_on(self, data: bytes, context: Any) -> bytes:
        self.free.clear()
        self.read.clear()
        self.counts.clear()
        return b""

    async def tell(self, data: bytes, context: Any) -> bytes:
        return json.dumps(self.counts).encode()

    async def count(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        number, size = map(int, (await anext(aiter(requests))).split())
        for _ in range(number):
            yield b"m" * size
            self.counts["sent"] += 1

    async def chat(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request + b"!"
        yield b"bye"

    async def swallow(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        await self.read.wait()
        total = 0
        async for request in requests:
            total += len(request)
        yield str(total).encode()


async def main() -> None:
    port, streams, *names = sys.argv[1:]
    files = [Path(name).read_bytes() for name in names]  # noqa: ASYNC240 (nothing runs yet)
    service = Service()
    unary = {"Echo": service.echo, "Fail": service.fail, "Meta": service.meta, "Hold": service.hold,
             "LetGo": service.let_go, "HoldOn": service.hold_on, "Tell": service.tell,
             "Zip": service.zip}  # fmt: skip
    streaming = {"Count": service.count, "Chat": service.chat, "Swallow": service.swallow}
    handlers: dict[str, Any] = {
        name: grpc.unary_unary_rpc_method_handler(method) for name, method in unary.items()
    } | {name: grpc.stream_stream_rpc_method_handler(method) for name, method in streaming.items()}
    server = aio.server(
        options=[
            ("grpc.max_receive_message_length", BIG),
            ("grpc.max_send_message_length", BIG),
            ("grpc.max_concurrent_streams", int(streams)),
            ("grpc.so_reuseport", 0),
            ("grpc.server.max_pending_requests", 100_000),
            ("grpc.server.max_pending_requests_hard_limit", 100_000),
        ]
    )
    generic = grpc.method_handlers_generic_handler("t.T", handlers)
    server.add_generic_rpc_handlers((generic,))
    if files:
        cert, key = files
        credentials = grpc.ssl_server_credentials([(key, cert)])
        chosen = server.add_secure_port(f"127.0.0.1:{port}", credentials)
    else:
        chosen = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    print(chosen, flush=True)  # noqa: T201 (it is what the test reads)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
