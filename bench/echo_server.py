"""A server that echoes unary calls, ours or grpc.aio's, for `python -m bench servers`.

Usage: python -m bench.echo_server ours|grpc.aio. Prints its port.
"""

import asyncio
import sys
from typing import Any

import uvloop

from rpc.server import CallContext, Server

METHOD = "/bench.Echo/Call"


async def _echo(data: bytes, _: CallContext) -> bytes:
    return data


async def _start_ours() -> tuple[Any, int]:
    server = Server(unary={METHOD: _echo})
    return server, await server.start("127.0.0.1", 0)


async def _start_grpc_aio() -> tuple[Any, int]:
    import grpc  # of the extra `bench`
    from grpc import aio

    async def echo(data: bytes, _: Any) -> bytes:
        return data

    server = aio.server()
    service, _, name = METHOD[1:].partition("/")
    handlers: dict[str, Any] = {name: grpc.unary_unary_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port: int = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, port


async def main(arm: str) -> None:
    """Serve until the process is stopped."""
    _server, port = await (_start_ours() if arm == "ours" else _start_grpc_aio())
    print(port, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
