"""Sessions with a loader that does what the original does (`docs/wire.md`).

It reads without waiting in an AIIn, so results come by either op. Errors travel inside the
LoaderOutput, 10101 for a released handle too, as seen from a loader built from the original's
source. It reports its load by `setServer`, and drains by live=0.
"""

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
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
from tests.harness import Gateway, run_asectl
from tests.sessions import frame, output_bytes
from tests.wire.test_sockets import (
    open_session,
    receive,
    receive_close_code,
    send,
    send_until_closed,
    wait_until_idle,
)
from tests.wrappers.talker import Talker

JSON = {"content-type": "application/json"}
# As the SDK of the original generates it: the header is closed, has `appid` and no status.
_STRING = {"type": "string", "maxLength": 50}
_FRAME = {
    "encoding": {"type": "string", "enum": ["utf8", "gb2312"]},
    "compress": {"type": "string", "enum": ["raw", "gzip"]},
    "status": {"type": "integer", "enum": [0, 1, 2, 3]},
    "seq": {"type": "integer", "minimum": 0, "maximum": 9999999},
    "text": {"type": "string", "minLength": 0, "maxLength": 1000000},
}
PUBLIC_DOCUMENT: dict[str, Any] = {
    "meta": {
        "serviceId": "public", "version": "v1.0", "service": ["public"], "sub": "ase",
        "call": "atmos", "call_type": 0, "hosts": "api.example.org", "route": "/v1/private/public",
        "public": {
            "input": {"text": {"dataType": "text"}}, "accept": {"said": {"dataType": "text"}},
        },
    },
    "schemainput": {"type": "object", "properties": {
        "header": {
            "type": "object", "required": ["appid"],
            "properties": dict.fromkeys(("appid", "uid", "device.imei", "net.type"), _STRING),
        },
        "parameter": {"type": "object", "properties": {
            "public": {"type": "object", "properties": {"task": _STRING}, "required": []},
        }},
        "payload": {"type": "object", "properties": {
            "text": {"type": "object", "properties": _FRAME},
        }},
    }},
    "schemaoutput": {"type": "object", "properties": {}},
}  # fmt: skip


class LoaderSession:
    """One session at the loader: what its wrapper made of the frames, in order."""

    def __init__(self) -> None:
        self.outputs: queue.Queue[LoaderOutput] = queue.Queue()
        self.seq = 0

    def write(self, loader_input: LoaderInput) -> None:
        status = loader_input.pl[0].meta.attribute["status"] if loader_input.pl else "1"
        last = status in ("2", "3")
        data = loader_input.pl[0].data if loader_input.pl else b""
        for piece in [data.upper(), *[b"x" * 40_000] * (data == b"large")]:
            self.seq += 1
            attribute = {"seq": str(self.seq), "status": "1"}
            part = Payload(meta=MetaDesc(name="said", attribute=attribute), data=piece)
            self.outputs.put(LoaderOutput(status=LoaderOutput.CONTINUE, pl=[part] if piece else []))
        if data.startswith(b"fail "):  # the wrapper fails while the client still sends
            error = LoaderOutput(code=int(data[5:]), err="it failed", status=LoaderOutput.END)
            self.outputs.put(error)
        if last or data == b"stop":
            self.outputs.put(LoaderOutput(status=LoaderOutput.END))

    def read(self, seconds: float) -> LoaderOutput:
        try:
            return self.outputs.get(timeout=seconds) if seconds else self.outputs.get_nowait()
        except queue.Empty:
            return LoaderOutput(status=LoaderOutput.CONTINUE)


