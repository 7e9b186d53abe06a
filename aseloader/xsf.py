"""The xsf protocol of a loader: parse a ReqData into a request, build the ResData of the reply.

Operations and rules: `docs/wire.md`. Errors of the wrapper are reported inside the LoaderOutput.
ResData.code is 10110 if the loader is full, so that the caller tries another one, or the code of an
error in the call itself. Pure: no I/O, no clock.
"""

from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from schemas.model.errors import BAD_FRAME as _BAD_FRAME
from schemas.model.errors import INVALID_OP, AseError, ErrorSpec
from schemas.wire import LoaderInput, LoaderOutput, ReqData, ResData, XsfData, XsfSession

# The original's callers send these operations. The loader acknowledges them and does nothing.
_IGNORED_OPS = frozenset({"ping", "AIHotword", "AIDetect", "AILoad", "AIUnLoad"})


_DEFAULT_WAIT_MS, _MAX_WAIT_MS = 500, 60_000
_WRITE_OP = "AIIn"
_FRAMELESS_OPS = frozenset({"AIOut", "AIExcp"})


@dataclass(frozen=True, slots=True)
class XsfRequest:
    """A parsed xsf request.

    - `op`: the operation; "" if it only has to be acknowledged.
    - `handle`: the session's handle, repeated in the reply.
    - `frame`: the frame of an AIIn; None for AIOut and AIExcp.
    - `is_first`: the frame starts the session that `handle` names.
    - `timeout`: how long an AIOut may wait for a result, in seconds.
    - `results_by_poll`: the caller reads results by AIOut only, never from the reply to an AIIn.
    """

    op: str
    handle: str
    frame: LoaderInput | None = None
    is_first: bool = False
    timeout: float = 0.0
    results_by_poll: bool = False


def parse_request(data: bytes, new_handle: Callable[[], str]) -> XsfRequest:
    """Parse a serialised ReqData.

    A first frame, or a single request, without a handle gets a new one from `new_handle`, which the
    reply returns to the caller. Any other request keeps its empty handle, which names no session:
    if "" were a session, all callers without a handle would share it. Raises AseError 10003 for an
    unknown operation, 10401 for an unreadable request or frame.
    """
    try:
        request = ReqData.FromString(data)
        if request.op in _IGNORED_OPS:
            return XsfRequest("", request.s.h)
        timeout = min(_parse_wait_ms(request.param.get("waitTime", "")), _MAX_WAIT_MS) / 1000
        if request.op in _FRAMELESS_OPS:
            return XsfRequest(request.op, request.s.h, timeout=timeout)
        if request.op != _WRITE_OP:
            raise AseError(INVALID_OP, f"op {request.op[:32]!r} is not served")
        if not request.data:
            raise AseError(_BAD_FRAME, "no frame in data[0]")
        frame = LoaderInput.FromString(request.data[0].data)
        is_first = request.param.get("SeqNo", "1") == "1"
        results_by_poll = request.param.get("results") == "AIOut"
        handle = request.s.h
        if not handle and (is_first or frame.state == LoaderInput.ONCE):
            handle = new_handle()
        return XsfRequest(request.op, handle, frame, is_first, timeout, results_by_poll)
    except DecodeError as error:
        raise AseError(_BAD_FRAME) from error


def _parse_wait_ms(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() else _DEFAULT_WAIT_MS


def build_reply(output: LoaderOutput | None, handle: str, addr: str) -> bytes:
    """Return the serialised ResData that carries `output`, or no data if it is None.

    `addr` is the address of this loader (`PeerAddr`), by which the original's callers send the rest
    of a session to the same loader.
    """
    response = ResData(s=XsfSession(h=handle, sess={"PeerAddr": addr}))
    if output is not None:
        response.data.append(XsfData(data=output.SerializeToString()))
    return response.SerializeToString()


def build_refusal(error_spec: ErrorSpec, message: str, handle: str = "") -> bytes:
    """Return the serialised ResData that rejects a request, with the code in ResData itself."""
    return ResData(
        code=error_spec.code, error_info=message, s=XsfSession(h=handle)
    ).SerializeToString()
