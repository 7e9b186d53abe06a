"""A streaming session as a table: what a frame, a result, a silence or an end leads to. Pure.

WebSocket, SSE, a multiplexed socket and a loader all follow it. Statuses: reference "ase-wire" 1.3
and 1.6. What is not in the table is refused, and the session ends with the words of `refusal`.
"""

from collections.abc import Mapping
from enum import Enum, IntEnum, auto
from typing import Any, Final


class FrameStatus(IntEnum):
    """Of a frame, or of a result: the first, one in between, the last, the only one."""

    BEGIN = 0
    CONTINUE = 1
    END = 2
    ONCE = 3


class SessionState(IntEnum):
    """Of a session.

    NEW: nothing came. TALKING: the client may send more. HEARING: it said that it has no more.
    LEAVING: as TALKING, and the next result is the last. OVER: nothing is to come, either way.
    """

    NEW = auto()
    OPEN = auto()
    HALF_CLOSED = auto()
    DRAINING = auto()
    CLOSED = auto()


class SessionEvent(IntEnum):
    """What happens to a session."""

    BEGIN = auto()  # a frame of the client, by its status
    CONTINUE = auto()
    END = auto()
    ONCE = auto()
    RESULT = auto()  # of the loader
    LAST_RESULT = auto()
    FAILED = auto()  # the loader's, or a frame that is not valid
    READ_TIMEOUT = auto()  # no frame came in time
    LIFETIME_EXPIRED = auto()  # its lifetime is over
    CLIENT_GONE = auto()  # the client is
    DRAIN = auto()  # the gateway wants to stop
    DRAIN_TIMEOUT = auto()  # and waits no longer


class SessionAction(Enum):
    """What is to be done."""

    OPEN_LOADER = "open"  # find a loader, and begin
    SEND_FRAME = "send"  # the frame, to the loader
    HALF_CLOSE = "finish"  # say that no more comes
    SEND_RESULT = "tell"  # the result, to the client
    SEND_ERROR = "fail"  # tell the client what went wrong
    CANCEL_LOADER = "abort"  # give the loader's work up
    CLOSE = "close"  # the session is over: give back what it held


_S, _E, _A = SessionState, SessionEvent, SessionAction
_CLOSE_ONLY: Final = (_A.CLOSE,)
_SEND_AND_CLOSE: Final = (_A.SEND_RESULT, _A.CLOSE)
_FAIL_AND_CLOSE: Final = (_A.SEND_ERROR, _A.CANCEL_LOADER, _A.CLOSE)
_ABORT_AND_CLOSE: Final = (_A.CANCEL_LOADER, _A.CLOSE)

TRANSITIONS: Final[
    Mapping[tuple[SessionState, SessionEvent], tuple[SessionState, tuple[SessionAction, ...]]]
] = {
    (_S.NEW, _E.BEGIN): (_S.OPEN, (_A.OPEN_LOADER, _A.SEND_FRAME)),
    (_S.NEW, _E.ONCE): (_S.HALF_CLOSED, (_A.OPEN_LOADER, _A.SEND_FRAME, _A.HALF_CLOSE)),
    (_S.NEW, _E.FAILED): (_S.CLOSED, (_A.SEND_ERROR, _A.CLOSE)),
    (_S.NEW, _E.READ_TIMEOUT): (_S.CLOSED, (_A.SEND_ERROR, _A.CLOSE)),
    (_S.NEW, _E.LIFETIME_EXPIRED): (_S.CLOSED, (_A.SEND_ERROR, _A.CLOSE)),
    (_S.NEW, _E.CLIENT_GONE): (_S.CLOSED, _CLOSE_ONLY),
    (_S.NEW, _E.DRAIN): (_S.CLOSED, _CLOSE_ONLY),
    (_S.NEW, _E.DRAIN_TIMEOUT): (_S.CLOSED, _CLOSE_ONLY),
    (_S.OPEN, _E.CONTINUE): (_S.OPEN, (_A.SEND_FRAME,)),
    (_S.OPEN, _E.END): (_S.HALF_CLOSED, (_A.SEND_FRAME, _A.HALF_CLOSE)),
    (_S.OPEN, _E.RESULT): (_S.OPEN, (_A.SEND_RESULT,)),
    (_S.OPEN, _E.LAST_RESULT): (_S.CLOSED, (_A.SEND_RESULT, _A.CANCEL_LOADER, _A.CLOSE)),
    (_S.OPEN, _E.FAILED): (_S.CLOSED, _FAIL_AND_CLOSE),
    (_S.OPEN, _E.READ_TIMEOUT): (_S.CLOSED, _FAIL_AND_CLOSE),
    (_S.OPEN, _E.LIFETIME_EXPIRED): (_S.CLOSED, _FAIL_AND_CLOSE),
    (_S.OPEN, _E.CLIENT_GONE): (_S.CLOSED, _ABORT_AND_CLOSE),
    (_S.OPEN, _E.DRAIN): (_S.DRAINING, ()),
    (_S.OPEN, _E.DRAIN_TIMEOUT): (_S.CLOSED, _FAIL_AND_CLOSE),
    (_S.DRAINING, _E.CONTINUE): (_S.DRAINING, (_A.SEND_FRAME,)),
    (_S.DRAINING, _E.END): (_S.HALF_CLOSED, (_A.SEND_FRAME, _A.HALF_CLOSE)),
    (_S.DRAINING, _E.RESULT): (
        _S.CLOSED,
        (_A.SEND_RESULT, _A.SEND_ERROR, _A.CANCEL_LOADER, _A.CLOSE),
    ),
    (_S.DRAINING, _E.LAST_RESULT): (_S.CLOSED, (_A.SEND_RESULT, _A.CANCEL_LOADER, _A.CLOSE)),
    (_S.DRAINING, _E.FAILED): (_S.CLOSED, _FAIL_AND_CLOSE),
    (_S.DRAINING, _E.READ_TIMEOUT): (_S.CLOSED, _FAIL_AND_CLOSE),
    (_S.DRAINING, _E.LIFETIME_EXPIRED): (_S.CLOSED, _FAIL_AND_CLOSE),
    (_S.DRAINING, _E.CLIENT_GONE): (_S.CLOSED, _ABORT_AND_CLOSE),
    (_S.DRAINING, _E.DRAIN): (_S.DRAINING, ()),
    (_S.DRAINING, _E.DRAIN_TIMEOUT): (_S.CLOSED, _FAIL_AND_CLOSE),
    (_S.HALF_CLOSED, _E.RESULT): (_S.HALF_CLOSED, (_A.SEND_RESULT,)),
    (_S.HALF_CLOSED, _E.LAST_RESULT): (_S.CLOSED, _SEND_AND_CLOSE),
    (_S.HALF_CLOSED, _E.FAILED): (_S.CLOSED, _FAIL_AND_CLOSE),
    (_S.HALF_CLOSED, _E.LIFETIME_EXPIRED): (_S.CLOSED, _FAIL_AND_CLOSE),
    (_S.HALF_CLOSED, _E.CLIENT_GONE): (_S.CLOSED, _ABORT_AND_CLOSE),
    (_S.HALF_CLOSED, _E.DRAIN): (_S.HALF_CLOSED, ()),
    (_S.HALF_CLOSED, _E.DRAIN_TIMEOUT): (_S.CLOSED, _FAIL_AND_CLOSE),
}

