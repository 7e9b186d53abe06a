"""gRPC clients of a gateway: grpcio, with messages that it learns by reflection."""

import contextlib
import queue
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from grpc_status import rpc_status

from tests.certificates import make_certificate
from tests.harness import ROOT, TIMEOUT_S, Gateway, Hub, Loader
from tests.sessions import TALKER

GRPC = ("--gateway-grpc", "true", "--gateway-grpc-port", "0")


class Client:
    """A client that knows the address of a gateway, and nothing else."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel
        database = ProtoReflectionDescriptorDatabase(channel)
        assert {"ase.v1.Gateway", "grpc.health.v1.Health"} <= set(database.get_services())
        pool = DescriptorPool(database)
        service = pool.FindServiceByName("ase.v1.Gateway")
        self.value = GetMessageClass(pool.FindMessageTypeByName("ase.v1.Value"))
        infer, session = service.methods_by_name["Infer"], service.methods_by_name["Session"]
        self.infer_request = GetMessageClass(infer.input_type)
        self.session_request = GetMessageClass(session.input_type)
        self.infer_call = channel.unary_unary(
            "/ase.v1.Gateway/Infer",
            request_serializer=self.infer_request.SerializeToString,
            response_deserializer=GetMessageClass(infer.output_type).FromString,
        )
        self.session_call = channel.stream_stream(
            "/ase.v1.Gateway/Session",
            request_serializer=self.session_request.SerializeToString,
            response_deserializer=GetMessageClass(session.output_type).FromString,
        )

    def members(self, **members: Any) -> dict[str, Any]:
        kinds = {str: "text", bytes: "data", int: "integer", bool: "boolean"}
        return {name: self.value(**{kinds[type(v)]: v}) for name, v in members.items()}

    def infer(self, service: str, metadata: Any = (), **members: Any) -> Any:
        request = self.infer_request(service=service, members=self.members(**members))
        return self.infer_call(request, timeout=TIMEOUT_S, metadata=metadata)

    def session(self, service: str, first: dict[str, Any], *later: dict[str, Any]) -> Any:
        messages = [self.session_request(service=service, members=self.members(**first))]
        messages += [self.session_request(members=self.members(**members)) for members in later]
        return self.session_call(iter(messages), timeout=TIMEOUT_S)


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with (
        Gateway(*GRPC) as running,
        Loader(running.lb) as probe,
        Loader(running.lb, TALKER) as talker,
        Loader(running.lb, f"{ROOT}/tests/wrappers/echo.py:Echo") as echo,
    ):
        for loader in (probe, talker, echo):
            running.wait_until_up(loader)
        yield running


@pytest.fixture(scope="module")
def client(gateway: Gateway) -> Iterator[Client]:
    with grpc.insecure_channel(gateway.grpc) as channel:
        yield Client(channel)


def test_request_and_answer(client: Client, gateway: Gateway) -> None:
    metadata = [("x-app-id", "shop")]
    response, call = client.infer_call.with_call(
        client.infer_request(service="probe", members=client.members(text="hé", number=9)),
        metadata=metadata,
        timeout=TIMEOUT_S,
    )
    assert response.members["said"].text == "Hé"
    assert '"number":9' in response.members["facts"].json
    assert '"app_id":"shop"' in response.members["facts"].json
    trailers = dict(call.trailing_metadata())
    line = gateway.wait_for_event("request", sid=trailers["x-ase-request-id"])
    assert line["instance"] == trailers["x-ase-instance"]


def test_picture_in_and_out(client: Client) -> None:
    response = client.infer("echo", image=b"\x89PNG", size=5, exact=True)
    assert response.members["seen"].data == b"\x89PNG"
    assert '"exact":true' in response.members["facts"].json


def test_error_has_details_that_the_clients_library_reads(client: Client) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        client.infer("probe", text="x", number=101, act="nothing")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    trailers = dict(caught.value.trailing_metadata())
    status = rpc_status.from_call(caught.value)
    assert status is not None
    bad_request, info = error_details_pb2.BadRequest(), error_details_pb2.ErrorInfo()
    for detail in status.details:
        detail.Unpack(bad_request)
        detail.Unpack(info)
    assert {v.field for v in bad_request.field_violations} == {"number", "act"}
    assert dict(info.metadata) == {"code": "10163", "sid": trailers["x-ase-request-id"]}


@pytest.mark.parametrize(
    ("act", "code", "details"),
    [
        ("refuse", grpc.StatusCode.INVALID_ARGUMENT, "not this one"),
        ("raise", grpc.StatusCode.UNKNOWN, ""),
        ("undeclared", grpc.StatusCode.UNKNOWN, ""),
    ],
)
def test_loaders_errors(client: Client, act: str, code: grpc.StatusCode, details: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        client.infer("probe", text="x", act=act)
    assert caught.value.code() is code
    assert details in caught.value.details()
    assert "secret" not in caught.value.details()


def test_session_of_messages(client: Client) -> None:
    results = client.session("talker", {"text": "one"}, {"text": "two"}, {"text": "three"})
    said = [result.members["said"].text for result in results]
    assert said == ["ONE", "TWO", "THREE"]
    assert dict(results.trailing_metadata())["x-ase-attempts"] == "1"


def test_results_come_while_the_client_still_sends(client: Client) -> None:
    answers: queue.SimpleQueue[str] = queue.SimpleQueue()

    def messages() -> Iterator[Any]:
        yield client.session_request(service="talker", members=client.members(text="a"))
        for _ in range(3):
            answer = answers.get(timeout=TIMEOUT_S)
            yield client.session_request(members=client.members(text=f"{answer}b"))

    said = []
    for result in client.session_call(messages(), timeout=TIMEOUT_S):
        said.append(result.members["said"].text)
        answers.put(said[-1])
    assert said == ["A", "AB", "ABB", "ABBB"]


@pytest.mark.unmeasured
def test_slow_reader_gets_every_result(client: Client) -> None:
    """More than fits into the windows and buffers in between."""
    results = client.session("talker", {"text": "x", "act": "flood", "many": 20_000})
    numbers = [result.members["facts"].json for result in results if "facts" in result.members]
    assert numbers == [f'{{"number":{number}}}' for number in range(20_000)]


def test_service_that_only_streams_is_called_by_session(client: Client) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        client.infer("talker", text="x")
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "call ase.v1.Gateway/Session" in caught.value.details()


def test_deadline_of_the_client_ends_the_request(client: Client, gateway: Gateway) -> None:
    request = client.infer_request(service="probe", members=client.members(text="x", act="hold"))
    with pytest.raises(grpc.RpcError) as caught:
        client.infer_call(request, timeout=0.3, metadata=[("x-request-id", "held-call")])
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    gateway.wait_for_event("request", path="/ase.v1.Gateway/Infer", code=499)


@pytest.mark.parametrize("limit", [1 << 16, 3 << 20])
def test_message_over_max_body(limit: int) -> None:
    flags = ("--gateway-max-body", str(limit))
    with Gateway(*GRPC, *flags) as gateway, grpc.insecure_channel(gateway.grpc) as channel:
        client = Client(channel)
        with pytest.raises(grpc.RpcError) as caught:
            client.infer("probe", text="x" * limit)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert caught.value.details() == f"the message is larger than {limit} bytes"


def test_largest_message_passes_and_a_larger_output_is_an_error() -> None:
    with (
        Gateway(*GRPC, "--gateway-max-output", "3000") as gateway,
        Loader(gateway.lb, f"{ROOT}/tests/wrappers/echo.py:Echo") as echo,
        grpc.insecure_channel(gateway.grpc) as channel,
    ):
        gateway.wait_until_up(echo)
        client = Client(channel)
        assert client.infer("echo", image=b"x" * 2000, size=1).members["seen"].data
        with pytest.raises(grpc.RpcError) as caught:
            client.infer("echo", image=b"x" * 4000, size=1)
    assert "max_output" in caught.value.details()


def test_compressed_message_may_be_as_large_as_a_compressed_body(gateway: Gateway) -> None:
    with grpc.insecure_channel(gateway.grpc, compression=grpc.Compression.Gzip) as channel:
        client = Client(channel)
        assert client.infer("probe", text="x" * 500).members["said"].text
        with pytest.raises(grpc.RpcError) as caught:
            client.infer("probe", text="x" * (3 << 20))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "after decompression larger than max (2097152)" in caught.value.details()


def test_connections_leave_descriptors_for_others() -> None:
    with Gateway(*GRPC, prefix=("prlimit", "--nofile=256")) as gateway:
        host, _, port = gateway.grpc.rpartition(":")
        with contextlib.ExitStack() as stack:
            for _ in range(300):
                stack.enter_context(socket.create_connection((host, int(port)), TIMEOUT_S))
            assert gateway.http.get("/livez").status_code == 200


def test_streams_beyond_the_limit_wait_at_the_client(gateway: Gateway, client: Client) -> None:
    """By SETTINGS_MAX_CONCURRENT_STREAMS: no call fails."""
    calls = [
        client.infer_call.future(
            client.infer_request(service="probe", members=client.members(text="x")),
            timeout=TIMEOUT_S,
        )
        for _ in range(300)
    ]
    codes = {call.code() for call in calls}
    # The probe takes two at a time and queues none: an overload is no fault of the port.
    assert codes <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
    assert grpc.StatusCode.OK in codes


def test_health_and_drain() -> None:
    flags = ("--gateway-lame-duck", "30")
    with Gateway(*GRPC, *flags) as gateway, grpc.insecure_channel(gateway.grpc) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service="ase.v1.Gateway"))
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        gateway.signal(signal.SIGTERM)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()


def test_stopping_gateway_finishes_calls_and_ends_sessions() -> None:
    with Gateway(*GRPC) as gateway, Loader(gateway.lb, TALKER) as talker:
        gateway.wait_until_up(talker)
        with grpc.insecure_channel(gateway.grpc) as channel:
            client = Client(channel)
            complete = client.session("talker", {"text": "x", "act": "flood", "many": 2000})
            ended = threading.Event()

            def messages() -> Iterator[Any]:
                yield client.session_request(service="talker", members=client.members(text="a"))
                gateway.wait_for_event("draining")
                yield client.session_request(members=client.members(text="b"))
                ended.wait(TIMEOUT_S)

            open_session = client.session_call(messages(), timeout=TIMEOUT_S)
            assert next(open_session).members["said"].text == "A"
            next(complete)
            gateway.signal(signal.SIGTERM)
            assert len(list(complete)) == 2000
            assert next(open_session).members["said"].text == "B"
            with pytest.raises(grpc.RpcError) as caught:
                next(open_session)
            ended.set()
            assert "the gateway stops" in caught.value.details()
        assert gateway.wait_for_exit() == 0


def test_tls(tmp_path: Path) -> None:
    make_certificate(tmp_path, "gateway")
    files = [f"{tmp_path}/gateway.pem", f"{tmp_path}/gateway.key"]
    flags = ("--gateway-tls-cert", files[0], "--gateway-tls-key", files[1])
    with Gateway(*GRPC, *flags) as gateway, Loader(gateway.lb) as loader:
        gateway.wait_until_up(loader)
        credentials = grpc.ssl_channel_credentials(Path(files[0]).read_bytes())
        with grpc.secure_channel(gateway.grpc, credentials) as channel:
            assert Client(channel).infer("probe", text="x").members["said"].text == "X"


def test_workers_share_the_port() -> None:
    with (
        Hub() as hub,
        Gateway(*GRPC, "--lb-hub", hub.lb, "--workers", "2") as gateway,
        Loader(hub.lb) as loader,
        grpc.insecure_channel(gateway.grpc) as channel,
    ):
        gateway.wait_until_up(loader)
        assert Client(channel).infer("probe", text="x").members["said"].text == "X"


def test_port_is_closed_unless_it_is_asked_for() -> None:
    with Gateway() as gateway:
        assert gateway.grpc == ""
