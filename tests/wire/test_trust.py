"""Bad reports at the real port: refused with a code, counted, and nothing else is disturbed."""

import queue
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from lb.endpoints import report
from lb.endpoints.report import Instance, Load, Report
from schemas.wire import Frame, LoadReport, ReportControl, ReqData, ResData, WatchRequest
from tests.harness import Gateway, Hub, Loader, Process

pytestmark = pytest.mark.sources_only  # it tests parts that are not compiled

REPORT = "/ase.v1.LoadBalancer/Report"


def told(addr: str = "127.0.0.1:9", seq: int = 1, epoch: int = 7, **changes: Any) -> LoadReport:
    wire = report.encode_report(
        Report(Instance("ase", "probe", addr, epoch, total=4, best=4), Load(seq))
    )
    for name, value in changes.items():
        setattr(wire, name, value)
    return wire


def refused(channel: grpc.Channel, *reports: LoadReport, token: str = "") -> grpc.StatusCode:
    metadata = [("authorization", f"Bearer {token}")] if token else []
    data = [one.SerializeToString() for one in reports]
    with pytest.raises(grpc.RpcError) as caught:
        list(channel.stream_stream(REPORT)(iter(data), metadata=metadata, timeout=10))
    code: grpc.StatusCode = caught.value.code()
    return code


def counted(hub: Hub, reason: str) -> float:
    text = httpx.get(f"{hub.admin}/metrics", trust_env=False).text
    name = f'ase_lb_reports_refused_total{{reason="{reason}"}}'
    (line,) = [line for line in text.splitlines() if line.startswith(name)]
    return float(line.rpartition(" ")[2])


@pytest.fixture(scope="module")
def guarded() -> Iterator[tuple[Hub, Loader]]:
    """A hub with a token that lets nobody report for others, and an honest loader."""
    token = {"ASE_LB_TOKEN": "right"}
    spec = "tests/wrappers/probe.py:Probe"
    allow = ("--lb-allow", "10.9.9.9/32")
    with Hub(*allow, env=token) as hub, Loader(hub.lb, spec, env=token) as loader:
        hub.event("instance up", instance=loader.addr)
        yield hub, loader


@pytest.mark.parametrize(
    ("reports", "token", "code", "reason"),
    [
        ([told()], "", grpc.StatusCode.UNAUTHENTICATED, "unauthenticated"),
        ([told()], "wrong", grpc.StatusCode.UNAUTHENTICATED, "unauthenticated"),
        ([told("10.0.0.9:80")], "right", grpc.StatusCode.PERMISSION_DENIED, "address"),
        ([told("localhost:80")], "right", grpc.StatusCode.PERMISSION_DENIED, "address"),
        ([told(total=0)], "right", grpc.StatusCode.INVALID_ARGUMENT, "bounds"),
        ([told(total=20_000)], "right", grpc.StatusCode.INVALID_ARGUMENT, "bounds"),
        ([told(best=9)], "right", grpc.StatusCode.INVALID_ARGUMENT, "bounds"),
        ([told(service_ms=float("nan"))], "right", grpc.StatusCode.INVALID_ARGUMENT, "bounds"),
        ([told(running=2**32 - 1)], "right", grpc.StatusCode.INVALID_ARGUMENT, "bounds"),
    ],
    ids=range(9),
)
def test_a_bad_report_is_refused_and_counted(
    guarded: tuple[Hub, Loader],
    reports: list[LoadReport],
    token: str,
    code: grpc.StatusCode,
    reason: str,
) -> None:
    hub, loader = guarded
    before = counted(hub, reason)
    with grpc.insecure_channel(hub.lb) as channel:
        assert refused(channel, *reports, token=token) is code
    assert counted(hub, reason) == before + 1
    state = httpx.get(f"{hub.admin}/lb/state", trust_env=False).json()["instances"]
    assert [(line["instance"], line["state"]) for line in state] == [(loader.addr, "up")]


