"""Loaders that misbehave, and our own faults: what a client is told, and what is tried again."""

import contextlib
import json
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from aseloader import declare
from config.options import GatewayOptions
from schemas.wire import LoaderOutput, ReqData, ResData, XsfData
from tests.harness import FREE_PORTS, Gateway, Loader, Process, make_envelope, occupied_slot
from tests.inprocess import InProcessGateway
from tests.requests import statuses_of, valid_request
from tests.wire.test_statuses import assert_error_envelope
from tests.wrappers.probe import Idempotent, Probe

INFER = "/ase.v1.Loader/Infer"
XSF = "/utils.XsfCall/call"


@contextlib.contextmanager
def grpcio_loader(method: str, respond: Any) -> Iterator[str]:
    """Serve one method with plain grpcio, as a loader nobody here wrote; yield its address."""
    server = grpc.server(futures.ThreadPoolExecutor(4))
    handler = grpc.unary_unary_rpc_method_handler(respond)
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


def write_config(
    folder: Path, addresses: list[str], protocol: str = "native", wrapper_class: type = Probe
) -> str:
    """Write an operator's ase.yaml with static instances and a schema file; return its path."""
    (folder / "schemas").mkdir(exist_ok=True)
    (folder / "schemas" / "schema_probe.json").write_bytes(declare.schema(wrapper_class))
    rest = f"protocol: {protocol}, total: 4"
    lines = [
        f"- {{service: {wrapper_class.service}, addr: '{address}', {rest}}}\n"
        for address in addresses
    ]
    (folder / "ase.yaml").write_text("schemas: schemas\ninstances:\n" + "".join(lines))
    return str(folder / "ase.yaml")


