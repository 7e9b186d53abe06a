"""A streaming session as a table: what a frame, a result, a silence or an end leads to. Pure.

WebSocket, SSE, a multiplexed socket and a loader all follow it. Statuses: reference "ase-wire" 1.3
and 1.6. What is not in the table is refused, and the session ends with the words of `refusal`.
"""

from collections.abc import Mapping
from enum import Enum, IntEnum, auto
from typing import Any, Final


class Status(IntEnum):
    """Of a frame, or of a result: the first, one in between, the last, the only one."""

    BEGIN = 0
    CONTINUE = 1
    END = 2
    ONCE = 3


class State(IntEnum):
    """Of a session.

    NEW: nothing came. TALKING: the client may send more. HEARING: it said that it has no more.
    LEAVING: as TALKING, and the next result is the last. OVER: nothing is to come, either way.
    """

    NEW = auto()
    TALKING = auto()
    HEARING = auto()
    LEAVING = auto()
    OVER = auto()


class Event(IntEnum):
    """What happens to a session."""

    BEGIN = auto()  # a frame of the client, by its status
    CONTINUE = auto()
    END = auto()
    ONCE = auto()
    RESULT = auto()  # of the loader
    LAST = auto()
    FAILED = auto()  # the loader's, or a frame that is not valid
    SILENT = auto()  # no frame came in time
    LATE = auto()  # its lifetime is over
    GONE = auto()  # the client is
    DRAIN = auto()  # the gateway wants to stop
    CUT = auto()  # and waits no longer


class Effect(Enum):
    """What is to be done."""

    OPEN = "open"  # find a loader, and begin
    SEND = "send"  # the frame, to the loader
    FINISH = "finish"  # say that no more comes
    TELL = "tell"  # the result, to the client
    FAIL = "fail"  # tell the client what went wrong
    ABORT = "abort"  # give the loader's work up
    CLOSE = "close"  # the session is over: give back what it held


_S, _E, _F = State, Event, Effect
_END: Final = (_F.CLOSE,)
_TOLD: Final = (_F.TELL, _F.CLOSE)
_BROKEN: Final = (_F.FAIL, _F.ABORT, _F.CLOSE)
_LEFT: Final = (_F.ABORT, _F.CLOSE)

TABLE: Final[Mapping[tuple[State, Event], tuple[State, tuple[Effect, ...]]]] = {
    (_S.NEW, _E.BEGIN): (_S.TALKING, (_F.OPEN, _F.SEND)),
    (_S.NEW, _E.ONCE): (_S.HEARING, (_F.OPEN, _F.SEND, _F.FINISH)),
    (_S.NEW, _E.FAILED): (_S.OVER, (_F.FAIL, _F.CLOSE)),
    (_S.NEW, _E.SILENT): (_S.OVER, (_F.FAIL, _F.CLOSE)),
    (_S.NEW, _E.LATE): (_S.OVER, (_F.FAIL, _F.CLOSE)),
    (_S.NEW, _E.GONE): (_S.OVER, _END),
    (_S.NEW, _E.DRAIN): (_S.OVER, _END),
    (_S.NEW, _E.CUT): (_S.OVER, _END),
    (_S.TALKING, _E.CONTINUE): (_S.TALKING, (_F.SEND,)),
    (_S.TALKING, _E.END): (_S.HEARING, (_F.SEND, _F.FINISH)),
    (_S.TALKING, _E.RESULT): (_S.TALKING, (_F.TELL,)),
    (_S.TALKING, _E.LAST): (_S.OVER, (_F.TELL, _F.ABORT, _F.CLOSE)),
    (_S.TALKING, _E.FAILED): (_S.OVER, _BROKEN),
    (_S.TALKING, _E.SILENT): (_S.OVER, _BROKEN),
    (_S.TALKING, _E.LATE): (_S.OVER, _BROKEN),
    (_S.TALKING, _E.GONE): (_S.OVER, _LEFT),
    (_S.TALKING, _E.DRAIN): (_S.LEAVING, ()),
    (_S.TALKING, _E.CUT): (_S.OVER, _BROKEN),
    (_S.LEAVING, _E.CONTINUE): (_S.LEAVING, (_F.SEND,)),
    (_S.LEAVING, _E.END): (_S.HEARING, (_F.SEND, _F.FINISH)),
    (_S.LEAVING, _E.RESULT): (_S.OVER, (_F.TELL, _F.FAIL, _F.ABORT, _F.CLOSE)),
    (_S.LEAVING, _E.LAST): (_S.OVER, (_F.TELL, _F.ABORT, _F.CLOSE)),
    (_S.LEAVING, _E.FAILED): (_S.OVER, _BROKEN),
    (_S.LEAVING, _E.SILENT): (_S.OVER, _BROKEN),
    (_S.LEAVING, _E.LATE): (_S.OVER, _BROKEN),
    (_S.LEAVING, _E.GONE): (_S.OVER, _LEFT),
    (_S.LEAVING, _E.DRAIN): (_S.LEAVING, ()),
    (_S.LEAVING, _E.CUT): (_S.OVER, _BROKEN),
    (_S.HEARING, _E.RESULT): (_S.HEARING, (_F.TELL,)),
    (_S.HEARING, _E.LAST): (_S.OVER, _TOLD),
    (_S.HEARING, _E.FAILED): (_S.OVER, _BROKEN),
    (_S.HEARING, _E.LATE): (_S.OVER, _BROKEN),
    (_S.HEARING, _E.GONE): (_S.OVER, _LEFT),
    (_S.HEARING, _E.DRAIN): (_S.HEARING, ()),
    (_S.HEARING, _E.CUT): (_S.OVER, _BROKEN),
}

