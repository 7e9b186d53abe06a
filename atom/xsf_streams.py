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

from atom.faults import to_ase_error
from rpc.calls import UnaryCall
from rpc.client import Channel
from schemas.model.errors import (
    BAD_REPLY,
    HANDLE_RELEASED,
    LOADER_FULL,
    LOADER_LOST,
    AseError,
    loader_error_spec,
)
from schemas.wire import LoaderOutput, ReqData, ResData, XsfData, XsfSession

_WRITE_TIMEOUT_S: Final = 5.0
_POLL_WAIT_MS: Final = 3000
_POLL_TIMEOUT_S: Final = 8.0
_MAX_QUEUED_FRAMES: Final = 4  # frames that may wait for the one before
_LAST_RESULT_DELAY_S: Final = 0.25
_FINAL_STATUSES: Final = (LoaderOutput.END, LoaderOutput.ONCE)


class XsfStream:
    """A session by `utils.XsfCall/call`; `over` is told its end."""

    def __init__(
        self,
        channel: Channel,
        header_block: bytes,
        handle: str,
        wake: Callable[[], None],
        on_closed: Callable[["XsfStream"], None],
    ) -> None:
        self._channel = channel
        self._header_block = header_block
        self._handle = handle
        self._wake = wake
        self._on_closed = on_closed
        self._frames: deque[bytes] = deque()
        self._results: deque[bytes] = deque()
        self._seq = 0
        self._write_call: UnaryCall | None = None
        self._poll_call: UnaryCall | None = None
        self._accepted = self._is_finished = False
        self._last_result: bytes | None = None
        self._refusal: AseError | None = None  # of an AIIn, while AIOut may still bring the last
        self._error: AseError | None = None

    def can_send(self) -> bool:
        """Return whether few frames wait."""
        return not self._is_finished and len(self._frames) < _MAX_QUEUED_FRAMES

    def send(self, frame: bytes) -> None:
        """Send a frame, when the one before was taken."""
        self._frames.append(frame)
        self._write()

    def finish_sending(self) -> None:
        """Do nothing: the status of the last frame has told it."""

    def pop_result(self) -> bytes | None:
        """Return the next result; ask for more when there is no other."""
        if not self._results:
            return None
        result = self._results.popleft()
        self._poll()
        return result

    def is_finished(self) -> bool:
        """Return whether the loader has ended it."""
        return self._is_finished and not self._results

    def failure(self) -> AseError | None:
        """Return what it ended with."""
        return self._error

    def cancel(self) -> None:
        """Give it up; the loader is told, once."""
        if not self._is_finished:
            self._end(AseError(LOADER_LOST), release_handle=True)

    def _write(self) -> None:
        if self._write_call is None and self._frames and not self._is_ending():
            self._seq += 1
            # A loader of ours heeds the last: two answers with results could overtake.
            param = {"SeqNo": str(self._seq), "waitTime": "0", "results": "AIOut"}
            frame = self._frames.popleft()
            self._write_call = self._start_call(
                "AIIn", param, frame, _WRITE_TIMEOUT_S, self._on_write_done
            )

    def _on_write_done(self, call: UnaryCall) -> None:
        self._write_call = None
        self._handle_reply(call)
        if not self._is_finished:
            self._accepted = True
            self._write()
            self._poll()
        self._wake()

    def _poll(self) -> None:
        if (
            self._accepted
            and self._poll_call is None
            and not self._is_ending()
            and not self._results
        ):
            param = {"waitTime": str(_POLL_WAIT_MS)}
            self._poll_call = self._start_call(
                "AIOut", param, b"", _POLL_TIMEOUT_S, self._on_poll_done
            )

    def _on_poll_done(self, call: UnaryCall) -> None:
        self._poll_call = None
        self._handle_reply(call)
        self._poll()
        self._wake()

    def _handle_reply(self, call: UnaryCall) -> None:
        """Take in an answer: a result, or an end."""
        if self._is_finished:
            return
        try:
            result, is_last = self._parse_reply(call)
        except AseError as error:
            if error.spec is HANDLE_RELEASED and self._poll_call is not None:
                self._refusal = error
                return
            if self._last_result is None:
                # Who refuses has let the handle go, and who cannot be understood has not.
                self._end(error, release_handle=call.error is not None or error.spec is BAD_REPLY)
                return
            result, is_last = None, False  # the handle is gone, as it is to be behind the last
        if is_last and result is not None and self._last_result is None:
            self._last_result = result
        elif result is not None:
            self._results.append(result)
        if self._last_result is not None:
            if self._write_call is None and self._poll_call is None:
                self._deliver_last_result()
            else:
                asyncio.get_running_loop().call_later(
                    _LAST_RESULT_DELAY_S, self._deliver_last_result
                )
        elif self._refusal is not None and self._poll_call is None and not is_last:
            self._end(self._refusal)

    def _deliver_last_result(self) -> None:
        """Tell the last result: the other call had its moment to bring one from before it."""
        if not self._is_finished and self._last_result is not None:
            self._results.append(self._last_result)
            self._end(None)
            self._wake()

    def _parse_reply(self, call: UnaryCall) -> tuple[bytes | None, bool]:
        """Return a result, if there is one, and whether it is the last. Raises AseError."""
        if call.error is not None:
            raise to_ase_error(call.error)
        try:
            reply = ResData.FromString(call.response or b"")
            data = reply.data[0].data if reply.data else b""
            output = LoaderOutput.FromString(data)
        except DecodeError as error:
            raise AseError(BAD_REPLY) from error
        if reply.code:
            error_spec = (
                LOADER_FULL if reply.code == LOADER_FULL.code else loader_error_spec(reply.code)
            )
            raise AseError(error_spec, reply.error_info)
        is_last = output.code != 0 or output.status in _FINAL_STATUSES
        return (data if is_last or output.pl or not self._accepted else None), is_last

    def _is_ending(self) -> bool:
        return self._is_finished or self._last_result is not None or self._refusal is not None

    def _end(self, error: AseError | None, *, release_handle: bool = False) -> None:
        """End it; `tell`: the loader may still hold the handle, and hears that it is let go."""
        self._is_finished, self._error = True, error
        for call in (self._write_call, self._poll_call):
            if call is not None:
                call.cancel()
        if release_handle and self._seq:
            self._start_call("AIExcp", {}, b"", _WRITE_TIMEOUT_S, _ignore_reply)
        self._on_closed(self)

    def _start_call(
        self,
        op: str,
        param: dict[str, str],
        frame: bytes,
        timeout: float,
        on_done: Callable[[UnaryCall], None],
    ) -> UnaryCall:
        request = ReqData(
            op=op,
            s=XsfSession(h=self._handle),
            param={"version": "v2", "baseId": "0", **param},
            data=[XsfData(data=frame)] if frame else [],
        )
        return self._channel.start_unary(
            self._header_block, request.SerializeToString(), timeout, on_done
        )


def _ignore_reply(_: UnaryCall) -> None:
    """Do nothing: nobody waits for the answer to a farewell."""
