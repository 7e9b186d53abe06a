"""Loaders and clients of the original, unchanged: they report, are picked, called, and leave."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import grpc
import httpx
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


def call_xsf(channel: grpc.Channel, op: str, **params: str) -> ResData:
    data = ReqData(op=op, param=params).SerializeToString()
    response: bytes = channel.unary_unary(CALL)(data, timeout=10)
    return ResData.FromString(response)


class AigesLoader:
    """A loader as the original's: `setServer` each second, and after every acquire and release."""

    def __init__(self, lb: str, total: int = 2) -> None:
        self.total, self.used, self.calls = total, 0, 0
        self._lock = threading.Lock()
        self._lb = grpc.insecure_channel(lb)
        self._stopped = threading.Event()
        self._server = grpc.server(ThreadPoolExecutor(8))
        handler = grpc.method_handlers_generic_handler(
            "utils.XsfCall", {"call": grpc.unary_unary_rpc_method_handler(self._serve)}
        )
        self._server.add_generic_rpc_handlers((handler,))
        self.addr = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._timer = threading.Thread(target=self._report_each_second, daemon=True)

    def __enter__(self) -> Self:
        self._server.start()
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._timer.join()
        self._lb.close()

    def report(self, live: int = 1) -> ResData:
        idle = (self.total - self.used) if live else 0
        total = self.total if live else 0
        return call_xsf(
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

    def stop(self) -> None:
        self._stopped.set()
        self._server.stop(0)

    def _report_each_second(self) -> None:
        while not self._stopped.is_set():
            self.report()
            self._stopped.wait(1.0)

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
def schema_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("schemas")
    (folder / "schema_probe.json").write_bytes(declare.schema(Probe))
    return folder


@pytest.mark.parametrize("separate_hub", [False, True], ids=["inside", "hub"])
def test_aiges_loader_registers_serves_and_leaves(schema_dir: Path, separate_hub: bool) -> None:
    with Hub() as hub:
        flags = ("--schemas", str(schema_dir), *(("--lb-hub", hub.lb) if separate_hub else ()))
        with Gateway(*flags) as gateway:
            lb = hub.lb if separate_hub else gateway.lb
            with AigesLoader(lb) as first, AigesLoader(lb) as second:
                for loader in (first, second):
                    gateway.wait_for_event("instance up", instance=loader.addr)
                with ThreadPoolExecutor(2) as clients:
                    responses = list(clients.map(lambda _: gateway.call(), range(60)))
                assert {response.status_code for response in responses} == {200}
                assert responses[0].json()["payload"]["said"]["text"] == "YWlnZXM="
                assert first.calls + second.calls >= 60
                assert min(first.calls, second.calls) > 5
                assert first.report(live=0).code == 0
                gateway.wait_for_event("instance gone", instance=first.addr, reason="left")
                second.stop()
                gone_event = gateway.wait_for_event("instance gone", instance=second.addr)
                assert gone_event["reason"] in ("expired", "left")
                state = gateway.state()
                assert second.addr not in {line["instance"] for line in state}


def test_dead_aiges_loader_is_removed_after_silence() -> None:
    with Hub() as hub, AigesLoader(hub.lb) as loader:
        hub.wait_for_event("instance up", instance=loader.addr)
        loader._stopped.set()
        loader._timer.join()
        loader.report()
        hub.wait_for_event("instance suspect", instance=loader.addr, reason="silent")
        hub.wait_for_event("instance gone", instance=loader.addr, reason="expired")


def test_aiges_client_queries_servers() -> None:
    with Hub("--lb-policy", "load") as hub, grpc.insecure_channel(hub.lb) as lb:
        for name, idle in (("10.0.0.1:1", "3"), ("10.0.0.2:1", "5")):
            report_params = {
                "svc": "ase", "subsvc": "ocr,asr", "addr": name, "live": "1", "total": "8",
                "best": "8", "idle": idle,
            }  # fmt: skip
            assert call_xsf(lb, "setServer", **report_params).code == 0
        query = {"svc": "ase", "subsvc": "asr", "nbest": "1"}
        reply = call_xsf(lb, "getServer", **query)
        assert [server.data for server in reply.data] == [b"10.0.0.2:1"]
        assert call_xsf(lb, "getServer", **(query | {"subsvc": "tts"})).code == 2012
        assert call_xsf(lb, "getServer", **(query | {"svc": "tts", "subsvc": "x"})).code == 2011
        assert call_xsf(lb, "getServer", **(query | {"nbest": "0"})).code == 2006
        assert call_xsf(lb, "unheard").code == 2003
        assert call_xsf(lb, "ping").code == 0
        reply = call_xsf(lb, "cmdServer", addr="10.0.0.2:1", forceOffline="1")
        status = "successfully adding 10.0.0.2:1 to blacklist([10.0.0.2:1])"
        assert (reply.code, reply.param["status"]) == (0, status)
        hub.wait_for_event("forced offline", instance="10.0.0.2:1")
        assert [server.data for server in call_xsf(lb, "getServer", **query).data] == [
            b"10.0.0.1:1"
        ]
        blocked = {"svc": "ase", "addr": "10.0.0.2:1", "live": "1", "total": "8", "best": "8",
                   "idle": "8"}  # fmt: skip
        assert call_xsf(lb, "setServer", subsvc="ocr", **blocked).code == 20018
        assert call_xsf(lb, "setServer", subsvc="ocr,asr", **blocked).code == -1
        call_xsf(lb, "cmdServer", addr="10.0.0.2:1", forceOffline="0")
        assert call_xsf(lb, "setServer", subsvc="ocr", **blocked).code == 0


def test_rejected_report_is_logged_and_counted() -> None:
    with Hub() as hub, grpc.insecure_channel(hub.lb) as lb:
        params = {
            "svc": "ase", "subsvc": "ocr", "addr": "10.0.0.1:1", "live": "1", "total": "8",
            "best": "10000", "idle": "8",
        }  # fmt: skip
        assert call_xsf(lb, "setServer", **params).code == 0, "the default of the original"
        hub.wait_for_event("instance up", instance="10.0.0.1:1")
        for _ in range(3):
            assert call_xsf(lb, "setServer", **params | {"total": "many"}).code == 2008
        line = hub.wait_for_event("report refused", kind="bounds")
        assert line["reason"] == "input total is incorrect or is null"
        assert hub.count("report refused") == 1, "the same again is not logged at once"
        metrics = httpx.get(f"{hub.admin}/metrics", trust_env=False).text
        assert 'ase_lb_reports_refused_total{reason="bounds"} 3.0' in metrics


def call_tool_box(lb: grpc.Channel, **query: str) -> Any:
    data = ToolRequest(query=json.dumps(query), headers='{"method":"GET"}').SerializeToString()
    response = lb.unary_unary("/utils.ToolBox/cmdserver")(data, timeout=10)
    return json.loads(ToolResponse.FromString(response).body)


def test_tool_box() -> None:
    with Hub() as hub, grpc.insecure_channel(hub.lb) as lb:
        report_params = {
            "svc": "ase", "subsvc": "ocr", "addr": "10.0.0.1:1", "live": "1", "total": "8",
            "best": "8", "idle": "3",
        }  # fmt: skip
        call_xsf(lb, "setServer", **report_params)
        assert call_tool_box(lb, cmd="health")["status"] == "ok"
        nodes = call_tool_box(lb, cmd="query", svc="ase", subsvc="ocr")["AddrMap"]
        assert call_tool_box(lb, cmd="query", svc="ase")["SubSvcMap"]["ocr"]["AddrMap"] == nodes
        assert nodes["10.0.0.1:1"]["IdleInst"] == 3
        assert nodes["10.0.0.1:1"]["Timestamp"] > 1_700_000_000 * 10**9
        assert call_tool_box(lb, cmd="query", down="1") == []
        hub.wait_for_event("instance gone", instance="10.0.0.1:1", reason="expired")
        (down_node,) = call_tool_box(lb, cmd="query", down="1")
        assert (down_node["sub_svc"], down_node["node"]) == ("ocr", "10.0.0.1:1")
        assert int(down_node["ts"]) > 1_700_000_000
        assert call_tool_box(lb, cmd="query", forceOffline="1", engAddr="10.0.0.1:1") == {
            "status": "successfully adding 10.0.0.1:1 to blacklist([10.0.0.1:1])"
        }
        assert "error" in call_tool_box(lb, cmd="query", forceOffline="1")
        assert "error" in call_tool_box(lb, cmd="heap")


def test_aiges_callers_need_the_token() -> None:
    with Hub(env={"ASE_LB_TOKEN": "right"}) as hub, grpc.insecure_channel(hub.lb) as lb:
        report_params = {
            "svc": "ase", "subsvc": "ocr", "addr": "127.0.0.1:1", "live": "1", "total": "8",
            "best": "8", "idle": "3",
        }  # fmt: skip
        assert call_xsf(lb, "setServer", **report_params).code == 20017
        assert call_xsf(lb, "cmdServer", addr="127.0.0.1:1", forceOffline="1").code == 20017
        query = {"svc": "ase", "subsvc": "ocr", "nbest": "1"}
        assert call_xsf(lb, "getServer", **query).code == 20017
        for query_params in ({}, {"down": "1"}, {"forceOffline": "1", "engAddr": "127.0.0.1:1"}):
            assert "error" in call_tool_box(lb, cmd="query", **query_params)
        assert call_tool_box(lb, cmd="health")["status"] == "ok", "who watches health has no token"
        data = ReqData(op="setServer", param=report_params).SerializeToString()
        response = lb.unary_unary(CALL)(data, metadata=[("authorization", "Bearer right")])
        assert ResData.FromString(response).code == 0
