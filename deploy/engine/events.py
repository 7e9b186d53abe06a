"""The event bus: what happens to deployments, for logs, metrics and those who watch.

Topics are `service.status`, `service.scaled`, `service.woken`, `pipeline.step`, `position.*`,
`model.*` and `lb.instance`.
Events are numbered; the last ones are kept, so that a watcher that comes back misses none of them.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

_MAX_KEPT: Final = 1000
_MAX_QUEUED: Final = 1000


@dataclass(frozen=True, slots=True)
class Event:
    """Something that has happened; `subject` is the id of a deployment, `at` the Unix time."""

    number: int
    topic: str
    subject: str
    at: float
    data: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the event as a JSON object."""
        return {"topic": self.topic, "id": self.subject, "at": round(self.at, 3), **self.data}


Sink = Callable[[Event], None]


class EventBus:
    """Gives each event to the sinks at once, and to every watcher by a queue of its own.

    A watcher that is too slow loses its oldest events; `dropped` counts them. `counts` has the
    events by topic.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        # Numbers go on after a restart, so that a watcher's last one means what it did.
        self._number = int(clock() * 1000)
        self._clock = clock
        self._kept: deque[Event] = deque(maxlen=_MAX_KEPT)
        self._sinks: list[Sink] = []
        self._queues: set[asyncio.Queue[Event]] = set()
        self.dropped = 0
        self.counts: Counter[str] = Counter()

    def add_sink(self, sink: Sink) -> None:
        """Have `sink` called with each event."""
        self._sinks.append(sink)

    def publish(self, topic: str, subject: str, **data: Any) -> None:
        """Publish an event."""
        self._number += 1
        event = Event(self._number, topic, subject, self._clock(), data)
        self._kept.append(event)
        self.counts[topic] += 1
        for sink in self._sinks:
            sink(event)
        for queue in self._queues:
            if queue.full():
                queue.get_nowait()
                self.dropped += 1
            queue.put_nowait(event)

    async def watch(self, after: int = 0, subject: str = "") -> AsyncIterator[Event]:
        """Yield the events that are kept from `after` on, then those to come, without end.

        With `subject`, those of one deployment alone. After 0: the ones to come.
        """
        queue: asyncio.Queue[Event] = asyncio.Queue(_MAX_QUEUED)
        self._queues.add(queue)
        try:
            kept = [event for event in self._kept if after and event.number > after]
            for event in kept:
                if subject in ("", event.subject):
                    yield event
            while True:
                event = await queue.get()
                if subject in ("", event.subject):
                    yield event
        finally:
            self._queues.discard(queue)
