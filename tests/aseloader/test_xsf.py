"""The xsf side of a loader: ops, frames and refusals."""

from typing import Any

import pytest

from aseloader import xsf
from schemas.model.errors import LOADER_FULL, AseError
from schemas.wire import LoaderInput, LoaderOutput, ReqData, ResData, XsfData, XsfSession


def request(op: str = "AIIn", *data: bytes) -> bytes:
    frames = [XsfData(data=one) for one in data]
    return ReqData(op=op, s=XsfSession(h="h" * 26), data=frames).SerializeToString()


def read(data: bytes) -> xsf.XsfRequest:
    return xsf.parse_request(data, lambda: "fresh")


def test_a_frame_is_read_with_its_handle() -> None:
    asked = read(request("AIIn", LoaderInput(serviceId="x").SerializeToString()))
    assert asked.frame is not None
    assert (asked.frame.serviceId, asked.handle) == ("x", "h" * 26)


@pytest.mark.parametrize("op", ["ping", "AIHotword", "AIDetect", "AILoad", "AIUnLoad"])
def test_ops_that_do_nothing(op: str) -> None:
    assert read(request(op)).frame is None


@pytest.mark.parametrize(
    ("data", "code"),
    [(request("AINo"), 10003), (request("x" * 500), 10003), (request("AIIn"), 10401),
     (request("AIIn", b"\xff\xff"), 10401), (b"\xff\xff", 10401)],
)  # fmt: skip
def test_what_cannot_be_served_has_its_code(data: bytes, code: int) -> None:
    with pytest.raises(AseError) as caught:
        read(data)
    assert caught.value.spec.code == code
    assert len(str(caught.value)) < 100


def test_replies() -> None:
    output = LoaderOutput(code=10107)
    answer = ResData.FromString(xsf.build_reply(output, "h", "a:1"))
    assert answer.code == 0, "errors of the work travel inside"
    assert LoaderOutput.FromString(answer.data[0].data) == output
    assert answer.s.sess["PeerAddr"] == "a:1"
    assert not ResData.FromString(xsf.build_reply(None, "h", "a:1")).data
    refused = ResData.FromString(xsf.build_refusal(LOADER_FULL, "full", "h"))
    assert (refused.code, refused.error_info, refused.s.h) == (10110, "full", "h")


def test_sessions_are_asked_by_their_handle() -> None:
    for op in ("AIOut", "AIExcp"):
        assert read(request(op)) == xsf.XsfRequest(op, "h" * 26, timeout=0.5)
    frame = LoaderInput(serviceId="x")
    data = [XsfData(data=frame.SerializeToString())]
    param = {"SeqNo": "2", "waitTime": "1500"}
    told = ReqData(op="AIIn", s=XsfSession(h="h"), data=data, param=param)
    assert read(told.SerializeToString()) == xsf.XsfRequest("AIIn", "h", frame, False, 1.5)


@pytest.mark.parametrize(
    ("state", "number", "handle"),
    [(LoaderInput.STREAM, "1", "fresh"), (LoaderInput.ONCE, "1", "fresh"),
     (LoaderInput.ONCE, "2", "fresh"), (LoaderInput.STREAM, "2", "")],
)  # fmt: skip
def test_a_first_frame_without_a_handle_gets_a_fresh_one(
    state: Any, number: str, handle: str
) -> None:
    data = [XsfData(data=LoaderInput(serviceId="x", state=state).SerializeToString())]
    request = ReqData(op="AIIn", data=data, param={"SeqNo": number})
    assert read(request.SerializeToString()).handle == handle


def test_results_are_not_asked_for_without_a_handle() -> None:
    for op in ("AIOut", "AIExcp"):
        assert read(ReqData(op=op).SerializeToString()).handle == ""
