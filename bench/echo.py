"""The echo peers of the stream bench: the `websockets` library alone, and Starlette on uvicorn.

Usage: python -m bench.echo bare|starlette PORT
"""

import asyncio
import sys

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.server import ServerConnection, serve


async def _serve_websockets(port: int) -> None:
    async def echo(ws: ServerConnection) -> None:
        async for message in ws:
            await ws.send(message)

    async with serve(echo, "127.0.0.1", port, compression=None):
        await asyncio.Event().wait()


async def _echo_starlette(ws: WebSocket) -> None:
    await ws.accept()
    try:
        while True:
            await ws.send_text(await ws.receive_text())
    except WebSocketDisconnect:
        pass


def main(name: str, port: int) -> None:
    """Run the echo server `name` on 127.0.0.1:`port` until the process is stopped."""
    if name == "bare":
        uvloop.run(_serve_websockets(port))
        return
    app = Starlette(routes=[WebSocketRoute("/{rest:path}", _echo_starlette)])
    uvicorn.run(
        app,
        port=port,
        log_level="error",
        loop="uvloop",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
