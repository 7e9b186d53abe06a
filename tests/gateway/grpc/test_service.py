"""Calls of gRPC clients on the fakes of a gateway: answers, errors, sessions, ends."""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from aseloader import Input, Output, Wrapper, declare
from config.options import GatewayOptions, SessionOptions
from rpc.handler_tasks import CallContext
from rpc.status import RpcError, Status
from schemas.model.errors import BAD_MODE, UNREACHABLE, WRAPPER_RAISED, AseError
from schemas.wire import (
    GatewayValue,
    InferRequest,
    InferResponse,
    LoaderInput,
    RpcStatus,
    SessionRequest,
    SessionResponse,
)
from tests.fakes import FakeLoaderStream
from tests.inprocess import InProcessGateway

TEXT = {"text": GatewayValue(text="hi")}
TRACEPARENT = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"


def new_call(**metadata: str) -> CallContext:
    fields = {name.replace("_", "-"): value for name, value in metadata.items()}
    return CallContext(fields, "ipv4:127.0.0.7:5123", None)


def run(gateway: InProcessGateway, work: Coroutine[Any, Any, Any]) -> Any:
    """Run to the end, on the clock of the gateway."""
    return gateway.loop.run_until_complete(asyncio.wait_for(work, 3600))


def infer(
    gateway: InProcessGateway,
    service: str = "probe",
    call: CallContext | None = None,
    **members: Any,
) -> InferResponse:
    request = InferRequest(service=service, members=members or TEXT).SerializeToString()
    return InferResponse.FromString(
        run(gateway, gateway.grpc_service.infer(request, call or new_call()))
    )


def error_of(
    gateway: InProcessGateway, call: CallContext | None = None, **members: Any
) -> RpcError:
    with pytest.raises(RpcError) as caught:
        infer(gateway, call=call, **members)
    return caught.value


def logged(gateway: InProcessGateway) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(gateway.lines[-1])
    return line


def test_answer_has_outputs_and_trailers() -> None:
    with InProcessGateway() as gateway:
        call = new_call(x_app_id="shop", traceparent=TRACEPARENT, content_encoding="gzip")
        response = infer(gateway, call=call)
        assert dict(response.members) == {"said": GatewayValue(text="hi")}
        assert dict(call.trailers) == {
            "x-ase-request-id": format(5, "032x"), "x-ase-overhead-ms": "0.000",
            "x-ase-upstream-ms": "0.000", "x-ase-attempts": "1", "x-ase-instance": "loader-0",
        }  # fmt: skip
        (frame,) = map(LoaderInput.FromString, gateway.caller.frames)
        assert frame.headers["app_id"] == "shop"
        assert frame.headers["traceparent"] == TRACEPARENT
        assert frame.headers["client_ip"] == "127.0.0.7"
        assert frame.headers["route"] == "/ase.v1.Gateway/Infer"
        assert [payload.data for payload in frame.pl] == [b"hi"]
        line = logged(gateway)
        assert (line["path"], line["status"], line["code"]) == ("/ase.v1.Gateway/Infer", 200, 0)
        assert gateway.metrics.inflight == 0


@pytest.mark.parametrize(
    ("members", "status", "code"),
    [
        ({"text": GatewayValue(integer=1)}, Status.INVALID_ARGUMENT, 10163),
        ({"number": GatewayValue(integer=101), **TEXT}, Status.INVALID_ARGUMENT, 10163),
        ({"number": GatewayValue(text="1"), **TEXT}, Status.INVALID_ARGUMENT, 10163),
        ({"nothing": GatewayValue(), **TEXT}, Status.INVALID_ARGUMENT, 10163),
        ({"text": GatewayValue(data=b"\xff")}, Status.INVALID_ARGUMENT, 10163),
        ({"text": GatewayValue(text="x" * 2000)}, Status.INVALID_ARGUMENT, 10163),
        ({"text": GatewayValue(text="x\0y")}, Status.INVALID_ARGUMENT, 10163),
        ({"number": GatewayValue(json="{"), **TEXT}, Status.INVALID_ARGUMENT, 10163),
        ({"number": GatewayValue(json='{"a":1,"a":2}'), **TEXT}, Status.INVALID_ARGUMENT, 10163),
        ({"number": GatewayValue(json="1,2"), **TEXT}, Status.INVALID_ARGUMENT, 10163),
    ],
    ids=range(10),
)
def test_wrong_members(members: dict[str, Any], status: Status, code: int) -> None:
    with InProcessGateway() as gateway:
        call = new_call()
        error = error_of(gateway, call, **members)
        assert error.status is status
        name = next(iter(members))
        assert error.details.startswith(f"{name}: ")
        details = RpcStatus.FromString(bytes(dict(call.trailers)["grpc-status-details-bin"]))  # type: ignore[arg-type]
        assert (details.code, details.message) == (int(status), error.details)
        assert logged(gateway)["code"] == code
        assert not gateway.caller.frames


