"""The xsf side of a loader: ops, frames and refusals."""

from typing import Any

import pytest

from aseloader import xsf
from schemas.model.errors import LOADER_FULL, AseError
from schemas.wire import LoaderInput, LoaderOutput, ReqData, ResData, XsfData, XsfSession


def encode_request(op: str = "AIIn", *data: bytes) -> bytes:
    frames = [XsfData(data=frame_data) for frame_data in data]
    return ReqData(op=op, s=XsfSession(h="h" * 26), data=frames).SerializeToString()


def parse(data: bytes) -> xsf.XsfRequest:
    return xsf.parse_request(data, lambda: "fresh")


def test_frame_is_parsed_with_its_handle() -> None:
    parsed = parse(encode_request("AIIn", LoaderInput(serviceId="x").SerializeToString()))
    assert parsed.frame is not None
    assert (parsed.frame.serviceId, parsed.handle) == ("x", "h" * 26)


@pytest.mark.parametrize("op", ["ping", "AIHotword", "AIDetect", "AILoad", "AIUnLoad"])
def test_no_op_requests_have_no_frame(op: str) -> None:
    assert parse(encode_request(op)).frame is None


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (encode_request("AINo"), 10003), (encode_request("x" * 500), 10003),
        (encode_request("AIIn"), 10401), (encode_request("AIIn", b"\xff\xff"), 10401),
        (b"\xff\xff", 10401),
    ],
)  # fmt: skip
def test_invalid_request_has_its_error_code(data: bytes, code: int) -> None:
    with pytest.raises(AseError) as caught:
        parse(data)
    assert caught.value.spec.code == code
    assert len(str(caught.value)) < 100


def test_replies() -> None:
    output = LoaderOutput(code=10107)
    reply = ResData.FromString(xsf.build_reply(output, "h", "a:1"))
    assert reply.code == 0, "errors of the work travel inside"
    assert LoaderOutput.FromString(reply.data[0].data) == output
    assert reply.s.sess["PeerAddr"] == "a:1"
    assert not ResData.FromString(xsf.build_reply(None, "h", "a:1")).data
    refusal = ResData.FromString(xsf.build_refusal(LOADER_FULL, "full", "h"))
    assert (refusal.code, refusal.error_info, refusal.s.h) == (10110, "full", "h")


def test_session_requests_carry_their_handle() -> None:
    for op in ("AIOut", "AIExcp"):
        assert parse(encode_request(op)) == xsf.XsfRequest(op, "h" * 26, timeout=0.5)
    frame = LoaderInput(serviceId="x")
    data = [XsfData(data=frame.SerializeToString())]
    param = {"SeqNo": "2", "waitTime": "1500"}
    message = ReqData(op="AIIn", s=XsfSession(h="h"), data=data, param=param)
    assert parse(message.SerializeToString()) == xsf.XsfRequest("AIIn", "h", frame, False, 1.5)


@pytest.mark.parametrize(
    ("state", "seq_no", "handle"),
    [(LoaderInput.STREAM, "1", "fresh"), (LoaderInput.ONCE, "1", "fresh"),
     (LoaderInput.ONCE, "2", "fresh"), (LoaderInput.STREAM, "2", "")],
)  # fmt: skip
def test_a_first_frame_without_a_handle_gets_a_fresh_one(
    state: Any, seq_no: str, handle: str
) -> None:
    data = [XsfData(data=LoaderInput(serviceId="x", state=state).SerializeToString())]
    request = ReqData(op="AIIn", data=data, param={"SeqNo": seq_no})
    assert parse(request.SerializeToString()).handle == handle


def test_result_request_without_a_handle_has_none() -> None:
    for op in ("AIOut", "AIExcp"):
        assert parse(ReqData(op=op).SerializeToString()).handle == ""
