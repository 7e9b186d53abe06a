"""The driver of a unary request that Starlette serves: a task sends what it queues."""

from collections import deque
from collections.abc import Callable
from typing import Any

from gateway.request.event_stream import EventStreamFactory, Sink
from gateway.request.response import HttpResponse, header_list
from gateway.unary.cycle import RequestDriver


class AsgiRequestDriver(RequestDriver):
    """The driver of a request whose response is sent by a task.

    `wake` is called when there is something to send. `response` is a complete response. `messages`
    are the ASGI messages of an event stream that the task has not sent yet.
    """

    __slots__ = ("_wake", "messages", "response")

    def __init__(self, open_event_stream: EventStreamFactory, wake: Callable[[], None]) -> None:
        super().__init__(open_event_stream)
        self._wake = wake
        self.response: HttpResponse | None = None
        self.messages: deque[dict[str, Any]] = deque()

    def on_response(self, response: HttpResponse) -> None:
        """Store the response and wake the task."""
        self.response = response
        self._wake()

    def sink(self) -> Sink:
        """Return this driver: the task sends what is written to it."""
        return self

    def writable(self) -> bool:
        """Return whether the task has sent everything written so far."""
        return not self.messages

    def start_response(self, head: bytes) -> None:
        """Queue the start of a 200 response; `head` are its header lines."""
        start_message = {"type": "http.response.start", "status": 200, "headers": header_list(head)}
        self._enqueue(start_message)

    def write(self, data: bytes) -> None:
        """Queue a part of the body."""
        self._enqueue({"type": "http.response.body", "body": data, "more_body": True})

    def end(self) -> None:
        """Queue the end of the body; the request is finished."""
        self.finish_event_stream()
        self._enqueue({"type": "http.response.body", "body": b""})

    def _enqueue(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        self._wake()
