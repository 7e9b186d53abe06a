"""Sessions with loaders that speak xsf: AIIn, AIOut and AIExcp on one handle."""

import contextlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

from aseloader import declare
from schemas.wire import (
    LoaderInput,
    LoaderOutput,
    MetaDesc,
    Payload,
    ReqData,
    ResData,
    XsfData,
    XsfSession,
)
from tests.harness import Gateway, Hub, Loader
from tests.sessions import TALKER, frame, output_bytes
from tests.wire.test_sockets import open_session, receive, receive_close_code, send, wait_until_idle
from tests.wrappers.talker import Talker

XsfCall = Callable[..., ResData]


@pytest.fixture(scope="module")
def loader() -> Iterator[Loader]:
    with Hub() as other_hub, Loader(other_hub.lb, TALKER, "--total", "2") as running:
        yield running


@pytest.fixture(scope="module")
def gateway(loader: Loader, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder: Path = tmp_path_factory.mktemp("xsf")
    (folder / "schemas").mkdir()
    (folder / "schemas/schema_talker.json").write_bytes(declare.schema(Talker))
    instance = {"service": "talker", "addr": loader.addr, "protocol": "xsf", "total": 10}
    (folder / "ase.yaml").write_text(json.dumps({"schemas": "schemas", "instances": [instance]}))
    with Gateway("--lb-accept-schemas", "false", "--lb-wait", "0", cwd=folder) as running:
        yield running


@pytest.fixture
def call_xsf(loader: Loader) -> Iterator[XsfCall]:
    with grpc.insecure_channel(loader.addr) as channel:
        call = channel.unary_unary("/utils.XsfCall/call")

        def send_request(
            op: str, handle: str, loader_input: LoaderInput | None = None, **param: str
        ) -> ResData:
            data = (
                [XsfData(data=loader_input.SerializeToString())] if loader_input is not None else []
            )
            request = ReqData(op=op, s=XsfSession(h=handle), param=param, data=data)
            return ResData.FromString(call(request.SerializeToString(), timeout=10))

        yield send_request


def make_input(data: bytes, number: int, status: int, act: str = "echo") -> LoaderInput:
    meta = MetaDesc(name="text", attribute={"status": str(status)})
    return LoaderInput(
        serviceId="talker",
        params={"act": act},
        sync_id=number,
        expect=[MetaDesc(name="said"), MetaDesc(name="facts")],
        pl=[Payload(meta=meta, data=data)],
    )


def decode_output(response: ResData) -> LoaderOutput:
    return LoaderOutput.FromString(response.data[0].data)


def test_websocket_session_over_xsf(gateway: Gateway) -> None:
    with open_session(gateway) as ws:
        send(ws, frame(0, b"one"))
        assert receive(ws)["header"]["status"] == 0
        assert output_bytes(receive(ws)) == b"ONE"
        send(ws, frame(1, b"two"), frame(1, b"three"))
        assert [output_bytes(receive(ws)) for _ in range(2)] == [b"TWO", b"THREE"]
        send(ws, frame(2, b"four"))
        assert output_bytes(receive(ws)) == b"FOUR"
        assert receive(ws)["header"]["status"] == 2
        assert receive_close_code(ws) == 1000
    wait_until_idle(gateway)


@pytest.mark.parametrize(
    ("act", "code"), [("raise", 10908), ("refuse", 10107), ("undeclared", 10106)]
)
def test_errors_are_reported(gateway: Gateway, act: str, code: int) -> None:
    with open_session(gateway) as ws:
        send(ws, frame(0, b"one", act=act))
        receive(ws)
        assert receive(ws)["header"]["code"] == code
    wait_until_idle(gateway)


def test_client_disconnect_ends_the_loader_session_and_frees_its_slot(
    gateway: Gateway, loader: Loader
) -> None:
    for _ in range(3):  # there are two places
        with open_session(gateway) as ws:
            send(ws, frame(0, b"one", act="hold"))
            message = receive(ws)
            assert message["header"]["code"] == 0
        loader.wait_for_event("over", sid=message["header"]["sid"])
        wait_until_idle(gateway)


def test_full_loader_rejects_a_session(gateway: Gateway) -> None:
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(open_session(gateway)) for _ in range(2)]
        for ws in sessions:
            send(ws, frame(0, b"one", act="hold"))
            receive(ws)
        with open_session(gateway) as ws:
            send(ws, frame(0, b"one"))
            assert receive(ws)["header"]["code"] == 10110
            assert receive_close_code(ws) == 1013
    wait_until_idle(gateway)