def test_json_of_all_members_has_one_limit() -> None:
    """Unknown names are refused first: nobody has to parse what they come with."""
    many = GatewayValue(json="[" + "1," * 60_000 + "1]")
    with InProcessGateway() as gateway:
        error = error_of(gateway, said=many, facts=many, **TEXT)
        assert error.details == "request body: more than 100000 values"
        unknown = {f"unknown{number}": many for number in range(50)}
        assert "is not known here" in error_of(gateway, **unknown, **TEXT).details


def test_data_is_taken_as_text_if_it_is_utf8() -> None:
    with InProcessGateway() as gateway:
        infer(gateway, text=GatewayValue(data="é".encode()))
        assert LoaderInput.FromString(gateway.caller.frames[0]).pl[0].data == "é".encode()


def test_bytes_that_are_no_message_are_counted() -> None:
    with InProcessGateway() as gateway:
        call = new_call()
        with pytest.raises(RpcError, match="the message cannot be decoded") as caught:
            run(gateway, gateway.grpc_service.infer(b"\x0a", call))
        assert caught.value.status is Status.INVALID_ARGUMENT
        assert dict(call.trailers)["x-ase-attempts"] == "0"
        assert logged(gateway)["fault"] == "bad_request"


def test_unknown_service_and_missing_app_id() -> None:
    with InProcessGateway(options=GatewayOptions(anonymous=False)) as gateway:
        with pytest.raises(RpcError) as caught:
            infer(gateway, "nobody")
        assert caught.value.status is Status.NOT_FOUND
        assert error_of(gateway).details == "the header x-app-id is required"
        other = new_call(x_app_id="a", x_consumer_username="b")
        assert error_of(gateway, other).status is Status.PERMISSION_DENIED
        assert infer(gateway, call=new_call(x_consumer_username="b")).members


def test_errors_of_loaders() -> None:
    with InProcessGateway() as gateway:
        gateway.caller.result = AseError(WRAPPER_RAISED)
        assert error_of(gateway).status is Status.UNKNOWN
        gateway.caller.result = AseError(BAD_MODE)
        error = error_of(gateway)
        assert error.status is Status.FAILED_PRECONDITION
        assert "ase.v1.Gateway/Session" in error.details
        gateway.caller.result = AseError(UNREACHABLE)
        call = new_call()
        assert error_of(gateway, call).status is Status.UNAVAILABLE
        assert dict(call.trailers)["x-ase-attempts"] == "2"


def test_cancelled_call_cancels_its_request() -> None:
    with InProcessGateway() as gateway:
        gateway.caller.result = None

        async def cancel_soon() -> None:
            request = InferRequest(service="probe", members=TEXT).SerializeToString()
            task = asyncio.ensure_future(gateway.grpc_service.infer(request, new_call()))
            await asyncio.sleep(0)  # it starts
            assert gateway.caller.calls
            task.cancel()
            await task

        with pytest.raises(asyncio.CancelledError):
            run(gateway, cancel_soon())
        assert [call.cancelled for call in gateway.caller.calls] == [True]
        assert logged(gateway)["code"] == 499
        assert gateway.metrics.inflight == 0


