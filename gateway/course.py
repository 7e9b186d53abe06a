"""A request on its course: the steps of `serve_once`, driven by what comes. Both lanes use it."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any

from gateway.answers import Answer, header_list
from gateway.events import Events, Sink, Told
from gateway.once import Attempt, Body, Steps, Turn
from gateway.parts import Parts, Pending
from schemas.errors import AseError

Streams = Callable[[Told, Sink], Events]


class Course(ABC):
    """Drives one request; whoever derives from it gets the answer by `answered`, once."""

    __slots__ = ("_parts", "_pending", "_steps", "_streams", "events", "finished")

    def __init__(self, streams: Streams) -> None:
        self.finished = False
        self.events: Events | None = None
        self._streams = streams
        self._pending: Pending | None = None

    def begin(self, steps: Steps, parts: Parts) -> None:
        """Take the first step: the request is refused by its head, or its body is awaited."""
        self._steps = steps
        self._parts = parts
        self._go(None)

    def feed(self, body: bytes) -> None:
        """Take in the whole body."""
        if not self.finished:
            self._go(body)

    def fail(self, error: AseError) -> None:
        """Take in what makes the request end early; a call under way is cancelled."""
        if self.finished:
            return
        if self.events is not None:
            self.events.fail(error)
            return
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.cancel()
        self._throw(error)

    @abstractmethod
    def answered(self, answer: Answer) -> None:
        """Take the answer."""

    @abstractmethod
    def sink(self) -> Sink:
        """Return where the events of the request go; its `refused` and `end` come back here."""

    def refused(self, error: AseError) -> None:
        """Answer with an error, in the place of events."""
        self.events = None
        self._throw(error)

    def told(self) -> None:
        """Take in that all events were written; whoever derives from it does more."""
        self.finished = True
        self._steps.close()

    def _go(self, came: bytes | Pending | None) -> None:
        try:
            step = self._steps.send(came)
        except StopIteration as ended:
            self.finished = True
            self.answered(ended.value)
        else:
            self._take(step)

    def _throw(self, error: Exception) -> None:
        try:
            step = self._steps.throw(error)
        except StopIteration as ended:
            self.finished = True
            self.answered(ended.value)
        else:
            self._take(step)

    def _take(self, step: Body | Turn | Attempt | Told) -> None:
        if isinstance(step, Told):
            self.events = self._streams(step, self.sink())
            self.events.start()
        elif isinstance(step, Attempt):
            try:
                self._pending = self._parts.caller.begin(step, self._called)
            except Exception as error:  # noqa: BLE001 (the steps tell what it means)
                self._throw(error)
        elif isinstance(step, Turn):
            wait = self._parts.picker.wait
            self._pending = wait(
                step.service, step.digest, step.key, step.seconds, step.ahead, self._called
            )

    def _called(self, call: Pending) -> None:
        """Take in what ended, a call or a wait; of one cancelled nothing matters any more."""
        if self._pending is not None:
            self._pending = None
            self._go(call)


class Awaited(Course):
    """A request whose answer a task awaits; `wake` is called when there is something to send.

    `parts` are those of an answer that is a stream of events, each an ASGI message.
    """

    __slots__ = ("_wake", "answer", "parts")

    def __init__(self, streams: Streams, wake: Callable[[], None]) -> None:
        super().__init__(streams)
        self._wake = wake
        self.answer: Answer | None = None
        self.parts: deque[dict[str, Any]] = deque()

    def answered(self, answer: Answer) -> None:
        """Wake the task."""
        self.answer = answer
        self._wake()

    def sink(self) -> Sink:
        """Return itself: what is written is sent by the task."""
        return self

    def writable(self) -> bool:
        """Return whether what was written is sent."""
        return not self.parts

    def begin_events(self, head: bytes) -> None:
        """Put the head."""
        start = {"type": "http.response.start", "status": 200, "headers": header_list(head)}
        self._put(start)

    def write(self, data: bytes) -> None:
        """Put a part of the body."""
        self._put({"type": "http.response.body", "body": data, "more_body": True})

    def end(self) -> None:
        """Put the end."""
        self.told()
        self._put({"type": "http.response.body", "body": b""})

    def _put(self, message: dict[str, Any]) -> None:
        self.parts.append(message)
        self._wake()
