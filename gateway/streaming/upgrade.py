"""The upgrade of an HTTP request to a WebSocket (RFC 6455, 4.2): service, origin and mode."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs

from config.options import SessionOptions
from gateway.access.caller_head import CallerHead
from gateway.access.identity import Identity
from gateway.context import GatewayContext
from gateway.http.asgi_scope import PEER_KEY
from gateway.http.head_validation import combine_headers
from gateway.http.memory_limits import BodyBudget
from gateway.http.timeouts import WriteStallMonitor
from gateway.request.origin import check_origin
from gateway.request.response import Headers
from gateway.services.routes import SERVICE_PATH_PREFIX, requested_service
from gateway.streaming.messages import BINARY_SUBPROTOCOL, PLAIN_SUBPROTOCOL
from gateway.streaming.multiplexer import SessionMultiplexer, WebSocketHandshake
from gateway.streaming.websocket import WebSocketConnection, accept_handshake
from gateway.telemetry.session_metrics import SessionMetrics
from schemas.model.errors import INTERNAL, AseError

_SERVICE_PATH_PREFIX: Final = SERVICE_PATH_PREFIX.encode()


class WebSocketUpgrader:
    """Upgrades HTTP connections of a gateway to WebSockets."""

    def __init__(
        self, context: GatewayContext, session_metrics: SessionMetrics, options: SessionOptions
    ) -> None:
        self._context = context
        self._session_metrics = session_metrics
        self._options = options

    def can_upgrade(self, method: bytes, url: bytes, headers: Headers) -> bool:
        """Return whether a request is a WebSocket handshake at the path of a service.

        Every path with the canonical prefix counts; `upgrade` rejects an unknown service there
        (10225).
        """
        headers_by_name = combine_headers(headers)
        if method != b"GET" or headers_by_name.get(b"upgrade", b"").lower() != b"websocket":
            return False
        path, _, query = url.partition(b"?")
        if url.startswith(_SERVICE_PATH_PREFIX):
            return True
        text = path.decode("latin-1")
        return self._is_plain(text, query) or bool(self._find_service(text, query, headers_by_name))

    def _is_plain(self, path: str, query: bytes) -> bool:
        """Return whether a path is that of a service for plain requests."""
        return bool(requested_service(b"POST", path)) and (
            self._context.is_plain_request(path, query.decode("latin-1"))
        )

    def _find_service(self, path: str, query: bytes, headers: Mapping[bytes, bytes]) -> str:
        return self._context.dependencies.catalog.routes().find(path, query, headers)

    def _identify(self, scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> Identity:
        path, query = scope["raw_path"].decode("latin-1"), scope["query_string"].decode("latin-1")
        head = CallerHead(scope["method"], path, query, headers, scope[PEER_KEY])
        dependencies = self._context.dependencies
        try:
            return dependencies.authenticator.identify(head)
        except AseError:
            raise
        except Exception as error:
            dependencies.on_internal_error("", error)
            raise AseError(INTERNAL) from error

    def _client_address(self, peer_ip: str, headers: Mapping[bytes, bytes]) -> str:
        proxies = self._context.proxies
        return proxies.client_address(peer_ip, headers.get(proxies.client_header, b""))

    def upgrade(
        self,
        scope: Mapping[str, Any],
        headers: Headers,
        trailing_data: bytes,
        transport: asyncio.Transport,
        stall_monitor: WriteStallMonitor,
        body_budget: BodyBudget,
        server_state: Any,
    ) -> None:
        """Accept a handshake and hand the connection over to a WebSocket.

        `scope` is the ASGI scope of the request, `trailing_data` the bytes received after its head.
        `server_state` is that of uvicorn. Raises AseError for an unknown service as
        `Catalog.require` does, and HttpError 401 for a credential that is not accepted, 403 for
        an origin that is not allowed, 400 or 426 for an invalid handshake.
        """
        context, options = self._context, self._options
        headers_by_name = combine_headers(headers)
        path = scope["path"]
        is_plain = self._is_plain(path, scope["query_string"])
        if is_plain:
            service_id = requested_service(b"POST", path)
        elif path.startswith(SERVICE_PATH_PREFIX):
            service_id = path[len(SERVICE_PATH_PREFIX) :]
        else:
            service_id = self._find_service(path, scope["query_string"], headers_by_name)
        identity = self._identify(scope, headers_by_name)
        contract = context.dependencies.catalog.require(service_id)
        identity.check_service(contract.service.id)
        check_origin(headers_by_name, options.origins)
        protocol, response = accept_handshake(scope["raw_path"], headers, options.max_frame)
        query = parse_qs(scope["query_string"].decode("latin-1"))
        is_plain = is_plain or protocol.subprotocol == PLAIN_SUBPROTOCOL
        websocket_handshake = WebSocketHandshake(
            contract,
            path=path,
            client_ip=self._client_address(scope[PEER_KEY].ip, headers_by_name),
            headers=headers_by_name,
            identity=identity,
            multiplex=query.get("stream_mode") == ["multiplex"] and not is_plain,
            binary=protocol.subprotocol == BINARY_SUBPROTOCOL,
            plain=is_plain,
        )
        transport.write(response)
        call_later = asyncio.get_running_loop().call_later
        connection = WebSocketConnection(
            transport,
            protocol,
            options,
            stall_monitor,
            body_budget,
            server_state.connections,
            server_state.tasks,
            lambda websocket: SessionMultiplexer(
                context,
                self._session_metrics,
                options,
                websocket_handshake,
                websocket,
                call_later,
            ),
        )
        transport.set_protocol(connection)
        if trailing_data:
            connection.data_received(trailing_data)
