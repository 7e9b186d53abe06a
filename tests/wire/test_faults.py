"""Loaders that misbehave, and our own faults: what a client is told, and what is tried again."""

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent import futures
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import uvicorn
from prometheus_client import CollectorRegistry

from aseloader import declare
from config.options import GatewayOptions, SessionOptions
from gateway import server
from gateway.http import app
from gateway.http.connection import HttpConnection
from gateway.http.server_context import ServerContext
from gateway.request.interfaces import Dependencies
from gateway.server import HttpServer
from gateway.services.catalog import Catalog, build_contract
from gateway.streaming.upgrade import WebSocketUpgrader
from gateway.telemetry.access_log import AccessLog
from gateway.telemetry.metrics import Metrics
from schemas.wire import LoaderOutput, ReqData, ResData, XsfData
from tests.fakes import gateway_context
from tests.harness import Gateway, Loader, Process, body, held
from tests.wire.test_statuses import envelope
from tests.wrappers.probe import Idempotent, Probe

INFER = "/ase.v1.Loader/Infer"
XSF = "/utils.XsfCall/call"


@contextlib.contextmanager
def grpcio_loader(method: str, answer: Any) -> Iterator[str]:
    """Serve one method with plain grpcio, as a loader nobody here wrote; yield its address."""
    server = grpc.server(futures.ThreadPoolExecutor(4))
    handler = grpc.unary_unary_rpc_method_handler(answer)
    service, _, name = method[1:].partition("/")
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {name: handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def operated(
    folder: Path, addresses: list[str], protocol: str = "native", kind: type = Probe
) -> str:
    """Write an operator's ase.yaml with static instances and a schema file; return its path."""
    (folder / "schemas").mkdir(exist_ok=True)
    (folder / "schemas" / "schema_probe.json").write_bytes(declare.schema(kind))
    lines = [f"- {{service: {kind.service}, addr: '{a}', protocol: {protocol}, total: 4}}\n"
             for a in addresses]  # fmt: skip
    (folder / "ase.yaml").write_text("schemas: schemas\ninstances:\n" + "".join(lines))
    return str(folder / "ase.yaml")


def dead_address() -> str:
    """Return an address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return f"127.0.0.1:{sock.getsockname()[1]}"


def fine(said: bytes = b"ok") -> bytes:
    output = LoaderOutput(status=LoaderOutput.ONCE)
    payload = output.pl.add()
    payload.meta.name, payload.data = "said", said
    return output.SerializeToString()


def test_a_loader_that_cannot_be_reached_is_503_10222(tmp_path: Path) -> None:
    with Gateway("-c", operated(tmp_path, [dead_address()])) as gateway:
        answer = gateway.call()
        envelope(answer, 503, 10222)
        assert "retry-after" in answer.headers


def test_what_was_never_sent_goes_to_another(tmp_path: Path) -> None:
    with grpcio_loader(INFER, lambda data, context: fine()) as good:
        dead = dead_address()
        with Gateway("-c", operated(tmp_path, [dead, good])) as gateway:
            answers = [gateway.call() for _ in range(20)]
            assert [answer.status_code for answer in answers] == [200] * 20
            assert {answer.headers["x-ase-instance"] for answer in answers} == {good}
            assert "2" in {answer.headers["x-ase-attempts"] for answer in answers}
            assert 'ase_retries_total{reason="unreachable"}' in gateway.metrics()


def test_a_full_loader_is_left_for_another(tmp_path: Path) -> None:
    def full(data: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "10110 no licence left")
        return b""

    with (
        grpcio_loader(INFER, full) as busy,
        grpcio_loader(INFER, lambda data, context: fine()) as good,
        Gateway("-c", operated(tmp_path, [busy, good])) as gateway,
    ):
        answers = [gateway.call() for _ in range(20)]
        assert [answer.status_code for answer in answers] == [200] * 20
        assert {answer.headers["x-ase-instance"] for answer in answers} == {good}


def test_a_loader_lost_after_sending_is_502_and_not_asked_again() -> None:
    with Gateway() as gateway, Loader(gateway.lb) as first, Loader(gateway.lb) as second:
        gateway.joined(first)
        gateway.joined(second)
        asked = threading.Thread(target=lambda: answers.append(gateway.call(act="hold")))
        answers: list[httpx.Response] = []
        asked.start()
        holder = _holder(first, second)
        holder.signal(signal.SIGKILL)
        asked.join(30)
        envelope(answers[0], 502, 10222)
        assert answers[0].headers["x-ase-attempts"] == "1"
        assert first.count("held") + second.count("held") == 1, "it ran once"


def test_an_idempotent_request_survives_its_loader() -> None:
    spec = "tests/wrappers/probe.py:Idempotent"
    with (
        Gateway() as gateway,
        Loader(gateway.lb, spec) as first,
        Loader(gateway.lb, spec) as second,
    ):
        gateway.joined(first)
        gateway.joined(second)
        answers: list[httpx.Response] = []
        told = body(Idempotent.service, act="hold")
        asked = threading.Thread(target=lambda: answers.append(gateway.post(told, "probe2")))
        asked.start()
        holder = _holder(first, second)
        other = second if holder is first else first
        holder.signal(signal.SIGKILL)
        other.event("held")
        other.signal(signal.SIGKILL)
        asked.join(30)
        envelope(answers[0], 502, 10222)
        assert answers[0].headers["x-ase-attempts"] == "2"
        assert answers[0].headers["x-ase-instance"] == other.addr


def _holder(*loaders: Loader) -> Loader:
    """Wait until one of them holds; return it."""
    found: futures.Future[Loader] = futures.Future()

    def watch(loader: Loader) -> None:
        with contextlib.suppress(AssertionError, futures.InvalidStateError):
            loader.event("held")
            found.set_result(loader)

    for loader in loaders:
        threading.Thread(target=watch, args=(loader,), daemon=True).start()
    return found.result(30)


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (LoaderOutput(code=12345, err="its own words").SerializeToString(), 502, 12345),
        (LoaderOutput(code=10102).SerializeToString(), 504, 10102),
        (LoaderOutput(code=-7).SerializeToString(), 502, -7),
        (b"\xff\xff garbage", 502, 10160),
    ],
    ids=["own code", "its timeout", "negative", "garbage"],
)
def test_a_loader_s_code_is_told(tmp_path: Path, answer: bytes, status: int, code: int) -> None:
    with (
        grpcio_loader(INFER, lambda data, context: answer) as addr,
        Gateway("-c", operated(tmp_path, [addr])) as gateway,
    ):
        envelope(gateway.call(), status, code)


def test_the_code_map_overrides_the_status(tmp_path: Path) -> None:
    path = operated(tmp_path, [dead_address()])
    file = tmp_path / "schemas" / "schema_probe.json"
    file.write_text(file.read_text().replace('"meta":{', '"meta":{"codeMap":{"10222":418},', 1))
    with Gateway("-c", path) as gateway:
        envelope(gateway.call(), 418, 10222)


def test_an_original_loader_is_called_by_xsf(tmp_path: Path) -> None:
    seen: list[ReqData] = []

    def aiges(data: bytes, context: grpc.ServicerContext) -> bytes:
        request = ReqData.FromString(data)
        seen.append(request)
        if len(seen) == 2:
            return ResData(code=10110, error_info="licence").SerializeToString()
        return ResData(data=[XsfData(data=fine(b"xsf"))]).SerializeToString()

    with (
        grpcio_loader(XSF, aiges) as addr,
        Gateway("-c", operated(tmp_path, [addr], "xsf"), "--lb-wait", "0") as gateway,
    ):
        answer = gateway.call(number=5)
        assert answer.json()["payload"]["said"]["text"] == "eHNm"
        envelope(gateway.call(), 503, 10110)
        first, second = seen
        assert first.op == "AIIn"
        assert first.param["SeqNo"] == "1"
        assert first.param["version"] == "v2"
        assert 0 < int(first.param["waitTime"]) <= 5000
        assert len(first.s.h) >= 26
        assert first.s.h != second.s.h


def test_our_loader_answers_by_xsf_too(tmp_path: Path) -> None:
    with (
        Loader(dead_address()) as loader,
        Gateway("-c", operated(tmp_path, [loader.addr], "xsf")) as gateway,
    ):
        assert gateway.call(number=5).json()["payload"]["said"]["text"] == "SEVMTE8="
        envelope(gateway.call(act="refuse"), 400, 10107)
        with held(gateway, loader, "a"), held(gateway, loader, "b"):
            envelope(gateway.call(), 503, 10110)


def test_a_category_sends_to_its_sub_service(tmp_path: Path) -> None:
    with grpcio_loader(INFER, lambda data, context: fine()) as addr:
        path = operated(tmp_path, [addr])
        (tmp_path / "schemas" / "schema_any.json").write_text("""{"meta": {
            "serviceId": "any", "type": "category", "service": [],
            "routeKey": ["act"],
            "subRoute": [
              {"subServiceId": "gone", "priority": 9, "rules": {"$.parameter.probe.act": "bare"}},
              {"subServiceId": "probe", "priority": 1,
               "rules": {"$.parameter.probe.act": ["answer", "hold"], "$.header.status": "3"}}]
            }, "schemainput": {}, "schemaoutput": {}}""")
        with Gateway("-c", path) as gateway:
            answer = gateway.post(body(act="answer"), "any")
            assert answer.status_code == 200
            line = gateway.event("request", sid=answer.headers["x-ase-request-id"])
            assert line["service"] == "probe"
            envelope(gateway.post(body(act="raise"), "any"), 404, 10404)
            envelope(gateway.post(body(act="bare"), "any"), 404, 10404)


def test_a_fault_of_ours_is_500_11502_and_tells_nothing() -> None:
    class Caller:
        """A part that breaks."""

        def start_call(self, attempt: Any, done: Any) -> Any:
            raise KeyError("inside secret")

    class Place:
        instance = type("Instance", (), {"addr": "nowhere:1"})()

        def __enter__(self) -> "Place":
            return self

        def __exit__(self, *_: object) -> None: ...

    class Picker:
        def acquire(self, *_: object) -> Place:
            return Place()

    told: list[str] = []
    contract = build_contract(declare.schema(Probe), "file", {}, 5.0)
    parts = Dependencies(
        GatewayOptions(),
        Catalog([contract], {}, 5.0),
        Picker(),
        0.0,
        Caller(),
        clock=lambda: 1.0,
        new_id=lambda: "0" * 32,
        on_internal_error=lambda sid, _: told.append(sid),
    )
    log = AccessLog(lambda _: None, lambda: 0.0)
    context, session_metrics = gateway_context(parts, Metrics(CollectorRegistry()), log)
    served = app.build_app(context, app.Readiness(lambda: True), lambda _: 0)
    door = ServerContext(
        limits=server._limits(GatewayOptions()),
        reject_request=partial(server._reject_request, context=context),
        fast_path=None,
        upgrader=WebSocketUpgrader(context, session_metrics, SessionOptions()),
        is_draining=lambda: False,
    )
    http: Any = partial(HttpConnection, server_context=door)
    http_server = HttpServer(uvicorn.Config(served, http=http, log_config=None, lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as sock:
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        thread = threading.Thread(target=lambda: asyncio.run(http_server.serve([sock])))
        thread.start()
        try:
            answer = httpx.post(f"{url}/v1/private/probe", json=body(), trust_env=False)
        finally:
            http_server.should_exit = True
            thread.join(30)
    assert envelope(answer, 500, 11502) == "unexpected error"
    assert "secret" not in answer.text
    assert told == ["0" * 32]


def test_bad_schema_files_stop_the_start_and_are_all_named(tmp_path: Path) -> None:
    path = operated(tmp_path, [])
    good = (tmp_path / "schemas" / "schema_probe.json").read_text()
    (tmp_path / "schemas" / "a.json").write_text("{")
    (tmp_path / "schemas" / "b.json").write_text('{"meta": {"service": ["x"]}}')
    (tmp_path / "schemas" / "c.json").write_text(good.replace("minLength", "minLenght", 1))
    (tmp_path / "schemas" / "d.json").write_text(good)

    with Process("gateway", "-c", path) as process:
        assert process.ended() == 3
        text = "\n".join(process.text)
    assert "a.json:1:2: error: not JSON: Expecting property name" in text
    assert "b.json:1:2: error: meta.serviceId: is missing or empty" in text
    assert "keyword 'minLenght' is not supported" in text
    assert "is in" in text


def test_unreachable_instances_do_not_draw_traffic(tmp_path: Path) -> None:
    """Two dead addresses look idle; one good loader must get what there is all the same."""
    with grpcio_loader(INFER, lambda data, context: fine()) as good:
        path = operated(tmp_path, [dead_address(), dead_address(), good])
        with Gateway("-c", path) as gateway:
            answers = [gateway.call() for _ in range(40)]
            assert [answer.status_code for answer in answers].count(200) >= 38
            attempts = [answer.headers["x-ase-attempts"] for answer in answers]
            assert attempts.count("1") >= 30, "the dead are not tried again and again"


def test_a_loader_that_advertises_what_cannot_be_reached_is_no_sinkhole() -> None:
    lies = ("--advertise", dead_address())
    with Gateway() as gateway, Loader(gateway.lb) as good, Loader(gateway.lb, *_probe(lies)) as bad:
        gateway.joined(good)
        gateway.joined(bad)
        answers = [gateway.call() for _ in range(40)]
        assert [answer.status_code for answer in answers] == [200] * 40
        assert [answer.headers["x-ase-attempts"] for answer in answers].count("1") >= 30


def _probe(flags: tuple[str, ...]) -> tuple[str, ...]:
    return ("tests/wrappers/probe.py:Probe", *flags)


def test_two_loaders_with_one_address_are_told_why(tmp_path: Path) -> None:
    with Gateway() as gateway, Loader(gateway.lb) as one:
        gateway.joined(one)
        flags = _probe(("--advertise", one.addr))
        with Process(
            "loader", "run", flags[0], "--lb", gateway.lb, "--port", "0", *flags[1:]
        ) as two:
            two.event("listening")
            said = one.event("report refused")["reason"]
            assert "another loader reports it too; each needs its own --advertise" in said