# What a result of that status is to a session, and a frame.
RESULT_EVENTS: Final = (_E.RESULT, _E.RESULT, _E.LAST_RESULT, _E.LAST_RESULT)
FRAME_EVENTS: Final = (_E.BEGIN, _E.CONTINUE, _E.END, _E.ONCE)

_REFUSAL_REASONS: Final[Mapping[SessionState, str]] = {
    _S.NEW: "a session begins with header.status 0, or 3 when it is one frame",
    _S.OPEN: "the session has begun: header.status must be 1, or 2 at its end",
    _S.DRAINING: "the session has begun: header.status must be 1, or 2 at its end",
    _S.HALF_CLOSED: "the session's last frame was sent: no other may follow",
    _S.CLOSED: "the session is over",
}


def refusal_reason(state: SessionState) -> str:
    """Return why a frame is refused in a state."""
    return _REFUSAL_REASONS[state]


def frame_event(status: object, *, first: bool) -> SessionEvent | None:
    """Return what a frame is, by its `header.status`; None for a status that there is not.

    One that is not there goes on (1); the first has to say how it begins.
    """
    if status is None and not first:
        return SessionEvent.CONTINUE
    number = int(status) if type(status) is float and status.is_integer() else status  # 3.0 is 3
    if type(number) is int and 0 <= number < len(FRAME_EVENTS):
        return FRAME_EVENTS[number]
    return None


class SequenceChecker:
    """The numbers that a client gives its frames, stream by stream: none missing, none twice.

    A stream whose first frame has no `seq` has none to keep.
    """

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: dict[str, int | None] = {}

    def check_and_advance(self, name: str, seq: Any) -> str:
        """Take in the number of a stream's next frame; return what is wrong with it, or ""."""
        number = seq if type(seq) is int else None
        if name not in self._last:
            self._last[name] = number
            return ""
        last = self._last[name]
        if last is None:
            return ""
        if number != last + 1:
            return f"$.payload.{name}.seq: {last + 1} is next, after {last}"
        self._last[name] = number
        return ""


class ReorderBuffer:
    """Frames in the order of their numbers, wherever they were overtaken.

    What came before is dropped; what is ahead waits, up to `most` frames. `overdue` lets those go
    that waited too long for one that is lost.
    """

    __slots__ = ("_buffered", "_max_buffered", "_next")

    def __init__(self, first: int, max_buffered: int = 64) -> None:
        self._next = first
        self._max_buffered = max_buffered
        self._buffered: dict[int, Any] = {}

    def __bool__(self) -> bool:
        return bool(self._buffered)

    def push(self, number: int, frame: Any) -> list[Any]:
        """Take a frame; return those whose turn it is."""
        if number >= self._next:
            self._buffered.setdefault(number, frame)
        if len(self._buffered) > self._max_buffered:
            return self.skip_missing()
        return self._pop_ready()

    def skip_missing(self) -> list[Any]:
        """Give up what is missing; return what goes on from there."""
        if self._buffered:
            self._next = min(self._buffered)
        return self._pop_ready()

    def _pop_ready(self) -> list[Any]:
        ready = []
        while self._next in self._buffered:
            ready.append(self._buffered.pop(self._next))
            self._next += 1
        return ready