class Client:
    """One `Session` call: `send` and `finish` are the client's half, `results` what it got.

    While `reads` is cleared, it takes no result.
    """

    def __init__(self, gateway: InProcessGateway, **metadata: str) -> None:
        self.gateway = gateway
        self.call = new_call(**metadata)
        self.results: list[dict[str, GatewayValue]] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self._requests: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.taken = 0
        self.task = gateway.loop.create_task(self._run())
        gateway.loop.settle()

    async def _run(self) -> None:
        async for data in self.gateway.grpc_service.session(self._messages(), self.call):
            self.results.append(dict(SessionResponse.FromString(data).members))
            await self.reads.wait()

    async def _messages(self) -> AsyncIterator[bytes]:
        while (data := await self._requests.get()) is not None:
            self.taken += 1
            yield data

    def send(self, service: str = "", **members: Any) -> None:
        message = SessionRequest(service=service, members=members)
        self._requests.put_nowait(message.SerializeToString())
        self.gateway.loop.settle()

    def finish(self) -> None:
        self._requests.put_nowait(None)
        self.gateway.loop.settle()

    @property
    def stream(self) -> FakeLoaderStream:
        (stream,) = self.gateway.caller.streams
        return stream

    @property
    def frames(self) -> list[LoaderInput]:
        return [LoaderInput.FromString(frame) for frame in self.stream.sent_frames]

    def error(self) -> RpcError:
        """Wait for the end of the call; return its error."""
        with pytest.raises(RpcError) as caught:
            run(self.gateway, asyncio.shield(self.task))
        return caught.value


def text(value: str) -> dict[str, GatewayValue]:
    return {"text": GatewayValue(text=value)}


def test_session_in_both_directions() -> None:
    with InProcessGateway() as gateway:
        client = Client(gateway, x_app_id="shop")
        client.send("talker", many=GatewayValue(integer=5), **text("one"))
        client.send(**text("two"))
        client.stream.push_result(0, b"ONE")
        assert client.results == [{"said": GatewayValue(text="ONE")}]
        client.finish()
        assert [frame.headers["status"] for frame in client.frames] == ["0", "1", "2"]
        assert [frame.pl[0].data for frame in client.frames] == [b"one", b"two", b""]
        assert client.frames[1].params["many"] == "5"
        assert client.frames[0].headers["app_id"] == "shop"
        assert client.stream.finished
        client.stream.push_result(1)  # without outputs
        client.stream.push_result(2, b"TWO")
        run(gateway, client.task)
        assert client.results[1:] == [{"said": GatewayValue(text="TWO")}]
        assert dict(client.call.trailers)["x-ase-instance"] == "loader-0"
        assert logged(gateway)["path"] == "/ase.v1.Gateway/Session"
        assert (logged(gateway)["status"], logged(gateway)["code"]) == (200, 0)


@pytest.mark.parametrize(
    ("steps", "status", "details"),
    [
        ([("nobody", {})], Status.NOT_FOUND, "no such service"),
        ([("", {})], Status.NOT_FOUND, "no such service"),
        ([("talker", {"txt": GatewayValue()})], Status.INVALID_ARGUMENT, "txt: is not known"),
        ([("talker", {"many": GatewayValue(integer=0)})], Status.INVALID_ARGUMENT, "many: breaks"),
        (
            [("talker", text("a")), ("", {"text": GatewayValue(integer=1)})],
            Status.INVALID_ARGUMENT,
            "text: must be a text",
        ),
        ([("probe", TEXT), ("", TEXT)], Status.INVALID_ARGUMENT, "the session's last frame"),
    ],
    ids=range(6),
)
def test_wrong_messages_end_a_session(steps: Any, status: Status, details: str) -> None:
    with InProcessGateway() as gateway:
        client = Client(gateway)
        for service, members in steps:
            client.send(service, **members)
        error = client.error()
        assert error.status is status
        assert error.details.startswith(details)
        assert "grpc-status-details-bin" in dict(client.call.trailers)
        assert logged(gateway)["status"] in (400, 404)
        assert not gateway.internal_errors


def test_call_without_a_message() -> None:
    with InProcessGateway() as gateway:
        client = Client(gateway)
        client.finish()
        assert client.error().details == "the call has no message"
        assert logged(gateway)["code"] == 10163


def test_bytes_that_are_no_message_end_a_session() -> None:
    with InProcessGateway() as gateway:
        client = Client(gateway)
        client.send("talker", **text("a"))
        client._requests.put_nowait(b"\x0a")
        assert client.error().details == "the message cannot be decoded"
        assert client.stream.cancelled


def test_message_of_a_session_has_the_limit_of_a_websockets() -> None:
    with InProcessGateway(session_options=SessionOptions(max_frame=200)) as gateway:
        client = Client(gateway)
        client.send("talker", **text("a"))
        client.send(**text("a" * 200))
        error = client.error()
        assert error.status is Status.RESOURCE_EXHAUSTED
        assert error.details == "the message is larger than 200 bytes"


