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
LATE = Fault(Origin.GATEWAY, 10114, "late", Blame.CALLER, False, "session timeout")
SILENT = Fault(Origin.GATEWAY, 10200, "silent", Blame.CALLER, False, "session read timeout")
OVERFLOW = Fault(
    Origin.GATEWAY, 10301, "overflow", Blame.OVERLOAD, False, "more frames than its loader takes"
)
CLIENT_GONE = Fault(Origin.GATEWAY, 499, "client_gone", Blame.CALLER, False, "client went away")
INTERNAL = Fault(Origin.GATEWAY, 11502, "internal", Blame.HOUSE, False, "unexpected error")

NO_INSTANCE = Fault(Origin.LB, 20002, "no_instance", Blame.OVERLOAD, False, "no live instance")

# What the original's interface answers (reference "ase-wire" 4.5).
BAD_OP = Fault(Origin.LB, 2003, "bad_op", Blame.CALLER, False, "input is incorrect or is null")
BAD_BEST = Fault(Origin.LB, 2005, "bad_best", Blame.CALLER, False, "input best is incorrect")
BAD_NBEST = Fault(Origin.LB, 2006, "bad_nbest", Blame.CALLER, False, "input nbest is incorrect")
BAD_ADDR = Fault(
    Origin.LB, 2007, "bad_addr", Blame.CALLER, False, "input addr, svc or subsvc is null"
)
BAD_TOTAL = Fault(Origin.LB, 2008, "bad_total", Blame.CALLER, False, "input total is incorrect")
BAD_IDLE = Fault(Origin.LB, 2009, "bad_idle", Blame.CALLER, False, "input idle is incorrect")
BAD_SVC = Fault(Origin.LB, 2011, "bad_svc", Blame.CALLER, False, "input svc is unknown")
BAD_SUBSVC = Fault(Origin.LB, 2012, "bad_subsvc", Blame.CALLER, False, "input subsvc is unknown")
BAD_UID = Fault(Origin.LB, 2046, "bad_uid", Blame.CALLER, False, "input uid is incorrect")
BAD_LIVE = Fault(Origin.LB, 20014, "bad_live", Blame.CALLER, False, "input live is incorrect")
BAD_FORCE = Fault(
    Origin.LB, 20016, "bad_force", Blame.CALLER, False, "input forceOffline is incorrect"
)
NOT_ALLOWED = Fault(Origin.LB, 20017, "not_allowed", Blame.CALLER, False, "cmdServer refused")
BLOCKED = Fault(Origin.LB, 20018, "blocked", Blame.CALLER, False, "addr in blacklist")

INVALID_OP = Fault(Origin.LOADER, 10003, "invalid_op", Blame.LOADER, False, "invalid operation")
BAD_MODE = Fault(
    Origin.LOADER,
    10004,
    "bad_mode",
    Blame.CALLER,
    False,
    "this service streams: ask by WebSocket, or with Accept: text/event-stream",
)
TIMEOUT = Fault(Origin.LOADER, 10102, "timeout", Blame.LOADER, False, "once request timed out")
NO_HANDLE = Fault(Origin.LOADER, 10008, "no_handle", Blame.LOADER, False, "invalid handle")
RELEASED = Fault(Origin.LOADER, 10101, "released", Blame.LOADER, False, "handle was released")
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

    The sentence never holds a value of the request; it may hold a name that the caller chose.
    `str()` returns it; without one, the row's words. `logged` is the sentence that a log may hold,
    without such names; it is the same sentence unless another is given.
    """

    def __init__(self, fault: Fault, detail: str = "", logged: str = "") -> None:
        super().__init__(detail or fault.words)
        self.fault = fault
        self.logged = logged or str(self)
