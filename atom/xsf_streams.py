"""A session as the original loader has it: AIIn, AIOut and AIExcp on one handle.

One AIIn at a time carries the frames, in order; from the first that is accepted, one AIOut waits
for results (reference "ase-wire" 3.6). The loader is the one that the first AIIn went to.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from google.protobuf.message import DecodeError

from atom.faults import fault_of
from rpc.calls import UnaryCall
from rpc.client import Channel
from schemas.errors import BAD_REPLY, FULL, AseError, loader_fault
from schemas.wire import LoaderOutput, ReqData, ResData, XsfData, XsfSession

_WRITE_S: Final = 5.0
_POLL_MS: Final = 3000
_POLL_S: Final = 8.0
_MOST: Final = 4  # frames that may wait for the one before
_LAST: Final = (LoaderOutput.END, LoaderOutput.ONCE)


class XsfStream:
    """A session by `utils.XsfCall/call`."""

    def __init__(
        self, channel: Channel, head: bytes, handle: str, wake: Callable[[], None]
    ) -> None:
        self._channel = channel
        self._head = head
        self._handle = handle
        self._wake = wake
        self._frames: deque[bytes] = deque()
        self._results: deque[bytes] = deque()
        self._seq = 0
        self._writing: UnaryCall | None = None
        self._polling: UnaryCall | None = None
        self._accepted = self._ended = False
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
        if self._ended:
            return
        self._ended = True
        for call in (self._writing, self._polling):
            if call is not None:
                call.cancel()
        if self._seq:
            self._call("AIExcp", {}, b"", _WRITE_S, _nothing)

    def _write(self) -> None:
        if self._writing is None and self._frames and not self._ended:
            self._seq += 1
            param = {"SeqNo": str(self._seq), "waitTime": "0"}
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
        if self._accepted and self._polling is None and not self._ended and not self._results:
            param = {"waitTime": str(_POLL_MS)}
            self._polling = self._call("AIOut", param, b"", _POLL_S, self._polled)

    def _polled(self, call: UnaryCall) -> None:
        self._polling = None
        self._take(call)
        if not self._ended:
            self._poll()
        self._wake()

    def _take(self, call: UnaryCall) -> None:
        """Take in an answer: a result, or an end."""
        if self._ended:
            return
        if call.error is not None:
            self._end(fault_of(call.error))
            return
        try:
            reply = ResData.FromString(call.message or b"")
            data = reply.data[0].data if reply.data else b""
            output = LoaderOutput.FromString(data)
        except DecodeError:
            self._end(AseError(BAD_REPLY))
            return
        if reply.code:
            fault = FULL if reply.code == FULL.code else loader_fault(reply.code)
            self._end(AseError(fault, reply.error_info))
            return
        last = output.code != 0 or output.status in _LAST
        if last or output.pl or not self._accepted:
            self._results.append(data)
        if last:
            self._end(None)

    def _end(self, error: AseError | None) -> None:
        self._ended, self._error = True, error
        for call in (self._writing, self._polling):
            if call is not None:
                call.cancel()

    def _call(
        self, op: str, param: dict[str, str], frame: bytes, seconds: float,
        done: Callable[[UnaryCall], None],
    ) -> UnaryCall:  # fmt: skip
        request = ReqData(
            op=op,
            s=XsfSession(h=self._handle),
            param={"version": "v2", "baseId": "0", **param},
            data=[XsfData(data=frame)] if frame else [],
        )
        return self._channel.begin(self._head, request.SerializeToString(), seconds, done)


def _nothing(_: UnaryCall) -> None:
    """Do nothing: nobody waits for the answer to a farewell."""
