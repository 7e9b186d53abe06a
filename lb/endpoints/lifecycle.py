"""The lifecycle of an instance as a table of states and events. Pure.

An event that has no row in TRANSITIONS for the current state changes nothing.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from lb.endpoints.report import Instance, ServingState


class EndpointState(Enum):
    """State of an instance.

    UP: it gets requests. DRAINING: it finishes its requests and gets no new ones. SUSPECT: its
    reports stopped. GONE: it is removed from the table.
    """

    UP = "up"
    DRAINING = "draining"
    SUSPECT = "suspect"
    GONE = "gone"


class EndpointEvent(Enum):
    """Event in the life of an instance; the value is the reason in logs and metrics.

    STREAM_LOST: the report stream broke. SILENT: no report within the silence timeout. HUB_FORGOT:
    a snapshot of the hub does not list the instance. REPLACED: a new epoch reported at the same
    address. EXPIRED: the instance was suspect for longer than the ttl.
    """

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
    """A state change of an instance and its reason."""

    instance: Instance
    before: EndpointState
    after: EndpointState
    reason: EndpointEvent

    def log_fields(self) -> dict[str, str]:
        """Return the fields of a log record about the change."""
        return {
            "service": self.instance.service,
            "instance": self.instance.addr,
            "before": self.before.value,
            "after": self.after.value,
            "reason": self.reason.value,
        }
