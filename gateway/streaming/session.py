"""One session: the client's frames to a loader, its results back, with one slot and one stream.

`TRANSITIONS` decides what each event leads to; `Session` performs it. No task waits for anything:
`transfer` is called when the loader's stream changes, and when the client can be written to again.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from atom.streams import LoaderStream
from atom.wire import read_units
from config.options import SessionOptions
from gateway.request.interfaces import Dependencies, PendingOperation, Slot
from gateway.request.record import RequestRecord
from gateway.request.retry import may_retry
from gateway.request.shutdown import drain_timeout_error, shutdown_error
from gateway.services.catalog import Contract
from gateway.streaming.envelopes import EnvelopeReader
from rpc.timer import CallLater
from schemas.model.errors import (
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
from schemas.model.session import (
    RESULT_EVENTS,
    TRANSITIONS,
    SessionAction,
    SessionEvent,
    SessionState,
    refusal_reason,
)

_LINGER_S: Final = 1.0
# The error of a session, by the event that ended it. RESULT ends only a draining session.
_ERROR_BY_EVENT: Final[dict[SessionEvent, Callable[[], AseError]]] = {
    SessionEvent.READ_TIMEOUT: lambda: AseError(SESSION_READ_TIMEOUT),
    SessionEvent.LIFETIME_EXPIRED: lambda: AseError(SESSION_TIMEOUT),
    SessionEvent.DRAIN_TIMEOUT: drain_timeout_error,
    SessionEvent.RESULT: shutdown_error,
}


class SessionClient(Protocol):
    """The client's side of a session: a WebSocket or an event stream."""

    def writable(self) -> bool:
        """Return whether results may be sent now.

        If not, the client calls `Session.transfer` when they may be sent again.
        """

    def send_result(self, session: "Session", payload: bytes, status: int) -> None:
        """Send a result; `payload` is what `decode_result` made of it."""

    def send_error(self, session: "Session", error: AseError) -> None:
        """Send the error that ends the session; `on_closed` follows."""

    def on_closed(self, session: "Session", event: SessionEvent) -> None:
        """Handle the end of the session; `event` is the event that ended it."""

    def pause_reading(self, session: "Session") -> None:
        """Stop delivering frames, if possible: the session's queue is full."""

    def resume_reading(self, session: "Session") -> None:
        """Continue to deliver frames: the session's queue has room again."""


