"""Spans of traced requests, to a collector that takes them or does not."""

from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from gateway.request.record import RequestRecord
from gateway.request.traces import RequestTrace
from gateway.telemetry.span_export import Clocks, SpanExport, otlp_headers


class FakeCollector:
    """Takes spans, or fails as `failure` says."""

    def __init__(self, failure: str = "") -> None:
        self.failure = failure
        self.spans: list[Span] = []
        self.services: set[str] = set()
        self.is_closed = False

    def send(self, body: bytes) -> str:
        if not self.failure:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.services.add(resource.resource.attributes[0].value.string_value)
                self.spans += [span for scope in resource.scope_spans for span in scope.spans]
        return self.failure

    def close(self) -> None:
        self.is_closed = True


def make_export(collector: FakeCollector) -> SpanExport:
    return SpanExport(collector, "gw", Clocks(lambda: 100.0, lambda: 1000.0))


def make_record(status: int = 200) -> RequestRecord:
    record = RequestRecord("sid-1", 90.0, "POST", "/v1/ocr", "10.0.0.9")
    record.service, record.app_id = "ocr", "shop"
    record.trace = RequestTrace("0a" * 16, "0b" * 8, "0c" * 8, "k=v")
    record.body_received_at = 90.5
    record.trace.add("validate", 90.5, 91.0)
    record.attempt_started("a:1", 91.0)
    record.attempt_finished(94.0)
    if status != 200:
        record.note_attempt("raised", 1.0, 1.0)
        record.error_name, record.detail = "raised", "wrapper raised"
    record.finish(status, 0 if status == 200 else 10908, 95.0)
    return record


def send(export: SpanExport, *records: RequestRecord) -> None:
    export.start()
    for record in records:
        export.add(record)
    export.stop()


def attributes(span: Span) -> dict[str, Any]:
    values = {entry.key: entry.value for entry in span.attributes}
    return {
        key: value.string_value if value.HasField("string_value") else value.int_value
        for key, value in values.items()
    }


def test_request_is_a_span_and_its_phases_are_its_children() -> None:
    collector = FakeCollector()
    export = make_export(collector)
    send(export, make_record())
    request, *phases = collector.spans
    assert (request.name, request.kind) == ("POST ocr", Span.SPAN_KIND_SERVER)
    assert (request.trace_id.hex(), request.span_id.hex()) == ("0a" * 16, "0b" * 8)
    assert (request.parent_span_id.hex(), request.trace_state) == ("0c" * 8, "k=v")
    times = (request.start_time_unix_nano, request.end_time_unix_nano)
    assert times == (990_000_000_000, 995_000_000_000)
    assert attributes(request) == {
        "http.request.method": "POST",
        "url.path": "/v1/ocr",
        "http.response.status_code": 200,
        "client.address": "10.0.0.9",
        "ase.service": "ocr",
        "ase.app": "shop",
        "ase.request_id": "sid-1",
        "ase.code": 0,
    }
    assert collector.services == {"gw"}
    assert [span.name for span in phases] == ["receive", "validate", "call"]
    assert {span.parent_span_id for span in phases} == {request.span_id}
    assert {span.trace_id for span in phases} == {request.trace_id}
    assert len({span.span_id for span in phases}) == 3
    call = phases[-1]
    assert (call.kind, attributes(call)) == (Span.SPAN_KIND_CLIENT, {"server.address": "a:1"})
    assert (export.sent, export.dropped, collector.is_closed) == (1, 0, True)


def test_failure_is_the_status_of_the_spans() -> None:
    collector = FakeCollector()
    send(make_export(collector), make_record(502))
    request, *_, call = collector.spans
    assert (request.status.code, request.status.message) == (
        Status.STATUS_CODE_ERROR,
        "wrapper raised",
    )
    assert attributes(request)["error.type"] == attributes(call)["error.type"] == "raised"
    assert call.status.code == Status.STATUS_CODE_ERROR


def test_what_the_collector_does_not_take_is_counted_and_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    export = make_export(FakeCollector("gone"))
    send(export, *(make_record() for _ in range(600)))
    assert (export.sent, export.dropped) == (0, 600)
    assert [r.getMessage() for r in caplog.records] == ["spans are dropped"]


def test_record_that_cannot_be_a_span_does_not_end_the_thread(
    caplog: pytest.LogCaptureFixture,
) -> None:
    collector = FakeCollector()
    export = make_export(collector)
    odd = make_record()
    odd.trace = RequestTrace("no digits", "", "", "")
    send(export, odd)
    assert export.dropped == 1
    assert [r.getMessage() for r in caplog.records] == ["spans are dropped by a fault of ours"]


def test_queue_is_bounded() -> None:
    export = make_export(FakeCollector())
    for _ in range(3000):
        export.add(make_record())
    assert export.dropped == 3000 - 2048
    send(export)
    assert export.sent == 2048


@pytest.mark.parametrize(
    ("text", "headers"),
    [
        ("", {}),
        ("authorization=Bearer%20abc, x=1", {"authorization": "Bearer abc", "x": "1"}),
        ("a=b=c", {"a": "b=c"}),
        ("nonsense", {}),
    ],
)
def test_headers_of_the_environment_are_sent(text: str, headers: dict[str, str]) -> None:
    assert otlp_headers(text) == headers
