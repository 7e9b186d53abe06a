"""The two ways to call a loader, as a table: how a frame is wrapped, an answer read. Pure.

`native` is `ase.v1.Loader/Infer`; `xsf` is what the original AIGes loader speaks, op AIIn of
`utils.XsfCall/call` (reference "ase-wire" 3.5 and 3.6).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import DecodeError

from schemas.model.errors import BAD_REPLY, LOADER_FULL, AseError, loader_error_spec
from schemas.wire import ReqData, ResData, XsfData, XsfSession


@dataclass(frozen=True, slots=True)
class LoaderProtocol:
    """`wrap(frame, handle, wait)`: the request's bytes; `wait` in whole milliseconds.

    `frame` is a serialised LoaderInput.
    `unwrap(answer)`: the serialised LoaderOutput; raises AseError (10110, another xsf code, 10160
    for garbage).
    """

    method: str
    wrap: Callable[[bytes, str, int], bytes]
    unwrap: Callable[[bytes], bytes]


def _wrap_native(frame: bytes, _handle: str, _wait_ms: int) -> bytes:
    return frame


def _unwrap_native(response: bytes) -> bytes:
    return response


def _wrap_xsf(frame: bytes, handle: str, wait_ms: int) -> bytes:
    return ReqData(
        op="AIIn",
        s=XsfSession(h=handle),
        param={"SeqNo": "1", "version": "v2", "waitTime": str(wait_ms), "baseId": "0"},
        data=[XsfData(data=frame)],
    ).SerializeToString()


def _unwrap_xsf(response: bytes) -> bytes:
    try:
        reply = ResData.FromString(response)
    except DecodeError as error:
        raise AseError(BAD_REPLY) from error
    if reply.code == LOADER_FULL.code:
        raise AseError(LOADER_FULL, reply.error_info)
    if reply.code != 0:
        raise AseError(loader_error_spec(reply.code), reply.error_info)
    if not reply.data:
        raise AseError(BAD_REPLY)
    return reply.data[0].data


LOADER_PROTOCOLS: Final = {
    "native": LoaderProtocol("/ase.v1.Loader/Infer", _wrap_native, _unwrap_native),
    "xsf": LoaderProtocol("/utils.XsfCall/call", _wrap_xsf, _unwrap_xsf),
}
