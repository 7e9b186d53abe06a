"""A session of one request whose results are sent as server-sent events.

Each result with a payload is an event `result` with an increasing id; the event `end` with the last
status follows. An error is an event `error` if the response has started, otherwise an ordinary
error response. Source: WHATWG HTML, "Server-sent events".
"""

from typing import Final

from config.options import SessionOptions
from gateway.request.event_stream import EventStreamRequest, Sink
from gateway.request.interfaces import Dependencies
from gateway.streaming import messages
from gateway.streaming.envelopes import EnvelopeReader
from gateway.streaming.session import Session
from gateway.telemetry.session_metrics import SessionMetrics
from rpc.timer import CallLater
from schemas.model.errors import CLIENT_GONE, AseError
from schemas.model.session import FrameStatus, SessionEvent

_HTTP_OK: Final = 200
_HEADERS_TEMPLATE: Final = (
    "content-type: text/event-stream\r\ncache-control: no-store\r\nx-accel-buffering: no\r\n"
    "x-ase-request-id: %s\r\nx-ase-instance: %s\r\nx-ase-attempts: %d\r\n"
)
_NEWLINES_TO_SPACES: Final = bytes.maketrans(b"\r\n", b"  ")
_KEEP_ALIVE_COMMENT: Final = b": still here\n\n"


class EventStream:
    """The response by events to one request, and the client's side of its session.

    `headers_sent`: the response has started, with a result or a keep-alive comment; it has status
    200. `_last_event_id` is the id of the last event `result`; ids start at 1. `_timer` sends the
    keep-alive comments until the session ends. `call_later(seconds, callback)` schedules a
    callback.
    """

    def __init__(
        self,
        request: EventStreamRequest,
        sink: Sink,
        *,
        dependencies: Dependencies,
        session_metrics: SessionMetrics,
        options: SessionOptions,
        call_later: CallLater,
    ) -> None:
        self.headers_sent = False
        self._request = request
        self._session_metrics = session_metrics
        self._options = options
        self._sink = sink
        self._call_later = call_later
        self._last_event_id = 0
        service = request.contract.service
        self._session = Session(
            request.contract,
            request.record,
            dependencies,
            self,
            EnvelopeReader(request.contract, request.gateway_headers, options, single_frame=True),
            call_later,
            read_timeout=options.lifetime,
            lifetime=service.deadline or options.lifetime,
            max_queued_frames=options.queue,
        )
        self._timer = call_later(options.keep_alive, self._send_keep_alive)

    def start(self) -> None:
        """Start the session; the request is its only frame."""
        request = self._request
        self._session_metrics.session_started(self._session)
        self._session.receive_envelope(request.envelope, request.ascii_only, request.affinity_key)

    def cancel(self) -> None:
        """End the session: the client is gone."""
        self._session.handle_event(SessionEvent.CLIENT_GONE)

    def fail(self, error: AseError) -> None:
        """End the session with an error; CLIENT_GONE means that the client is gone."""
        if error.spec is CLIENT_GONE:
            self.cancel()
        else:
            self._session.fail(error)

    def resume_writing(self) -> None:
        """Continue to send results: the client reads again."""
        self._session.transfer()

    # Called by the session.

    def writable(self) -> bool:
        """Return whether the client keeps up."""
        return self._sink.writable()

    def send_result(self, session: Session, payload: bytes, status: int) -> None:
        """Write a result as an event `result`, and after the last one the event `end`.

        A result without a payload has no event `result`.
        """
        sid = session.record.sid
        is_last = status >= FrameStatus.END
        if payload != b"{}":
            message = messages.encode_result_envelope(
                sid, "", payload, FrameStatus.CONTINUE if is_last else status
            )
            if b"\n" in message or b"\r" in message:  # white space in embedded JSON
                message = message.translate(_NEWLINES_TO_SPACES)
            self._last_event_id += 1
            self._write(b"event: result\nid: %d\ndata: %b\n\n" % (self._last_event_id, message))
        if is_last:
            message = messages.encode_result_envelope(sid, "", b"{}", status)
            self._write(b"event: end\ndata: %b\n\n" % message)

    def send_error(self, session: Session, error: AseError) -> None:
        """Write an event `error`, if the response has started.

        Otherwise `on_closed`, which follows, answers with the error.
        """
        if self.headers_sent:
            message = messages.encode_error_envelope(session.record.sid, "", error)
            self._write(b"event: error\ndata: %b\n\n" % message)

    def on_closed(self, session: Session, event: SessionEvent) -> None:
        """End the response; answer with the error if it has not started.

        The session is counted in both cases. It is not logged in the second, because the error
        response is.
        """
        self._timer.cancel()
        self._session_metrics.session_ended(session, event, _HTTP_OK, write_log=self.headers_sent)
        if self.headers_sent:
            self._sink.end()
        else:
            self._sink.send_error(session.error or AseError(CLIENT_GONE))

    def pause_reading(self, session: Session) -> None:
        """Do nothing: no other frame follows."""

    def resume_reading(self, session: Session) -> None:
        """Do nothing: `pause_reading` has no effect."""

    def _write(self, data: bytes) -> None:
        if not self.headers_sent:
            self.headers_sent = True
            record = self._session.record
            head = _HEADERS_TEMPLATE % (record.sid, record.instance, record.attempts)
            self._sink.start_response(head.encode())
        self._sink.write(data)

    def _send_keep_alive(self) -> None:
        """Write a comment, and schedule the next one in `keep_alive` seconds.

        It shows the client, and proxies in between, that the request is still in progress. The
        first comment starts the response. A client that does not keep up gets none.
        """
        self._timer = self._call_later(self._options.keep_alive, self._send_keep_alive)
        if self._sink.writable():
            self._write(_KEEP_ALIVE_COMMENT)
