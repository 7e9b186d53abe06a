"""Reports to and from the wire, and the bounds of what is believed."""

from typing import Any

import pytest

from lb.endpoints import report
from lb.endpoints.report import Instance, InvalidReportError, Load, Report, ServingState
from schemas.wire import LoadReport

INSTANCE = Instance("ase", "ocr", "10.0.0.1:8240", 77, "xsf", "ab" * 32, 8, 6, max_batch=3)
LOAD = Load(5, ServingState.DRAINING, 3, 2, 12.5, 100, 4, 1, {"g1": 3}, 10.0, 0.5)


def test_report_round_trips() -> None:
    original = Report(INSTANCE, LOAD, b'{"x":1}')
    wire = LoadReport.FromString(report.encode_report(original).SerializeToString())
    assert report.decode_report(wire) == original
    assert wire.idle == 6 - 3 - 2
    assert wire.schema.digest == INSTANCE.digest


def test_idle_may_be_negative_and_best_may_be_left_out() -> None:
    wire = report.encode_report(Report(INSTANCE, Load(1, running=9, queued=9)))
    assert wire.idle == -12
    wire.best = 0
    assert report.decode_report(wire).instance.best == 8


@pytest.mark.parametrize("addr", ["a:1", "loader-1:65535", "10.1.2.3:80", "[::1]:8240", "a.b.c:9"])
def test_valid_addresses_are_accepted(addr: str) -> None:
    wire = report.encode_report(Report(INSTANCE, LOAD))
    wire.addr = addr
    assert report.decode_report(wire).instance.addr == addr


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"subsvc": ""}, "subsvc"),
        ({"subsvc": "a b"}, "subsvc"),
        ({"subsvc": "../x"}, "subsvc"),
        ({"svc": "a\nb"}, "svc"),
        ({"addr": ""}, "addr"),
        ({"addr": "host"}, "addr"),
        ({"addr": "host:0"}, "addr"),
        ({"addr": "host:65536"}, "addr"),
        ({"addr": "http://host:1"}, "addr"),
        ({"addr": "a@b:1"}, "addr"),
        ({"addr": "unix:/x:1"}, "addr"),
        ({"instance_epoch": 0}, "instance_epoch"),
        ({"live": 3}, "live"),
        ({"total": 0}, "total"),
        ({"total": 10_001}, "total"),
        ({"best": 9}, "total"),
        ({"running": 4_000_000_000}, "running, queued"),
        ({"queued": 1_000_001}, "running, queued"),
        ({"service_ms": -1.0}, "service_ms"),
        ({"service_ms": 5e6}, "service_ms"),
        ({"service_ms": float("nan")}, "service_ms"),
        ({"max_batch": 7}, "max_batch"),
        ({"batch_base_ms": -1.0}, "batch_base_ms, batch_item_ms"),
        ({"batch_item_ms": float("inf")}, "batch_base_ms, batch_item_ms"),
        ({"service_ms": float("inf")}, "service_ms"),
        ({"schema_digest": "xyz"}, "schema_digest"),
        ({"addr": "a:080"}, "addr"),
    ],
    ids=str,
)
def test_out_of_bounds_field_is_named_in_the_error(changes: dict[str, Any], field: str) -> None:
    wire = report.encode_report(Report(INSTANCE, LOAD))
    for name, value in changes.items():
        setattr(wire, name, value)
    with pytest.raises(InvalidReportError, match=f"^{field}: must be"):
        report.decode_report(wire)


def test_tiny_service_time_is_raised_to_a_microsecond() -> None:
    wire = report.encode_report(Report(INSTANCE, Load(1, service_ms=5e-324)))
    assert report.decode_report(wire).load.service_ms == 0.001


def test_requests_by_gateway_is_bounded() -> None:
    wire = report.encode_report(
        Report(INSTANCE, Load(1, requests_by_gateway={f"g{n}": 1 for n in range(1025)}))
    )
    with pytest.raises(InvalidReportError, match="held"):
        report.decode_report(wire)
