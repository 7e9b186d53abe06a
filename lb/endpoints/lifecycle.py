"""The life of an instance as a table: what can befall it, and where it stands then. Pure.

An event that has no row in TRANSITIONS changes nothing.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from lb.endpoints.report import Instance, ServingState


class EndpointState(Enum):
    """Where an instance stands."""

    UP = "up"
    DRAINING = "draining"
    SUSPECT = "suspect"
    GONE = "gone"


class EndpointEvent(Enum):
    """What can befall an instance; the value is the reason told in logs and metrics."""

    REPORTED_UP = "reported"
    REPORTED_DRAINING = "draining"
    REPORTED_DOWN = "left"
    STREAM_LOST = "stream_lost"
    SILENT = "silent"
    HUB_FORGOT = "hub_forgot"
    REPLACED = "replaced"
    EXPIRED = "expired"


_UP: Final = EndpointState.UP
_DRAINING: Final = EndpointState.DRAINING
_SUSPECT: Final = EndpointState.SUSPECT
_GONE: Final = EndpointState.GONE

TRANSITIONS: Final[dict[tuple[EndpointState, EndpointEvent], EndpointState]] = {
    (_GONE, EndpointEvent.REPORTED_UP): _UP,
    (_GONE, EndpointEvent.REPORTED_DRAINING): _DRAINING,
    (_UP, EndpointEvent.REPORTED_DRAINING): _DRAINING,
    (_UP, EndpointEvent.REPORTED_DOWN): _GONE,
    (_UP, EndpointEvent.STREAM_LOST): _SUSPECT,
    (_UP, EndpointEvent.SILENT): _SUSPECT,
    (_UP, EndpointEvent.HUB_FORGOT): _SUSPECT,
    (_DRAINING, EndpointEvent.REPORTED_UP): _UP,
    (_DRAINING, EndpointEvent.REPORTED_DOWN): _GONE,
    (_DRAINING, EndpointEvent.STREAM_LOST): _GONE,
    (_DRAINING, EndpointEvent.SILENT): _GONE,
    (_DRAINING, EndpointEvent.HUB_FORGOT): _GONE,
    (_SUSPECT, EndpointEvent.REPORTED_UP): _UP,
    (_SUSPECT, EndpointEvent.REPORTED_DRAINING): _DRAINING,
    (_SUSPECT, EndpointEvent.REPORTED_DOWN): _GONE,
    (_SUSPECT, EndpointEvent.EXPIRED): _GONE,
}

EVENT_BY_SERVING_STATE: Final = {
    ServingState.UP: EndpointEvent.REPORTED_UP,
    ServingState.DRAINING: EndpointEvent.REPORTED_DRAINING,
    ServingState.DOWN: EndpointEvent.REPORTED_DOWN,
}


@dataclass(frozen=True, slots=True)
class StateChange:
    """An instance moved from one state to another, and why."""

    instance: Instance
    before: EndpointState
    after: EndpointState
    reason: EndpointEvent

    def log_fields(self) -> dict[str, str]:
        """Return the change as the fields of a log line."""
        return {
            "service": self.instance.service,
            "instance": self.instance.addr,
            "before": self.before.value,
            "after": self.after.value,
            "reason": self.reason.value,
        }
