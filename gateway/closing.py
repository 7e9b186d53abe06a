"""With which code a WebSocket is closed, by what ended its session: a table. Pure.

RFC 6455, section 7.4, and the IANA registry: 3008 is "Timeout", 1013 "Try Again Later", 1014 "Bad
Gateway".
"""

from typing import Final

from schemas.errors import (
    BAD_REQUEST,
    DEADLINE,
    FULL,
    INTERNAL,
    LATE,
    NO_INSTANCE,
    OVERFLOW,
    SILENT,
    TIMEOUT,
    AseError,
    Blame,
    Fault,
)
from schemas.session import Event

WELL: Final = 1000
AWAY: Final = 1001
UNSUPPORTED: Final = 1003
NOT_UTF8: Final = 1007
POLICY: Final = 1008
OURS: Final = 1011
LATER: Final = 1013
BAD_GATEWAY: Final = 1014
TIME_OUT: Final = 3008

_BY_FAULT: Final[dict[Fault, int]] = {
    BAD_REQUEST: POLICY,
    SILENT: TIME_OUT,
    LATE: TIME_OUT,
    DEADLINE: TIME_OUT,
    TIMEOUT: TIME_OUT,
    FULL: LATER,
    NO_INSTANCE: LATER,
    OVERFLOW: POLICY,
    INTERNAL: OURS,
}
_BY_BLAME: Final = {
    Blame.CALLER: POLICY, Blame.LOADER: BAD_GATEWAY, Blame.OVERLOAD: LATER, Blame.HOUSE: OURS,
}  # fmt: skip
_REASON: Final = 120  # bytes; a close frame holds 123


def cut() -> AseError:
    """Return the last word to who is cut off because the gateway stops."""
    return AseError(DEADLINE, "the gateway stops, and could wait no longer")


def stopped() -> AseError:
    """Return the last word to a session that had the result it was waited for."""
    return AseError(DEADLINE, "the gateway stops: this session ends before its end")


def close_of(event: Event, error: AseError | None) -> tuple[int, str]:
    """Return the close code, and the reason, of a socket whose session was ended by an event.

    A result that is not the last ends it only where the gateway stops.
    """
    if event in (Event.DRAIN, Event.CUT, Event.RESULT):
        return AWAY, "the gateway stops"
    if error is not None:
        return code_of(error), reason(str(error))
    return WELL, ""


def code_of(error: AseError) -> int:
    """Return the close code of an error."""
    return _BY_FAULT.get(error.fault) or _BY_BLAME[error.fault.blame]


def reason(words: str) -> str:
    """Return words cut to what a close frame holds."""
    return words.encode()[:_REASON].decode("utf-8", "ignore")