def test_who_has_no_token_may_not_watch(guarded: tuple[Hub, Loader]) -> None:
    hub, loader = guarded
    wish = WatchRequest(gateway="g").SerializeToString()
    with grpc.insecure_channel(hub.lb) as channel:
        watch = channel.unary_stream("/ase.v1.LoadBalancer/Watch")
        with pytest.raises(grpc.RpcError) as caught:
            next(watch(wish))
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        frames = watch(wish, metadata=[("authorization", "Bearer right")])
        first = Frame.FromString(next(frames))
        assert {known.addr for known in first.instances} == {loader.addr}
        frames.cancel()
    with Gateway("--lb-hub", hub.lb, env={"ASE_LB_TOKEN": "right"}) as gateway:
        gateway.joined(loader)
    with Gateway("--lb-hub", hub.lb) as gateway:
        gateway.event("hub lost; trying on")
        assert gateway.http.get("/readyz").status_code == 503


def test_a_replay_of_an_earlier_life_is_refused() -> None:
    with Hub() as hub, grpc.insecure_channel(hub.lb) as channel:
        reported(channel, told(epoch=7))
        living = queue.SimpleQueue[bytes]()
        living.put(told(epoch=8).SerializeToString())
        call = channel.stream_stream(REPORT)(iter(living.get, b""))
        next(call)
        assert refused(channel, told(seq=9, epoch=7)) is grpc.StatusCode.PERMISSION_DENIED
        assert counted(hub, "earlier_life") == 1
        living.put(b"")


def test_a_flood_is_slowed_and_the_latest_counts() -> None:
    with Hub("--lb-max-rate", "50") as hub, grpc.insecure_channel(hub.lb) as channel:
        data = [told(seq=seq, running=seq % 4).SerializeToString() for seq in range(1, 401)]
        controls = [
            ReportControl.FromString(answer)
            for answer in channel.stream_stream(REPORT)(iter(data), timeout=20)
        ]
        slowed = [control for control in controls if control.code]
        assert slowed
        assert {control.gap_ms for control in slowed} == {40}
        assert counted(hub, "rate") == len(slowed) >= 300


def test_no_more_instances_than_allowed() -> None:
    with Hub("--lb-max-instances", "2") as hub, grpc.insecure_channel(hub.lb) as channel:
        feeds = [
            channel.stream_stream(REPORT)(iter([told(f"127.0.0.1:{n}").SerializeToString()]))
            for n in (1, 2)
        ]
        for feed in feeds:
            list(feed)
        assert refused(channel, told("127.0.0.1:3")) is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert counted(hub, "cap") == 1


def test_licences_beyond_the_operator_s_cap_do_not_count() -> None:
    with Hub("--lb-max-total", "3") as hub, grpc.insecure_channel(hub.lb) as channel:
        list(channel.stream_stream(REPORT)(iter([told(total=9000).SerializeToString()])))
        (line,) = httpx.get(f"{hub.admin}/lb/state", trust_env=False).json()["instances"]
        assert line["total"] == 3


def certificate(folder: Path, name: str, *signer: str) -> None:
    """Make NAME.key and NAME.pem, signed by SIGNER or by itself."""
    extra = [] if signer else ["-addext", "basicConstraints=critical,CA:TRUE"]
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
             f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{name}.key",
             "-out", f"{name}.pem", *extra]  # fmt: skip
    if signer:
        words += ["-CA", f"{signer[0]}.pem", "-CAkey", f"{signer[0]}.key"]
    subprocess.run(words, cwd=folder, check=True, capture_output=True)