class AigesSessionLoader:
    """The loader."""

    def __init__(self) -> None:
        self.ops: list[str] = []
        self.tracing_headers: set[str] = set()
        self.mode = ""
        self._open: dict[str, LoaderSession] = {}
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
        request = ReqData.FromString(data)
        handle = request.s.h
        self.ops.append(request.op)
        with self._lock:
            if request.op == "AIIn" and request.param["SeqNo"] == "1":
                self._open[handle] = LoaderSession()
            instance = self._open.get(handle)
        if instance is None:
            return self._reply(handle, _gone_output(handle in self._released))
        if request.op == "AIExcp":
            self._release(handle)
            return ResData().SerializeToString()
        if request.op == "AIIn":
            if self.mode == "garbage" and request.param["SeqNo"] != "1":
                return b"\xff\xff\xff"
            loader_input = LoaderInput.FromString(request.data[0].data)
            self.tracing_headers.add(loader_input.headers["x-request-id"])
            instance.write(loader_input)
            output = instance.read(0.0)
        else:
            output = instance.read(int(request.param["waitTime"]) / 1000)
        if output.status in (LoaderOutput.END, LoaderOutput.ONCE):
            self._release(handle)
        return self._reply(handle, output)

    def _reply(self, handle: str, output: LoaderOutput) -> bytes:
        data = output.SerializeToString()
        return ResData(data=[XsfData(data=data)], s=XsfSession(h=handle)).SerializeToString()

    def _release(self, handle: str) -> None:
        with self._lock:
            self._open.pop(handle, None)
            self._released.add(handle)


def _gone_output(was_released: bool) -> LoaderOutput:
    code = 10101 if was_released else 10008
    return LoaderOutput(code=code, err="no such instance", status=LoaderOutput.END)


@pytest.fixture
def aiges_loader() -> Iterator[AigesSessionLoader]:
    running = AigesSessionLoader()
    yield running
    running.stop()


@pytest.fixture
def gateway(aiges_loader: AigesSessionLoader, tmp_path: Path) -> Iterator[Gateway]:
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas/schema_talker.json").write_bytes(declare.schema(Talker))
    (tmp_path / "schemas/schema_public.json").write_text(json.dumps(PUBLIC_DOCUMENT))
    (tmp_path / "ase.yaml").write_text(json.dumps({"schemas": "schemas"}))
    with (
        Gateway("--lb-accept-schemas", "false", cwd=tmp_path) as running,
        grpc.insecure_channel(running.lb) as lb,
    ):
        report = lb.unary_unary("/utils.XsfCall/call")

        live_services: set[str] = set()
        lock, stopped = threading.Lock(), threading.Event()

        def tell(live: int, subsvc: str = "talker") -> None:
            with lock:  # no report of a live loader follows the one that drains it
                (live_services.add if live else live_services.discard)(subsvc)
                report(_encode_report(aiges_loader.addr, live, subsvc), timeout=5)

        def report_until_stopped() -> None:
            while not stopped.wait(0.5):  # a report expires
                with lock:
                    for subsvc in live_services:
                        report(_encode_report(aiges_loader.addr, 1, subsvc), timeout=5)

        reporter = threading.Thread(target=report_until_stopped)
        running.tell = tell  # type: ignore[attr-defined]
        running.tell(1)  # type: ignore[attr-defined]
        running.wait_for_event("instance up", instance=aiges_loader.addr)
        reporter.start()
        try:
            yield running
        finally:
            stopped.set()
            reporter.join()


def _encode_report(addr: str, live: int, subsvc: str) -> bytes:
    slots = "8" if live else "0"
    param = {"svc": "ase", "subsvc": subsvc, "addr": addr, "live": str(live)}
    param |= dict.fromkeys(("total", "best", "idle"), slots)
    return ReqData(op="setServer", param=param).SerializeToString()


def test_session_results_arrive_before_the_end(
    gateway: Gateway, aiges_loader: AigesSessionLoader
) -> None:
    """The end is told by the op that read it; what the other one still brings comes before it."""
    for _ in range(5):
        with open_session(gateway, additional_headers={"X-Request-Id": "r-1"}) as ws:
            send(ws, frame(0, b"one"), frame(1, b"two"), frame(1, b"large"), frame(2, b"end"))
            outputs = []
            while (message := receive(ws))["header"]["status"] != 2:
                outputs += [output_bytes(message)] if "payload" in message else []
            assert sorted(outputs) == sorted([b"ONE", b"TWO", b"LARGE", b"x" * 40_000, b"END"])
            assert receive_close_code(ws) == 1000
    assert "AIExcp" not in aiges_loader.ops, "the end releases the handle"
    assert aiges_loader.tracing_headers == {"r-1"}, "in every frame"
    wait_until_idle(gateway)