def test_out_of_order_frames_are_reordered(call_xsf: XsfCall) -> None:
    frames = [(b"a", 1, 0), (b"c", 3, 2), (b"b", 2, 1), (b"again", 1, 1)]
    outputs = [
        decode_output(call_xsf("AIIn", "order", make_input(*frame_args), SeqNo=str(seq)))
        for seq, frame_args in enumerate(frames, 1)
    ]
    assert outputs[0].status == LoaderOutput.BEGIN
    while outputs[-1].status != LoaderOutput.END:
        outputs.append(decode_output(call_xsf("AIOut", "order", waitTime="2000")))
    assert b"".join(part.data for loader_output in outputs for part in loader_output.pl) == b"ABC"
    assert decode_output(call_xsf("AIOut", "order")).code == 10101


def test_unknown_handles(call_xsf: XsfCall) -> None:
    second_frame = make_input(b"a", 2, 1)
    replies = [
        call_xsf("AIOut", "never"),
        call_xsf("AIIn", "never", second_frame, SeqNo="2"),
        call_xsf("AIExcp", "never"),
    ]
    assert [reply.code for reply in replies] == [0, 0, 0], "an error is inside the output"
    assert {decode_output(reply).code for reply in replies} == {10008}


def test_handle_starts_only_once(call_xsf: XsfCall) -> None:
    assert call_xsf("AIIn", "once", make_input(b"a", 1, 0, "hold"), SeqNo="1").code == 0
    assert call_xsf("AIIn", "once", make_input(b"a", 1, 0), SeqNo="1").code == 10110
    assert call_xsf("AIOut", "once", waitTime="50").code == 0
    assert call_xsf("AIExcp", "once").code == 0
    assert decode_output(call_xsf("AIExcp", "once")).code == 10101


def test_a_small_result_does_not_overtake_a_large_one(gateway: Gateway) -> None:
    texts = [bytes([65 + number]) * (60_000 if number % 2 else 1) for number in range(26)]
    with open_session(gateway) as ws:
        send(ws, frame(0, texts[0]), *(frame(1, data) for data in texts[1:]), frame(2))
        receive(ws)
        assert [output_bytes(receive(ws)) for _ in texts] == texts
        assert receive_close_code(ws) == 1000
    wait_until_idle(gateway)


def test_fast_writer_is_blocked_until_frames_are_read(call_xsf: XsfCall) -> None:
    """The loader holds a few frames of a session, and takes its time for the next."""
    call_xsf("AIIn", "fast", make_input(b"a", 1, 0, act="hold"), SeqNo="1")
    with ThreadPoolExecutor() as threads:
        for number in range(2, 20):
            future = threads.submit(
                call_xsf, "AIIn", "fast", make_input(b"b", number, 1), SeqNo=str(number)
            )
            try:
                future.result(timeout=1.0)
            except TimeoutError:
                break
        else:
            pytest.fail("it takes whatever comes")
        assert number > 4
        assert future.result().code == 0, "it is taken in the end"
    call_xsf("AIExcp", "fast")


def test_sessions_without_a_client_handle_are_separate() -> None:
    """As the original: the loader names each session, and the reply tells its caller the name."""

    def run_session(call: Any, caller: int) -> tuple[str, bytes, bytes]:
        own_data = f"caller-{caller};".encode()

        def call_xsf(
            op: str, handle: str, loader_input: LoaderInput | None = None, **param: str
        ) -> ResData:
            data = (
                [XsfData(data=loader_input.SerializeToString())] if loader_input is not None else []
            )
            request = ReqData(op=op, s=XsfSession(h=handle), param=param, data=data)
            return ResData.FromString(call(request.SerializeToString(), timeout=30))

        responses = [call_xsf("AIIn", "", make_input(own_data, 1, 0), SeqNo="1")]
        handle = responses[0].s.h
        for number in range(2, 6):
            status = 2 if number == 5 else 1
            responses.append(
                call_xsf("AIIn", handle, make_input(own_data, number, status), SeqNo=str(number))
            )
        while decode_output(responses[-1]).status != LoaderOutput.END:
            responses.append(call_xsf("AIOut", handle, waitTime="2000"))
            assert responses[-1].s.h == handle
        received = b"".join(
            part.data for xsf_response in responses for part in decode_output(xsf_response).pl
        )
        return handle, received, own_data.upper() * 5

    with (
        Hub() as other_hub,
        Loader(other_hub.lb, TALKER) as loader,
        grpc.insecure_channel(loader.addr) as channel,
        ThreadPoolExecutor(50) as threads,
    ):
        call = channel.unary_unary("/utils.XsfCall/call")
        conversations = list(threads.map(partial(run_session, call), range(50)))
        for handle, received, expected in conversations:
            assert (len(handle), received) == (26, expected)
        assert len({handle for handle, _, _ in conversations}) == 50
        for op in ("AIOut", "AIExcp"):
            request = ReqData(op=op, param={"waitTime": "10"})
            response = ResData.FromString(call(request.SerializeToString(), timeout=30))
            assert decode_output(response).code == 10008, "no session has an empty handle"
