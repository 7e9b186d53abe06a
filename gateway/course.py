"""A request on its course: the steps of `serve_once`, driven by what comes. Both lanes use it."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from gateway.answers import Answer
from gateway.once import Attempt, Body, Steps, Turn
from gateway.parts import Parts, Pending
from schemas.errors import AseError


class Course(ABC):
    """Drives one request; whoever derives from it gets the answer by `answered`, once."""

    __slots__ = ("_parts", "_pending", "_steps", "finished")

    def __init__(self) -> None:
        self.finished = False
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
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.cancel()
        self._throw(error)

    @abstractmethod
    def answered(self, answer: Answer) -> None:
        """Take the answer."""

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

    def _take(self, step: Body | Turn | Attempt) -> None:
        if isinstance(step, Attempt):
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
    """A request whose answer a task awaits; `wake` is called when it is there."""

    __slots__ = ("_wake", "answer")

    def __init__(self, wake: Callable[[], None]) -> None:
        super().__init__()
        self._wake = wake
        self.answer: Answer | None = None

    def answered(self, answer: Answer) -> None:
        """Wake the task."""
        self.answer = answer
        self._wake()
