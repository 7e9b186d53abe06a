"""What all connections of a server share: limits, rejections, the fast path. Values only."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.context import GatewayContext
from gateway.http.cors import CorsPolicy
from gateway.http.memory_limits import BodyBudget, UnreadOutput
from gateway.http.timeouts import WriteStallMonitor
from gateway.http.write_batch import WriteBatcher
from gateway.request.response import DefaultHeadersCache, Headers, HttpError, HttpResponse
from gateway.request.shutdown import DrainState
from gateway.unary.request_head import UnaryHeadCache
from schemas.model.errors import AseError

# The key in an ASGI scope of the error with which the request body ended.
BODY_ERROR_KEY = "ase.refusal"
# Seconds at the start of a body in which no minimum rate is enforced.
BODY_GRACE_S = 5.0
# The key of the callback that wakes a pending `receive()` when there is something to send.
WAKE_RECEIVE_KEY = "ase.wake"


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a server for its clients.

    `max_target`, `max_header_bytes` and `max_body` are bytes, `min_body_rate` is bytes per second,
    timeouts are seconds. `min_chunk` is the mean size in bytes that the chunks of a body must have
    if there are many. `max_headers` is the number of header fields of a request,
    `max_connections` the number of connections of all clients. `stall_timeout` is how long a client
    may read nothing of what is written to it.
    """

    max_target: int
    max_header_bytes: int
    max_headers: int
    header_timeout: float
    max_body: int
    body_timeout: float
    min_body_rate: int
    min_chunk: int
    stall_timeout: float
    idle_timeout: float
    max_connections: int


def slow_body_error(limits: Limits, elapsed: float, received_bytes: int) -> HttpError | None:
    """Return the error of a body that arrives too slowly, None if it may continue.

    `elapsed` are the seconds since the gateway began to wait for the body.
    """
    if elapsed >= limits.body_timeout:
        return HttpError(408, f"request body took more than {limits.body_timeout:g} s")
    if received_bytes < limits.min_body_rate * (elapsed - BODY_GRACE_S):
        return HttpError(408, f"request body came at less than {limits.min_body_rate} B/s")
    return None


class Upgrader(Protocol):
    """Turns a connection into a WebSocket."""

    def can_upgrade(self, method: bytes, url: bytes, headers: Headers, /) -> bool:
        """Return whether a request asks for a WebSocket that exists."""

    def upgrade(
        self,
        scope: Mapping[str, Any],
        headers: Headers,
        trailing_data: bytes,
        transport: asyncio.Transport,
        stall_monitor: WriteStallMonitor,
        body_budget: BodyBudget,
        server_state: Any,
        /,
    ) -> None:
        """Answer the handshake and give the transport another protocol. Raises AseError."""


@dataclass(frozen=True, slots=True)
class FastPathContext:
    """What unary requests need that are served without an ASGI cycle."""

    context: GatewayContext
    head_cache: UnaryHeadCache


@dataclass(frozen=True, slots=True)
class ServerContext:
    """What all connections of a server share.

    `reject_request(error, client_ip, target)` makes the response to a request that is refused by
    its head. `fast_path` is None if every request goes through ASGI, `upgrader` if there are no
    WebSockets. While `drain_state.draining` is True, each response ends its connection.
    `cors` says which pages may read answers. `unread_output` and `body_budget` bound the memory of
    all connections together.
    `default_headers` caches the header lines that the server adds to every response.
    `write_batcher` holds what is written at the end of an event-loop iteration. The bodies of
    `body_methods` reach the application; those of other methods are dropped.
    """

    limits: Limits
    reject_request: Callable[[AseError, str, bytes], HttpResponse]
    fast_path: FastPathContext | None
    upgrader: Upgrader | None
    drain_state: DrainState
    unread_output: UnreadOutput
    body_budget: BodyBudget
    cors: CorsPolicy
    default_headers: DefaultHeadersCache = field(default_factory=DefaultHeadersCache)
    write_batcher: WriteBatcher = field(default_factory=WriteBatcher)
    body_methods: frozenset[bytes] = frozenset({b"POST"})
