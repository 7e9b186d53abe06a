"""Sends the spans of traced requests to a collector, in a thread of its own.

The event loop only appends a record to a queue. The thread makes the spans, by the conventions of
OpenTelemetry for HTTP servers, and sends them by OTLP over HTTP; both are of the packages of
OpenTelemetry (the extra `otel`). What the collector does not take is dropped and counted.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags, TraceState
from opentelemetry.trace.status import Status, StatusCode

from gateway.request.record import RequestRecord
from gateway.request.traces import Phase, RequestTrace

_logger = logging.getLogger("ase.gateway")

_MAX_QUEUED = 2048  # requests
_MAX_BATCH = 256
_SEND_INTERVAL_S = 1.0
_TIMEOUT_S = 5.0
_STOP_TIMEOUT_S = 6.0
_SCOPE = InstrumentationScope("athena-serving")


class Sender(Protocol):
    """Sends spans to a collector."""

    def export(self, spans: Sequence[ReadableSpan], /) -> SpanExportResult:
        """Send spans and return whether the collector has taken them."""

    def shutdown(self) -> None:
        """Give up what is being sent."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """`monotonic` is that of the records, `wall` returns seconds since 1970."""

    monotonic: Callable[[], float]
    wall: Callable[[], float]


def otlp_sender(endpoint: str) -> Sender:
    """Return the sender to a collector; OTEL_EXPORTER_OTLP_HEADERS may have its token."""
    return OTLPSpanExporter(endpoint=endpoint, timeout=_TIMEOUT_S)


class SpanExport:
    """The queue of records of traced requests, and the thread that sends their spans.

    `sent` and `dropped` count requests. `_has_failed` is set while the collector takes nothing,
    which is logged once.
    """

    def __init__(self, sender: Sender, service_name: str, clocks: Clocks) -> None:
        self._sender = sender
        self._resource = Resource.create({"service.name": service_name})
        self._clocks = clocks
        self._queue: deque[RequestRecord] = deque()
        self._ids = RandomIdGenerator()
        self._stopping = threading.Event()
        self._has_failed = False
        self.sent = self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)

    def add(self, record: RequestRecord) -> None:
        """Queue the record of a traced request that has ended; drop it if the queue is full."""
        if len(self._queue) >= _MAX_QUEUED:
            self.dropped += 1
        else:
            self._queue.append(record)

    def start(self) -> None:
        """Start to send, once a second."""
        self._thread.start()

    def stop(self) -> None:
        """Send what is queued and stop; wait for a few seconds at most."""
        self._stopping.set()
        self._thread.join(_STOP_TIMEOUT_S)
        self._sender.shutdown()

    def _run(self) -> None:
        while not self._stopping.wait(_SEND_INTERVAL_S):
            self._send_queued()
        self._send_queued()

    def _send_queued(self) -> None:
        while self._queue:
            count = min(len(self._queue), _MAX_BATCH)
            records = [self._queue.popleft() for _ in range(count)]
            spans = [span for record in records for span in self._make_spans(record)]
            if self._send(spans):
                self.sent += count
            else:
                self.dropped += count

    def _send(self, spans: Sequence[ReadableSpan]) -> bool:
        try:
            is_sent = self._sender.export(spans) is SpanExportResult.SUCCESS
            reason = "" if is_sent else "the collector does not take them"
        except Exception as error:  # noqa: BLE001 (of the packages; a trace is not worth more)
            is_sent, reason = False, str(error)
        if not is_sent and not self._has_failed:
            _logger.warning("spans are dropped", extra={"reason": reason})
        elif is_sent and self._has_failed:
            _logger.info("spans are sent again")
        self._has_failed = not is_sent
        return is_sent

    def _make_spans(self, record: RequestRecord) -> list[ReadableSpan]:
        """Return the spans of a request: the gateway's, and one for each phase."""
        trace = record.trace
        if trace is None:
            return []
        offset = self._clocks.wall() - self._clocks.monotonic()
        context = self._context(trace, int(trace.span_id, 16))
        parent = self._context(trace, int(trace.parent_id, 16)) if trace.parent_id else None
        phases = [*trace.phases]
        if record.body_received_at:
            phases.insert(0, Phase("receive", record.accepted_at, record.body_received_at))
        return [
            self._request_span(record, context, parent, offset),
            *(self._phase_span(phase, trace, context, offset) for phase in phases),
        ]

    def _request_span(
        self,
        record: RequestRecord,
        context: SpanContext,
        parent: SpanContext | None,
        offset: float,
    ) -> ReadableSpan:
        attributes: dict[str, str | int] = {
            "http.request.method": record.method,
            "url.path": record.path,
            "http.response.status_code": record.status,
            "client.address": record.client_ip,
            "ase.service": record.service,
            "ase.app": record.app_id,
            "ase.request_id": record.sid,
            "ase.code": record.code,
        }
        has_failed = record.status >= 500
        if record.error_name:
            attributes["error.type"] = record.error_name
        return ReadableSpan(
            name=f"{record.method} {record.service}".strip(),
            context=context,
            parent=parent,
            resource=self._resource,
            attributes={name: value for name, value in attributes.items() if value != ""},
            kind=SpanKind.SERVER,
            status=Status(StatusCode.ERROR, record.detail) if has_failed else Status(),
            start_time=_nanoseconds(record.accepted_at + offset),
            end_time=_nanoseconds(record.answered_at + offset),
            instrumentation_scope=_SCOPE,
        )

    def _phase_span(
        self, phase: Phase, trace: RequestTrace, parent: SpanContext, offset: float
    ) -> ReadableSpan:
        attributes = {"server.address": phase.instance, "error.type": phase.error_name}
        return ReadableSpan(
            name=phase.name,
            context=self._context(trace, self._ids.generate_span_id()),
            parent=parent,
            resource=self._resource,
            attributes={name: value for name, value in attributes.items() if value},
            kind=SpanKind.CLIENT if phase.instance else SpanKind.INTERNAL,
            status=Status(StatusCode.ERROR) if phase.error_name else Status(),
            start_time=_nanoseconds(phase.start + offset),
            end_time=_nanoseconds(phase.end + offset),
            instrumentation_scope=_SCOPE,
        )

    @staticmethod
    def _context(trace: RequestTrace, span_id: int) -> SpanContext:
        return SpanContext(
            int(trace.trace_id, 16),
            span_id,
            is_remote=False,
            trace_flags=TraceFlags(TraceFlags.SAMPLED),
            trace_state=TraceState.from_header([trace.tracestate]) if trace.tracestate else None,
        )


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
