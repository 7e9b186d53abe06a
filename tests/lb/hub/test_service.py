"""The hub's port, spoken to by grpcio: reports that are refused, look-aside picks, watches."""

import queue
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest

from aseloader import declare
from lb.endpoints import report
from lb.endpoints.report import Instance, Load, Report
from schemas.model import document
from schemas.wire import Frame, LoadReport, PickReply, PickRequest, ReportControl, WatchRequest
from tests.harness import Hub
from tests.wrappers.probe import Probe

TEXT = declare.schema(Probe)
DIGEST = document.digest(TEXT)


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    # The feeders send no keep-alives: however slow the machine is, none is suspect.
    with Hub("--lb-silence", "60", "--lb-ttl", "120") as running:
        yield running


@pytest.fixture
def channel(hub: Hub) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(hub.lb) as channel:
        yield channel


class Feeder:
    """A loader's report stream, one report at a time."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._queue: queue.Queue[bytes | None] = queue.Queue()
        self.controls = channel.stream_stream("/ase.v1.LoadBalancer/Report")(
            iter(self._queue.get, None)
        )

    def send(self, wire: LoadReport) -> None:
        self._queue.put(wire.SerializeToString())

    def close(self) -> None:
        self._queue.put(None)


def told(addr: str = "a:1", seq: int = 1, **changes: Any) -> LoadReport:
    instance = Instance("ase", "probe", addr, 7, digest=DIGEST, total=4, best=4)
    wire = report.encode_report(Report(instance, Load(seq, service_ms=10.0), TEXT))
    for name, value in changes.items():
        setattr(wire, name, value)
    return wire


def refused(channel: grpc.Channel, *reports: LoadReport) -> str:
    feeder = Feeder(channel)
    for wire in reports:
        feeder.send(wire)
    with pytest.raises(grpc.RpcError) as caught:
        for _ in range(10):
            next(feeder.controls)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    return str(caught.value.details())


def bad_schema() -> LoadReport:
    wire = told()
    wire.schema.document = TEXT.replace(b'"maximum"', b'"maximumm"')
    wire.schema_digest = wire.schema.digest = document.digest(wire.schema.document)
    return wire


def forged_schema() -> LoadReport:
    wire = told()
    wire.schema.document = TEXT + b" "
    return wire


def other_service() -> LoadReport:
    return told(subsvc="other")


@pytest.mark.parametrize(
    ("reports", "words"),
    [
        ([told(total=0)], "total: must be"),
        ([told(addr="nowhere")], "addr: must be"),
        ([bad_schema()], "keyword 'maximumm' is not supported"),
        ([forged_schema()], "schema: must match its digest"),
        ([other_service()], "subsvc: schema is of service 'probe'"),
        ([told(), told(addr="b:1", seq=2)], "must stay the same within a stream"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_report_that_cannot_be_believed_is_refused_in_words(
    hub: Hub, channel: grpc.Channel, reports: list[LoadReport], words: str
) -> None:
    assert words in refused(channel, *reports)


def test_garbage_is_refused(channel: grpc.Channel) -> None:
    call = channel.stream_stream("/ase.v1.LoadBalancer/Report")(iter([b"\xff\xff"]))
    with pytest.raises(grpc.RpcError) as caught:
        next(call)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/ase.v1.LoadBalancer/Pick")(b"\xff\xff")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def pick(channel: grpc.Channel, **wish: Any) -> PickReply:
    data = PickRequest(**{"subsvc": "probe", **wish}).SerializeToString()
    answer: bytes = channel.unary_unary("/ase.v1.LoadBalancer/Pick")(data, timeout=10)
    return PickReply.FromString(answer)


def test_a_watch_and_a_pick_see_what_was_reported(hub: Hub, channel: grpc.Channel) -> None:
    frames = channel.unary_stream("/ase.v1.LoadBalancer/Watch")(
        WatchRequest(gateway="g").SerializeToString()
    )
    first = Frame.FromString(next(frames))
    assert first.snapshot
    free, busy = Feeder(channel), Feeder(channel)
    free.send(told("free:1"))
    busy.send(told("busy:1", running=4))
    for feeder in (free, busy):
        assert ReportControl.FromString(next(feeder.controls)).seq == 1
    seen: dict[int, str] = {}
    version = first.version
    while set(seen.values()) < {"free:1", "busy:1"}:
        frame = Frame.FromString(next(frames))
        version += 1
        assert (frame.version, frame.hub_epoch) == (version, first.hub_epoch)
        seen |= {told.id: told.addr for told in frame.instances}
    best = pick(channel, nbest=2)
    assert [found.addr for found in best.candidates] == ["free:1", "busy:1"]
    assert best.candidates[0].expected_ms < best.candidates[1].expected_ms
    assert best.candidates[0].schema_digest == DIGEST
    assert [found.addr for found in pick(channel).candidates] == ["free:1"]
    assert [found.addr for found in pick(channel, exclude=["free:1"]).candidates] == ["busy:1"]
    assert pick(channel, subsvc="nobody").code == 20002
    state = httpx.get(f"{hub.admin}/lb/state", trust_env=False).json()["instances"]
    assert {(line["instance"], line["state"]) for line in state} >= {
        ("free:1", "up"),
        ("busy:1", "up"),
    }
    for feeder in (free, busy):
        feeder.send(told("free:1" if feeder is free else "busy:1", seq=2, live=0))
        feeder.close()
    while True:
        frame = Frame.FromString(next(frames))
        if {seen.get(gone.id) for gone in frame.gone} & {"free:1", "busy:1"}:
            assert {gone.reason for gone in frame.gone} == {"left"}
            break
    frames.cancel()


def test_the_end_of_an_old_stream_says_nothing_of_a_loader_that_came_back(
    hub: Hub, channel: grpc.Channel
) -> None:
    old, new = Feeder(channel), Feeder(channel)
    old.send(told("back:1", seq=1))
    next(old.controls)
    new.send(told("back:1", seq=2))
    next(new.controls)
    old.close()
    assert list(old.controls) == []
    assert "back:1" in {found.addr for found in pick(channel, nbest=9).candidates}
    new.close()
    assert list(new.controls) == []
    assert "back:1" not in {found.addr for found in pick(channel, nbest=9).candidates}
