"""Sends the spans of traced requests to a collector, in a thread of its own.

The event loop only appends a record to a queue. Once a second the thread makes the spans, by the
conventions of OpenTelemetry for HTTP servers, and sends them by OTLP over HTTP. It works in slices
of a fraction of a millisecond with pauses between, since the event loop cannot run meanwhile. What
the collector does not take is dropped and counted.

The messages are those of the package opentelemetry-proto. The SDK of OpenTelemetry needs ten times
as long to make and encode a span. Source: https://opentelemetry.io/docs/specs/otlp/.
"""

import logging
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span, Status

from gateway.request.record import RequestRecord
from gateway.request.traces import Phase, RequestTrace

_logger = logging.getLogger("ase.gateway")

_MAX_QUEUED = 2048  # requests
_MAX_BATCH = 512
_SLICE = 4  # requests between two pauses
_PAUSE_S = 0.0005
_SEND_INTERVAL_S = 1.0
_TIMEOUT_S = 5.0
_STOP_TIMEOUT_S = 6.0
_SCOPE = "athena-serving"


class Sender(Protocol):
    """Sends spans to a collector."""

    def send(self, body: bytes, /) -> str:
        """Send an encoded ExportTraceServiceRequest; return why it was not taken, or ""."""

    def close(self) -> None:
        """Close the connection."""


class OtlpSender:
    """Sends spans by OTLP over HTTP; `headers` are those of OTEL_EXPORTER_OTLP_HEADERS."""

    def __init__(self, endpoint: str, headers: Mapping[str, str]) -> None:
        self._endpoint = endpoint
        self._client = httpx.Client(
            timeout=_TIMEOUT_S,
            trust_env=False,
            headers={**headers, "content-type": "application/x-protobuf"},
        )

    def send(self, body: bytes) -> str:
        """Send an encoded ExportTraceServiceRequest; return why it was not taken, or ""."""
        try:
            response = self._client.post(self._endpoint, content=body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return str(error) or type(error).__name__
        return "" if response.is_success else f"the collector answers {response.status_code}"

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def otlp_headers(text: str) -> dict[str, str]:
    """Return the headers of a value of OTEL_EXPORTER_OTLP_HEADERS: `name=value,...`, URL-encoded.

    Source: OpenTelemetry, "Environment variable specification".
    """
    pairs = (item.partition("=") for item in text.split(",") if "=" in item)
    return {name.strip(): unquote(value.strip()) for name, _, value in pairs}


def otlp_sender(endpoint: str) -> Sender:
    """Return the sender to a collector, with the headers of the environment."""
    return OtlpSender(endpoint, otlp_headers(os.environ.get("OTEL_EXPORTER_OTLP_HEADERS", "")))


@dataclass(frozen=True, slots=True)
class Clocks:
    """`monotonic` is that of the records, `wall` returns seconds since 1970."""

    monotonic: Callable[[], float]
    wall: Callable[[], float]


class SpanExport:
    """The queue of records of traced requests, and the thread that sends their spans.

    `sent` and `dropped` count requests. `_has_failed` is set while the collector takes nothing,
    which is logged once.
    """

    def __init__(self, sender: Sender, service_name: str, clocks: Clocks) -> None:
        self._sender = sender
        self._service_name = service_name
        self._clocks = clocks
        self._queue: deque[RequestRecord] = deque()
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
        self._sender.close()

    def _run(self) -> None:
        while not self._stopping.wait(_SEND_INTERVAL_S):
            self._send_queued()
        self._send_queued()

    def _send_queued(self) -> None:
        while self._queue:
            count = min(len(self._queue), _MAX_BATCH)
            try:
                reason = self._sender.send(self._encode(count))
            except Exception:  # a trace is not worth the thread
                _logger.exception("spans are dropped by a fault of ours")
                self.dropped += count
                continue
            if reason:
                self.dropped += count
                if not self._has_failed:
                    _logger.warning("spans are dropped", extra={"reason": reason})
            else:
                self.sent += count
                if self._has_failed:
                    _logger.info("spans are sent again")
            self._has_failed = bool(reason)

    def _encode(self, count: int) -> bytes:
        """Return the spans of the next `count` records, encoded."""
        request = ExportTraceServiceRequest()
        resource_spans = request.resource_spans.add()
        resource_spans.resource.attributes.append(_attribute("service.name", self._service_name))
        scope = resource_spans.scope_spans.add()
        scope.scope.name = _SCOPE
        for number in range(1, count + 1):
            self._add_spans(scope, self._queue.popleft())
            if number % _SLICE == 0:
                time.sleep(_PAUSE_S)
        return request.SerializeToString()

    def _add_spans(self, scope: ScopeSpans, record: RequestRecord) -> None:
        """Add the spans of a request: the gateway's, and one for each phase."""
        trace = record.trace
        if trace is None:
            return
        offset = self._clocks.wall() - self._clocks.monotonic()
        trace_id, span_id = bytes.fromhex(trace.trace_id), bytes.fromhex(trace.span_id)
        _fill_request_span(scope.spans.add(), record, trace, trace_id, span_id, offset)
        phases = [*trace.phases]
        if record.body_received_at:
            phases.insert(0, Phase("receive", record.accepted_at, record.body_received_at))
        for phase in phases:
            _fill_phase_span(scope.spans.add(), phase, trace_id, span_id, offset)


def _fill_request_span(
    span: Span,
    record: RequestRecord,
    trace: RequestTrace,
    trace_id: bytes,
    span_id: bytes,
    offset: float,
) -> None:
    span.trace_id, span.span_id = trace_id, span_id
    if trace.parent_id:
        span.parent_span_id = bytes.fromhex(trace.parent_id)
    span.trace_state = trace.tracestate
    span.name = f"{record.method} {record.service}".strip()
    span.kind = Span.SPAN_KIND_SERVER
    _set_times(span, record.accepted_at, record.answered_at, offset)
    texts = {
        "http.request.method": record.method,
        "url.path": record.path,
        "client.address": record.client_ip,
        "ase.service": record.service,
        "ase.app": record.app_id,
        "ase.request_id": record.sid,
        "error.type": record.error_name,
    }
    span.attributes.extend(_attribute(name, value) for name, value in texts.items() if value)
    numbers = {"http.response.status_code": record.status, "ase.code": record.code}
    span.attributes.extend(_number(name, value) for name, value in numbers.items())
    if record.status >= 500:
        span.status.code, span.status.message = Status.STATUS_CODE_ERROR, record.detail


def _fill_phase_span(
    span: Span, phase: Phase, trace_id: bytes, parent_id: bytes, offset: float
) -> None:
    span.trace_id, span.span_id, span.parent_span_id = trace_id, secrets.token_bytes(8), parent_id
    span.name = phase.name
    span.kind = Span.SPAN_KIND_CLIENT if phase.instance else Span.SPAN_KIND_INTERNAL
    _set_times(span, phase.start, phase.end, offset)
    if phase.instance:
        span.attributes.append(_attribute("server.address", phase.instance))
    if phase.error_name:
        span.attributes.append(_attribute("error.type", phase.error_name))
        span.status.code = Status.STATUS_CODE_ERROR


def _set_times(span: Span, start: float, end: float, offset: float) -> None:
    span.start_time_unix_nano = int((start + offset) * 1e9)
    span.end_time_unix_nano = int((end + offset) * 1e9)


def _attribute(name: str, text: str) -> KeyValue:
    return KeyValue(key=name, value=AnyValue(string_value=text))


def _number(name: str, value: int) -> KeyValue:
    return KeyValue(key=name, value=AnyValue(int_value=value))
