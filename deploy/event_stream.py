"""Server-sent events: as the deployer's API writes them, and as it reads those of another one.

Source: the HTML standard, 9.2 "Server-sent events".
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final, NamedTuple

_KEEP_ALIVE_S: Final = 15.0


class StreamedEvent(NamedTuple):
    """An event of a stream: after `number` a reader may go on; 0: it may not after this one."""

    number: int
    name: str
    data: Mapping[str, Any]


async def event_lines(
    events: AsyncIterator[StreamedEvent], stopping: asyncio.Event, is_allowed: Callable[[], bool]
) -> AsyncIterator[str]:
    """Yield events as text, until there are no more, `stopping`, or the caller may not read on."""
    stopped = asyncio.ensure_future(stopping.wait())
    upcoming = asyncio.ensure_future(anext(aiter(events)))
    try:
        yield ": events\n\n"
        while not stopping.is_set() and is_allowed():
            done, _ = await asyncio.wait(
                {upcoming, stopped}, timeout=_KEEP_ALIVE_S, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                yield ": keep-alive\n\n"
            if upcoming in done:
                try:
                    event = upcoming.result()
                except StopAsyncIteration:
                    return
                upcoming = asyncio.ensure_future(anext(aiter(events)))
                data = json.dumps(event.data, ensure_ascii=False)
                number = f"id: {event.number}\n" if event.number else ""
                yield f"{number}event: {event.name}\ndata: {data}\n\n"
    finally:
        stopped.cancel()
        upcoming.cancel()


async def read_events(lines: AsyncIterator[str]) -> AsyncIterator[StreamedEvent]:
    """Yield the events of lines, as `event_lines` writes them. Raises ValueError for others."""
    fields: dict[str, str] = {}
    async for line in lines:
        if line and not line.startswith(":"):
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        elif not line and fields:
            data = json.loads(fields.get("data", ""))
            if not isinstance(data, dict):
                raise ValueError("data: must be a JSON object")
            yield StreamedEvent(int(fields.get("id", "0")), fields.get("event", ""), data)
            fields = {}
