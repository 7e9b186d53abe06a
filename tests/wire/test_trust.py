"""Bad reports at the real port: refused with a code, counted, and nothing else is disturbed."""

import queue
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from lb.endpoints import report
from lb.endpoints.report import Instance, Load, Report
from schemas.wire import Frame, LoadReport, ReportControl, ReqData, ResData, WatchRequest
from tests.certificates import make_certificate
from tests.harness import Gateway, Hub, Loader, Process

pytestmark = pytest.mark.sources_only  # it tests parts that are not compiled

REPORT = "/ase.v1.LoadBalancer/Report"


def make_report(
    addr: str = "127.0.0.1:9", seq: int = 1, epoch: int = 7, **changes: Any
) -> LoadReport:
    wire = report.encode_report(
        Report(Instance("ase", "probe", addr, epoch, total=4, best=4), Load(seq))
    )
    for name, value in changes.items():
        setattr(wire, name, value)
    return wire


def rejection_code(channel: grpc.Channel, *reports: LoadReport, token: str = "") -> grpc.StatusCode:
    metadata = [("authorization", f"Bearer {token}")] if token else []
    data = [load_report.SerializeToString() for load_report in reports]
    with pytest.raises(grpc.RpcError) as caught:
        list(channel.stream_stream(REPORT)(iter(data), metadata=metadata, timeout=10))
    code: grpc.StatusCode = caught.value.code()
    return code


def rejected_count(hub: Hub, reason: str) -> float:
    text = httpx.get(f"{hub.admin}/metrics", trust_env=False).text
    name = f'ase_lb_reports_refused_total{{reason="{reason}"}}'
    (line,) = [line for line in text.splitlines() if line.startswith(name)]
    return float(line.rpartition(" ")[2])


@pytest.fixture(scope="module")
def secured_hub_and_loader() -> Iterator[tuple[Hub, Loader]]:
    """A hub with a token that lets nobody report for others, and an honest loader."""
    token = {"ASE_LB_TOKEN": "right"}
    spec = "tests/wrappers/probe.py:Probe"
    allow = ("--lb-allow", "10.9.9.9/32")
    with Hub(*allow, env=token) as hub, Loader(hub.lb, spec, env=token) as loader:
        hub.wait_for_event("instance up", instance=loader.addr)
        yield hub, loader


@pytest.mark.parametrize(
    ("reports", "token", "code", "reason"),
    [
        ([make_report()], "", grpc.StatusCode.UNAUTHENTICATED, "unauthenticated"),
        ([make_report()], "wrong", grpc.StatusCode.UNAUTHENTICATED, "unauthenticated"),
        ([make_report("10.0.0.9:80")], "right", grpc.StatusCode.PERMISSION_DENIED, "address"),
        ([make_report("localhost:80")], "right", grpc.StatusCode.PERMISSION_DENIED, "address"),
        ([make_report(total=0)], "right", grpc.StatusCode.INVALID_ARGUMENT, "bounds"),
        ([make_report(total=20_000)], "right", grpc.StatusCode.INVALID_ARGUMENT, "bounds"),
        ([make_report(best=9)], "right", grpc.StatusCode.INVALID_ARGUMENT, "bounds"),
        (
            [make_report(service_ms=float("nan"))],
            "right",
            grpc.StatusCode.INVALID_ARGUMENT,
            "bounds",
        ),
        ([make_report(running=2**32 - 1)], "right", grpc.StatusCode.INVALID_ARGUMENT, "bounds"),
    ],
    ids=range(9),
)
def test_bad_report_is_rejected_and_counted(
    secured_hub_and_loader: tuple[Hub, Loader],
    reports: list[LoadReport],
    token: str,
    code: grpc.StatusCode,
    reason: str,
) -> None:
    hub, loader = secured_hub_and_loader
    before = rejected_count(hub, reason)
    with grpc.insecure_channel(hub.lb) as channel:
        assert rejection_code(channel, *reports, token=token) is code
    assert rejected_count(hub, reason) == before + 1
    state = httpx.get(f"{hub.admin}/lb/state", trust_env=False).json()["instances"]
    assert [(line["instance"], line["state"]) for line in state] == [(loader.addr, "up")]


