"""The life of an instance as a table: what can befall it, and where it stands then. Pure.

An event that has no row in TRANSITIONS changes nothing.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from lb.report import Instance, Live


class State(Enum):
    """Where an instance stands."""

    UP = "up"
    DRAINING = "draining"
    SUSPECT = "suspect"
    GONE = "gone"


class Event(Enum):
    """What can befall an instance; the value is the reason told in logs and metrics."""

    REPORTED_UP = "reported"
    REPORTED_DRAINING = "draining"
    REPORTED_DOWN = "left"
    STREAM_LOST = "stream_lost"
    SILENT = "silent"
    HUB_FORGOT = "hub_forgot"
    REPLACED = "replaced"
    EXPIRED = "expired"


_UP: Final = State.UP
_DRAINING: Final = State.DRAINING
_SUSPECT: Final = State.SUSPECT
_GONE: Final = State.GONE

TRANSITIONS: Final[dict[tuple[State, Event], State]] = {
    (_GONE, Event.REPORTED_UP): _UP,
    (_GONE, Event.REPORTED_DRAINING): _DRAINING,
    (_UP, Event.REPORTED_DRAINING): _DRAINING,
    (_UP, Event.REPORTED_DOWN): _GONE,
    (_UP, Event.STREAM_LOST): _SUSPECT,
    (_UP, Event.SILENT): _SUSPECT,
    (_UP, Event.HUB_FORGOT): _SUSPECT,
    (_DRAINING, Event.REPORTED_UP): _UP,
    (_DRAINING, Event.REPORTED_DOWN): _GONE,
    (_DRAINING, Event.STREAM_LOST): _GONE,
    (_DRAINING, Event.SILENT): _GONE,
    (_DRAINING, Event.HUB_FORGOT): _GONE,
    (_SUSPECT, Event.REPORTED_UP): _UP,
    (_SUSPECT, Event.REPORTED_DRAINING): _DRAINING,
    (_SUSPECT, Event.REPORTED_DOWN): _GONE,
    (_SUSPECT, Event.EXPIRED): _GONE,
}

BY_LIVE: Final = {
    Live.UP: Event.REPORTED_UP,
    Live.DRAINING: Event.REPORTED_DRAINING,
    Live.DOWN: Event.REPORTED_DOWN,
}


@dataclass(frozen=True, slots=True)
class Change:
    """An instance moved from one state to another, and why."""

    instance: Instance
    before: State
    after: State
    reason: Event

    def facts(self) -> dict[str, str]:
        """Return the change as the fields of a log line."""
        return {
            "service": self.instance.service,
            "instance": self.instance.addr,
            "before": self.before.value,
            "after": self.after.value,
            "reason": self.reason.value,
        }