class Session:
    """One session of a service, from its first frame to the release of its slot.

    `client` gets the results and the end. `read_timeout` is the longest silence in seconds: the
    time without a frame from the client and without a result, until the client's last frame.
    `lifetime` is the longest duration of the session in seconds. `call_later(seconds, callback)`
    schedules a callback. `cid` is the client's own id of the session, on a multiplexed WebSocket.
    `decode_result` converts a loader's frame to a JSON object and its status; the payload of an
    envelope, unless given.

    `state` is changed only by `TRANSITIONS`, and by an internal error. `_closed`: `_close`
    has run, which releases everything and notifies the client. `error` is the error that ended the
    session, None without one.

    The loader: `_pending_slot` is the wait for a slot, `_slot` the slot; at most one of the two is
    set. `_stream` is set only while `_slot` is held. The slot is released exactly once: when the
    attempt fails, or when the session ends. `_tried_addrs` are the addresses of failed attempts.
    `_previous_error` is the error of the attempt that was retried. `_wait_started_at` is when the
    session began to wait for a slot, and `_wait_deadline` when it stops to, in seconds of the
    clock.

    Frames: `_frame_queue` are frames that wait for the loader. If `max_queued_frames` wait, the
    queue is full and the client is paused (`_reading_paused`). `_replay_buffer` are the frames that
    were sent in this attempt; a retry sends them again. It is None if a retry is impossible: a
    result was received, or more than `max_queued_frames` frames were sent. `_half_close_pending`:
    the stream's request direction ends after the queued frames.

    `_transferring`: `transfer` is running. It may be called again from within, by the stream or for
    an event; this only sets `_transfer_requested`, for another round. `_read_deadline` and
    `_lifetime_deadline` are in seconds of the dependencies' clock; `_timer` checks both.
    """

    __slots__ = (
        "_call_later", "_client", "_closed", "_decode_result", "_dependencies", "_frame_queue",
        "_half_close_pending", "_lifetime_deadline", "_pending_slot", "_previous_error",
        "_read_deadline", "_read_timeout", "_reader", "_reading_paused", "_replay_buffer",
        "_result_received", "_slot", "_stream", "_timer", "_transfer_requested", "_transferring",
        "_tried_addrs", "_wait_deadline", "_wait_started_at", "cid", "contract", "error",
        "max_queued_frames", "record", "state",
    )  # fmt: skip

    def __init__(
        self,
        contract: Contract,
        record: RequestRecord,
        dependencies: Dependencies,
        client: SessionClient,
        reader: EnvelopeReader,
        call_later: CallLater,
        *,
        read_timeout: float,
        lifetime: float,
        max_queued_frames: int,
        cid: str = "",
        decode_result: Callable[[bytes], tuple[bytes, int]] | None = None,
    ) -> None:
        self.state = SessionState.NEW
        self._decode_result = decode_result or contract.decoder.decode_result
        self.cid = cid
        self.record = record
        self.max_queued_frames = max_queued_frames
        self.error: AseError | None = None
        self.contract = contract
        self._dependencies = dependencies
        self._client = client
        self._reader = reader
        self._call_later = call_later
        self._read_timeout = read_timeout
        now = dependencies.clock()
        self._lifetime_deadline = now + lifetime
        self._read_deadline = now + read_timeout
        self._frame_queue: deque[bytes] = deque()
        self._replay_buffer: list[bytes] | None = []  # None: no retry is possible
        self._tried_addrs: tuple[str, ...] = ()
        self._previous_error: AseError | None = None
        self._wait_deadline = self._wait_started_at = 0.0
        self._stream: LoaderStream | None = None
        self._slot: Slot | None = None
        self._pending_slot: PendingOperation[Slot] | None = None
        self._half_close_pending = self._result_received = self._transferring = (
            self._transfer_requested
        ) = self._reading_paused = False
        self._closed = False
        self._timer = call_later(min(read_timeout, lifetime), self._check_timeouts)

    @property
    def queue_full(self) -> bool:
        """Return whether `max_queued_frames` frames wait for the loader.

        More can wait after a retry, which queues the sent frames again.
        """
        return len(self._frame_queue) >= self.max_queued_frames

    def receive_envelope(
        self, envelope: dict[str, Any], ascii_only: bool, affinity_key: str = ""
    ) -> None:
        """Validate a frame of the client, a JSON object, and apply its event.

        `ascii_only`: all its strings are ASCII. `affinity_key` counts in the first frame only:
        sessions with equal keys go to few instances. A frame that is invalid, or not allowed in the
        current state, fails the session.
        """
        try:
            event = self._reader.classify(envelope)
            if (self.state, event) not in TRANSITIONS:
                raise AseError(BAD_REQUEST, refusal_reason(self.state))
            frame = self._reader.transform_and_encode(envelope, event, ascii_only)
        except AseError as error:
            self.fail(error)
            return
        except Exception as exception:  # noqa: BLE001 (it is logged with its traceback)
            self._fail_internal(exception)
            return
        self.record.bytes_in += len(frame)
        self.record.frames_in += 1
        if self.state is SessionState.NEW:
            self.record.affinity_key = affinity_key
        self._read_deadline = self._dependencies.clock() + self._read_timeout
        self.handle_event(event, frame)
        if self.queue_full and not self._reading_paused and self.state is not SessionState.CLOSED:
            self._reading_paused = True
            self._client.pause_reading(self)

    def fail(self, error: AseError) -> None:
        """End the session with an error, which the client gets."""
        self.error = error
        self.handle_event(SessionEvent.FAILED)

    def fail_overflow(self) -> None:
        """End the session: a frame came while the queue was full (10301)."""
        self.fail(AseError(SESSION_OVERFLOW))

    def handle_event(
        self, event: SessionEvent, frame: bytes = b"", payload: bytes = b"", status: int = 0
    ) -> None:
        """Apply an event: change the state and perform the actions.

        An event without a transition in the current state is ignored. `frame` is the encoded frame
        of a client event; `payload` and `status` are those of a result.
        """
        transition = TRANSITIONS.get((self.state, event))
        if transition is None:
            return
        try:
            self._apply_transition(transition, event, frame, payload, status)
        except Exception as exception:  # noqa: BLE001 (others share the loader's connection)
            self._fail_internal(exception)

    def _apply_transition(
        self,
        transition: tuple[SessionState, tuple[SessionAction, ...]],
        event: SessionEvent,
        frame: bytes,
        payload: bytes,
        status: int,
        /,
    ) -> None:
        self.state, actions = transition
        if self.state is SessionState.CLOSED and event in _ERROR_BY_EVENT:
            self.error = _ERROR_BY_EVENT[event]()
        for action in actions:
            match action:
                case SessionAction.OPEN_LOADER:
                    self._wait_deadline = (
                        self._dependencies.clock() + self._dependencies.slot_timeout
                    )
                    self._acquire_slot()
                case SessionAction.SEND_FRAME:
                    self._frame_queue.append(frame)
                case SessionAction.HALF_CLOSE:
                    self._half_close_pending = True
                case SessionAction.SEND_RESULT:
                    self._client.send_result(self, payload, status)
                case SessionAction.SEND_ERROR:
                    self._client.send_error(self, self.error or AseError(LOADER_LOST))
                case SessionAction.CANCEL_LOADER:
                    self._cancel_loader()
                case SessionAction.CLOSE:
                    self._close(event)
        if self.state is not SessionState.CLOSED:
            self.transfer()

    def _fail_internal(self, exception: Exception) -> None:
        """End the session after an internal error and release everything it holds."""
        self._dependencies.on_internal_error(self.record.sid, exception)
        if self._closed:
            return
        self.state, self.error = SessionState.CLOSED, AseError(INTERNAL)
        try:
            self._client.send_error(self, self.error)
        except Exception as client_exception:  # noqa: BLE001 (the slot is released all the same)
            self._dependencies.on_internal_error(self.record.sid, client_exception)
        self._cancel_loader()
        self._close(SessionEvent.FAILED)

    # The loader: slot, stream and retry.

    def _acquire_slot(self) -> None:
        """Acquire a slot and open the stream; if all instances are full, wait for a slot."""
        dependencies, contract = self._dependencies, self.contract
        service_id, digest = contract.service.id, contract.digest
        try:
            slot: Slot = dependencies.picker.acquire(
                service_id, digest, self._tried_addrs, self.record.affinity_key
            )
        except AseError as error:
            previous_error = self._previous_error
            was_refused = previous_error is not None and previous_error.spec is LOADER_FULL
            self._wait_started_at = dependencies.clock()
            timeout = self._wait_deadline - self._wait_started_at
            if timeout <= 0 or not (error.spec is LOADER_FULL or was_refused):
                # Only the instance that failed before is left: report its error.
                is_unavailable = error.spec is NO_INSTANCE or error.spec is LOADER_FULL
                self._retry_or_fail((previous_error if is_unavailable else None) or error)
                return
            pending = dependencies.picker.wait(
                service_id,
                digest,
                self.record.affinity_key,
                self.record.app_id,
                timeout,
                was_refused,
                self._on_slot_ready,
            )
            if self.state is not SessionState.CLOSED and self._slot is None:
                self._pending_slot = pending
            return
        self._open_stream(slot)

    def _on_slot_ready(self, pending: PendingOperation[Slot]) -> None:
        self._pending_slot = None
        if self.state is SessionState.CLOSED:
            return
        self.record.waited_s += self._dependencies.clock() - self._wait_started_at
        try:
            slot = pending.outcome()
        except AseError as error:
            self._retry_or_fail(error)
        else:
            self._open_stream(slot)

    def _open_stream(self, slot: Slot) -> None:
        self._slot = slot
        now = self._dependencies.clock()
        self.record.attempt_started(slot.instance.addr, now)
        handle = self.record.sid if not self._tried_addrs else self._dependencies.new_id()
        # One second more than is left of the lifetime, which `_check_timeouts` ends first.
        timeout = max(0.001, self._lifetime_deadline - now + 1.0)
        try:
            self._stream = self._dependencies.caller.open_session(
                slot.instance, handle, timeout, self.transfer
            )
        except Exception as exception:  # noqa: BLE001 (it is logged with its traceback)
            self._dependencies.on_internal_error(self.record.sid, exception)
            self._retry_or_fail(AseError(LOADER_LOST))
            return
        self.transfer()

    def _retry_or_fail(self, error: AseError) -> None:
        """Release the slot of a failed attempt; retry at another instance if possible, else fail.

        A retry is possible if there was no result, the replay buffer has all frames that were sent,
        and `may_retry` allows it: nothing ran, so that it needs no retry budget. Without a slot
        there was no attempt, and the session fails.
        """
        slot, self._slot, self._stream = self._slot, None, None
        if slot is not None:
            slot.release(error.spec, is_session=True)
            self._tried_addrs += (self.record.instance,)
            is_replayable = not self._result_received and self._replay_buffer is not None
            can_wait = self._dependencies.clock() < self._wait_deadline
            if is_replayable and may_retry(
                error, len(self._tried_addrs), is_idempotent=False, can_wait=can_wait
            ):
                self._previous_error = error
                self.record.retry_reasons += (error.spec.name,)
                self._frame_queue.extendleft(reversed(self._replay_buffer or ()))
                self._replay_buffer = []
                self._half_close_pending = self.state is SessionState.HALF_CLOSED
                self._acquire_slot()
                return
        self.fail(error)

    # The stream: frames are sent while it has room, results are read while the client keeps up.

    def transfer(self) -> None:
        """Send frames to the loader and results to the client, as far as both keep up.

        Then let the client continue if it is paused and the queue has room.
        """
        if self._transferring:
            self._transfer_requested = True
            return
        self._transferring = True
        try:
            self._transfer_requested = True
            while self._transfer_requested and self._stream is not None:
                self._transfer_requested = False
                self._send_frames(self._stream)
                self._receive_results(self._stream)
        except Exception as exception:  # noqa: BLE001
            self._fail_internal(exception)
        finally:
            self._transferring = False
        if self._reading_paused and not self.queue_full:
            self._reading_paused = False
            self._client.resume_reading(self)

    def _send_frames(self, stream: LoaderStream) -> None:
        frames, replay_buffer = self._frame_queue, self._replay_buffer
        while frames and stream.can_send():
            frame = frames.popleft()
            if replay_buffer is not None:
                replay_buffer.append(frame)
                if len(replay_buffer) > self.max_queued_frames:
                    self._replay_buffer = replay_buffer = None
            stream.send(frame)
        if self._half_close_pending and not frames and stream.can_send():
            self._half_close_pending = False
            stream.finish_sending()

    def _receive_results(self, stream: LoaderStream) -> None:
        while self._stream is stream and self._client.writable():
            result = stream.pop_result()
            if result is None:
                break
            self._handle_result(result)
        if self._stream is stream and stream.is_finished():
            self._retry_or_fail(
                stream.failure() or AseError(BAD_REPLY, "the loader ended it unfinished")
            )

    def _handle_result(self, result: bytes) -> None:
        self._result_received, self._replay_buffer = True, None
        now = self._dependencies.clock()
        self._read_deadline = now + self._read_timeout
        self.record.bytes_out += len(result)
        self.record.frames_out += 1
        if self.record.frames_out == 1:
            self.record.first_result_at = now
        units = read_units(result)
        if units:
            self.record.add_units(units)
        try:
            payload, status = self._decode_result(result)
        except AseError as error:
            self.fail(error)
            return
        self.handle_event(RESULT_EVENTS[status], payload=payload, status=status)

    # The end.

    def _cancel_loader(self) -> None:
        pending, self._pending_slot = self._pending_slot, None
        if pending is not None:
            pending.cancel()
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.cancel()

    def _close(self, event: SessionEvent) -> None:
        self._closed = True
        self._timer.cancel()
        stream, self._stream = self._stream, None
        if stream is not None and not stream.is_finished():
            self._call_later(
                _LINGER_S, stream.cancel
            )  # the loader should have ended the stream by then
        self._frame_queue.clear()
        self._replay_buffer = None
        slot, self._slot = self._slot, None
        if slot is not None:
            self._release_slot(slot, event)
        self._client.on_closed(self, event)

    def _release_slot(self, slot: Slot, event: SessionEvent) -> None:
        error = self.error
        if event is SessionEvent.CLIENT_GONE:
            slot.release(CLIENT_GONE, abandoned=True, is_session=True)
        elif error is None:
            slot.release(is_session=True)
        elif error.spec.source is ErrorSource.LOADER and error.spec is not DEADLINE:
            slot.release(error.spec, is_session=True)
        else:  # not the loader's failure; the loader may still be working
            slot.release(None, abandoned=True, is_session=True)

    def _check_timeouts(self) -> None:
        """End the session if its lifetime is over or the client was silent for too long.

        Frames and results only move `_read_deadline`. The timer is not set again until it fires, so
        that a frame costs no timer.
        """
        now = self._dependencies.clock()
        if self.state is SessionState.CLOSED:
            return
        if now >= self._lifetime_deadline:
            self.handle_event(SessionEvent.LIFETIME_EXPIRED)
            return
        if self.queue_full or not self._client.writable():
            self._read_deadline = now + self._read_timeout  # back-pressure on the client
        if now >= self._read_deadline and (self.state, SessionEvent.READ_TIMEOUT) in TRANSITIONS:
            self.handle_event(SessionEvent.READ_TIMEOUT)
            return
        next_deadline = self._lifetime_deadline
        if (self.state, SessionEvent.READ_TIMEOUT) in TRANSITIONS:
            next_deadline = min(next_deadline, self._read_deadline)
        self._timer = self._call_later(max(0.001, next_deadline - now), self._check_timeouts)


def create_session(
    contract: Contract,
    gateway_headers: dict[str, str],
    record: RequestRecord,
    dependencies: Dependencies,
    client: SessionClient,
    options: SessionOptions,
    call_later: CallLater,
    *,
    cid: str = "",
    decode_result: Callable[[bytes], tuple[bytes, int]] | None = None,
) -> Session:
    """Return a session whose client sends frames; its times are the service's, or the options'."""
    service = contract.service
    return Session(
        contract,
        record,
        dependencies,
        client,
        EnvelopeReader(contract, gateway_headers, options),
        call_later,
        read_timeout=service.read_timeout or options.read_timeout,
        lifetime=service.deadline or options.lifetime,
        max_queued_frames=options.queue,
        cid=cid,
        decode_result=decode_result,
    )
