"""The drain of a gateway: whether it has begun, and the errors of what it ends. Pure."""

from enum import Enum

from schemas.model.errors import DEADLINE, AseError


def drain_timeout_error() -> AseError:
    """Return the error of a request that is still running when the drain time is over."""
    return AseError(DEADLINE, "the gateway stops, and could wait no longer")


def shutdown_error() -> AseError:
    """Return the error of a session that a stopping gateway ends after its next result."""
    return AseError(DEADLINE, "the gateway stops: this session ends before its end")


class Shutdown(Enum):
    """How a gateway stops.

    GRACEFUL: it is unready and accepts connections for the lame-duck time. IMMEDIATE: it accepts
    none. REPLACED: it accepts none, since another process does on the same ports; for the lame-duck
    time it answers the next request of each connection, and ends the connection with the answer. In
    any case running requests get the drain time.
    """

    GRACEFUL = "graceful"
    IMMEDIATE = "immediate"
    REPLACED = "replaced"


class DrainState:
    """Whether the gateway drains: it is about to stop, and each response ends its connection."""

    __slots__ = ("draining",)

    def __init__(self) -> None:
        self.draining = False
