"""ORCA by those who read it: grpcio as a client, and Envoy's weighted round robin."""

import asyncio
import itertools
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import httpx
import pytest

from aseloader import declare
from rpc.client import Channel
from schemas.wire import (
    Duration,
    LoaderInput,
    MetaDesc,
    OrcaLoadReport,
    OrcaLoadReportRequest,
    Payload,
)
from tests.harness import TIMEOUT_S, Gateway, Loader
from tests.wire.test_faults import dead_address
from tests.wrappers.probe import Probe

pytestmark = pytest.mark.sources_only  # it tests parts that are not compiled

INFER = "/ase.v1.Loader/Infer"
STREAM = "/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics"
INFER_INPUT = LoaderInput(
    state=LoaderInput.ONCE,
    params={"act": "answer"},
    expect=[MetaDesc(name="said", dataType=0), MetaDesc(name="facts", dataType=0)],
).SerializeToString()


@pytest.fixture(scope="module")
def loader() -> Iterator[Loader]:
    with Loader(dead_address()) as running:
        yield running


def test_out_of_band_reports_follow_the_requested_interval(loader: Loader) -> None:
    report_request = OrcaLoadReportRequest(
        report_interval=Duration(nanos=100_000_000)
    ).SerializeToString()
    with grpc.insecure_channel(loader.addr) as channel:
        call = channel.unary_stream(STREAM)(report_request, timeout=TIMEOUT_S)
        reports = [OrcaLoadReport.FromString(data) for data in itertools.islice(call, 3)]
        call.cancel()
    for report in reports:
        assert report.named_metrics["ase.best"] == 2
        assert report.application_utilization == 0


@pytest.mark.parametrize("from_gateway", [False, True], ids=["stranger", "gateway"])
def test_in_band_report_is_in_trailers_except_for_our_gateway(
    loader: Loader, from_gateway: bool
) -> None:
    """Asked with our own client: grpcio keeps this one trailer to itself."""
    metadata = (("ase-gateway", "g"),) if from_gateway else ()

    async def main() -> dict[str, str | bytes]:
        channel = Channel(loader.addr)
        finished = asyncio.Event()
        call = channel.start_unary(
            channel.header_block(INFER, metadata), INFER_INPUT, 10.0, lambda _: finished.set()
        )
        await finished.wait()
        await channel.close()
        assert call.error is None
        assert call.trailers is not None
        return dict(call.trailers.metadata)

    trailers = asyncio.run(main())
    assert ("endpoint-load-metrics-bin" in trailers) is not from_gateway
    if not from_gateway:
        report = OrcaLoadReport.FromString(bytes(trailers["endpoint-load-metrics-bin"]))  # type: ignore[arg-type]
        assert report.named_metrics["ase.total"] == 2


def test_gateway_reads_orca_of_loaders_that_do_not_report(loader: Loader, tmp_path: Path) -> None:
    """The loader reports to nobody; somebody else keeps it busy, and the gateway sees that."""
    schemas = tmp_path / "schemas"
    schemas.mkdir()
    (schemas / "schema_probe.json").write_bytes(declare.schema(Probe))
    instance_yaml = f"{{service: probe, addr: '{loader.addr}', total: 2, orca: 0.1}}"
    (tmp_path / "ase.yaml").write_text(f"schemas: schemas\ninstances:\n  - {instance_yaml}\n")
    busy = LoaderInput(
        state=LoaderInput.ONCE,
        params={"act": "hold"},
        pl=[Payload(meta=MetaDesc(name="text", dataType=0), data=b"x")],
    ).SerializeToString()
    with Gateway("-c", str(tmp_path / "ase.yaml")) as gateway:
        assert gateway.call().status_code == 200
        with grpc.insecure_channel(loader.addr) as channel:
            call = channel.unary_unary(INFER).future(busy)
            while gateway.state()[0]["foreign"] != 1:
                pass
            call.cancel()
            while gateway.state()[0]["foreign"] != 0:
                pass


