"""From an HTTP request to a WebSocket: who may have one, at which service, in which manner."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs

from config.options import SessionOptions
from gateway.answers import Headers
from gateway.head import fold
from gateway.lane import PREFIX, Lane
from gateway.messages import BINARY
from gateway.socket import SocketProtocol, check_origin, handshake
from gateway.talk import Asked, Talk
from schemas.errors import NO_SERVICE, AseError

_PREFIX: Final = PREFIX.encode()


class Sockets:
    """Opens the WebSockets of a gateway."""

    def __init__(self, lane: Lane, options: SessionOptions) -> None:
        self._lane = lane
        self._options = options

    def serves(self, method: bytes, url: bytes, headers: Headers) -> bool:
        """Return whether a head asks for a WebSocket that there is."""
        told = fold(headers)
        if method != b"GET" or told.get(b"upgrade", b"").lower() != b"websocket":
            return False
        path, _, query = url.partition(b"?")
        return url.startswith(_PREFIX) or bool(self._routed(path.decode("latin-1"), query, told))

    def _routed(self, path: str, query: bytes, headers: Mapping[bytes, bytes]) -> str:
        return self._lane.parts.catalog.routes().find(path, query, headers)

    def open(
        self,
        scope: Mapping[str, Any],
        headers: Headers,
        client: str,
        rest: bytes,
        transport: asyncio.Transport,
        stalled: float,
        server: Any,
    ) -> None:
        """Answer a handshake, and let the connection be a WebSocket's from there.

        `rest` came behind it; `stalled`: seconds that a client may read nothing. Raises AseError:
        404 for a service that there is not, 403, 400, 426.
        """
        lane, options = self._lane, self._options
        told = fold(headers)
        path = scope["path"]
        plain = path.startswith(PREFIX)
        service = path[len(PREFIX) :] if plain else self._routed(path, scope["query_string"], told)
        contract = lane.parts.catalog.find(service)
        if contract is None:
            raise AseError(NO_SERVICE, "no such service")
        check_origin(told, options.origins)
        protocol, answer = handshake(scope["raw_path"], headers, options.max_frame)
        query = parse_qs(scope["query_string"].decode("latin-1"))
        asked = Asked(
            contract,
            path=path,
            client=client,
            headers=told,
            multiplex=query.get("stream_mode") == ["multiplex"],
            binary=protocol.subprotocol == BINARY,
        )
        transport.write(answer)
        later = asyncio.get_running_loop().call_later
        opened = SocketProtocol(
            transport,
            protocol,
            options,
            stalled,
            server.connections,
            server.tasks,
            lambda socket: Talk(lane, options, asked, socket, later),
        )
        transport.set_protocol(opened)
        if rest:
            opened.data_received(rest)
