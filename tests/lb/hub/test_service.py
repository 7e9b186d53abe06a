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
from schemas.wire import (
    Frame,
    LoadReport,
    PickReply,
    PickRequest,
    ReportControl,
    Traffic,
    TrafficReply,
    VersionShare,
    WatchRequest,
)
from tests.harness import Hub
from tests.wrappers.probe import Probe

SCHEMA_TEXT = declare.schema(Probe)
DIGEST = document.digest(SCHEMA_TEXT)


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    # The feeders send no keep-alives: however slow the machine is, none is suspect.
    with Hub("--lb-silence", "60", "--lb-ttl", "120") as hub_process:
        yield hub_process


@pytest.fixture
def channel(hub: Hub) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(hub.lb) as channel:
        yield channel


class ReportStream:
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


def make_report(addr: str = "a:1", seq: int = 1, **changes: Any) -> LoadReport:
    instance = Instance("ase", "probe", addr, 7, digest=DIGEST, total=4, best=4)
    wire = report.encode_report(Report(instance, Load(seq, service_ms=10.0), SCHEMA_TEXT))
    for name, value in changes.items():
        setattr(wire, name, value)
    return wire


def rejection_details(channel: grpc.Channel, *reports: LoadReport) -> str:
    feeder = ReportStream(channel)
    for wire in reports:
        feeder.send(wire)
    with pytest.raises(grpc.RpcError) as error_info:
        for _ in range(10):
            next(feeder.controls)
    assert error_info.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    return str(error_info.value.details())


def report_with_bad_schema() -> LoadReport:
    wire = make_report()
    wire.schema.document = SCHEMA_TEXT.replace(b'"maximum"', b'"maximumm"')
    wire.schema_digest = wire.schema.digest = document.digest(wire.schema.document)
    return wire


def report_with_forged_schema() -> LoadReport:
    wire = make_report()
    wire.schema.document = SCHEMA_TEXT + b" "
    return wire


def report_of_other_service() -> LoadReport:
    return make_report(subsvc="other")