# What a result of that status is to a session, and a frame.
RESULTS: Final = (_E.RESULT, _E.RESULT, _E.LAST, _E.LAST)
FRAMES: Final = (_E.BEGIN, _E.CONTINUE, _E.END, _E.ONCE)

_REFUSALS: Final[Mapping[State, str]] = {
    _S.NEW: "a session begins with header.status 0, or 3 when it is one frame",
    _S.TALKING: "the session has begun: header.status must be 1, or 2 at its end",
    _S.LEAVING: "the session has begun: header.status must be 1, or 2 at its end",
    _S.HEARING: "the session's last frame was sent: no other may follow",
    _S.OVER: "the session is over",
}


def refusal(state: State) -> str:
    """Return why a frame is refused in a state."""
    return _REFUSALS[state]


def frame_event(status: object, *, first: bool) -> Event | None:
    """Return what a frame is, by its `header.status`; None for a status that there is not.

    One that is not there goes on (1); the first has to say how it begins.
    """
    if status is None and not first:
        return Event.CONTINUE
    number = int(status) if type(status) is float and status.is_integer() else status  # 3.0 is 3
    if type(number) is int and 0 <= number < len(FRAMES):
        return FRAMES[number]
    return None


class Sequence:
    """The numbers that a client gives its frames, stream by stream: none missing, none twice.

    A stream whose first frame has no `seq` has none to keep.
    """

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: dict[str, int | None] = {}

    def broken(self, name: str, seq: Any) -> str:
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


class Reorder:
    """Frames in the order of their numbers, wherever they were overtaken.

    What came before is dropped; what is ahead waits, up to `most` frames. `overdue` lets those go
    that waited too long for one that is lost.
    """

    __slots__ = ("_ahead", "_most", "_next")

    def __init__(self, first: int, most: int = 64) -> None:
        self._next = first
        self._most = most
        self._ahead: dict[int, Any] = {}

    def __bool__(self) -> bool:
        return bool(self._ahead)

    def push(self, number: int, frame: Any) -> list[Any]:
        """Take a frame; return those whose turn it is."""
        if number >= self._next:
            self._ahead.setdefault(number, frame)
        if len(self._ahead) > self._most:
            return self.overdue()
        return self._ready()

    def overdue(self) -> list[Any]:
        """Give up what is missing; return what goes on from there."""
        if self._ahead:
            self._next = min(self._ahead)
        return self._ready()

    def _ready(self) -> list[Any]:
        ready = []
        while self._next in self._ahead:
            ready.append(self._ahead.pop(self._next))
            self._next += 1
        return ready
