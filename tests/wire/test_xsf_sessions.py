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
from tests.wire.test_sockets import TALKER, closed, frame, free, heard, opened, said, send
from tests.wrappers.talker import Talker

Ask = Callable[..., ResData]


@pytest.fixture(scope="module")
def loader() -> Iterator[Loader]:
    with Hub() as elsewhere, Loader(elsewhere.lb, TALKER, "--total", "2") as running:
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
def ask(loader: Loader) -> Iterator[Ask]:
    with grpc.insecure_channel(loader.addr) as channel:
        call = channel.unary_unary("/utils.XsfCall/call")

        def asked(op: str, handle: str, told: LoaderInput | None = None, **param: str) -> ResData:
            data = [XsfData(data=told.SerializeToString())] if told is not None else []
            request = ReqData(op=op, s=XsfSession(h=handle), param=param, data=data)
            return ResData.FromString(call(request.SerializeToString(), timeout=10))

        yield asked


def text(data: bytes, number: int, status: int, act: str = "echo") -> LoaderInput:
    meta = MetaDesc(name="text", attribute={"status": str(status)})
    return LoaderInput(
        serviceId="talker",
        params={"act": act},
        sync_id=number,
        expect=[MetaDesc(name="said"), MetaDesc(name="facts")],
        pl=[Payload(meta=meta, data=data)],
    )


def output(answer: ResData) -> LoaderOutput:
    return LoaderOutput.FromString(answer.data[0].data)


def test_by_websocket(gateway: Gateway) -> None:
    with opened(gateway) as ws:
        send(ws, frame(0, b"one"))
        assert heard(ws)["header"]["status"] == 0
        assert said(heard(ws)) == b"ONE"
        send(ws, frame(1, b"two"), frame(1, b"three"))
        assert [said(heard(ws)) for _ in range(2)] == [b"TWO", b"THREE"]
        send(ws, frame(2, b"four"))
        assert said(heard(ws)) == b"FOUR"
        assert heard(ws)["header"]["status"] == 2
        assert closed(ws) == 1000
    free(gateway)


@pytest.mark.parametrize(
    ("act", "code"), [("raise", 10908), ("refuse", 10107), ("undeclared", 10106)]
)
def test_errors_are_told(gateway: Gateway, act: str, code: int) -> None:
    with opened(gateway) as ws:
        send(ws, frame(0, b"one", act=act))
        heard(ws)
        assert heard(ws)["header"]["code"] == code
    free(gateway)


def test_a_client_that_leaves_ends_it_at_the_loader_and_its_place_is_free(
    gateway: Gateway, loader: Loader
) -> None:
    for _ in range(3):  # there are two places
        with opened(gateway) as ws:
            send(ws, frame(0, b"one", act="hold"))
            told = heard(ws)
            assert told["header"]["code"] == 0
        loader.event("over", sid=told["header"]["sid"])
        free(gateway)


def test_a_full_loader(gateway: Gateway) -> None:
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(opened(gateway)) for _ in range(2)]
        for ws in held:
            send(ws, frame(0, b"one", act="hold"))
            heard(ws)
        with opened(gateway) as ws:
            send(ws, frame(0, b"one"))
            assert heard(ws)["header"]["code"] == 10110
            assert closed(ws) == 1013
    free(gateway)


def test_frames_that_were_overtaken_are_put_in_order(ask: Ask) -> None:
    frames = [(b"a", 1, 0), (b"c", 3, 2), (b"b", 2, 1), (b"again", 1, 1)]
    told = [
        output(ask("AIIn", "order", text(*one), SeqNo=str(seq)))
        for seq, one in enumerate(frames, 1)
    ]
    assert told[0].status == LoaderOutput.BEGIN
    while told[-1].status != LoaderOutput.END:
        told.append(output(ask("AIOut", "order", waitTime="2000")))
    assert b"".join(part.data for each in told for part in each.pl) == b"ABC"
    assert ask("AIOut", "order").code == 10101