@pytest.mark.parametrize("code", [10905, 10907, 10908])
def test_failing_wrapper_is_reported_while_the_client_sends(gateway: Gateway, code: int) -> None:
    """The other op finds a released handle, perhaps first: that is not the error to report."""
    for _ in range(20):
        with open_session(gateway) as ws:
            send_until_closed(
                ws, frame(0, b"one"), frame(1, b"fail %d" % code), *[frame(1, b"more")] * 3
            )
            while (message := receive(ws))["header"]["code"] == 0:
                pass
            assert message["header"]["code"] == code
            assert receive_close_code(ws) == 1014
    wait_until_idle(gateway)


def test_loader_that_ends_first_loses_no_result(gateway: Gateway) -> None:
    for _ in range(60):
        with open_session(gateway) as ws:
            send_until_closed(ws, frame(0, b"one"), frame(1, b"stop"), *[frame(1, b"more")] * 3)
            outputs = []
            while (message := receive(ws))["header"]["status"] != 2:
                assert message["header"]["code"] == 0, message
                outputs += [output_bytes(message)] if "payload" in message else []
            assert set(outputs) >= {b"ONE", b"STOP"}
            assert receive_close_code(ws) == 1000
    wait_until_idle(gateway)


def test_client_disconnect_and_garbage_response_release_the_handle(
    gateway: Gateway, aiges_loader: AigesSessionLoader
) -> None:
    with open_session(gateway) as ws:
        send(ws, frame(0, b"one"))
        receive(ws)
    wait_until_idle(gateway)
    while "AIExcp" not in aiges_loader.ops:
        pass
    aiges_loader.ops.clear()
    aiges_loader.mode = "garbage"
    with open_session(gateway) as ws:
        send_until_closed(ws, frame(0, b"one"), frame(1, b"two"))
        while receive(ws)["header"]["code"] == 0:
            pass
        assert receive_close_code(ws) == 1014
    wait_until_idle(gateway)
    while "AIExcp" not in aiges_loader.ops:
        pass


def test_draining_loader_keeps_its_sessions(
    gateway: Gateway, aiges_loader: AigesSessionLoader
) -> None:
    with open_session(gateway) as ws:
        send(ws, frame(0, b"one"))
        assert output_bytes(receive(ws)) == b"ONE", "it comes with the first answer"
        gateway.tell(0)  # type: ignore[attr-defined]
        gateway.wait_for_event("instance gone", instance=aiges_loader.addr)
        for _ in range(3):
            send(ws, frame(1, b"on"))
            assert output_bytes(receive(ws)) == b"ON"
        send(ws, frame(2, b"end"))
        assert output_bytes(receive(ws)) == b"END"
        assert receive(ws)["header"]["status"] == 2
        assert receive_close_code(ws) == 1000


def test_clients_read_the_header_from_a_public_schema(gateway: Gateway, tmp_path: Path) -> None:
    """The example, `asectl call` in each of its forms and the generated client are accepted."""
    gateway.tell(1, "public")  # type: ignore[attr-defined]
    schema_path = str(tmp_path / "schemas/schema_public.json")
    example = run_asectl("api", "example", "--json", schema_path)
    response = httpx.post(gateway.url + "/v1/private/public", content=example.stdout, headers=JSON)
    assert response.json()["header"]["code"] == 0, response.text
    text_path = tmp_path / "words.txt"
    text_path.write_text("word " * 1000)
    arguments = ("call", "public", "--url", gateway.url, "--file", str(text_path), "-p", "task=x")
    for form in ((), ("--sse",), ("--ws",), ("--header", "uid=u1")):
        result = run_asectl(*arguments, *form)
        assert result.returncode == 0, result.stderr
        assert "WORD WORD" in result.stdout
    (tmp_path / "client.py").write_text(run_asectl("api", "client", schema_path).stdout)
    call = f"client.Client({gateway.url!r}, app_id='me').call(text='hi')"
    script = f"import sys; sys.path.insert(0, '.'); import client; print({call}.said)"
    command = [sys.executable, "-c", script]
    output = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert output.stdout == "HI\n", output.stderr
