"""The traces of a gateway process: which requests are traced, and where their spans go."""

import random
import secrets
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily

from config.options import TracesOptions
from gateway.request.record import RequestIdGenerator, RequestRecord
from gateway.request.traces import Tracer

if TYPE_CHECKING:
    from gateway.telemetry.span_export import SpanExport


class Tracing:
    """The tracer and the export of spans; both None, at no cost, if no collector is configured.

    The packages of OpenTelemetry are imported only with one.
    """

    def __init__(self, options: TracesOptions, registry: CollectorRegistry) -> None:
        self.tracer: Tracer | None = None
        self.on_record: Callable[[RequestRecord], None] | None = None
        self._export: SpanExport | None = None
        if options.endpoint:
            from gateway.telemetry import span_export

            self.tracer = Tracer(
                options.sample,
                options.rate,
                new_id=RequestIdGenerator(secrets.token_hex),
                random=random.random,
                clock=time.monotonic,
            )
            clocks = span_export.Clocks(time.monotonic, time.time)
            sender = span_export.otlp_sender(options.endpoint)
            self._export = span_export.SpanExport(sender, options.service, clocks)
            self.on_record = self._export.add
            registry.register(self)

    def start(self) -> None:
        """Start to send spans."""
        if self._export is not None:
            self._export.start()

    def stop(self) -> None:
        """Send what is queued, and stop; takes seconds if the collector does not answer."""
        if self._export is not None:
            self._export.stop()

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Yield the metric of traced requests, for Prometheus."""
        if self._export is not None:
            family = CounterMetricFamily(
                "ase_traces", "traced requests, by what became of their spans", labels=["outcome"]
            )
            family.add_metric(["sent"], self._export.sent)
            family.add_metric(["dropped"], self._export.dropped)
            yield family
