"""The state machine of a streaming session, as a transition table. Pure.

WebSocket, multiplexed WebSocket and SSE sessions follow it. `docs/wire.md` describes the statuses.
A client frame without a transition in the current state is rejected: the session fails with the
message of `refusal_reason`. Any other event without a transition is ignored.
"""

from collections.abc import Mapping
from enum import Enum, IntEnum, auto
from typing import Any, Final


class FrameStatus(IntEnum):
    """The `header.status` of a frame or a result: first, intermediate, last, or the only one."""

    BEGIN = 0
    CONTINUE = 1
    END = 2
    ONCE = 3


class SessionState(IntEnum):
    """The state of a session, named after the stream states of RFC 9113.

    NEW: no frame has been received. OPEN: the client may send more frames. HALF_CLOSED: the client
    has sent its last frame. DRAINING: as OPEN, but the session ends with an error after the next
    result; if the client ends first, it becomes HALF_CLOSED. CLOSED: nothing more is sent in either
    direction.
    """

    NEW = auto()
    OPEN = auto()
    HALF_CLOSED = auto()
    DRAINING = auto()
    CLOSED = auto()


class SessionEvent(IntEnum):
    """An event of a session: from the client, the loader, a timer or the gateway."""

    BEGIN = auto()  # BEGIN to ONCE: a client frame, by its status
    CONTINUE = auto()
    END = auto()
    ONCE = auto()
    RESULT = auto()  # a result of the loader, with more to follow
    LAST_RESULT = auto()
    FAILED = auto()  # the loader failed, or the client sent an invalid frame
    READ_TIMEOUT = auto()  # the client sent no frame within the read timeout
    LIFETIME_EXPIRED = auto()
    CLIENT_GONE = auto()  # the client closed its connection
    DRAIN = auto()  # the gateway starts to shut down
    DRAIN_TIMEOUT = auto()  # the gateway ends the sessions that remain


class SessionAction(Enum):
    """An action that the owner of the session performs for a transition."""

    OPEN_LOADER = "open"  # acquire a slot and open the stream to a loader
    SEND_FRAME = "send"  # send the frame to the loader
    HALF_CLOSE = "finish"  # end the request direction of the loader's stream
    SEND_RESULT = "tell"  # send the result to the client
    SEND_ERROR = "fail"  # send the error to the client
    CANCEL_LOADER = "abort"  # cancel the loader's stream
    CLOSE = "close"  # release the slot and everything else that the session holds


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

# The event of a result, and of a client frame, by its status (the index).
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
    """Return the message that explains why a frame is rejected in `state`."""
    return _REFUSAL_REASONS[state]


def frame_event(status: object, *, first: bool) -> SessionEvent | None:
    """Return the event of a frame with `header.status` `status`; None if the status is invalid.

    A missing status means CONTINUE (1), except in the first frame, which must have one.
    """
    if status is None and not first:
        return SessionEvent.CONTINUE
    number = int(status) if type(status) is float and status.is_integer() else status  # 3.0 is 3
    if type(number) is int and 0 <= number < len(FRAME_EVENTS):
        return FRAME_EVENTS[number]
    return None


class SequenceChecker:
    """Checks that the `seq` numbers of a client's frames are consecutive in each payload stream.

    `_last` maps a stream to its last accepted number. A stream whose first frame has no integer
    `seq` maps to None and is not checked.
    """

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: dict[str, int | None] = {}

    def check_and_advance(self, name: str, seq: Any) -> str:
        """Check the number of the next frame of stream `name` and store it if it is correct.

        Returns the problem, or "" if there is none.
        """
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
    """Restores the order of numbered frames that arrive out of order.

    `_next` is the number of the next frame to release; every buffered number is higher, and at most
    `max_buffered` frames stay buffered. A frame with a lower number, or a number that is buffered
    already, is a duplicate and is dropped. The owner calls `skip_missing` when the buffered frames
    have waited too long. The buffer is true while frames wait for a missing one.
    """

    __slots__ = ("_buffered", "_max_buffered", "_next")

    def __init__(self, first: int, max_buffered: int = 64) -> None:
        self._next = first
        self._max_buffered = max_buffered
        self._buffered: dict[int, Any] = {}

    def __bool__(self) -> bool:
        return bool(self._buffered)

    def push(self, number: int, frame: Any) -> list[Any]:
        """Add a frame and return the frames that are now in order.

        If more than `max_buffered` frames are buffered, the missing ones are skipped.
        """
        if number >= self._next:
            self._buffered.setdefault(number, frame)
        if len(self._buffered) > self._max_buffered:
            return self.skip_missing()
        return self._pop_ready()

    def skip_missing(self) -> list[Any]:
        """Give up the missing frames and return the consecutive frames after the gap."""
        if self._buffered:
            self._next = min(self._buffered)
        return self._pop_ready()

    def _pop_ready(self) -> list[Any]:
        ready = []
        while self._next in self._buffered:
            ready.append(self._buffered.pop(self._next))
            self._next += 1
        return ready
