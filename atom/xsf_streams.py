"""A session as the original loader has it: AIIn, AIOut and AIExcp on one handle.

One AIIn at a time carries the frames, in order; from the first that is accepted, one AIOut waits
for results (reference "ase-wire" 3.6). The loader is the one that the first AIIn went to. Either
may bring results: the last one is told when the other has been heard, too.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from google.protobuf.message import DecodeError

from atom.faults import fault_of
from rpc.calls import UnaryCall
from rpc.client import Channel
from schemas.errors import (
    BAD_REPLY,
    HANDLE_RELEASED,
    LOADER_FULL,
    LOADER_LOST,
    AseError,
    loader_error_spec,
)
from schemas.wire import LoaderOutput, ReqData, ResData, XsfData, XsfSession

_WRITE_S: Final = 5.0
_POLL_MS: Final = 3000
_POLL_S: Final = 8.0
_MOST: Final = 4  # frames that may wait for the one before
_MOMENT_S: Final = 0.25
_LAST: Final = (LoaderOutput.END, LoaderOutput.ONCE)


class XsfStream:
    """A session by `utils.XsfCall/call`; `over` is told its end."""

    def __init__(
        self,
        channel: Channel,
        head: bytes,
        handle: str,
        wake: Callable[[], None],
        over: Callable[["XsfStream"], None],
    ) -> None:
        self._channel = channel
        self._head = head
        self._handle = handle
        self._wake = wake
        self._over = over
        self._frames: deque[bytes] = deque()
        self._results: deque[bytes] = deque()
        self._seq = 0
        self._writing: UnaryCall | None = None
        self._polling: UnaryCall | None = None
        self._accepted = self._ended = False
        self._last: bytes | None = None
        self._refusal: AseError | None = None  # of an AIIn, while AIOut may still bring the last
        self._error: AseError | None = None

    def room(self) -> bool:
        """Return whether few frames wait."""
        return not self._ended and len(self._frames) < _MOST

    def send(self, frame: bytes) -> None:
        """Send a frame, when the one before was taken."""
        self._frames.append(frame)
        self._write()

    def finish(self) -> None:
        """Do nothing: the status of the last frame has told it."""

    def next(self) -> bytes | None:
        """Return the next result; ask for more when there is no other."""
        if not self._results:
            return None
        result = self._results.popleft()
        self._poll()
        return result

    def over(self) -> bool:
        """Return whether the loader has ended it."""
        return self._ended and not self._results

    def failure(self) -> AseError | None:
        """Return what it ended with."""
        return self._error

    def cancel(self) -> None:
        """Give it up; the loader is told, once."""
        if not self._ended:
            self._end(AseError(LOADER_LOST), tell=True)

    def _write(self) -> None:
        if self._writing is None and self._frames and not self._is_ending():
            self._seq += 1
            # A loader of ours heeds the last: two answers with results could overtake.
            param = {"SeqNo": str(self._seq), "waitTime": "0", "results": "AIOut"}
            frame = self._frames.popleft()
            self._writing = self._call("AIIn", param, frame, _WRITE_S, self._written)

    def _written(self, call: UnaryCall) -> None:
        self._writing = None
        self._take(call)
        if not self._ended:
            self._accepted = True
            self._write()
            self._poll()
        self._wake()

    def _poll(self) -> None:
        if self._accepted and self._polling is None and not self._is_ending() and not self._results:
            param = {"waitTime": str(_POLL_MS)}
            self._polling = self._call("AIOut", param, b"", _POLL_S, self._polled)

    def _polled(self, call: UnaryCall) -> None:
        self._polling = None
        self._take(call)
        self._poll()
        self._wake()

    def _take(self, call: UnaryCall) -> None:
        """Take in an answer: a result, or an end."""
        if self._ended:
            return
        try:
            data, last = self._read(call)
        except AseError as error:
            if error.spec is HANDLE_RELEASED and self._polling is not None:
                self._refusal = error
                return
            if self._last is None:
                # Who refuses has let the handle go, and who cannot be understood has not.
                self._end(error, tell=call.error is not None or error.spec is BAD_REPLY)
                return
            data, last = None, False  # the handle is gone, as it is to be behind the last
        if last and data is not None and self._last is None:
            self._last = data
        elif data is not None:
            self._results.append(data)
        if self._last is not None:
            if self._writing is None and self._polling is None:
                self._settle()
            else:
                asyncio.get_running_loop().call_later(_MOMENT_S, self._settle)
        elif self._refusal is not None and self._polling is None and not last:
            self._end(self._refusal)

    def _settle(self) -> None:
        """Tell the last result: the other call had its moment to bring one from before it."""
        if not self._ended and self._last is not None:
            self._results.append(self._last)
            self._end(None)
            self._wake()

    def _read(self, call: UnaryCall) -> tuple[bytes | None, bool]:
        """Return a result, if there is one, and whether it is the last. Raises AseError."""
        if call.error is not None:
            raise fault_of(call.error)
        try:
            reply = ResData.FromString(call.response or b"")
            data = reply.data[0].data if reply.data else b""
            output = LoaderOutput.FromString(data)
        except DecodeError as error:
            raise AseError(BAD_REPLY) from error
        if reply.code:
            fault = LOADER_FULL if reply.code == LOADER_FULL.code else loader_error_spec(reply.code)
            raise AseError(fault, reply.error_info)
        last = output.code != 0 or output.status in _LAST
        return (data if last or output.pl or not self._accepted else None), last

    def _is_ending(self) -> bool:
        return self._ended or self._last is not None or self._refusal is not None

    def _end(self, error: AseError | None, *, tell: bool = False) -> None:
        """End it; `tell`: the loader may still hold the handle, and hears that it is let go."""
        self._ended, self._error = True, error
        for call in (self._writing, self._polling):
            if call is not None:
                call.cancel()
        if tell and self._seq:
            self._call("AIExcp", {}, b"", _WRITE_S, _nothing)
        self._over(self)

    def _call(
        self,
        op: str,
        param: dict[str, str],
        frame: bytes,
        seconds: float,
        done: Callable[[UnaryCall], None],
    ) -> UnaryCall:
        request = ReqData(
            op=op,
            s=XsfSession(h=self._handle),
            param={"version": "v2", "baseId": "0", **param},
            data=[XsfData(data=frame)] if frame else [],
        )
        return self._channel.start_unary(self._head, request.SerializeToString(), seconds, done)


def _nothing(_: UnaryCall) -> None:
    """Do nothing: nobody waits for the answer to a farewell."""
