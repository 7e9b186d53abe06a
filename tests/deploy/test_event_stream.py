"""Events as text and back."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from deploy.event_stream import StreamedEvent, event_lines, read_events

EVENTS = [StreamedEvent(0, "begin", {}), StreamedEvent(7, "model_add", {"model": "a\nb: é"})]


async def of(items: list[StreamedEvent]) -> AsyncIterator[StreamedEvent]:
    for item in items:
        yield item


async def lines_of(text: str) -> AsyncIterator[str]:
    for line in text.split("\n"):
        yield line


def test_events_are_read_as_they_were_written() -> None:
    async def scenario() -> list[StreamedEvent]:
        stopping = asyncio.Event()
        texts = [text async for text in event_lines(of(EVENTS), stopping, lambda: True)]
        return [event async for event in read_events(lines_of("".join(texts)))]

    assert asyncio.run(scenario()) == EVENTS


def test_stream_ends_when_it_may_not_be_read_any_more() -> None:
    async def scenario() -> list[str]:
        return [text async for text in event_lines(of(EVENTS), asyncio.Event(), lambda: False)]

    assert asyncio.run(scenario()) == [": events\n\n"]


@pytest.mark.parametrize("text", ["data: [1]\n\n", "data: {\n\n", "id: x\ndata: {}\n\n"])
def test_what_is_no_event_is_refused(text: str) -> None:
    async def scenario() -> None:
        with pytest.raises(ValueError, match=r"."):
            [event async for event in read_events(lines_of(text))]

    asyncio.run(scenario())
