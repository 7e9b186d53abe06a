"""Loaders and clients of the original, unchanged: they report, are picked, called, and leave."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import grpc
import pytest

from aseloader import declare
from schemas.wire import (
    LoaderOutput,
    MetaDesc,
    Payload,
    ReqData,
    ResData,
    ToolRequest,
    ToolResponse,
    XsfData,
)
from tests.harness import Gateway, Hub
from tests.wrappers.probe import Probe

pytestmark = pytest.mark.sources_only  # it tests parts that are not compiled

CALL = "/utils.XsfCall/call"


def xsf(channel: grpc.Channel, op: str, **params: str) -> ResData:
    data = ReqData(op=op, param=params).SerializeToString()
    answer: bytes = channel.unary_unary(CALL)(data, timeout=10)
    return ResData.FromString(answer)


class Aiges:
    """A loader as the original's: `setServer` each second, and after every acquire and release."""

    def __init__(self, lb: str, total: int = 2) -> None:
        self.total, self.used, self.calls = total, 0, 0
        self._lock = threading.Lock()
        self._lb = grpc.insecure_channel(lb)
        self._over = threading.Event()
        self._server = grpc.server(ThreadPoolExecutor(8))
        handler = grpc.method_handlers_generic_handler(
            "utils.XsfCall", {"call": grpc.unary_unary_rpc_method_handler(self._serve)}
        )
        self._server.add_generic_rpc_handlers((handler,))
        self.addr = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._timer = threading.Thread(target=self._each_second, daemon=True)

    def __enter__(self) -> Self:
        self._server.start()
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.die()
        self._lb.close()

    def report(self, live: int = 1) -> ResData:
        idle = (self.total - self.used) if live else 0
        total = self.total if live else 0
        return xsf(
            self._lb,
            "setServer",
            svc="ase",
            subsvc="probe",
            addr=self.addr,
            live=str(live),
            total=str(total),
            best=str(total),
            idle=str(idle),
        )

    def die(self) -> None:
        self._over.set()
        self._server.stop(0)

    def _each_second(self) -> None:
        while not self._over.is_set():
            self.report()
            self._over.wait(1.0)

    def _serve(self, data: Any, context: grpc.ServicerContext) -> bytes:
        request = ReqData.FromString(data)
        with self._lock:
            if self.used >= self.total:
                return ResData(code=10110, error_info="licence").SerializeToString()
            self.used += 1
            self.calls += 1
        self.report()
        assert request.op == "AIIn"
        meta = MetaDesc(name="said", dataType=0, attribute={"status": "3"})
        output = LoaderOutput(status=LoaderOutput.ONCE, pl=[Payload(meta=meta, data=b"aiges")])
        with self._lock:
            self.used -= 1
        self.report()
        return ResData(data=[XsfData(data=output.SerializeToString())]).SerializeToString()


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("schemas")
    (folder / "schema_probe.json").write_bytes(declare.schema(Probe))
    return folder


@pytest.mark.parametrize("outside", [False, True], ids=["inside", "hub"])
def test_a_loader_of_the_original_registers_is_called_and_leaves(
    schemas: Path, outside: bool
) -> None:
    with Hub() as hub:
        flags = ("--schemas", str(schemas), *(("--lb-hub", hub.lb) if outside else ()))
        with Gateway(*flags) as gateway:
            lb = hub.lb if outside else gateway.lb
            with Aiges(lb) as one, Aiges(lb) as two:
                for loader in (one, two):
                    gateway.event("instance up", instance=loader.addr)
                with ThreadPoolExecutor(2) as clients:
                    answers = list(clients.map(lambda _: gateway.call(), range(60)))
                assert {answer.status_code for answer in answers} == {200}
                assert answers[0].json()["payload"]["said"]["text"] == "YWlnZXM="
                assert one.calls + two.calls >= 60
                assert min(one.calls, two.calls) > 5
                assert one.report(live=0).code == 0
                gateway.event("instance gone", instance=one.addr, reason="left")
                two.die()
                gone = gateway.event("instance gone", instance=two.addr)
                assert gone["reason"] in ("expired", "left")
                state = gateway.state()
                assert two.addr not in {line["instance"] for line in state}


def test_one_that_dies_is_gone_three_seconds_after_its_last_word() -> None:
    with Hub() as hub, Aiges(hub.lb) as loader:
        hub.event("instance up", instance=loader.addr)
        loader._over.set()
        loader._timer.join()
        loader.report()
        hub.event("instance suspect", instance=loader.addr, reason="silent")
        hub.event("instance gone", instance=loader.addr, reason="expired")


