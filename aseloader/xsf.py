"""The xsf side of a loader: ReqData in, what is to be done; a result, ResData out. Pure.

Ops and rules: reference "ase-wire" 3.5 and 3.6. Errors of the work travel inside LoaderOutput.
In ResData.code stands 10110, so that the caller tries elsewhere, and what is wrong with the call.
"""

from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from schemas.model.errors import BAD_FRAME as _BAD_FRAME
from schemas.model.errors import INVALID_OP, AseError, ErrorSpec
from schemas.wire import LoaderInput, LoaderOutput, ReqData, ResData, XsfData, XsfSession

# Accepted for the sake of callers that send them; this loader has nothing to do for them.
_IGNORED_OPS = frozenset({"ping", "AIHotword", "AIDetect", "AILoad", "AIUnLoad"})


_DEFAULT_WAIT_MS, _MAX_WAIT_MS = 500, 60_000
_WRITE_OP = "AIIn"
_FRAMELESS_OPS = frozenset({"AIOut", "AIExcp"})


@dataclass(frozen=True, slots=True)
class XsfRequest:
    """A request read: its op ("" for one that needs nothing), frame, and handle for the reply.

    `first`: it begins what its handle names. `wait`: seconds that it may wait for a result.
    `polls`: results are to be had by AIOut alone.
    """

    op: str
    handle: str
    frame: LoaderInput | None = None
    is_first: bool = False
    timeout: float = 0.0
    results_by_poll: bool = False


def parse_request(data: bytes, new_handle: Callable[[], str]) -> XsfRequest:
    """Return what a ReqData asks for.

    A first frame without a handle begins a session of its own: `new_handle` names it, and the reply
    tells the caller. No other request may go without: one handle for all callers would mix them.
    Raises AseError 10003 for an op that is not served, 10401 for what is not readable.
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
    """Return the ResData that carries an output; `addr` tells the caller where it was answered."""
    response = ResData(s=XsfSession(h=handle, sess={"PeerAddr": addr}))
    if output is not None:
        response.data.append(XsfData(data=output.SerializeToString()))
    return response.SerializeToString()


def build_refusal(error_spec: ErrorSpec, message: str, handle: str = "") -> bytes:
    """Return the ResData that refuses a request as a whole."""
    return ResData(
        code=error_spec.code, error_info=message, s=XsfSession(h=handle)
    ).SerializeToString()
