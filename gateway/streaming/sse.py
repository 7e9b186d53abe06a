"""A session of one request whose results are sent as server-sent events, or as lines of JSON.

Each result with a payload is an event `result` with an increasing id; the event `end` with the last
status follows. An error is an event `error` if the response has started, otherwise an ordinary
error response. The bytes are those of a `Framing`.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from config.options import SessionOptions
from gateway.request.event_stream import EventStreamRequest, Sink
from gateway.request.exchange import StreamForm
from gateway.request.interfaces import Dependencies
from gateway.streaming.envelopes import EnvelopeReader
from gateway.streaming.framing import EnvelopeEvents, Framing, PlainEvents, PlainLines
from gateway.streaming.session import Session
from gateway.telemetry.session_metrics import SessionMetrics
from rpc.timer import CallLater
from schemas.model.errors import CLIENT_GONE, AseError
from schemas.model.session import FrameStatus, SessionEvent

_FRAMINGS: Final[dict[StreamForm, Callable[[], Framing]]] = {
    StreamForm.ENVELOPE_EVENTS: EnvelopeEvents,
    StreamForm.PLAIN_EVENTS: PlainEvents,
    StreamForm.PLAIN_LINES: PlainLines,
}
_HTTP_OK: Final = 200
_HEADERS_TEMPLATE: Final = (
    "content-type: %s\r\ncache-control: no-store\r\nx-accel-buffering: no\r\n"
    "x-ase-request-id: %s\r\nx-ase-instance: %s\r\nx-ase-attempts: %d\r\n"
)


class EventStream:
    """The response by events to one request, and the client's side of its session.

    `headers_sent`: the response has started, with a result or a keep-alive comment; it has status
    200. `_result_count` is the number of results so far; an event has it as its id. `_timer` sends
    what keeps the response alive until the session ends. `call_later(seconds, callback)` schedules
    a callback.
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
        self._result_count = 0
        self._framing = _FRAMINGS[request.exchange.stream_form()]()
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
            decode_result=partial(request.exchange.decode_result, request.contract),
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

        A result without a payload has no event `result`, and one that the client has is not sent.
        """
        record = session.record
        if payload != b"{}":
            self._result_count += 1
            if self._result_count > self._request.received_results:
                self._write(self._framing.result(record, payload, status, self._result_count))
        if status >= FrameStatus.END:
            self._write(self._framing.end(record, status))

    def send_error(self, session: Session, error: AseError) -> None:
        """Write an event `error`, if the response has started.

        Otherwise `on_closed`, which follows, answers with the error.
        """
        if self.headers_sent:
            error = self._request.exchange.explain(self._request.contract, error)
            self._write(self._framing.error(session.record, error))

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
            error = session.error or AseError(CLIENT_GONE)
            self._sink.send_error(self._request.exchange.explain(self._request.contract, error))

    def pause_reading(self, session: Session) -> None:
        """Do nothing: no other frame follows."""

    def resume_reading(self, session: Session) -> None:
        """Do nothing: `pause_reading` has no effect."""

    def _write(self, data: bytes) -> None:
        if not self.headers_sent:
            self.headers_sent = True
            record = self._session.record
            content_type = self._framing.content_type
            head = _HEADERS_TEMPLATE % (content_type, record.sid, record.instance, record.attempts)
            self._sink.start_response(head.encode())
        if data:  # an empty chunk would end the response
            self._sink.write(data)

    def _send_keep_alive(self) -> None:
        """Write a comment, and schedule the next one in `keep_alive` seconds.

        It shows the client, and proxies in between, that the request is still in progress. The
        first comment starts the response. A client that does not keep up gets none.
        """
        self._timer = self._call_later(self._options.keep_alive, self._send_keep_alive)
        if self._sink.writable():
            self._write(self._framing.keep_alive())