def test_silent_client_is_timed_out_before_and_after_its_first_message() -> None:
    options = SessionOptions(read_timeout=3.0)
    for first in (False, True):
        with InProcessGateway(session_options=options) as gateway:
            client = Client(gateway)
            if first:
                client.send("talker", **text("a"))
            started = gateway.loop.time()
            assert client.error().details == "session read timeout"
            assert gateway.loop.time() - started == pytest.approx(3.0, abs=0.01)
            assert logged(gateway)["code"] == 10200


def test_loader_that_fails() -> None:
    with InProcessGateway() as gateway:
        client = Client(gateway)
        client.send("talker", **text("a"))
        client.stream.push_result(0, b"A")
        client.stream.fail_with(AseError(WRAPPER_RAISED, "it raised"))
        error = client.error()
        assert (error.status, error.details) == (Status.UNKNOWN, "it raised")
        assert len(client.results) == 1


def test_client_that_does_not_read_stops_the_loader() -> None:
    with InProcessGateway() as gateway:
        client = Client(gateway)
        client.send("talker", **text("a"))
        client.reads.clear()
        for number in range(5):
            client.stream.push_result(0, b"%d" % number)
        assert len(client.results) == 1
        assert len(client.stream.results) == 3, "one is taken, one waits"
        client.reads.set()
        client.stream.push_result(2, b"end")
        run(gateway, client.task)
        assert len(client.results) == 6


def test_loader_that_does_not_read_stops_the_client() -> None:
    with InProcessGateway(session_options=SessionOptions(queue=2)) as gateway:
        client = Client(gateway)
        client.send("talker", **text("a"))
        client.stream.has_room = False
        for _ in range(9):
            client.send(**text("b"))
        assert client.taken == 3, "two wait for the loader"
        client.stream.has_room = True
        gateway.run(client.stream.wake)
        assert client.taken == 10
        assert len(client.frames) == 10
        client.task.cancel()
        gateway.loop.settle()


def test_client_that_cancels_cancels_the_loader() -> None:
    with InProcessGateway() as gateway:
        client = Client(gateway)
        client.send("talker", **text("a"))
        client.task.cancel()
        gateway.loop.settle()
        assert client.stream.cancelled
        assert gateway.picker.new_slots[0].errors == ["abandoned"]
        assert logged(gateway)["code"] == 499
        assert not gateway.grpc_service._sessions


def test_client_that_cancels_before_its_first_message_is_logged() -> None:
    with InProcessGateway() as gateway:
        client = Client(gateway)
        client.task.cancel()
        gateway.loop.settle()
        assert logged(gateway)["code"] == 499


def test_drain_ends_a_session_after_its_next_result() -> None:
    with InProcessGateway() as gateway:
        client = Client(gateway)
        client.send("talker", **text("a"))
        gateway.grpc_service.drain()
        gateway.loop.settle()
        assert not client.task.done()
        client.stream.push_result(0, b"A")
        error = client.error()
        assert error.status is Status.DEADLINE_EXCEEDED
        assert "the gateway stops" in error.details
        assert client.results == [{"said": GatewayValue(text="A")}]


class Listener(Wrapper):
    """Listens to sound."""

    service = "listener"
    audio = Input("audio")
    segment = Output("text", format="json")

    def session(self, params: Any, inputs: Any) -> Any:
        yield from ()


def test_sound_goes_in_and_json_comes_out() -> None:
    with InProcessGateway(schemas=(declare.schema(Listener),)) as gateway:
        client = Client(gateway)
        for part in (b"one", b"two"):
            client.send("listener", audio=GatewayValue(data=part, media_type="audio/wav"))
        assert [frame.pl[0].data for frame in client.frames] == [b"one", b"two"]
        client.finish()
        client.stream.push_result(2)
        run(gateway, client.task)


def test_fault_of_ours_ends_the_call() -> None:
    with InProcessGateway() as gateway:
        fault: Any = ZeroDivisionError()
        gateway.picker.error = fault
        assert error_of(gateway).status is Status.INTERNAL
        client = Client(gateway)
        client.send("talker", **text("a"))
        assert client.error().status is Status.INTERNAL
        assert [error for _, error in gateway.internal_errors] == [fault, fault]


def test_fault_of_ours_while_reading_ends_the_session() -> None:
    with InProcessGateway() as gateway:
        client = Client(gateway)
        client.send("talker", **text("a"))
        no_message: Any = 5
        client._requests.put_nowait(no_message)
        assert client.error().status is Status.INTERNAL
        assert client.stream.cancelled
        assert len(gateway.internal_errors) == 1