@pytest.mark.parametrize(
    ("reports", "message"),
    [
        ([make_report(total=0)], "total: must be"),
        ([make_report(addr="nowhere")], "addr: must be"),
        ([report_with_bad_schema()], "keyword 'maximumm' is not supported"),
        ([report_with_forged_schema()], "schema: must match its digest"),
        ([report_of_other_service()], "subsvc: schema is of service 'probe'"),
        ([make_report(), make_report(addr="b:1", seq=2)], "must stay the same within a stream"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_invalid_report_is_rejected_with_a_message(
    hub: Hub, channel: grpc.Channel, reports: list[LoadReport], message: str
) -> None:
    assert message in rejection_details(channel, *reports)


def test_garbage_is_rejected(channel: grpc.Channel) -> None:
    call = channel.stream_stream("/ase.v1.LoadBalancer/Report")(iter([b"\xff\xff"]))
    with pytest.raises(grpc.RpcError) as error_info:
        next(call)
    assert error_info.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.RpcError) as error_info:
        channel.unary_unary("/ase.v1.LoadBalancer/Pick")(b"\xff\xff")
    assert error_info.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def pick(channel: grpc.Channel, **fields: Any) -> PickReply:
    data = PickRequest(**{"subsvc": "probe", **fields}).SerializeToString()
    reply: bytes = channel.unary_unary("/ase.v1.LoadBalancer/Pick")(data, timeout=10)
    return PickReply.FromString(reply)


def test_watch_and_pick_show_reported_instances(hub: Hub, channel: grpc.Channel) -> None:
    frames = channel.unary_stream("/ase.v1.LoadBalancer/Watch")(
        WatchRequest(gateway="g").SerializeToString()
    )
    first = Frame.FromString(next(frames))
    assert first.snapshot
    free_feeder, busy_feeder = ReportStream(channel), ReportStream(channel)
    free_feeder.send(make_report("free:1"))
    busy_feeder.send(make_report("busy:1", running=4))
    for feeder in (free_feeder, busy_feeder):
        assert ReportControl.FromString(next(feeder.controls)).seq == 1
    addr_by_id: dict[int, str] = {}
    version = first.version
    while set(addr_by_id.values()) < {"free:1", "busy:1"}:
        frame = Frame.FromString(next(frames))
        version += 1
        assert (frame.version, frame.hub_epoch) == (version, first.hub_epoch)
        addr_by_id |= {instance.id: instance.addr for instance in frame.instances}
    reply = pick(channel, nbest=2)
    assert [candidate.addr for candidate in reply.candidates] == ["free:1", "busy:1"]
    assert reply.candidates[0].expected_ms < reply.candidates[1].expected_ms
    assert reply.candidates[0].schema_digest == DIGEST
    assert [candidate.addr for candidate in pick(channel).candidates] == ["free:1"]
    assert [candidate.addr for candidate in pick(channel, exclude=["free:1"]).candidates] == [
        "busy:1"
    ]
    assert pick(channel, subsvc="nobody").code == 20002
    state = httpx.get(f"{hub.admin}/lb/state", trust_env=False).json()["instances"]
    assert {(row["instance"], row["state"]) for row in state} >= {
        ("free:1", "up"),
        ("busy:1", "up"),
    }
    for feeder in (free_feeder, busy_feeder):
        feeder.send(make_report("free:1" if feeder is free_feeder else "busy:1", seq=2, live=0))
        feeder.close()
    while True:
        frame = Frame.FromString(next(frames))
        if {addr_by_id.get(removed.id) for removed in frame.gone} & {"free:1", "busy:1"}:
            assert {removed.reason for removed in frame.gone} == {"left"}
            break
    frames.cancel()


def test_end_of_old_stream_does_not_remove_reconnected_loader(
    hub: Hub, channel: grpc.Channel
) -> None:
    old_feeder, new_feeder = ReportStream(channel), ReportStream(channel)
    old_feeder.send(make_report("back:1", seq=1))
    next(old_feeder.controls)
    new_feeder.send(make_report("back:1", seq=2))
    next(new_feeder.controls)
    old_feeder.close()
    assert list(old_feeder.controls) == []
    assert "back:1" in {candidate.addr for candidate in pick(channel, nbest=9).candidates}
    new_feeder.close()
    assert list(new_feeder.controls) == []
    assert "back:1" not in {candidate.addr for candidate in pick(channel, nbest=9).candidates}


def test_traffic_rules_are_set_watched_and_heeded_by_picks(channel: grpc.Channel) -> None:
    feeders = [ReportStream(channel) for _ in range(2)]
    for feeder, addr, version in ((feeders[0], "t:1", "t1"), (feeders[1], "t:2", "t2")):
        feeder.send(make_report(addr, version=version))
        next(feeder.controls)
    set_traffic = channel.unary_unary("/ase.v1.LoadBalancer/SetTraffic")
    frames = channel.unary_stream("/ase.v1.LoadBalancer/Watch")(
        WatchRequest(gateway="g").SerializeToString()
    )
    next(frames)
    rules = Traffic(owner="d", revision=7, shares=[VersionShare(version="t2", share=0.0)])
    assert TrafficReply.FromString(set_traffic(rules.SerializeToString())).revision == 7
    while not (traffic := Frame.FromString(next(frames)).traffic):
        pass
    assert [share.version for share in traffic[0].shares] == ["t2"]
    assert "t:2" not in {candidate.addr for candidate in pick(channel, nbest=9).candidates}
    stale = Traffic(owner="d", revision=6)
    assert TrafficReply.FromString(set_traffic(stale.SerializeToString())).revision == 7
    future = Traffic(owner="d", revision=2**62)
    with pytest.raises(grpc.RpcError) as error_info:
        set_traffic(future.SerializeToString())
    assert "ahead of this hub's clock" in str(error_info.value.details())
    rules.shares[0].share = 2.0
    with pytest.raises(grpc.RpcError) as error_info:
        set_traffic(rules.SerializeToString())
    assert error_info.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "share of t2: must be 0 to 1" in str(error_info.value.details())
    for feeder in feeders:
        feeder.close()