@pytest.mark.peer("openssl")
def test_mtls_on_the_lb_port(tmp_path: Path) -> None:
    for name, signer in (("ca", ()), ("hub", ("ca",)), ("loader", ("ca",)), ("other", ())):
        certificate(tmp_path, name, *signer)
    pem = {name: str(tmp_path / f"{name}.pem") for name in ("ca", "hub", "loader", "other")}
    key = {name: str(tmp_path / f"{name}.key") for name in ("hub", "loader", "other")}
    hub_flags = ("--lb-tls-cert", pem["hub"], "--lb-tls-key", key["hub"], "--lb-tls-ca", pem["ca"])
    spec = "tests/wrappers/probe.py:Probe"

    def own(name: str) -> tuple[str, ...]:
        return ("--lb-ca", pem["ca"], "--lb-cert", pem[name], "--lb-key", key[name])

    with Hub(*hub_flags) as hub:
        with Loader(hub.lb, spec, *own("loader")) as loader:
            hub.event("instance up", instance=loader.addr)
            told_gateway = ("--lb-hub-ca", pem["ca"], "--lb-hub-cert", pem["loader"],
                            "--lb-hub-key", key["loader"])  # fmt: skip
            with Gateway("--lb-hub", hub.lb, *told_gateway) as gateway:
                gateway.joined(loader)
                assert gateway.call().status_code == 200
        with Loader(hub.lb, spec, *own("other")) as stranger:
            stranger.event("hub lost; trying on")
        with Loader(hub.lb, spec) as plain:
            plain.event("hub lost; trying on")
        assert hub.count("instance up") == 1


def test_files_that_do_not_do_are_told_at_the_start() -> None:
    for flags in (("--lb-tls-cert", "nowhere.pem", "--lb-tls-key", "x"), ("--lb-allow", "1.2.3")):
        with Process("lb", "--lb-port", "0", "--lb-admin-port", "0", *flags) as process:
            assert process.ended() == 3
            assert "lb" in "\n".join(process.text)


def reported(channel: grpc.Channel, *reports: LoadReport) -> None:
    list(channel.stream_stream(REPORT)(iter([one.SerializeToString() for one in reports])))


def test_a_life_does_not_change_within_a_stream() -> None:
    with Hub() as hub, grpc.insecure_channel(hub.lb) as channel:
        code = refused(channel, told(epoch=7), told(epoch=8, seq=2))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        hub.event("instance suspect", reason="stream_lost")


def test_who_hangs_up_before_the_answer_is_lost_too() -> None:
    """The end of the stream counts even when nobody took the hub's first word."""
    with Hub() as hub:
        for _ in range(5):
            with grpc.insecure_channel(hub.lb) as channel:
                call = channel.stream_stream(REPORT)(iter([told().SerializeToString()]))
                next(call)
                call.cancel()
        hub.event("instance gone")
        assert hub.count("instance suspect", reason="silent") == 0


def test_an_earlier_life_may_come_back_when_the_later_one_is_gone() -> None:
    """Another loader with our address by mistake: when it is stopped, we are let in again."""
    with Hub() as hub, grpc.insecure_channel(hub.lb) as channel:
        for epoch in (7, 8, 7):
            reported(channel, told(epoch=epoch, seq=epoch))
        assert counted(hub, "earlier_life") == 0


def test_a_farewell_of_nobody_leaves_nothing() -> None:
    with Hub() as hub, grpc.insecure_channel(hub.lb) as channel:
        many = ",".join(f"s{n}" for n in range(500))
        params = {"svc": "ase", "live": "0", "total": "0", "best": "0", "idle": "0",
                  "addr": "127.0.0.1:1", "subsvc": many}  # fmt: skip
        data = ReqData(op="setServer", param=params).SerializeToString()
        answer = channel.unary_unary("/utils.XsfCall/call")(data, timeout=10)
        assert ResData.FromString(answer).code == 0
        assert httpx.get(f"{hub.admin}/lb/state", trust_env=False).json()["instances"] == []


def test_a_report_by_xsf_does_not_take_over_a_loader_s_place() -> None:
    with Hub() as hub, Loader(hub.lb) as loader, grpc.insecure_channel(hub.lb) as channel:
        hub.event("instance up", instance=loader.addr)
        params = {"svc": "ase", "subsvc": "probe", "addr": loader.addr, "live": "1", "total": "9",
                  "best": "9", "idle": "9"}  # fmt: skip
        data = ReqData(op="setServer", param=params).SerializeToString()
        answer = channel.unary_unary("/utils.XsfCall/call")(data, timeout=10)
        assert ResData.FromString(answer).code == 20017
        assert hub.count("instance gone") == 0
