"""What all connections of a gateway share: limits, refusals, the lane. Values only."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.context import GatewayContext
from gateway.http.write_batch import WriteBatcher
from gateway.request.response import DefaultHeadersCache, Headers, HttpError, HttpResponse
from gateway.unary.request_head import UnaryHeadCache
from schemas.model.errors import AseError

# Where an ASGI scope says that its body ends with an error.
BODY_ERROR_KEY = "ase.refusal"
# A client may take its time at the start of a body; then it is held to the least rate.
BODY_GRACE_S = 5.0
# And how a `receive` is ended that waits for more, since the answer is there.
WAKE_RECEIVE_KEY = "ase.wake"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may take. Sizes in bytes, `rate` in bytes per second, all else in seconds.

    `stalled` is how long it may read nothing of what is written to it; `connections` is how many
    there may be.
    """

    max_target: int
    max_header_bytes: int
    max_headers: int
    header_timeout: float
    max_body: int
    body_timeout: float
    min_body_rate: int
    stall_timeout: float
    idle_timeout: float
    max_connections: int


def slow_body_error(limits: Limits, elapsed: float, received_bytes: int) -> HttpError | None:
    """Return why a body comes too slowly, so many seconds after its head; None: it may go on."""
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
        client_ip: str,
        trailing_data: bytes,
        transport: asyncio.Transport,
        write_timeout: float,
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
    WebSockets. `is_draining` returns whether each response ends its connection.
    """

    limits: Limits
    reject_request: Callable[[AseError, str, bytes], HttpResponse]
    fast_path: FastPathContext | None
    upgrader: Upgrader | None
    is_draining: Callable[[], bool]
    default_headers: DefaultHeadersCache = field(default_factory=DefaultHeadersCache)
    write_batcher: WriteBatcher = field(default_factory=WriteBatcher)
