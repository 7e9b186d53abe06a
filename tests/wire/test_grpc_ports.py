"""What the gRPC ports do with calls that are none: a status, and no noise in the log."""

import contextlib
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from tests.harness import TIMEOUT_S, Gateway, Hub, Loader, Process

pytestmark = pytest.mark.sources_only  # it tests parts that are not compiled

METHODS = [
    "/ase.v1.LoadBalancer/Report", "/ase.v1.LoadBalancer/Watch", "/ase.v1.LoadBalancer/Pick",
    "/utils.XsfCall/call", "/utils.ToolBox/Cmd", "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch", "/ase.v1.Loader/Infer", "/ase.v1.Loader/Session",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics", "/nobody.Knows/This",
    "/ase.v1.Gateway/Infer", "/ase.v1.Gateway/Session",
]  # fmt: skip
_CALL_S = 2.0  # of a call that is taken and waits for more
BODIES = [b"", b"\xff\xff\xff", b"\x0a\xff\x01", b"\x08\x96\x01", b"\x0a\x02\xc3\x28"]


@pytest.fixture(scope="module")
def ports() -> Iterator[list[tuple[Process, str]]]:
    grpc_flags = ("--gateway-grpc", "true", "--gateway-grpc-port", "0")
    with Gateway(*grpc_flags) as gateway, Loader(gateway.lb) as loader, Hub() as hub:
        gateway.wait_until_up(loader)
        yield [
            (gateway, gateway.lb),
            (gateway, gateway.grpc),
            (loader, loader.addr),
            (hub, hub.lb),
        ]


def status_of(call: Any) -> grpc.StatusCode:
    with contextlib.suppress(grpc.RpcError):
        for _ in call:
            break  # a stream that goes on
        call.cancel()
    code: grpc.StatusCode = call.code()
    return code


def test_calls_that_are_none_get_a_status_and_no_traceback(
    ports: list[tuple[Process, str]],
) -> None:
    for process, addr in ports:
        with grpc.insecure_channel(addr) as channel:
            calls = [
                channel.stream_stream(method)(iter(messages), timeout=_CALL_S)
                for method in METHODS
                for messages in ([], *([body] for body in BODIES))
            ]
            cancelled = [
                channel.stream_stream(method)(iter([]), timeout=TIMEOUT_S)
                for method in METHODS
                for _ in range(20)
            ]
            for call in cancelled:
                call.cancel()
            assert grpc.StatusCode.UNKNOWN not in {status_of(call) for call in calls}
            unknown = channel.unary_unary("/nobody.Knows/This")
            with pytest.raises(grpc.RpcError) as caught:
                unknown(b"", timeout=TIMEOUT_S)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED  # type: ignore[attr-defined]
        assert process.text == [], "no line but JSON"
        assert [line for line in process.lines if "traceback" in line] == []
