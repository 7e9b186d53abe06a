"""The two protocols of loaders, as a table: how to wrap a frame and unwrap a response. Pure.

`native` is `ase.v1.Loader/Infer`. `xsf` is the protocol of the original AIGes loader: operation
AIIn of `utils.XsfCall/call` (`docs/wire.md`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import DecodeError

from schemas.model.errors import BAD_REPLY, LOADER_FULL, AseError, loader_error_spec
from schemas.wire import ReqData, ResData, XsfData, XsfSession


@dataclass(frozen=True, slots=True)
class LoaderProtocol:
    """How to make a unary call to a loader.

    - `method`: the full path of the gRPC method.
    - `wrap(frame, handle, wait_ms)`: return the request message for `frame`, a serialized
      LoaderInput. `wait_ms` is the time that the loader may take, in whole milliseconds.
    - `unwrap(response)`: return the serialized LoaderOutput of a response message. The xsf one
      raises AseError: 10110 if the loader is full, another code of the loader, 10160 if the
      response is malformed or has no data.
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
