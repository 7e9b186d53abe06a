"""A loader's port, spoken to by grpcio's own clients: health, reflection, native and xsf."""

import signal
from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from schemas.wire import LoaderInput, LoaderOutput, MetaDesc, Payload, ReqData, ResData, XsfData
from tests.harness import Loader

UNREACHABLE_ADDR = "127.0.0.1:9"


@pytest.fixture(scope="module")
def loader() -> Iterator[Loader]:
    with Loader(UNREACHABLE_ADDR) as running:
        yield running


@pytest.fixture
def channel(loader: Loader) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(loader.addr) as channel:
        yield channel


def frame(state: int = LoaderInput.ONCE, act: str = "answer") -> LoaderInput:
    return LoaderInput(
        serviceId="probe",
        state=state,
        params={"act": act},
        expect=[MetaDesc(name="said", attribute={"encoding": "gbk"}), MetaDesc(name="facts")],
        pl=[Payload(meta=MetaDesc(name="text"), data=b"hi")],
    )


def infer(channel: grpc.Channel, data: bytes) -> LoaderOutput:
    answer: bytes = channel.unary_unary("/ase.v1.Loader/Infer")(data, timeout=10)
    return LoaderOutput.FromString(answer)


def test_native_infer(channel: grpc.Channel) -> None:
    output = infer(channel, frame().SerializeToString())
    assert (output.code, output.status) == (0, LoaderOutput.ONCE)
    payload = output.pl[0]
    assert payload.data == b"HI"
    assert dict(payload.meta.attribute) == {"encoding": "gbk", "seq": "0", "status": "3"}, (
        "attributes that were expected are copied onto the output"
    )


def test_unexpected_output_is_10106(channel: grpc.Channel) -> None:
    request = frame()
    del request.expect[:]
    assert infer(channel, request.SerializeToString()).code == 10106


def test_session_frames_are_joined_for_a_unary_wrapper(
    channel: grpc.Channel,
) -> None:
    first, last = frame(LoaderInput.STREAM), frame(LoaderInput.STREAM)
    last.pl[0].meta.attribute["status"] = "2"
    frames = iter([first.SerializeToString(), last.SerializeToString()])
    answers = channel.stream_stream("/ase.v1.Loader/Session")(frames, timeout=10)
    outputs = [LoaderOutput.FromString(output) for output in answers]
    assert [output.status for output in outputs] == [LoaderOutput.BEGIN, LoaderOutput.END]
    assert outputs[1].pl[0].data == b"HIHI"


def test_garbage_is_invalid_argument(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        infer(channel, b"\xff\xff")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_xsf(channel: grpc.Channel) -> None:
    def call(request: ReqData) -> ResData:
        answer: bytes = channel.unary_unary("/utils.XsfCall/call")(
            request.SerializeToString(), timeout=10
        )
        return ResData.FromString(answer)

    accepted = call(ReqData(op="AIIn", data=[XsfData(data=frame().SerializeToString())]))
    assert LoaderOutput.FromString(accepted.data[0].data).pl[0].data == b"HI"
    refused = call(ReqData(op="AIIn", data=[XsfData(data=frame(act="refuse").SerializeToString())]))
    assert refused.code == 0
    assert LoaderOutput.FromString(refused.data[0].data).code == 10107
    assert call(ReqData(op="ping")).code == 0
    assert LoaderOutput.FromString(call(ReqData(op="AIOut")).data[0].data).code == 10008
    assert call(ReqData(op="AINo")).code == 10003


def test_health(channel: grpc.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    serving = health_pb2.HealthCheckResponse.SERVING
    for service in ("", "ase.v1.Loader", "utils.XsfCall"):
        assert stub.Check(health_pb2.HealthCheckRequest(service=service)).status == serving
    with pytest.raises(grpc.RpcError) as caught:
        stub.Check(health_pb2.HealthCheckRequest(service="nobody"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_health_watch_reports_draining() -> None:
    with Loader(UNREACHABLE_ADDR) as running, grpc.insecure_channel(running.addr) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        running.signal(signal.SIGTERM)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert running.wait_for_exit() == 0


def test_reflection_serves_the_messages(channel: grpc.Channel) -> None:
    database = ProtoReflectionDescriptorDatabase(channel)
    assert set(database.get_services()) == {
        "ase.v1.Loader",
        "utils.XsfCall",
        "grpc.health.v1.Health",
        "xds.service.orca.v3.OpenRcaService",
    }
    pool = DescriptorPool(database)
    fields = pool.FindMessageTypeByName("protocol.LoaderInput").fields_by_name
    assert fields["sync_id"].number == 8
    service = pool.FindServiceByName("ase.v1.Loader")
    assert [method.name for method in service.methods] == ["Infer", "Session", "Probe"]
    with pytest.raises(KeyError):
        pool.FindMessageTypeByName("no.Such")
