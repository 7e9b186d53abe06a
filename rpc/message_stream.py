"""A bidirectional message stream for asyncio: one task may send while another receives."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Self

from rpc.calls import StreamCall
from rpc.status import RpcError, Status


class MessageStream:
    """A streaming call with back-pressure in both directions.

    Send with `send` and `finish_sending`; receive by iterating. `send` waits while the peer does
    not read. A reader that does not iterate closes the receive window, which stops the peer. After
    the end, `call` has the headers and trailers. `_changed` is set by every change of the call;
    both tasks wait for it, and each checks its own condition again.
    """

    def __init__(self, call: StreamCall, flush: Callable[[], None]) -> None:
        self.call = call
        self._flush = flush
        self._changed = asyncio.Event()
        call.wake = self._changed.set

    async def send(self, message: bytes) -> None:
        """Send a message, after waiting until the previous one has been framed.

        Raises RpcError if the call has ended.
        """
        await self._wait_writable()
        self.call.send(message)
        self._flush()

    async def finish_sending(self) -> None:
        """Close the sending half. Raises RpcError if the call has ended."""
        await self._wait_writable()
        self.call.finish_sending()
        self._flush()

    async def send_all(self, requests: AsyncIterator[bytes]) -> None:
        """Send every request, then close the sending half.

        If `requests` raises, the call is cancelled and the exception propagates. If the call ends
        first, this returns.
        """
        try:
            async for request in requests:
                await self.send(request)
            await self.finish_sending()
        except RpcError:
            if not self.call.ended:
                raise
        finally:
            if not self.call.ended and self.call.send_open and not self.call.end_stream_requested:
                self.cancel()

    def cancel(self) -> None:
        """Cancel the call, with an RST_STREAM if its stream is open."""
        self.call.fail(Status.CANCELLED, "cancelled here")
        self._flush()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        call = self.call
        while not call.inbox:
            if call.error is not None:
                raise call.error
            if call.ended:
                raise StopAsyncIteration
            await self._wait_change()
        message = call.pop()
        self._flush()
        return message

    async def _wait_writable(self) -> None:
        call = self.call
        while not call.ended and (call.id == 0 or call.send_buffer is not None):
            await self._wait_change()
        if call.ended or not call.send_open:
            raise call.error or RpcError(Status.CANCELLED, "the peer ended the call")

    async def _wait_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


async def stream_responses(
    stream: MessageStream, requests: AsyncIterator[bytes]
) -> AsyncGenerator[bytes, None]:
    """Send a stream of requests and yield the responses as they arrive.

    Ends when the peer ends the stream. Raises RpcError if the call fails, or the exception that
    `requests` raised.
    """
    send_task = asyncio.ensure_future(stream.send_all(requests))
    try:
        async for response in stream:
            yield response
    except RpcError:
        if send_task.done() and not send_task.cancelled():
            send_task.result()
        raise
    finally:
        stream.cancel()
        send_task.cancel()
        await asyncio.gather(send_task, return_exceptions=True)
