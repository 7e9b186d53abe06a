"""The error table: for each code its source, whether a retry is safe, and the message. Pure.

The codes of the original collide between its parts, so (domain, code) identifies a row. HTTP and
gRPC statuses are not in the table: each edge derives its own from a row. `docs/wire.md` lists the
codes.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final


class ErrorDomain(Enum):
    """The component in whose numbering a code is defined."""

    GATEWAY = "gateway"
    LB = "lb"
    LOADER = "loader"


class ErrorSource(Enum):
    """The party that has to act to resolve an error.

    INTERNAL stands for an internal error of this code base.
    """

    CALLER = "caller"
    LOADER = "loader"
    OVERLOAD = "overload"
    INTERNAL = "house"


@dataclass(frozen=True, slots=True)
class ErrorSpec:
    """One row of the error table.

    `retryable` states that no work was done, so that another instance may be tried safely.
    """

    domain: ErrorDomain
    code: int
    name: str
    source: ErrorSource
    retryable: bool
    message: str


BAD_REQUEST = ErrorSpec(
    ErrorDomain.GATEWAY, 10163, "bad_request", ErrorSource.CALLER, False, "bad request"
)
BAD_APP = ErrorSpec(
    ErrorDomain.GATEWAY, 10313, "bad_app", ErrorSource.CALLER, False, "app id refused"
)
# Codes that iFlytek's open platform documents for the same cases.
UNAUTHENTICATED = ErrorSpec(
    ErrorDomain.GATEWAY, 10105, "unauthenticated", ErrorSource.CALLER, False, "who calls?"
)
SERVICE_NOT_ALLOWED = ErrorSpec(
    ErrorDomain.GATEWAY,
    11200,
    "service_not_allowed",
    ErrorSource.CALLER,
    False,
    "this credential is not for the service",
)
QUOTA_USED = ErrorSpec(
    ErrorDomain.GATEWAY, 11201, "quota_used", ErrorSource.CALLER, False, "the quota is used up"
)
RATE_LIMITED = ErrorSpec(
    ErrorDomain.GATEWAY, 11202, "rate_limited", ErrorSource.CALLER, False, "too many requests"
)
CONCURRENCY_LIMITED = ErrorSpec(
    ErrorDomain.GATEWAY,
    11203,
    "concurrency_limited",
    ErrorSource.CALLER,
    False,
    "too many requests at a time",
)
NO_SERVICE = ErrorSpec(
    ErrorDomain.GATEWAY, 10225, "no_service", ErrorSource.CALLER, False, "no such service"
)
NO_SUB_SERVICE = ErrorSpec(
    ErrorDomain.GATEWAY,
    10404,
    "no_sub_service",
    ErrorSource.CALLER,
    False,
    "no sub service matches",
)
UNREACHABLE = ErrorSpec(
    ErrorDomain.GATEWAY,
    10222,
    "unreachable",
    ErrorSource.LOADER,
    True,
    "no loader could be reached",
)
BAD_REPLY = ErrorSpec(
    ErrorDomain.GATEWAY,
    10160,
    "bad_reply",
    ErrorSource.LOADER,
    False,
    "the loader answered no readable frame",
)
DEADLINE = ErrorSpec(
    ErrorDomain.GATEWAY, 10102, "deadline", ErrorSource.LOADER, False, "deadline exceeded"
)
SESSION_TIMEOUT = ErrorSpec(
    ErrorDomain.GATEWAY, 10114, "late", ErrorSource.CALLER, False, "session timeout"
)
SESSION_READ_TIMEOUT = ErrorSpec(
    ErrorDomain.GATEWAY, 10200, "silent", ErrorSource.CALLER, False, "session read timeout"
)
SESSION_OVERFLOW = ErrorSpec(
    ErrorDomain.GATEWAY,
    10301,
    "overflow",
    ErrorSource.OVERLOAD,
    False,
    "more frames than its loader takes",
)
CLIENT_GONE = ErrorSpec(
    ErrorDomain.GATEWAY, 499, "client_gone", ErrorSource.CALLER, False, "client went away"
)
INTERNAL = ErrorSpec(
    ErrorDomain.GATEWAY, 11502, "internal", ErrorSource.INTERNAL, False, "unexpected error"
)

NO_INSTANCE = ErrorSpec(
    ErrorDomain.LB, 20002, "no_instance", ErrorSource.OVERLOAD, False, "no live instance"
)

# Error codes of the original's load balancer interface (`docs/wire.md`).
BAD_OP = ErrorSpec(
    ErrorDomain.LB, 2003, "bad_op", ErrorSource.CALLER, False, "input is incorrect or is null"
)
BAD_BEST = ErrorSpec(
    ErrorDomain.LB,
    2005,
    "bad_best",
    ErrorSource.CALLER,
    False,
    "input best is incorrect or is null",
)
BAD_NBEST = ErrorSpec(
    ErrorDomain.LB,
    2006,
    "bad_nbest",
    ErrorSource.CALLER,
    False,
    "input nbest is incorrect or is null",
)
BAD_ADDR = ErrorSpec(
    ErrorDomain.LB,
    2007,
    "bad_addr",
    ErrorSource.CALLER,
    False,
    "input addr, svc or subsvc is incorrect or is null",
)
BAD_TOTAL = ErrorSpec(
    ErrorDomain.LB,
    2008,
    "bad_total",
    ErrorSource.CALLER,
    False,
    "input total is incorrect or is null",
)
BAD_IDLE = ErrorSpec(
    ErrorDomain.LB,
    2009,
    "bad_idle",
    ErrorSource.CALLER,
    False,
    "input idle is incorrect or is null",
)
BAD_SVC = ErrorSpec(
    ErrorDomain.LB, 2011, "bad_svc", ErrorSource.CALLER, False, "input svc is unknown"
)
BAD_SUBSVC = ErrorSpec(
    ErrorDomain.LB, 2012, "bad_subsvc", ErrorSource.CALLER, False, "input subsvc is unknown"
)
BAD_LIVE = ErrorSpec(
    ErrorDomain.LB,
    20014,
    "bad_live",
    ErrorSource.CALLER,
    False,
    "input live is incorrect or is null",
)
BAD_FORCE = ErrorSpec(
    ErrorDomain.LB,
    20016,
    "bad_force",
    ErrorSource.CALLER,
    False,
    "input forceOffline is incorrect or is null",
)
NOT_ALLOWED = ErrorSpec(
    ErrorDomain.LB, 20017, "not_allowed", ErrorSource.CALLER, False, "cmdServer refused"
)
ADDR_BLOCKED = ErrorSpec(
    ErrorDomain.LB, 20018, "blocked", ErrorSource.CALLER, False, "addr in blacklist"
)

INVALID_OP = ErrorSpec(
    ErrorDomain.LOADER, 10003, "invalid_op", ErrorSource.LOADER, False, "invalid operation"
)
BAD_MODE = ErrorSpec(
    ErrorDomain.LOADER,
    10004,
    "bad_mode",
    ErrorSource.CALLER,
    False,
    "this service streams: ask by WebSocket, or with Accept: text/event-stream",
)
ONCE_TIMEOUT = ErrorSpec(
    ErrorDomain.LOADER, 10102, "timeout", ErrorSource.LOADER, False, "once request timed out"
)
NO_HANDLE = ErrorSpec(
    ErrorDomain.LOADER, 10008, "no_handle", ErrorSource.LOADER, False, "invalid handle"
)
HANDLE_RELEASED = ErrorSpec(
    ErrorDomain.LOADER, 10101, "released", ErrorSource.LOADER, False, "handle was released"
)
BAD_OUTPUT = ErrorSpec(
    ErrorDomain.LOADER,
    10106,
    "bad_output",
    ErrorSource.LOADER,
    False,
    "wrapper output invalid (key or type)",
)
INPUT_REFUSED = ErrorSpec(
    ErrorDomain.LOADER, 10107, "refused", ErrorSource.CALLER, False, "input refused"
)
LOADER_FULL = ErrorSpec(
    ErrorDomain.LOADER, 10110, "full", ErrorSource.OVERLOAD, True, "every loader tried is full"
)
REQUEST_TOO_LARGE = ErrorSpec(
    ErrorDomain.LOADER,
    10163,
    "request_too_large",
    ErrorSource.CALLER,
    False,
    "the request is larger than its loader takes",
)
OUTPUT_TOO_LARGE = ErrorSpec(
    ErrorDomain.GATEWAY,
    10106,
    "output_too_large",
    ErrorSource.CALLER,
    False,
    "the output is larger than `gateway.max_output`",
)
LOADER_LOST = ErrorSpec(
    ErrorDomain.LOADER,
    10222,
    "lost",
    ErrorSource.LOADER,
    False,
    "the loader was lost while it worked",
)
BAD_FRAME = ErrorSpec(
    ErrorDomain.LOADER, 10401, "bad_frame", ErrorSource.LOADER, False, "frame is not readable"
)
WRAPPER_RAISED = ErrorSpec(
    ErrorDomain.LOADER, 10908, "raised", ErrorSource.LOADER, False, "wrapper raised an exception"
)

ERRORS_BY_CODE: dict[tuple[ErrorDomain, int], ErrorSpec] = {
    (spec.domain, spec.code): spec for spec in list(globals().values()) if type(spec) is ErrorSpec
}
# The codes that metrics show by themselves: 0, which means success, and those of the table.
KNOWN_CODES: Final = frozenset({0, *(code for _, code in ERRORS_BY_CODE)})


def loader_error_spec(code: int) -> ErrorSpec:
    """Return the row of a LoaderOutput.code.

    An unknown code belongs to the loader's model: the row has that code, the source LOADER and is
    not retryable.
    """
    spec = ERRORS_BY_CODE.get((ErrorDomain.LOADER, code))
    return spec or ErrorSpec(
        ErrorDomain.LOADER, code, "other", ErrorSource.LOADER, False, "loader error"
    )


class AseError(Exception):
    """The failure of a request: a row of the error table and a message for the caller.

    `str()` returns the message: `detail`, or the message of the row if `detail` is empty. It never
    contains a value of the request, but may contain a name that the caller chose. `log_message` is
    the message for logs, without such names; by default it is the same as `str()`.
    """

    def __init__(self, spec: ErrorSpec, detail: str = "", log_message: str = "") -> None:
        super().__init__(detail or spec.message)
        self.spec = spec
        self.log_message = log_message or str(self)
