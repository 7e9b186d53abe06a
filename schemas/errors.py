"""The one error table: whose fault, may another instance be tried, the words. Pure.

The original's numbers collide between its parts, so a row is keyed by (origin, code). HTTP and
gRPC statuses are not here: each edge derives its own from a row (`gateway/answers.py`).
Numbers: reference "ase-wire" 1.7 and 4.5.
"""

from dataclasses import dataclass
from enum import Enum


class Origin(Enum):
    """The part whose numbering a code belongs to."""

    GATEWAY = "gateway"
    LB = "lb"
    LOADER = "loader"


class Blame(Enum):
    """Who has to act for the error to go away."""

    CALLER = "caller"
    LOADER = "loader"
    OVERLOAD = "overload"
    HOUSE = "house"


@dataclass(frozen=True, slots=True)
class Fault:
    """One row. `retry`: nothing ran, so another instance may be tried without harm."""

    origin: Origin
    code: int
    name: str
    blame: Blame
    retry: bool
    words: str


BAD_REQUEST = Fault(Origin.GATEWAY, 10163, "bad_request", Blame.CALLER, False, "bad request")
BAD_APP = Fault(Origin.GATEWAY, 10313, "bad_app", Blame.CALLER, False, "app id refused")
NO_SERVICE = Fault(Origin.GATEWAY, 10225, "no_service", Blame.CALLER, False, "no such service")
NO_SUB_SERVICE = Fault(
    Origin.GATEWAY, 10404, "no_sub_service", Blame.CALLER, False, "no sub service matches"
)
UNREACHABLE = Fault(
    Origin.GATEWAY, 10222, "unreachable", Blame.LOADER, True, "no loader could be reached"
)
BAD_REPLY = Fault(
    Origin.GATEWAY, 10160, "bad_reply", Blame.LOADER, False, "the loader answered no readable frame"
)
DEADLINE = Fault(Origin.GATEWAY, 10102, "deadline", Blame.LOADER, False, "deadline exceeded")
CLIENT_GONE = Fault(Origin.GATEWAY, 499, "client_gone", Blame.CALLER, False, "client went away")
INTERNAL = Fault(Origin.GATEWAY, 11502, "internal", Blame.HOUSE, False, "unexpected error")

NO_INSTANCE = Fault(Origin.LB, 20002, "no_instance", Blame.OVERLOAD, False, "no live instance")

INVALID_OP = Fault(Origin.LOADER, 10003, "invalid_op", Blame.LOADER, False, "invalid operation")
BAD_MODE = Fault(Origin.LOADER, 10004, "bad_mode", Blame.LOADER, False, "no sessions here")
TIMEOUT = Fault(Origin.LOADER, 10102, "timeout", Blame.LOADER, False, "once request timed out")
BAD_OUTPUT = Fault(
    Origin.LOADER, 10106, "bad_output", Blame.LOADER, False, "wrapper output invalid (key or type)"
)
REFUSED = Fault(Origin.LOADER, 10107, "refused", Blame.CALLER, False, "input refused")
FULL = Fault(Origin.LOADER, 10110, "full", Blame.OVERLOAD, True, "every loader tried is full")
LOST = Fault(
    Origin.LOADER, 10222, "lost", Blame.LOADER, False, "the loader was lost while it worked"
)
BAD_FRAME = Fault(Origin.LOADER, 10401, "bad_frame", Blame.LOADER, False, "frame is not readable")
RAISED = Fault(Origin.LOADER, 10908, "raised", Blame.LOADER, False, "wrapper raised an exception")

TABLE: dict[tuple[Origin, int], Fault] = {
    (fault.origin, fault.code): fault for fault in list(globals().values()) if type(fault) is Fault
}


def loader_fault(code: int) -> Fault:
    """Return the row of a LoaderOutput.code; an unknown one is the loader's own affair."""
    known = TABLE.get((Origin.LOADER, code))
    return known or Fault(Origin.LOADER, code, "other", Blame.LOADER, False, "loader error")


class AseError(Exception):
    """A request that ended badly: a row of the table and a sentence for the caller.

    The sentence never holds data of the request. `str()` gives it; without one, the row's words.
    """

    def __init__(self, fault: Fault, detail: str = "") -> None:
        super().__init__(detail or fault.words)
        self.fault = fault
