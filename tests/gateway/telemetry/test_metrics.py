"""Metrics of requests and instances: labels come from closed sets."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from gateway.request.record import RequestRecord
from gateway.services.catalog import MAX_SERVICES
from gateway.telemetry.metrics import Metrics, UpstreamMetrics
from lb.endpoints.report import Instance, Load, Report, ServingState
from lb.endpoints.table import EndpointTable
from lb.hub.counters import HubCounts


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def answered(service: str, code: int, status: int = 200, seconds: float = 0.003) -> RequestRecord:
    record = RequestRecord("s" * 32, 1.0)
    record.service = service
    record.finish(status, code, 1.0 + seconds)
    return record


@pytest.mark.unmeasured
def test_paths_and_callers_make_no_series(registry: CollectorRegistry) -> None:
    metrics = Metrics(registry)
    metrics.count_request(answered("", 10225, 404))
    series = len(generate_latest(registry).splitlines())
    for number in range(100_000):
        record = answered("", 10225, 404)
        record.path, record.app_id = f"/v1/nothing{number}", f"app{number}"
        metrics.count_request(record)
    assert len(generate_latest(registry).splitlines()) == series


def test_requests_are_counted_by_service_code_and_status(registry: CollectorRegistry) -> None:
    metrics = Metrics(registry)
    for code, status in ((0, 200), (0, 200), (10163, 400), (424242, 502)):
        metrics.count_request(answered("ocr", code, status))
    metrics.count_request(answered("", 10225, 404))

    def count(service: str, code: str, status: str) -> float | None:
        labels = {"service": service, "code": code, "status": status}
        return registry.get_sample_value("ase_requests_total", labels)

    assert count("ocr", "0", "200") == 2
    assert count("ocr", "10163", "400") == 1
    assert count("ocr", "other", "502") == 1, "a code of the loader's own"
    assert count("other", "10225", "404") == 1, "no service was named"


@pytest.mark.parametrize(
    ("seconds", "bucket", "below"), [(0.003, "0.005", "0.0025"), (0.005, "0.005", "0.0025"),
                                     (31.0, "+Inf", "30.0")],
)  # fmt: skip
def test_durations_fall_into_buckets_with_inclusive_bounds(
    registry: CollectorRegistry, seconds: float, bucket: str, below: str
) -> None:
    Metrics(registry).count_request(answered("ocr", 0, seconds=seconds))

    def count(bound: str) -> float | None:
        labels = {"service": "ocr", "le": bound}
        return registry.get_sample_value("ase_request_seconds_bucket", labels)

    assert (count(bucket), count(below), count("+Inf")) == (1, 0, 1)
    total = registry.get_sample_value("ase_request_seconds_sum", {"service": "ocr"})
    assert total == pytest.approx(seconds)


def test_retries_are_counted_by_reason(registry: CollectorRegistry) -> None:
    record = RequestRecord("s" * 32, 1.0)
    record.retry_reasons = ("full", "full", "unreachable")
    record.finish(200, 0, 2.0)
    Metrics(registry).count_request(record)
    assert registry.get_sample_value("ase_retries_total", {"reason": "full"}) == 2
    assert registry.get_sample_value("ase_retries_total", {"reason": "unreachable"}) == 1


def test_reloads_start_at_zero(registry: CollectorRegistry) -> None:
    metrics = Metrics(registry)
    metrics.count_reload("done")
    values = {
        outcome: registry.get_sample_value("ase_reloads_total", {"outcome": outcome})
        for outcome in ("done", "same", "refused")
    }
    assert values == {"done": 1, "same": 0, "refused": 0}


def report_instance(table: EndpointTable, metrics: UpstreamMetrics, service: str) -> None:
    instance = Instance("ase", service, f"{service}:1", 7, total=4)
    for change in table.apply(Report(instance, Load(1, ServingState.UP)), 0.0):
        metrics.count_state_change(change, table)


def test_instances_are_counted_by_state(registry: CollectorRegistry) -> None:
    table, metrics = EndpointTable(), UpstreamMetrics(registry)
    report_instance(table, metrics, "ocr")
    labels = {"service": "ocr", "state": "up"}
    assert registry.get_sample_value("ase_lb_instances", labels) == 1
    changes = {**labels, "reason": "reported"}
    assert registry.get_sample_value("ase_lb_instance_changes_total", changes) == 1


def test_services_beyond_the_limit_share_their_series(registry: CollectorRegistry) -> None:
    table, metrics = EndpointTable(), UpstreamMetrics(registry)
    for number in range(MAX_SERVICES + 3):
        report_instance(table, metrics, f"s{number}")
    labels = {"service": "other", "state": "up", "reason": "reported"}
    assert registry.get_sample_value("ase_lb_instance_changes_total", labels) == 3


def test_hub_counters_are_shown_where_there_is_a_hub(registry: CollectorRegistry) -> None:
    counts = HubCounts()
    counts.reports = 5
    UpstreamMetrics(registry, counts)
    assert registry.get_sample_value("ase_lb_reports_total") == 5
    without_hub = CollectorRegistry()
    UpstreamMetrics(without_hub)
    assert without_hub.get_sample_value("ase_lb_reports_total") is None
