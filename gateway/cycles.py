"""uvicorn's cycle of a request that goes to Starlette."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle


def asgi_cycle(door: HttpToolsProtocol, *, expects: bool, keep_alive: bool) -> RequestResponseCycle:
    """Return the cycle of the request whose scope a connection has just made."""
    return RequestResponseCycle(
        scope=door.scope,
        transport=door.transport,
        flow=door.flow,
        logger=door.logger,
        access_logger=door.access_logger,
        access_log=False,
        default_headers=door.server_state.default_headers,
        message_event=asyncio.Event(),
        expect_100_continue=expects,
        keep_alive=keep_alive,
        on_response=door.on_response_complete,
    )
