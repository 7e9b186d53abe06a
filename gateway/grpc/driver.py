"""The driver of a gRPC call: it hands the answer to whoever waits for it."""

from collections.abc import Callable

from gateway.request.event_stream import EventStreamFactory, Sink
from gateway.request.response import HttpResponse
from gateway.unary.cycle import RequestDriver
from schemas.model.errors import BAD_MODE, AseError


class CallDriver(RequestDriver):
    """The driver of one `Infer` call; `on_done` is called with its answer."""

    __slots__ = ("_on_done",)

    def __init__(
        self, open_event_stream: EventStreamFactory, on_done: Callable[[HttpResponse], None]
    ) -> None:
        super().__init__(open_event_stream)
        self._on_done = on_done

    def on_response(self, response: HttpResponse) -> None:
        """Hand the answer on."""
        self._on_done(response)

    def sink(self) -> Sink:
        """Raise AseError 10004: a call has one answer, and its exchange wants no events."""
        raise AseError(BAD_MODE)
