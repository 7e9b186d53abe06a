"""What all connections of a gateway share: limits, refusals, the lane. Values only."""

from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.answers import DefaultHeadersCache, HttpError, HttpResponse
from gateway.lane import GatewayContext
from gateway.outbox import WriteBatcher
from gateway.upgrade import WebSocketUpgrader
from schemas.errors import AseError

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


@dataclass(frozen=True, slots=True)
class ServerContext:
    """What all connections share.

    `refuse` makes the answer to a bad head, from the error, the client and the target. `lane` is
    None where Starlette serves once-routes too; `sockets` opens WebSockets, where there are any.
    `draining` tells
    whether every answer is to end its connection. `lines` are those that the server adds to every
    answer, `outbox` what is written when the turn of the loop is over.
    """

    limits: Limits
    reject_request: Callable[[AseError, str, bytes], HttpResponse]
    gateway_context: GatewayContext | None
    websocket_upgrader: WebSocketUpgrader | None
    is_draining: Callable[[], bool]
    default_headers: DefaultHeadersCache = field(default_factory=DefaultHeadersCache)
    write_batcher: WriteBatcher = field(default_factory=WriteBatcher)
