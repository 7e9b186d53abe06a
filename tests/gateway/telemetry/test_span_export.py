"""Spans of traced requests, to a collector that takes them or does not."""

from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import SpanKind, StatusCode

from gateway.request.record import RequestRecord
from gateway.request.traces import RequestTrace
from gateway.telemetry.span_export import Clocks, SpanExport


class FakeCollector:
    """Takes spans, or fails as `failure` says."""

    def __init__(self) -> None:
        self.failure: Exception | SpanExportResult | None = None
        self.spans: list[ReadableSpan] = []
        self.is_shut_down = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if isinstance(self.failure, Exception):
            raise self.failure
        if self.failure is not None:
            return self.failure
        self.spans += spans
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self.is_shut_down = True


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


def test_request_is_a_span_and_its_phases_are_its_children() -> None:
    collector = FakeCollector()
    export = make_export(collector)
    send(export, make_record())
    request, *phases = collector.spans
    assert (request.name, request.kind) == ("POST ocr", SpanKind.SERVER)
    assert request.context is not None
    assert (f"{request.context.trace_id:032x}", f"{request.context.span_id:016x}") == (
        "0a" * 16,
        "0b" * 8,
    )
    assert request.context.trace_state.get("k") == "v"
    assert request.parent is not None
    assert f"{request.parent.span_id:016x}" == "0c" * 8
    assert (request.start_time, request.end_time) == (990_000_000_000, 995_000_000_000)
    assert dict(request.attributes or {}) == {
        "http.request.method": "POST",
        "url.path": "/v1/ocr",
        "http.response.status_code": 200,
        "client.address": "10.0.0.9",
        "ase.service": "ocr",
        "ase.app": "shop",
        "ase.request_id": "sid-1",
        "ase.code": 0,
    }
    assert request.resource.attributes["service.name"] == "gw"
    assert [span.name for span in phases] == ["receive", "validate", "call"]
    assert {span.parent.span_id for span in phases if span.parent} == {request.context.span_id}
    assert len({span.context.span_id for span in phases if span.context}) == 3
    call = phases[-1]
    assert (call.kind, dict(call.attributes or {})) == (SpanKind.CLIENT, {"server.address": "a:1"})
    assert (export.sent, export.dropped, collector.is_shut_down) == (1, 0, True)


def test_failure_is_the_status_of_the_spans() -> None:
    collector = FakeCollector()
    send(make_export(collector), make_record(502))
    request, *_, call = collector.spans
    assert (request.status.status_code, request.status.description) == (
        StatusCode.ERROR,
        "wrapper raised",
    )
    assert dict(call.attributes or {})["error.type"] == "raised"
    assert call.status.status_code is StatusCode.ERROR


@pytest.mark.parametrize("failure", [OSError("gone"), SpanExportResult.FAILURE])
def test_what_the_collector_does_not_take_is_counted_and_told_once(
    failure: Exception | SpanExportResult, caplog: pytest.LogCaptureFixture
) -> None:
    collector = FakeCollector()
    collector.failure = failure
    export = make_export(collector)
    send(export, *(make_record() for _ in range(300)))
    assert (export.sent, export.dropped) == (0, 300)
    assert [r.getMessage() for r in caplog.records] == ["spans are dropped"]


def test_queue_is_bounded() -> None:
    export = make_export(FakeCollector())
    for _ in range(3000):
        export.add(make_record())
    assert export.dropped == 3000 - 2048
    send(export)
    assert export.sent == 2048
