"""A session of the original loader: AIIn, AIOut and AIExcp calls on one handle.

One AIIn at a time carries the frames, in order. After the first one is accepted, one AIOut polls
for results (`docs/wire.md`). All calls go to the loader of the first AIIn. The replies to both can
carry results, and they may arrive out of order: the last result is delivered when the other
outstanding call has ended too, or after 0.25 s. The last result releases the handle, so the other
call may be replied to with 10101 (released), even before the last result arrives.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from google.protobuf.message import DecodeError

from atom.errors import to_ase_error
from rpc.calls import UnaryCall
from schemas.model.errors import (
    BAD_REPLY,
    HANDLE_RELEASED,
    LOADER_FULL,
    LOADER_LOST,
    NO_HANDLE,
    AseError,
    loader_error_spec,
)
from schemas.wire import LoaderOutput, ReqData, ResData, XsfData, XsfSession

_WRITE_TIMEOUT_S: Final = 5.0
_POLL_WAIT_MS: Final = 3000
_POLL_TIMEOUT_S: Final = 8.0
_MAX_QUEUED_FRAMES: Final = 4  # frames that may wait for the AIIn of an earlier one
_LAST_RESULT_DELAY_S: Final = 0.25
_FINAL_STATUSES: Final = (LoaderOutput.END, LoaderOutput.ONCE)
# A handle is unknown, instead of released, when a loader has forgotten its release.
_HANDLE_GONE_ERRORS: Final = (HANDLE_RELEASED, NO_HANDLE)


class UnaryChannel(Protocol):
    """The part of a channel that an xsf session uses."""

    def start_unary(
        self,
        header_block: bytes,
        request: bytes,
        timeout: float,
        on_done: Callable[[UnaryCall], None],
        /,
    ) -> UnaryCall:
        """Start a call with one request; `on_done` is called when it ends."""


class XsfStream:
    """A session over `utils.XsfCall/call`. `on_closed` is called when it ends.

    - `_frames`, `_results`: frames to send and results to pop. No AIOut is sent while a result is
      not popped, so a slow reader applies back-pressure to the loader.
    - `_seq`: number of AIIn calls so far; 0 means that the loader does not know the handle.
    - `_write_call`, `_poll_call`: the outstanding AIIn and AIOut, or None.
    - `_accepted`: a reply to an AIIn has arrived without an error.
    - `_last_result`: the final result, while the other call may still return an earlier one.
    - `_handle_gone`: the error of a call whose handle the loader has released, while the other call
      may still return the last result.
    - `_is_closed`, `_error`: the session has ended, and its error or None.
    """

    def __init__(
        self,
        channel: UnaryChannel,
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
        self._accepted = self._is_closed = False
        self._last_result: bytes | None = None
        self._handle_gone: AseError | None = None
        self._error: AseError | None = None

    def can_send(self) -> bool:
        """Return whether fewer than four frames wait."""
        return not self._is_closed and len(self._frames) < _MAX_QUEUED_FRAMES

    def send(self, frame: bytes) -> None:
        """Queue a frame. It is sent when the previous AIIn has been replied to."""
        self._frames.append(frame)
        self._write()

    def finish_sending(self) -> None:
        """Do nothing: the status of the last frame marks the end."""

    def pop_result(self) -> bytes | None:
        """Return the next result, or None. Poll for more after the last buffered one."""
        if not self._results:
            return None
        result = self._results.popleft()
        self._poll()
        return result

    def is_finished(self) -> bool:
        """Return whether the session has ended and all results have been popped."""
        return self._is_closed and not self._results

    def failure(self) -> AseError | None:
        """Return the error that the session ended with, or None."""
        return self._error

    def cancel(self) -> None:
        """End the session with 10222 (lost), and release its handle by one AIExcp.

        Do nothing if it has ended.
        """
        if not self._is_closed:
            self._end(AseError(LOADER_LOST), release_handle=True)

    def _write(self) -> None:
        if self._write_call is None and self._frames and not self._is_ending():
            self._seq += 1
            # An Athena loader honours `results`: it returns results by AIOut alone, since two
            # concurrent replies with results could overtake each other.
            param = {"SeqNo": str(self._seq), "waitTime": "0", "results": "AIOut"}
            frame = self._frames.popleft()
            self._write_call = self._start_call(
                "AIIn", param, frame, _WRITE_TIMEOUT_S, self._on_write_done
            )

    def _on_write_done(self, call: UnaryCall) -> None:
        self._write_call = None
        self._handle_reply(call)
        if not self._is_closed:
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
        """Handle the reply to an AIIn or AIOut: a result, the last result or an error."""
        if self._is_closed:
            return
        try:
            result, is_last = self._parse_reply(call)
        except AseError as error:
            self._handle_error(error, is_readable=call.error is None)
            return
        if is_last:
            self._last_result = result if self._last_result is None else self._last_result
        elif result is not None:
            self._results.append(result)
        self._end_if_complete()

    def _handle_error(self, error: AseError, *, is_readable: bool) -> None:
        """Handle an error of a call: it ends the session, unless the last result releases it.

        `is_readable`: the loader replied. A loader that replied with an error has released the
        handle; after a failed call or an unreadable reply it may still hold it.
        """
        if self._last_result is None and error.spec not in _HANDLE_GONE_ERRORS:
            self._end(error, release_handle=not is_readable or error.spec is BAD_REPLY)
            return
        if self._last_result is None:
            self._handle_gone = error
        self._end_if_complete()

    def _end_if_complete(self) -> None:
        """End the session if its end is known and the other call can return no result any more."""
        has_outstanding_call = self._write_call is not None or self._poll_call is not None
        if self._last_result is not None and has_outstanding_call:
            asyncio.get_running_loop().call_later(_LAST_RESULT_DELAY_S, self._deliver_last_result)
        elif self._last_result is not None:
            self._deliver_last_result()
        elif self._handle_gone is not None and not has_outstanding_call:
            self._end(self._handle_gone)

    def _deliver_last_result(self) -> None:
        """Deliver the last result and end the session, if that has not happened.

        Earlier results come first: the other call has ended, or has had 0.25 s to return one.
        """
        if not self._is_closed and self._last_result is not None:
            self._results.append(self._last_result)
            self._end(None)
            self._wake()

    def _parse_reply(self, call: UnaryCall) -> tuple[bytes | None, bool]:
        """Return the result in a reply, or None, and whether it is the last.

        An output without payload is a result only if it is the last one or replies to the first
        AIIn. An output that says that the handle is gone is no result. Raises AseError.
        """
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
        output_error_spec = loader_error_spec(output.code)
        if output_error_spec in _HANDLE_GONE_ERRORS:
            raise AseError(output_error_spec, output.err)
        is_last = output.code != 0 or output.status in _FINAL_STATUSES
        return (data if is_last or output.pl or not self._accepted else None), is_last

    def _is_ending(self) -> bool:
        return self._is_closed or self._last_result is not None or self._handle_gone is not None

    def _end(self, error: AseError | None, *, release_handle: bool = False) -> None:
        """End the session and cancel its calls.

        If `release_handle`, the loader may still hold the handle, and AIExcp releases it.
        """
        self._is_closed, self._error = True, error
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
    """Ignore the reply to AIExcp."""
