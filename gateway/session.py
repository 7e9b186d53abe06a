"""One session: frames of the client in, results of its loader out, one place, one call.

`schemas/session.py` says what each event leads to; here it is done. Nothing waits in a task: a
change of the loader's stream wakes it, and so does a client that has room again.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from atom.streams import LoaderStream
from gateway.closing import cut, stopped
from gateway.contracts import Contract
from gateway.frames import Frames
from gateway.parts import Parts, Pending, Place
from gateway.record import Record
from schemas.errors import (
    BAD_REPLY,
    BAD_REQUEST,
    CLIENT_GONE,
    DEADLINE,
    INTERNAL,
    LOADER_FULL,
    LOADER_LOST,
    NO_INSTANCE,
    SESSION_OVERFLOW,
    SESSION_READ_TIMEOUT,
    SESSION_TIMEOUT,
    AseError,
    ErrorSource,
)
from schemas.session import (
    RESULT_EVENTS,
    TRANSITIONS,
    SessionAction,
    SessionEvent,
    SessionState,
    refusal_reason,
)

_ATTEMPTS: Final = 2
_LINGER_S: Final = 1.0
# What went wrong, by the event that ended a session; a result ends only one that has to leave.
_ERRORS: Final[dict[SessionEvent, Callable[[], AseError]]] = {
    SessionEvent.READ_TIMEOUT: lambda: AseError(SESSION_READ_TIMEOUT),
    SessionEvent.LIFETIME_EXPIRED: lambda: AseError(SESSION_TIMEOUT),
    SessionEvent.DRAIN_TIMEOUT: cut,
    SessionEvent.RESULT: stopped,
}


class Client(Protocol):
    """Who a session talks to."""

    def ready(self) -> bool:
        """Return whether it takes more now; it says so by `Session.pump` when it does again."""

    def tell(self, session: "Session", payload: bytes, status: int) -> None:
        """Take a result."""

    def failed(self, session: "Session", error: AseError) -> None:
        """Take what went wrong; `over` follows."""

    def over(self, session: "Session", event: SessionEvent) -> None:
        """Take in that the session is over, by an event."""

    def hold(self, session: "Session") -> None:
        """Take in that the session's loader is behind: no more frames, where that can be had."""

    def room(self, session: "Session") -> None:
        """Take in that it has caught up."""


