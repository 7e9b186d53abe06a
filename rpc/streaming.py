"""A stream of messages either way, for one task that sends and one that receives."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Self

from rpc.calls import StreamCall
from rpc.status import RpcError, Status


class Stream:
    """One call: send with `send` and `finish`, receive by iterating; either may be slow.

    `limit`: the most bytes of a message. After the end, `call` has the metadata.
    """

    def __init__(self, call: StreamCall, flush: Callable[[], None], limit: int) -> None:
        self.call = call
        self._flush = flush
        self._limit = limit
        self._changed = asyncio.Event()
        call.wake = self._changed.set

    async def send(self, message: bytes) -> None:
        """Send a message; waits while the peer has no room for the one before.

        Raises RpcError when the call has ended, or the message is too large.
        """
        if len(message) > self._limit:
            words = f"a message of {len(message)} bytes is larger than {self._limit}"
            raise RpcError(Status.RESOURCE_EXHAUSTED, words)
        await self._room()
        self.call.send(message)
        self._flush()

    async def finish(self) -> None:
        """Say that nothing more will be sent. Raises RpcError when the call has ended."""
        await self._room()
        self.call.finish_sending()
        self._flush()

    async def send_all(self, requests: AsyncIterator[bytes]) -> None:
        """Send every request, then finish; when making one fails, the call is cancelled."""
        try:
            async for request in requests:
                await self.send(request)
            await self.finish()
        except RpcError:
            if not self.call.ended:
                raise
        finally:
            if not self.call.ended and self.call.sending and not self.call.ending:
                self.cancel()

    def cancel(self) -> None:
        """End the call; the peer is told."""
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
            await self._change()
        message = call.pop()
        self._flush()
        return message

    async def _room(self) -> None:
        call = self.call
        while not call.ended and (call.id == 0 or call.pending is not None):
            await self._change()
        if call.ended or not call.sending:
            raise call.error or RpcError(Status.CANCELLED, "the peer ended the call")

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


async def streamed(stream: Stream, requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Send a stream of requests and yield the answers as they come.

    Ends when the peer ends the stream. Raises RpcError as the call ends with one, and what making a
    request raised.
    """
    sending = asyncio.ensure_future(stream.send_all(requests))
    try:
        async for answer in stream:
            yield answer
    except RpcError:
        if sending.done() and not sending.cancelled():
            sending.result()
        raise
    finally:
        stream.cancel()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