def test_watch_needs_the_token(secured_hub_and_loader: tuple[Hub, Loader]) -> None:
    hub, loader = secured_hub_and_loader
    watch_request = WatchRequest(gateway="g").SerializeToString()
    with grpc.insecure_channel(hub.lb) as channel:
        watch = channel.unary_stream("/ase.v1.LoadBalancer/Watch")
        with pytest.raises(grpc.RpcError) as caught:
            next(watch(watch_request))
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        frames = watch(watch_request, metadata=[("authorization", "Bearer right")])
        first = Frame.FromString(next(frames))
        assert {instance.addr for instance in first.instances} == {loader.addr}
        frames.cancel()
    with Gateway("--lb-hub", hub.lb, env={"ASE_LB_TOKEN": "right"}) as gateway:
        gateway.wait_until_up(loader)
    with Gateway("--lb-hub", hub.lb) as gateway:
        gateway.wait_for_event("hub lost; trying on")
        assert gateway.http.get("/readyz").status_code == 503


def test_replayed_report_of_an_old_epoch_is_rejected() -> None:
    with Hub() as hub, grpc.insecure_channel(hub.lb) as channel:
        send_reports(channel, make_report(epoch=7))
        open_reports = queue.SimpleQueue[bytes]()
        open_reports.put(make_report(epoch=8).SerializeToString())
        call = channel.stream_stream(REPORT)(iter(open_reports.get, b""))
        next(call)
        assert (
            rejection_code(channel, make_report(seq=9, epoch=7))
            is grpc.StatusCode.PERMISSION_DENIED
        )
        assert rejected_count(hub, "earlier_life") == 1
        open_reports.put(b"")


def test_report_flood_is_rate_limited() -> None:
    with Hub("--lb-max-rate", "50") as hub, grpc.insecure_channel(hub.lb) as channel:
        data = [make_report(seq=seq, running=seq % 4).SerializeToString() for seq in range(1, 401)]
        start = time.monotonic()
        controls = [
            ReportControl.FromString(response)
            for response in channel.stream_stream(REPORT)(iter(data), timeout=20)
        ]
        slowed = [control for control in controls if control.code]
        assert slowed
        assert {control.gap_ms for control in slowed} == {40}
        accepted_at_most = 100 + 50 * (time.monotonic() - start)  # a burst, and the rate
        assert rejected_count(hub, "rate") == len(slowed) >= len(data) - accepted_at_most


def test_no_more_instances_than_allowed() -> None:
    with Hub("--lb-max-instances", "2") as hub, grpc.insecure_channel(hub.lb) as channel:
        feeds = [
            channel.stream_stream(REPORT)(iter([make_report(f"127.0.0.1:{n}").SerializeToString()]))
            for n in (1, 2)
        ]
        for feed in feeds:
            list(feed)
        assert (
            rejection_code(channel, make_report("127.0.0.1:3"))
            is grpc.StatusCode.RESOURCE_EXHAUSTED
        )
        assert rejected_count(hub, "cap") == 1


def test_one_host_cannot_fill_the_table() -> None:
    """A caller that invents names leaves the others their places, and their time-outs."""
    with Hub("--lb-max-instances-per-peer", "3") as hub, grpc.insecure_channel(hub.lb) as channel:
        replies = [set_server(channel, f"127.0.0.1:{port}") for port in range(1, 6)]
        assert [reply.code for reply in replies] == [0, 0, 0, 20017, 20017]
        assert "lb.max_instances_per_peer" in replies[-1].error_info
        assert rejected_count(hub, "cap") == 2
        assert set_server(channel, "127.0.0.1:1").code == 0, "it is known"
        set_server(channel, "127.0.0.1:1", live="0")
        assert set_server(channel, "127.0.0.1:9").code == 0, "there is a place again"


def test_total_is_capped_by_the_operator() -> None:
    with Hub("--lb-max-total", "3") as hub, grpc.insecure_channel(hub.lb) as channel:
        list(channel.stream_stream(REPORT)(iter([make_report(total=9000).SerializeToString()])))
        (line,) = httpx.get(f"{hub.admin}/lb/state", trust_env=False).json()["instances"]
        assert line["total"] == 3


