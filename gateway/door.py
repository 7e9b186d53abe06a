"""What all connections of a gateway share: limits, refusals, the lane. Values only."""

from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.answers import Answer, HttpError, Lines
from gateway.lane import Lane
from gateway.outbox import Outbox
from gateway.upgrade import Sockets
from schemas.errors import AseError

# Where an ASGI scope says that its body ends with an error.
REFUSAL = "ase.refusal"
# A client may take its time at the start of a body; then it is held to the least rate.
GRACE_S = 5.0
# And how a `receive` is ended that waits for more, since the answer is there.
WAKE = "ase.wake"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may take. Sizes in bytes, `rate` in bytes per second, all else in seconds.

    `stalled` is how long it may read nothing of what is written to it; `connections` is how many
    there may be.
    """

    target: int
    header_bytes: int
    headers: int
    head: float
    body: int
    body_time: float
    rate: int
    stalled: float
    idle: float
    connections: int


def slow(limits: Limits, elapsed: float, received: int) -> HttpError | None:
    """Return why a body comes too slowly, so many seconds after its head; None: it may go on."""
    if elapsed >= limits.body_time:
        return HttpError(408, f"request body took more than {limits.body_time:g} s")
    if received < limits.rate * (elapsed - GRACE_S):
        return HttpError(408, f"request body came at less than {limits.rate} B/s")
    return None


@dataclass(frozen=True, slots=True)
class Door:
    """What all connections share.

    `refuse` makes the answer to a bad head, from the error, the client and the target. `lane` is
    None where Starlette serves once-routes too; `sockets` opens WebSockets, where there are any.
    `draining` tells
    whether every answer is to end its connection. `lines` are those that the server adds to every
    answer, `outbox` what is written when the turn of the loop is over.
    """

    limits: Limits
    refuse: Callable[[AseError, str, bytes], Answer]
    lane: Lane | None
    sockets: Sockets | None
    draining: Callable[[], bool]
    lines: Lines = field(default_factory=Lines)
    outbox: Outbox = field(default_factory=Outbox)
