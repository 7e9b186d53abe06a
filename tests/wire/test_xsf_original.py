"""Sessions with a loader that does what the original's specification says (reference 3.6, 5.3).

It reads without waiting in an AIIn, so results come by either op; it tells of its load by
`setServer`, and drains by live=0.
"""

import json
import queue
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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
from tests.harness import Gateway
from tests.wire.test_sockets import closed, frame, free, heard, opened, said, send
from tests.wrappers.talker import Talker


class Instance:
    """One session at the loader: what its wrapper made of the frames, in order."""

    def __init__(self) -> None:
        self.made: queue.Queue[LoaderOutput] = queue.Queue()
        self.seq = 0

    def write(self, told: LoaderInput) -> None:
        status = told.pl[0].meta.attribute["status"] if told.pl else "1"
        last = status in ("2", "3")
        data = told.pl[0].data if told.pl else b""
        for piece in [data.upper(), *[b"x" * 40_000] * (data == b"large")]:
            self.seq += 1
            attribute = {"seq": str(self.seq), "status": "1"}
            part = Payload(meta=MetaDesc(name="said", attribute=attribute), data=piece)
            self.made.put(LoaderOutput(status=LoaderOutput.CONTINUE, pl=[part] if piece else []))
        if last:
            self.made.put(LoaderOutput(status=LoaderOutput.END))

    def read(self, seconds: float) -> LoaderOutput:
        try:
            return self.made.get(timeout=seconds) if seconds else self.made.get_nowait()
        except queue.Empty:
            return LoaderOutput(status=LoaderOutput.CONTINUE)


class Original:
    """The loader."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.mode = ""
        self._open: dict[str, Instance] = {}
        self._released: set[str] = set()
        self._lock = threading.Lock()
        handler = grpc.unary_unary_rpc_method_handler(self._call)
        self._server = grpc.server(ThreadPoolExecutor(16))
        generic = grpc.method_handlers_generic_handler("utils.XsfCall", {"call": handler})
        self._server.add_generic_rpc_handlers((generic,))
        self.addr = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        self._server.stop(0)

    def _call(self, data: bytes, _: grpc.ServicerContext) -> bytes:
        asked = ReqData.FromString(data)
        handle = asked.s.h
        self.heard.append(asked.op)
        with self._lock:
            if asked.op == "AIIn" and asked.param["SeqNo"] == "1":
                self._open[handle] = Instance()
            instance = self._open.get(handle)
        if instance is None:
            return ResData(code=10101 if handle in self._released else 10008).SerializeToString()
        if asked.op == "AIExcp":
            self._release(handle)
            return ResData().SerializeToString()
        if asked.op == "AIIn":
            if self.mode == "garbage" and asked.param["SeqNo"] != "1":
                return b"\xff\xff\xff"
            instance.write(LoaderInput.FromString(asked.data[0].data))
            output = instance.read(0.0)
        else:
            output = instance.read(int(asked.param["waitTime"]) / 1000)
        if output.status in (LoaderOutput.END, LoaderOutput.ONCE):
            self._release(handle)
        data = output.SerializeToString()
        return ResData(data=[XsfData(data=data)], s=XsfSession(h=handle)).SerializeToString()

    def _release(self, handle: str) -> None:
        with self._lock:
            self._open.pop(handle, None)
            self._released.add(handle)


@pytest.fixture
def original() -> Iterator[Original]:
    told = Original()
    yield told
    told.stop()


@pytest.fixture
def gateway(original: Original, tmp_path: Path) -> Iterator[Gateway]:
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas/schema_talker.json").write_bytes(declare.schema(Talker))
    (tmp_path / "ase.yaml").write_text(json.dumps({"schemas": "schemas"}))
    with (
        Gateway("--lb-accept-schemas", "false", cwd=tmp_path) as running,
        grpc.insecure_channel(running.lb) as lb,
    ):
        report = lb.unary_unary("/utils.XsfCall/call")
        running.tell = lambda live: report(_report(original.addr, live), timeout=5)  # type: ignore[attr-defined]
        running.tell(1)  # type: ignore[attr-defined]
        running.event("instance up", instance=original.addr)
        yield running


def _report(addr: str, live: int) -> bytes:
    free = "8" if live else "0"
    param = {"svc": "ase", "subsvc": "talker", "addr": addr, "live": str(live)}
    param |= dict.fromkeys(("total", "best", "idle"), free)
    return ReqData(op="setServer", param=param).SerializeToString()


def test_a_session(gateway: Gateway, original: Original) -> None:
    """The end is told by the op that read it; what the other one still brings comes before it."""
    for _ in range(5):
        with opened(gateway) as ws:
            send(ws, frame(0, b"one"), frame(1, b"two"), frame(1, b"large"), frame(2, b"end"))
            told = []
            while (message := heard(ws))["header"]["status"] != 2:
                told += [said(message)] if "payload" in message else []
            assert sorted(told) == sorted([b"ONE", b"TWO", b"LARGE", b"x" * 40_000, b"END"])
            assert closed(ws) == 1000
    assert "AIExcp" not in original.heard, "the end releases the handle"
    free(gateway)


def test_a_client_that_leaves_and_an_answer_that_is_none(
    gateway: Gateway, original: Original
) -> None:
    with opened(gateway) as ws:
        send(ws, frame(0, b"one"))
        heard(ws)
    free(gateway)
    while "AIExcp" not in original.heard:
        pass
    original.heard.clear()
    original.mode = "garbage"
    with opened(gateway) as ws:
        send(ws, frame(0, b"one"), frame(1, b"two"))
        while heard(ws)["header"]["code"] == 0:
            pass
        assert closed(ws) == 1014
    free(gateway)
    while "AIExcp" not in original.heard:
        pass


def test_a_loader_that_drains_keeps_its_sessions(gateway: Gateway, original: Original) -> None:
    with opened(gateway) as ws:
        send(ws, frame(0, b"one"))
        assert said(heard(ws)) == b"ONE", "it comes with the first answer"
        gateway.tell(0)  # type: ignore[attr-defined]
        gateway.event("instance gone", instance=original.addr)
        for _ in range(3):
            send(ws, frame(1, b"on"))
            assert said(heard(ws)) == b"ON"
        send(ws, frame(2, b"end"))
        assert said(heard(ws)) == b"END"
        assert heard(ws)["header"]["status"] == 2
        assert closed(ws) == 1000