def dead_address() -> str:
    """Return an address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return f"127.0.0.1:{sock.getsockname()[1]}"


def make_output(data: bytes = b"ok") -> bytes:
    output = LoaderOutput(status=LoaderOutput.ONCE)
    payload = output.pl.add()
    payload.meta.name, payload.data = "said", data
    return output.SerializeToString()


def test_unreachable_loader_is_503_10222(tmp_path: Path) -> None:
    with Gateway("-c", write_config(tmp_path, [dead_address()])) as gateway:
        response = gateway.call()
        assert_error_envelope(response, 503, 10222)
        assert "retry-after" in response.headers


def test_unsent_request_is_retried_elsewhere(tmp_path: Path) -> None:
    with grpcio_loader(INFER, lambda data, context: make_output()) as good:
        dead = dead_address()
        with Gateway("-c", write_config(tmp_path, [dead, good])) as gateway:
            responses = [gateway.call() for _ in range(20)]
            assert [response.status_code for response in responses] == [200] * 20
            assert {response.headers["x-ase-instance"] for response in responses} == {good}
            assert "2" in {response.headers["x-ase-attempts"] for response in responses}
            assert 'ase_retries_total{reason="unreachable"}' in gateway.metrics()


def test_full_loader_is_retried_elsewhere(tmp_path: Path) -> None:
    def full(data: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "10110 no licence left")
        return b""

    with (
        grpcio_loader(INFER, full) as busy,
        grpcio_loader(INFER, lambda data, context: make_output()) as good,
        Gateway("-c", write_config(tmp_path, [busy, good])) as gateway,
    ):
        responses = [gateway.call() for _ in range(20)]
        assert [response.status_code for response in responses] == [200] * 20
        assert {response.headers["x-ase-instance"] for response in responses} == {good}


def test_loader_lost_after_sending_is_502_without_retry() -> None:
    with Gateway() as gateway, Loader(gateway.lb) as first, Loader(gateway.lb) as second:
        gateway.wait_until_up(first)
        gateway.wait_until_up(second)
        client = threading.Thread(target=lambda: responses.append(gateway.call(act="hold")))
        responses: list[httpx.Response] = []
        client.start()
        holder = _wait_for_holder(first, second)
        holder.signal(signal.SIGKILL)
        client.join(30)
        assert_error_envelope(responses[0], 502, 10222)
        assert responses[0].headers["x-ase-attempts"] == "1"
        assert first.count("held") + second.count("held") == 1, "it ran once"


def test_idempotent_request_is_retried_after_loader_loss() -> None:
    spec = "tests/wrappers/probe.py:Idempotent"
    with (
        Gateway() as gateway,
        Loader(gateway.lb, spec) as first,
        Loader(gateway.lb, spec) as second,
    ):
        gateway.wait_until_up(first)
        gateway.wait_until_up(second)
        responses: list[httpx.Response] = []
        request_envelope = make_envelope(Idempotent.service, act="hold")
        client = threading.Thread(
            target=lambda: responses.append(gateway.post(request_envelope, "probe2"))
        )
        client.start()
        holder = _wait_for_holder(first, second)
        other = second if holder is first else first
        holder.signal(signal.SIGKILL)
        other.wait_for_event("held")
        other.signal(signal.SIGKILL)
        client.join(30)
        assert_error_envelope(responses[0], 502, 10222)
        assert responses[0].headers["x-ase-attempts"] == "2"
        assert responses[0].headers["x-ase-instance"] == other.addr


def _wait_for_holder(*loaders: Loader) -> Loader:
    """Wait until one of them holds; return it."""
    holder: futures.Future[Loader] = futures.Future()

    def watch(loader: Loader) -> None:
        with contextlib.suppress(AssertionError, futures.InvalidStateError):
            loader.wait_for_event("held")
            holder.set_result(loader)

    for loader in loaders:
        threading.Thread(target=watch, args=(loader,), daemon=True).start()
    return holder.result(30)


@pytest.mark.parametrize(
    ("output", "status", "code"),
    [
        (LoaderOutput(code=12345, err="its own words").SerializeToString(), 502, 12345),
        (LoaderOutput(code=10102).SerializeToString(), 504, 10102),
        (LoaderOutput(code=-7).SerializeToString(), 502, -7),
        (b"\xff\xff garbage", 502, 10160),
    ],
    ids=["own code", "its timeout", "negative", "garbage"],
)
def test_loader_code_is_passed_on(tmp_path: Path, output: bytes, status: int, code: int) -> None:
    with (
        grpcio_loader(INFER, lambda data, context: output) as addr,
        Gateway("-c", write_config(tmp_path, [addr])) as gateway,
    ):
        assert_error_envelope(gateway.call(), status, code)


def test_the_code_map_overrides_the_status(tmp_path: Path) -> None:
    path = write_config(tmp_path, [dead_address()])
    file = tmp_path / "schemas" / "schema_probe.json"
    file.write_text(file.read_text().replace('"meta":{', '"meta":{"codeMap":{"10222":418},', 1))
    with Gateway("-c", path) as gateway:
        assert_error_envelope(gateway.call(), 418, 10222)


def test_an_original_loader_is_called_by_xsf(tmp_path: Path) -> None:
    requests: list[ReqData] = []

    def aiges(data: bytes, context: grpc.ServicerContext) -> bytes:
        request = ReqData.FromString(data)
        requests.append(request)
        if len(requests) == 2:
            return ResData(code=10110, error_info="licence").SerializeToString()
        return ResData(data=[XsfData(data=make_output(b"xsf"))]).SerializeToString()

    with (
        grpcio_loader(XSF, aiges) as addr,
        Gateway("-c", write_config(tmp_path, [addr], "xsf"), "--lb-wait", "0") as gateway,
    ):
        response = gateway.call(number=5)
        assert response.json()["payload"]["said"]["text"] == "eHNm"
        assert_error_envelope(gateway.call(), 503, 10110)
        first, second = requests
        assert first.op == "AIIn"
        assert first.param["SeqNo"] == "1"
        assert first.param["version"] == "v2"
        assert 0 < int(first.param["waitTime"]) <= 5000
        assert len(first.s.h) >= 26
        assert first.s.h != second.s.h


def test_our_loader_supports_xsf(tmp_path: Path) -> None:
    with (
        Loader(dead_address()) as loader,
        Gateway("-c", write_config(tmp_path, [loader.addr], "xsf")) as gateway,
    ):
        assert gateway.call(number=5).json()["payload"]["said"]["text"] == "SEVMTE8="
        assert_error_envelope(gateway.call(act="refuse"), 400, 10107)
        with occupied_slot(gateway, loader, "a"), occupied_slot(gateway, loader, "b"):
            assert_error_envelope(gateway.call(), 503, 10110)


def test_category_routes_to_its_sub_service(tmp_path: Path) -> None:
    with grpcio_loader(INFER, lambda data, context: make_output()) as addr:
        path = write_config(tmp_path, [addr])
        (tmp_path / "schemas" / "schema_any.json").write_text("""{"meta": {
            "serviceId": "any", "type": "category", "service": [],
            "routeKey": ["act"],
            "subRoute": [
              {"subServiceId": "gone", "priority": 9, "rules": {"$.parameter.probe.act": "bare"}},
              {"subServiceId": "probe", "priority": 1,
               "rules": {"$.parameter.probe.act": ["answer", "hold"], "$.header.status": "3"}}]
            }, "schemainput": {}, "schemaoutput": {}}""")
        with Gateway("-c", path) as gateway:
            response = gateway.post(make_envelope(act="answer"), "any")
            assert response.status_code == 200
            line = gateway.wait_for_event("request", sid=response.headers["x-ase-request-id"])
            assert line["service"] == "probe"
            assert_error_envelope(gateway.post(make_envelope(act="raise"), "any"), 404, 10404)
            assert_error_envelope(gateway.post(make_envelope(act="bare"), "any"), 404, 10404)


@pytest.mark.parametrize("once_lane", [True, False])
def test_internal_error_is_500_11502_without_details(once_lane: bool) -> None:
    with InProcessGateway(options=GatewayOptions(once_lane=once_lane)) as gateway:
        gateway.caller.start_error = KeyError("inside secret")
        with gateway.connect() as sock:
            sock.sendall(valid_request())
            response = sock.recv(65536)
    assert statuses_of(response) == [500]
    header = json.loads(response.partition(b"\r\n\r\n")[2])["header"]
    assert (header["code"], header["message"]) == (11502, "unexpected error")
    assert b"secret" not in response
    assert [sid for sid, _ in gateway.internal_errors] == [header["sid"]]


def test_bad_schema_files_prevent_start_and_are_all_named(tmp_path: Path) -> None:
    path = write_config(tmp_path, [])
    good = (tmp_path / "schemas" / "schema_probe.json").read_text()
    (tmp_path / "schemas" / "a.json").write_text("{")
    (tmp_path / "schemas" / "b.json").write_text('{"meta": {"service": ["x"]}}')
    (tmp_path / "schemas" / "c.json").write_text(good.replace("minLength", "minLenght", 1))
    (tmp_path / "schemas" / "d.json").write_text(good)

    with Process("gateway", "-c", path, *FREE_PORTS) as process:
        assert process.wait_for_exit() == 3
        text = "\n".join(process.text)
    assert "a.json:1:2: error: not JSON: Expecting property name" in text
    assert "b.json:1:2: error: meta.serviceId: is missing or empty" in text
    assert "keyword 'minLenght' is not supported" in text
    assert "is in" in text


def test_unreachable_instances_attract_no_traffic(tmp_path: Path) -> None:
    """Two dead addresses look idle; one good loader must get what there is all the same."""
    with grpcio_loader(INFER, lambda data, context: make_output()) as good:
        path = write_config(tmp_path, [dead_address(), dead_address(), good])
        with Gateway("-c", path) as gateway:
            responses = [gateway.call() for _ in range(40)]
            assert [response.status_code for response in responses].count(200) >= 38
            attempts = [response.headers["x-ase-attempts"] for response in responses]
            assert attempts.count("1") >= 30, "the dead are not tried again and again"


def test_unreachable_advertised_address_attracts_no_traffic() -> None:
    advertise_flags = ("--advertise", dead_address())
    with (
        Gateway() as gateway,
        Loader(gateway.lb) as good,
        Loader(gateway.lb, *_probe_args(advertise_flags)) as bad,
    ):
        gateway.wait_until_up(good)
        gateway.wait_for_event("instance ejected", instance=bad.addr, reason="check_failed")
        responses = [gateway.call() for _ in range(40)]
        assert [response.status_code for response in responses] == [200] * 40
        assert {response.headers["x-ase-attempts"] for response in responses} == {"1"}


def _probe_args(flags: tuple[str, ...]) -> tuple[str, ...]:
    return ("tests/wrappers/probe.py:Probe", *flags)


def test_two_loaders_with_one_address_get_a_reason(tmp_path: Path) -> None:
    with Gateway() as gateway, Loader(gateway.lb) as first:
        gateway.wait_until_up(first)
        flags = _probe_args(("--advertise", first.addr))
        with Process(
            "loader", "run", flags[0], "--lb", gateway.lb, "--port", "0", *flags[1:]
        ) as second:
            second.wait_for_event("listening")
            reason = first.wait_for_event("report refused")["reason"]
            assert "another loader reports it too; each needs its own --advertise" in reason