@pytest.mark.peer("openssl")
def test_mtls_on_the_lb_port(tmp_path: Path) -> None:
    for name, signer in (("ca", ()), ("hub", ("ca",)), ("loader", ("ca",)), ("other", ())):
        make_certificate(tmp_path, name, *signer)
    pem = {name: str(tmp_path / f"{name}.pem") for name in ("ca", "hub", "loader", "other")}
    key = {name: str(tmp_path / f"{name}.key") for name in ("hub", "loader", "other")}
    hub_flags = ("--lb-tls-cert", pem["hub"], "--lb-tls-key", key["hub"], "--lb-tls-ca", pem["ca"])
    spec = "tests/wrappers/probe.py:Probe"

    def tls_flags(name: str) -> tuple[str, ...]:
        return ("--lb-ca", pem["ca"], "--lb-cert", pem[name], "--lb-key", key[name])

    with Hub(*hub_flags) as hub:
        with Loader(hub.lb, spec, *tls_flags("loader")) as loader:
            hub.wait_for_event("instance up", instance=loader.addr)
            gateway_flags = ("--lb-hub-ca", pem["ca"], "--lb-hub-cert", pem["loader"],
                            "--lb-hub-key", key["loader"])  # fmt: skip
            with Gateway("--lb-hub", hub.lb, *gateway_flags) as gateway:
                gateway.wait_until_up(loader)
                assert gateway.call().status_code == 200
        with Loader(hub.lb, spec, *tls_flags("other")) as stranger:
            stranger.wait_for_event("hub lost; trying on")
        with Loader(hub.lb, spec) as plain:
            plain.wait_for_event("hub lost; trying on")
        assert hub.count("instance up") == 1


def test_bad_tls_files_and_networks_prevent_start() -> None:
    for flags in (("--lb-tls-cert", "nowhere.pem", "--lb-tls-key", "x"), ("--lb-allow", "1.2.3")):
        with Process("lb", "--lb-port", "0", "--lb-admin-port", "0", *flags) as process:
            assert process.wait_for_exit() == 3
            assert "lb" in "\n".join(process.text)


def send_reports(channel: grpc.Channel, *reports: LoadReport) -> None:
    list(
        channel.stream_stream(REPORT)(
            iter([load_report.SerializeToString() for load_report in reports])
        )
    )


def test_epoch_must_not_change_within_a_stream() -> None:
    with Hub() as hub, grpc.insecure_channel(hub.lb) as channel:
        code = rejection_code(channel, make_report(epoch=7), make_report(epoch=8, seq=2))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        hub.wait_for_event("instance suspect", reason="stream_lost")


def test_stream_cancelled_before_the_response_is_lost() -> None:
    """The end of the stream counts even when nobody took the hub's first word."""
    with Hub() as hub:
        for _ in range(5):
            with grpc.insecure_channel(hub.lb) as channel:
                call = channel.stream_stream(REPORT)(iter([make_report().SerializeToString()]))
                next(call)
                call.cancel()
        hub.wait_for_event("instance gone")
        assert hub.count("instance suspect", reason="silent") == 0


def test_old_epoch_is_accepted_after_the_new_one_is_gone() -> None:
    """Another loader with our address by mistake: when it is stopped, we are let in again."""
    with Hub() as hub, grpc.insecure_channel(hub.lb) as channel:
        for epoch in (7, 8, 7):
            send_reports(channel, make_report(epoch=epoch, seq=epoch))
        assert rejected_count(hub, "earlier_life") == 0


def test_offline_report_of_unknown_instances_adds_nothing() -> None:
    with Hub() as hub, grpc.insecure_channel(hub.lb) as channel:
        many = ",".join(f"s{n}" for n in range(500))
        params = {"svc": "ase", "live": "0", "total": "0", "best": "0", "idle": "0",
                  "addr": "127.0.0.1:1", "subsvc": many}  # fmt: skip
        data = ReqData(op="setServer", param=params).SerializeToString()
        response = channel.unary_unary("/utils.XsfCall/call")(data, timeout=10)
        assert ResData.FromString(response).code == 0
        assert httpx.get(f"{hub.admin}/lb/state", trust_env=False).json()["instances"] == []


def set_server(channel: grpc.Channel, addr: str, live: str = "1") -> ResData:
    """Report an instance as the original's loaders do."""
    params = {"svc": "ase", "subsvc": "ocr", "addr": addr, "live": live}
    params |= {"total": "8", "best": "8", "idle": "8"}
    data = ReqData(op="setServer", param=params).SerializeToString()
    return ResData.FromString(channel.unary_unary("/utils.XsfCall/call")(data, timeout=30))


def test_xsf_report_does_not_replace_a_native_loader() -> None:
    with Hub() as hub, Loader(hub.lb) as loader, grpc.insecure_channel(hub.lb) as channel:
        hub.wait_for_event("instance up", instance=loader.addr)
        params = {"svc": "ase", "subsvc": "probe", "addr": loader.addr, "live": "1", "total": "9",
                  "best": "9", "idle": "9"}  # fmt: skip
        data = ReqData(op="setServer", param=params).SerializeToString()
        response = channel.unary_unary("/utils.XsfCall/call")(data, timeout=10)
        assert ResData.FromString(response).code == 20017
        assert hub.count("instance gone") == 0