def test_handles_that_are_not_there(ask: Ask) -> None:
    assert ask("AIOut", "never").code == 10008
    assert ask("AIIn", "never", text(b"a", 2, 1), SeqNo="2").code == 10008
    assert ask("AIExcp", "never").code == 10008


def test_a_handle_is_begun_once(ask: Ask) -> None:
    assert ask("AIIn", "once", text(b"a", 1, 0, "hold"), SeqNo="1").code == 0
    assert ask("AIIn", "once", text(b"a", 1, 0), SeqNo="1").code == 10110
    assert ask("AIOut", "once", waitTime="50").code == 0
    assert ask("AIExcp", "once").code == 0
    assert ask("AIExcp", "once").code == 10101


def test_a_small_result_does_not_overtake_a_large_one(gateway: Gateway) -> None:
    texts = [bytes([65 + number]) * (60_000 if number % 2 else 1) for number in range(26)]
    with opened(gateway) as ws:
        send(ws, frame(0, texts[0]), *(frame(1, told) for told in texts[1:]), frame(2))
        heard(ws)
        assert [said(heard(ws)) for _ in texts] == texts
        assert closed(ws) == 1000
    free(gateway)


def test_who_writes_faster_than_is_read_waits(ask: Ask) -> None:
    """The loader holds a few frames of a session, and takes its time for the next."""
    ask("AIIn", "fast", text(b"a", 1, 0, act="hold"), SeqNo="1")
    with ThreadPoolExecutor() as threads:
        for number in range(2, 20):
            told = threads.submit(ask, "AIIn", "fast", text(b"b", number, 1), SeqNo=str(number))
            try:
                told.result(timeout=1.0)
            except TimeoutError:
                break
        else:
            pytest.fail("it takes whatever comes")
        assert number > 4
        assert told.result().code == 0, "it is taken in the end"
    ask("AIExcp", "fast")


def test_fifty_callers_without_a_handle_read_nothing_of_each_other() -> None:
    """As the original: the loader names each session, and the reply tells its caller the name."""

    def converse(call: Any, caller: int) -> tuple[str, bytes, bytes]:
        mine = f"caller-{caller};".encode()

        def ask(op: str, handle: str, told: LoaderInput | None = None, **param: str) -> ResData:
            data = [XsfData(data=told.SerializeToString())] if told is not None else []
            request = ReqData(op=op, s=XsfSession(h=handle), param=param, data=data)
            return ResData.FromString(call(request.SerializeToString(), timeout=30))

        answers = [ask("AIIn", "", text(mine, 1, 0), SeqNo="1")]
        handle = answers[0].s.h
        for number in range(2, 6):
            status = 2 if number == 5 else 1
            answers.append(ask("AIIn", handle, text(mine, number, status), SeqNo=str(number)))
        while output(answers[-1]).status != LoaderOutput.END:
            answers.append(ask("AIOut", handle, waitTime="2000"))
            assert answers[-1].s.h == handle
        heard = b"".join(part.data for each in answers for part in output(each).pl)
        return handle, heard, mine.upper() * 5

    with (
        Hub() as elsewhere,
        Loader(elsewhere.lb, TALKER) as loader,
        grpc.insecure_channel(loader.addr) as channel,
        ThreadPoolExecutor(50) as threads,
    ):
        call = channel.unary_unary("/utils.XsfCall/call")
        conversations = list(threads.map(partial(converse, call), range(50)))
        for handle, heard, wanted in conversations:
            assert (len(handle), heard) == (26, wanted)
        assert len({handle for handle, _, _ in conversations}) == 50
        for op in ("AIOut", "AIExcp"):
            request = ReqData(op=op, param={"waitTime": "10"})
            answer = ResData.FromString(call(request.SerializeToString(), timeout=30))
            assert answer.code == 10008, "nobody is called nothing"