class Session:
    """One session of a contract; `name` is its client's own for it.

    `queue`: frames that may wait for the loader. `silence` is how long the client may send nothing,
    `lifetime` how long it all may take, in seconds; `later(s, call)` calls after so many.
    """

    __slots__ = (
        "_again", "_client", "_closed",
        "_death", "_finishing", "_frames", "_heard", "_held", "_key",
        "_later", "_parts", "_pending", "_place", "_pumping", "_read_until", "_reader", "_refused",
        "_sent",
        "_silence", "_stream", "_timer", "_tried", "contract", "error", "name", "queue", "record",
        "state",
    )  # fmt: skip

    def __init__(
        self,
        contract: Contract,
        record: Record,
        parts: Parts,
        client: Client,
        reader: Frames,
        later: Callable[[float, Callable[[], None]], Any],
        *,
        silence: float,
        lifetime: float,
        queue: int,
        name: str = "",
    ) -> None:
        self.state = SessionState.NEW
        self.name = name
        self.record = record
        self.queue = queue
        self.error: AseError | None = None
        self.contract = contract
        self._parts = parts
        self._client = client
        self._reader = reader
        self._later = later
        self._silence = silence
        now = parts.clock()
        self._death = now + lifetime
        self._read_until = now + silence
        self._frames: deque[bytes] = deque()
        self._sent: list[bytes] | None = []  # what another loader would have to be told
        self._tried: tuple[str, ...] = ()
        self._refused: AseError | None = None
        self._key = ""
        self._stream: LoaderStream | None = None
        self._place: Place | None = None
        self._pending: Pending | None = None
        self._finishing = self._heard = self._pumping = self._again = self._held = False
        self._closed = False
        self._timer = later(min(silence, lifetime), self._tick)

    @property
    def full(self) -> bool:
        """Return whether as many frames wait for the loader as may."""
        return len(self._frames) >= self.queue

    def take(self, told: dict[str, Any], ascii_only: bool, key: str = "") -> None:
        """Take a frame of the client, a JSON object; `key` keeps the session with its like."""
        try:
            event = self._reader.event(told)
            if (self.state, event) not in TRANSITIONS:
                raise AseError(BAD_REQUEST, refusal_reason(self.state))
            frame = self._reader.encode(told, event, ascii_only)
        except AseError as error:
            self.fail(error)
            return
        except Exception as fault:  # noqa: BLE001 (it is told, with its traceback)
            self._break(fault)
            return
        if self.state is SessionState.NEW:
            self._key = key
        self._read_until = self._parts.clock() + self._silence
        self.happen(event, frame)
        if self.full and not self._held and self.state is not SessionState.CLOSED:
            self._held = True
            self._client.hold(self)

    def fail(self, error: AseError) -> None:
        """End with an error, told to the client."""
        self.error = error
        self.happen(SessionEvent.FAILED)

    def overflow(self) -> None:
        """End: more frames came than wait."""
        self.fail(AseError(SESSION_OVERFLOW))

    def happen(
        self, event: SessionEvent, frame: bytes = b"", payload: bytes = b"", status: int = 0
    ) -> None:
        """Do what an event leads to; one that leads to nothing is nothing."""
        step = TRANSITIONS.get((self.state, event))
        if step is None:
            return
        try:
            self._do(step, event, frame, payload, status)
        except Exception as fault:  # noqa: BLE001 (others have the loader's connection, too)
            self._break(fault)

    def _do(
        self,
        step: tuple[SessionState, tuple[SessionAction, ...]],
        event: SessionEvent,
        frame: bytes,
        payload: bytes,
        status: int,
        /,
    ) -> None:
        self.state, effects = step
        if self.state is SessionState.CLOSED and event in _ERRORS:
            self.error = _ERRORS[event]()
        for effect in effects:
            match effect:
                case SessionAction.OPEN_LOADER:
                    self._find()
                case SessionAction.SEND_FRAME:
                    self._frames.append(frame)
                case SessionAction.HALF_CLOSE:
                    self._finishing = True
                case SessionAction.SEND_RESULT:
                    self._client.tell(self, payload, status)
                case SessionAction.SEND_ERROR:
                    self._client.failed(self, self.error or AseError(LOADER_LOST))
                case SessionAction.CANCEL_LOADER:
                    self._give_up()
                case SessionAction.CLOSE:
                    self._close(event)
        if self.state is not SessionState.CLOSED:
            self.pump()

    def _break(self, fault: Exception) -> None:
        """End by a fault of ours, wherever it came from: nothing stays behind."""
        self._parts.on_fault(self.record.sid, fault)
        if self._closed:
            return
        self.state, self.error = SessionState.CLOSED, AseError(INTERNAL)
        try:
            self._client.failed(self, self.error)
        except Exception as more:  # noqa: BLE001 (what it held is given back all the same)
            self._parts.on_fault(self.record.sid, more)
        self._give_up()
        self._close(SessionEvent.FAILED)

    # The loader: found, asked, asked elsewhere when it is full.

    def _find(self) -> None:
        parts, contract = self._parts, self.contract
        service, digest = contract.service.id, contract.digest
        try:
            place: Any = parts.picker.acquire(service, digest, self._tried, self._key)
        except AseError as error:
            if error.spec is not LOADER_FULL or parts.patience <= 0:
                # No other is left than the one that refused: what it said is what is wrong.
                refused = self._refused if error.spec is NO_INSTANCE else None
                self._lost(refused or error)
                return
            seconds, ahead = parts.patience, bool(self._tried)
            wait = parts.picker.wait(service, digest, self._key, seconds, ahead, self._found)
            if self.state is not SessionState.CLOSED and self._place is None:
                self._pending = wait
            return
        self._begin(place)

    def _found(self, wait: Pending) -> None:
        self._pending = None
        if self.state is SessionState.CLOSED:
            return
        try:
            place = wait.outcome()
        except AseError as error:
            self._lost(error)
        else:
            self._begin(place)

    def _begin(self, place: Place) -> None:
        self._place = place
        now = self._parts.clock()
        self.record.began(place.instance.addr, now)
        handle = self.record.sid if not self._tried else self._parts.new_id()
        seconds = max(0.001, self._death - now + 1.0)
        try:
            self._stream = self._parts.caller.open(place.instance, handle, seconds, self.pump)
        except Exception as fault:  # noqa: BLE001 (it is told, with its traceback)
            self._parts.on_fault(self.record.sid, fault)
            self._lost(AseError(LOADER_LOST))
            return
        self.pump()

    def _lost(self, error: AseError) -> None:
        """Take in that a loader has ended the session badly, or that there is none."""
        place, self._place, self._stream = self._place, None, None
        if place is not None:
            place.release(error.spec, lasting=True)
            self._tried += (self.record.instance,)
            again = error.spec.retryable and not self._heard and self._sent is not None
            if again and len(self._tried) < _ATTEMPTS and self._parts.picker.may_retry():
                self._refused = error
                self.record.retried += (error.spec.name,)
                self._frames.extendleft(reversed(self._sent or ()))
                self._sent = []
                self._finishing = self.state is SessionState.HALF_CLOSED
                self._find()
                return
        self.fail(error)

    # The stream: frames go while there is room, results come while the client takes them.

    def pump(self) -> None:
        """Move what can be moved, either way."""
        if self._pumping:
            self._again = True
            return
        self._pumping = True
        try:
            self._again = True
            while self._again and self._stream is not None:
                self._again = False
                self._push(self._stream)
                self._pull(self._stream)
        except Exception as fault:  # noqa: BLE001
            self._break(fault)
        finally:
            self._pumping = False
        if self._held and not self.full:
            self._held = False
            self._client.room(self)

    def _push(self, stream: LoaderStream) -> None:
        frames, sent = self._frames, self._sent
        while frames and stream.room():
            frame = frames.popleft()
            if sent is not None:
                sent.append(frame)
                if len(sent) > self.queue:
                    self._sent = sent = None
            stream.send(frame)
        if self._finishing and not frames and stream.room():
            self._finishing = False
            stream.finish()

    def _pull(self, stream: LoaderStream) -> None:
        while self._stream is stream and self._client.ready():
            result = stream.next()
            if result is None:
                break
            self._result(result)
        if self._stream is stream and stream.over():
            self._lost(stream.failure() or AseError(BAD_REPLY, "the loader ended it unfinished"))

    def _result(self, result: bytes) -> None:
        self._heard, self._sent = True, None
        self._read_until = self._parts.clock() + self._silence
        try:
            payload, status = self.contract.decoder.result(result)
        except AseError as error:
            self.fail(error)
            return
        self.happen(RESULT_EVENTS[status], payload=payload, status=status)

    # The end.

    def _give_up(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.cancel()
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.cancel()

    def _close(self, event: SessionEvent) -> None:
        self._closed = True
        self._timer.cancel()
        stream, self._stream = self._stream, None
        if stream is not None and not stream.over():
            self._later(_LINGER_S, stream.cancel)  # it has said its last, and should end itself
        self._frames.clear()
        self._sent = None
        place, self._place = self._place, None
        if place is not None:
            self._release(place, event)
        self._client.over(self, event)

    def _release(self, place: Place, event: SessionEvent) -> None:
        error = self.error
        if event is SessionEvent.CLIENT_GONE:
            place.release(CLIENT_GONE, given_up=True, lasting=True)
        elif error is None:
            place.release(lasting=True)
        elif error.spec.source is ErrorSource.LOADER and error.spec is not DEADLINE:
            place.release(error.spec, lasting=True)
        else:  # it says nothing against the loader, which may still work on it
            place.release(None, given_up=True, lasting=True)

    def _tick(self) -> None:
        """See whether the client was silent for too long, or the session too old."""
        now = self._parts.clock()
        if self.state is SessionState.CLOSED:
            return
        if now >= self._death:
            self.happen(SessionEvent.LIFETIME_EXPIRED)
            return
        if self.full or not self._client.ready():
            self._read_until = now + self._silence  # it is we who do not let it send
        if now >= self._read_until and (self.state, SessionEvent.READ_TIMEOUT) in TRANSITIONS:
            self.happen(SessionEvent.READ_TIMEOUT)
            return
        due = self._death
        if (self.state, SessionEvent.READ_TIMEOUT) in TRANSITIONS:
            due = min(due, self._read_until)
        self._timer = self._later(max(0.001, due - now), self._tick)
