"""The xsf side of a loader: ReqData in, what is to be done; a result, ResData out. Pure.

Ops and rules: reference "ase-wire" 3.5 and 3.6. Errors of the work travel inside LoaderOutput.
In ResData.code stands 10110, so that the caller tries elsewhere, and what is wrong with the call.
"""

from dataclasses import dataclass

from google.protobuf.message import DecodeError

from schemas.errors import BAD_FRAME as _BAD_FRAME
from schemas.errors import INVALID_OP, AseError, Fault
from schemas.wire import LoaderInput, LoaderOutput, ReqData, ResData, XsfData, XsfSession

# Accepted for the sake of callers that send them; this loader has nothing to do for them.
_NO_OPS = frozenset({"ping", "AIHotword", "AIDetect", "AILoad", "AIUnLoad"})


@dataclass(frozen=True, slots=True)
class Asked:
    """A request read: its frame (None for an op without one), and its handle for the reply."""

    frame: LoaderInput | None
    handle: str


def read(data: bytes) -> Asked:
    """Return what a ReqData asks for.

    Raises AseError 10003 for an op that is not served, 10401 for what is not readable.
    """
    try:
        request = ReqData.FromString(data)
        if request.op in _NO_OPS:
            return Asked(None, request.s.h)
        if request.op != "AIIn":
            raise AseError(INVALID_OP, f"op {request.op[:32]!r} is not served")
        if not request.data:
            raise AseError(_BAD_FRAME, "no frame in data[0]")
        return Asked(LoaderInput.FromString(request.data[0].data), request.s.h)
    except DecodeError as error:
        raise AseError(_BAD_FRAME) from error


def reply(output: LoaderOutput | None, handle: str, addr: str) -> bytes:
    """Return the ResData that carries an output; `addr` tells the caller where it was answered."""
    answer = ResData(s=XsfSession(h=handle, sess={"PeerAddr": addr}))
    if output is not None:
        answer.data.append(XsfData(data=output.SerializeToString()))
    return answer.SerializeToString()


def refuse(fault: Fault, words: str, handle: str = "") -> bytes:
    """Return the ResData that refuses a request as a whole."""
    return ResData(code=fault.code, error_info=words, s=XsfSession(h=handle)).SerializeToString()
