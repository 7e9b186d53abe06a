"""The two dialects: what is wrapped is unwrapped, and each kind of refusal is read."""

import pytest

from atom.protocols import LOADER_PROTOCOLS
from schemas.model.errors import BAD_REPLY, LOADER_FULL, AseError
from schemas.wire import LoaderInput, LoaderOutput, ReqData, ResData, XsfData

FRAME = LoaderInput(serviceId="x", params={"a": "1"})
WIRE = FRAME.SerializeToString()


def test_native_frames_are_not_wrapped() -> None:
    native = LOADER_PROTOCOLS["native"]
    assert LoaderInput.FromString(native.wrap(WIRE, "handle", 5)) == FRAME
    assert native.unwrap(b"answer") == b"answer"


def test_xsf_wraps_the_frame_in_a_request() -> None:
    request = ReqData.FromString(LOADER_PROTOCOLS["xsf"].wrap(WIRE, "h" * 32, 4999))
    assert request.op == "AIIn"
    assert request.s.h == "h" * 32
    assert dict(request.param) == {
        "SeqNo": "1",
        "version": "v2",
        "waitTime": "4999",
        "baseId": "0",
    }
    assert LoaderInput.FromString(request.data[0].data) == FRAME


def test_xsf_errors_are_read_from_both_levels() -> None:
    unwrap = LOADER_PROTOCOLS["xsf"].unwrap
    inner = LoaderOutput(code=10107).SerializeToString()
    assert unwrap(ResData(data=[XsfData(data=inner)]).SerializeToString()) == inner
    with pytest.raises(AseError, match="licence") as caught:
        unwrap(ResData(code=10110, error_info="licence").SerializeToString())
    assert caught.value.spec is LOADER_FULL
    with pytest.raises(AseError) as caught:
        unwrap(ResData(code=10008).SerializeToString())
    assert caught.value.spec.code == 10008


def test_garbage_is_10160() -> None:
    with pytest.raises(AseError) as caught:
        LOADER_PROTOCOLS["xsf"].unwrap(b"\xff\xff\xff")
    assert caught.value.spec is BAD_REPLY


def test_xsf_response_without_data_is_10160() -> None:
    with pytest.raises(AseError) as caught:
        LOADER_PROTOCOLS["xsf"].unwrap(ResData().SerializeToString())
    assert caught.value.spec is BAD_REPLY
