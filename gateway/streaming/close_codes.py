"""The close codes of a WebSocket, by what ended its session. Pure.

Sources: RFC 6455, section 7.4, and the IANA registry: 3008 is "Timeout", 1013 "Try Again Later",
1014 "Bad Gateway".
"""

from typing import Final

from schemas.model.errors import (
    BAD_REQUEST,
    CONCURRENCY_LIMITED,
    DEADLINE,
    INTERNAL,
    LOADER_FULL,
    NO_INSTANCE,
    ONCE_TIMEOUT,
    OUTPUT_TOO_LARGE,
    QUOTA_USED,
    RATE_LIMITED,
    REQUEST_TOO_LARGE,
    SESSION_OVERFLOW,
    SESSION_READ_TIMEOUT,
    SESSION_TIMEOUT,
    AseError,
    ErrorSource,
    ErrorSpec,
)
from schemas.model.session import SessionEvent

NORMAL_CLOSURE: Final = 1000
GOING_AWAY: Final = 1001
UNSUPPORTED_DATA: Final = 1003
INVALID_PAYLOAD: Final = 1007
POLICY_VIOLATION: Final = 1008
MESSAGE_TOO_BIG: Final = 1009
INTERNAL_ERROR: Final = 1011
TRY_AGAIN_LATER: Final = 1013
BAD_GATEWAY: Final = 1014
TIMED_OUT: Final = 3008

_CODE_BY_SPEC: Final[dict[ErrorSpec, int]] = {
    BAD_REQUEST: POLICY_VIOLATION,
    SESSION_READ_TIMEOUT: TIMED_OUT,
    SESSION_TIMEOUT: TIMED_OUT,
    DEADLINE: TIMED_OUT,
    ONCE_TIMEOUT: TIMED_OUT,
    LOADER_FULL: TRY_AGAIN_LATER,
    QUOTA_USED: TRY_AGAIN_LATER,
    RATE_LIMITED: TRY_AGAIN_LATER,
    CONCURRENCY_LIMITED: TRY_AGAIN_LATER,
    NO_INSTANCE: TRY_AGAIN_LATER,
    SESSION_OVERFLOW: POLICY_VIOLATION,
    INTERNAL: INTERNAL_ERROR,
    REQUEST_TOO_LARGE: MESSAGE_TOO_BIG,
    OUTPUT_TOO_LARGE: MESSAGE_TOO_BIG,
}
_CODE_BY_SOURCE: Final = {
    ErrorSource.CALLER: POLICY_VIOLATION, ErrorSource.LOADER: BAD_GATEWAY,
    ErrorSource.OVERLOAD: TRY_AGAIN_LATER, ErrorSource.INTERNAL: INTERNAL_ERROR,
}  # fmt: skip
_MAX_REASON_BYTES: Final = 120  # a close frame holds 123 bytes (RFC 6455, 5.5)


def close_code_and_reason(event: SessionEvent, error: AseError | None) -> tuple[int, str]:
    """Return the close code and the reason for a WebSocket whose session was ended by `event`.

    `error` is the error of the session, None if it has none. The event RESULT ends a session only
    if the gateway drains.
    """
    if event in (SessionEvent.DRAIN, SessionEvent.DRAIN_TIMEOUT, SessionEvent.RESULT):
        return GOING_AWAY, "the gateway stops"
    if error is not None:
        return close_code(error), truncate_reason(str(error))
    return NORMAL_CLOSURE, ""


def close_code(error: AseError) -> int:
    """Return the close code of an error: by its row of the error table, else by its source."""
    return _CODE_BY_SPEC.get(error.spec) or _CODE_BY_SOURCE[error.spec.source]


def truncate_reason(text: str) -> str:
    """Return a text cut to 120 bytes of UTF-8, so that it fits into a close frame."""
    return text.encode()[:_MAX_REASON_BYTES].decode("utf-8", "ignore")