def test_a_client_of_the_original_asks_for_servers() -> None:
    with Hub("--lb-policy", "load") as hub, grpc.insecure_channel(hub.lb) as lb:
        for name, idle in (("10.0.0.1:1", "3"), ("10.0.0.2:1", "5")):
            told = {"svc": "ase", "subsvc": "ocr,asr", "addr": name, "live": "1", "total": "8",
                    "best": "8", "idle": idle}  # fmt: skip
            assert xsf(lb, "setServer", **told).code == 0
        wish = {"svc": "ase", "subsvc": "asr", "nbest": "1"}
        reply = xsf(lb, "getServer", **wish)
        assert [one.data for one in reply.data] == [b"10.0.0.2:1"]
        assert xsf(lb, "getServer", **(wish | {"subsvc": "tts"})).code == 2012
        assert xsf(lb, "getServer", **(wish | {"svc": "tts", "subsvc": "x"})).code == 2011
        assert xsf(lb, "getServer", **(wish | {"nbest": "0"})).code == 2006
        assert xsf(lb, "unheard").code == 2003
        assert xsf(lb, "ping").code == 0
        reply = xsf(lb, "cmdServer", addr="10.0.0.2:1", forceOffline="1")
        assert (reply.code, reply.param["status"]) == (0, "offline")
        hub.event("forced offline", instance="10.0.0.2:1")
        assert [one.data for one in xsf(lb, "getServer", **wish).data] == [b"10.0.0.1:1"]
        blocked = {"svc": "ase", "addr": "10.0.0.2:1", "live": "1", "total": "8", "best": "8",
                   "idle": "8"}  # fmt: skip
        assert xsf(lb, "setServer", subsvc="ocr", **blocked).code == 20018
        assert xsf(lb, "setServer", subsvc="ocr,asr", **blocked).code == -1
        xsf(lb, "cmdServer", addr="10.0.0.2:1", forceOffline="0")
        assert xsf(lb, "setServer", subsvc="ocr", **blocked).code == 0


def tool(lb: grpc.Channel, **query: str) -> Any:
    data = ToolRequest(query=json.dumps(query), headers='{"method":"GET"}').SerializeToString()
    answer = lb.unary_unary("/utils.ToolBox/cmdserver")(data, timeout=10)
    return json.loads(ToolResponse.FromString(answer).body)


def test_the_tool_box() -> None:
    with Hub() as hub, grpc.insecure_channel(hub.lb) as lb:
        told = {"svc": "ase", "subsvc": "ocr", "addr": "10.0.0.1:1", "live": "1", "total": "8",
                "best": "8", "idle": "3"}  # fmt: skip
        xsf(lb, "setServer", **told)
        assert tool(lb, cmd="health")["status"] == "ok"
        nodes = tool(lb, cmd="query", svc="ase", subsvc="ocr")["SubSvcMap"]["ocr"]["AddrMap"]
        assert nodes["10.0.0.1:1"]["IdleInst"] == 3
        assert nodes["10.0.0.1:1"]["Timestamp"] > 1_700_000_000 * 10**9
        assert tool(lb, cmd="query", down="1") == []
        hub.event("instance gone", instance="10.0.0.1:1", reason="expired")
        (gone,) = tool(lb, cmd="query", down="1")
        assert (gone["sub_svc"], gone["node"]) == ("ocr", "10.0.0.1:1")
        assert tool(lb, cmd="query", forceOffline="1", engAddr="10.0.0.1:1") == {
            "status": "offline"
        }
        assert "error" in tool(lb, cmd="heap")


def test_a_token_is_asked_of_the_original_s_callers_too() -> None:
    with Hub(env={"ASE_LB_TOKEN": "right"}) as hub, grpc.insecure_channel(hub.lb) as lb:
        told = {"svc": "ase", "subsvc": "ocr", "addr": "127.0.0.1:1", "live": "1", "total": "8",
                "best": "8", "idle": "3"}  # fmt: skip
        assert xsf(lb, "setServer", **told).code == 20017
        assert xsf(lb, "cmdServer", addr="127.0.0.1:1", forceOffline="1").code == 20017
        wish = {"svc": "ase", "subsvc": "ocr", "nbest": "1"}
        assert xsf(lb, "getServer", **wish).code == 20017
        for more in ({}, {"down": "1"}, {"forceOffline": "1", "engAddr": "127.0.0.1:1"}):
            assert "error" in tool(lb, cmd="query", **more)
        assert tool(lb, cmd="health")["status"] == "ok", "who watches health has no token"
        data = ReqData(op="setServer", param=told).SerializeToString()
        answer = lb.unary_unary(CALL)(data, metadata=[("authorization", "Bearer right")])
        assert ResData.FromString(answer).code == 0