ENVOY = """
admin: {address: {socket_address: {address: 127.0.0.1, port_value: @ADMIN@}}}
static_resources:
  listeners:
  - address: {socket_address: {address: 127.0.0.1, port_value: @PORT@}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: orca
          codec_type: HTTP2
          route_config:
            virtual_hosts:
            - {name: all, domains: ["*"], routes: [{match: {prefix: "/"}, route: {cluster: loaders}}]}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - name: loaders
    type: STATIC
    connect_timeout: 2s
    load_balancing_policy:
      policies:
      - typed_extension_config:
          name: envoy.load_balancing_policies.client_side_weighted_round_robin
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.load_balancing_policies.client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin
            blackout_period: 0.2s
            weight_update_period: 0.2s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
    load_assignment:
      cluster_name: loaders
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: @FIRST@}}}
        - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: @SECOND@}}}
"""  # noqa: E501


def test_envoy_weighs_loaders_by_orca(tmp_path: Path) -> None:
    """Both work as fast; one has four times the licences, so the same load is a quarter of it."""
    spec = "bench/lb/sleeper.py:Sleeper"
    port, admin = (dead_address().rpartition(":")[2] for _ in range(2))
    request = LoaderInput(
        state=LoaderInput.ONCE, params={"ms": "20"}, expect=[MetaDesc(name="done", dataType=0)]
    ).SerializeToString()
    with (
        Loader(dead_address(), spec, "--total", "16") as wide,
        Loader(dead_address(), spec, "--total", "4") as narrow,
    ):
        text = ENVOY.replace("@PORT@", port).replace("@ADMIN@", admin)
        text = text.replace("@FIRST@", wide.addr.rpartition(":")[2])
        text = text.replace("@SECOND@", narrow.addr.rpartition(":")[2])
        (tmp_path / "envoy.yaml").write_text(text)
        program = Path(sys.executable).with_name("envoy")
        args = [str(program), "-c", str(tmp_path / "envoy.yaml"), "--concurrency", "1", "-l",
                 "off", "--disable-hot-restart"]  # fmt: skip
        envoy = subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            shares = _measure_shares(port, admin, request)
        finally:
            envoy.terminate()
            envoy.wait(TIMEOUT_S)
    wide_share, narrow_share = shares[wide.addr], shares[narrow.addr]
    assert wide_share > 2 * narrow_share, dict(shares)


def _measure_shares(port: str, admin: str, request: bytes) -> Counter[str]:
    """Send requests until Envoy has weighed; return how many each loader then got."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        grpc.channel_ready_future(channel).result(TIMEOUT_S)
        infer = channel.unary_unary(INFER)
        stop = threading.Event()

        def client(_: int) -> None:
            while not stop.is_set():
                infer(request, timeout=TIMEOUT_S)

        with ThreadPoolExecutor(6) as clients:
            running = [clients.submit(client, number) for number in range(6)]
            try:
                baseline, counts = _request_counts(admin), Counter[str]()
                deadline = time.monotonic() + TIMEOUT_S
                while time.monotonic() < deadline:
                    now = _request_counts(admin)
                    if sum((now - baseline).values()) < 300:
                        continue
                    counts, baseline = now - baseline, now
                    if max(counts.values()) > 2 * min(counts.values()):
                        break
            finally:
                stop.set()
                for future in running:
                    future.result(TIMEOUT_S)
        return counts


def _request_counts(admin: str) -> Counter[str]:
    clusters = httpx.get(f"http://127.0.0.1:{admin}/clusters?format=json", trust_env=False).json()
    counts: Counter[str] = Counter()
    for host in clusters["cluster_statuses"][0]["host_statuses"]:
        address = host["address"]["socket_address"]
        stats = {stat["name"]: int(stat.get("value", 0)) for stat in host["stats"]}
        counts[f"{address['address']}:{address['port_value']}"] = stats.get("rq_total", 0)
    return counts
