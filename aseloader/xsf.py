"""The xsf side of a loader: ReqData in, what is to be done; a result, ResData out. Pure.

Ops and rules: reference "ase-wire" 3.5 and 3.6. Errors of the work travel inside LoaderOutput.
In ResData.code stands 10110, so that the caller tries elsewhere, and what is wrong with the call.
"""

from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from schemas.errors import BAD_FRAME as _BAD_FRAME
from schemas.errors import INVALID_OP, AseError, ErrorSpec
from schemas.wire import LoaderInput, LoaderOutput, ReqData, ResData, XsfData, XsfSession

# Accepted for the sake of callers that send them; this loader has nothing to do for them.
_NO_OPS = frozenset({"ping", "AIHotword", "AIDetect", "AILoad", "AIUnLoad"})


_WAIT_MS, _MOST_MS = 500, 60_000
_FRAMED = "AIIn"
_ASKING = frozenset({"AIOut", "AIExcp"})


@dataclass(frozen=True, slots=True)
class Asked:
    """A request read: its op ("" for one that needs nothing), frame, and handle for the reply.

    `first`: it begins what its handle names. `wait`: seconds that it may wait for a result.
    `polls`: results are to be had by AIOut alone.
    """

    op: str
    handle: str
    frame: LoaderInput | None = None
    first: bool = False
    wait: float = 0.0
    polls: bool = False


def read(data: bytes, new_handle: Callable[[], str]) -> Asked:
    """Return what a ReqData asks for.

    A first frame without a handle begins a session of its own: `new_handle` names it, and the reply
    tells the caller. No other request may go without: one handle for all callers would mix them.
    Raises AseError 10003 for an op that is not served, 10401 for what is not readable.
    """
    try:
        request = ReqData.FromString(data)
        if request.op in _NO_OPS:
            return Asked("", request.s.h)
        wait = min(_wait_ms(request.param.get("waitTime", "")), _MOST_MS) / 1000
        if request.op in _ASKING:
            return Asked(request.op, request.s.h, wait=wait)
        if request.op != _FRAMED:
            raise AseError(INVALID_OP, f"op {request.op[:32]!r} is not served")
        if not request.data:
            raise AseError(_BAD_FRAME, "no frame in data[0]")
        frame = LoaderInput.FromString(request.data[0].data)
        first = request.param.get("SeqNo", "1") == "1"
        polls = request.param.get("results") == "AIOut"
        handle = request.s.h
        if not handle and (first or frame.state == LoaderInput.ONCE):
            handle = new_handle()
        return Asked(request.op, handle, frame, first, wait, polls)
    except DecodeError as error:
        raise AseError(_BAD_FRAME) from error


def _wait_ms(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() else _WAIT_MS


def reply(output: LoaderOutput | None, handle: str, addr: str) -> bytes:
    """Return the ResData that carries an output; `addr` tells the caller where it was answered."""
    answer = ResData(s=XsfSession(h=handle, sess={"PeerAddr": addr}))
    if output is not None:
        answer.data.append(XsfData(data=output.SerializeToString()))
    return answer.SerializeToString()


def refuse(fault: ErrorSpec, words: str, handle: str = "") -> bytes:
    """Return the ResData that refuses a request as a whole."""
    return ResData(code=fault.code, error_info=words, s=XsfSession(h=handle)).SerializeToString()
