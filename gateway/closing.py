"""With which code a WebSocket is closed, by what ended its session: a table. Pure.

RFC 6455, section 7.4, and the IANA registry: 3008 is "Timeout", 1013 "Try Again Later", 1014 "Bad
Gateway".
"""

from typing import Final

from schemas.errors import (
    BAD_REQUEST,
    DEADLINE,
    INTERNAL,
    LOADER_FULL,
    NO_INSTANCE,
    ONCE_TIMEOUT,
    SESSION_OVERFLOW,
    SESSION_READ_TIMEOUT,
    SESSION_TIMEOUT,
    AseError,
    ErrorSource,
    ErrorSpec,
)
from schemas.session import SessionEvent

WELL: Final = 1000
AWAY: Final = 1001
UNSUPPORTED: Final = 1003
NOT_UTF8: Final = 1007
POLICY: Final = 1008
OURS: Final = 1011
LATER: Final = 1013
BAD_GATEWAY: Final = 1014
TIME_OUT: Final = 3008

_BY_FAULT: Final[dict[ErrorSpec, int]] = {
    BAD_REQUEST: POLICY,
    SESSION_READ_TIMEOUT: TIME_OUT,
    SESSION_TIMEOUT: TIME_OUT,
    DEADLINE: TIME_OUT,
    ONCE_TIMEOUT: TIME_OUT,
    LOADER_FULL: LATER,
    NO_INSTANCE: LATER,
    SESSION_OVERFLOW: POLICY,
    INTERNAL: OURS,
}
_BY_BLAME: Final = {
    ErrorSource.CALLER: POLICY, ErrorSource.LOADER: BAD_GATEWAY, ErrorSource.OVERLOAD: LATER,
    ErrorSource.INTERNAL: OURS,
}  # fmt: skip
_REASON: Final = 120  # bytes; a close frame holds 123


def cut() -> AseError:
    """Return the last word to who is cut off because the gateway stops."""
    return AseError(DEADLINE, "the gateway stops, and could wait no longer")


def stopped() -> AseError:
    """Return the last word to a session that had the result it was waited for."""
    return AseError(DEADLINE, "the gateway stops: this session ends before its end")


def close_of(event: SessionEvent, error: AseError | None) -> tuple[int, str]:
    """Return the close code, and the reason, of a socket whose session was ended by an event.

    A result that is not the last ends it only where the gateway stops.
    """
    if event in (SessionEvent.DRAIN, SessionEvent.DRAIN_TIMEOUT, SessionEvent.RESULT):
        return AWAY, "the gateway stops"
    if error is not None:
        return code_of(error), reason(str(error))
    return WELL, ""


def code_of(error: AseError) -> int:
    """Return the close code of an error."""
    return _BY_FAULT.get(error.spec) or _BY_BLAME[error.spec.source]


def reason(words: str) -> str:
    """Return words cut to what a close frame holds."""
    return words.encode()[:_REASON].decode("utf-8", "ignore")
