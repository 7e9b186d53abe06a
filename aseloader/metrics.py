"""Metrics of a loader for Prometheus: its load for autoscaling, its results, its batches."""

import os
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Histogram,
    ProcessCollector,
    multiprocess,
    values,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from aseloader.batching.batcher import BatchRecord
from lb.reporter.limiter import ConcurrencyLimiter

_SIZE_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_SECONDS_BUCKETS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
)  # fmt: skip


def continue_process_metrics(index: int) -> None:
    """Let the metrics of this process go on with those of an earlier one with the same `index`.

    Call it before metrics are made, with `PROMETHEUS_MULTIPROC_DIR` set. So counters keep what a
    process had counted that has crashed, and the files of the folder do not grow in number. A fork
    gets files of its own.
    """
    own_pid = os.getpid()

    def process_identifier() -> str:
        pid = os.getpid()
        return str(index) if pid == own_pid else f"{index}-{pid}"

    values.ValueClass = values.MultiProcessValue(process_identifier)  # type: ignore[no-untyped-call]


def process_metrics(folder: Path) -> CollectorRegistry:
    """Return a registry of the sums of the processes' metrics, and of this process' own usage."""
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
    ProcessCollector(registry=registry)
    return registry


class LoaderMetrics:
    """The metrics of one loader process, in a registry of their own.

    Every series has the label `service`. Those of batches exist after the first one. Names and
    meanings: `docs/operate.md`.
    """

    def __init__(self, service: str, limiter: ConcurrencyLimiter) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_LoadCollector(service, limiter))
        self._service = service
        self._batches: _BatchHistograms | None = None

    def record_batch(self, record: BatchRecord) -> None:
        """Count a batch that has ended."""
        if self._batches is None:
            self._batches = _BatchHistograms(self._service, self.registry)
        self._batches.size.observe(record.size)
        self._batches.seconds.observe(record.seconds)
        for wait_s in record.waits_s:
            self._batches.wait.observe(wait_s)


class _BatchHistograms:
    def __init__(self, service: str, registry: CollectorRegistry) -> None:
        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            name = f"ase_loader_batch_{name}"
            labelled = Histogram(name, text, ["service"], registry=registry, buckets=buckets)
            return labelled.labels(service)

        self.size = histogram("size", "requests of a batch", _SIZE_BUCKETS)
        self.seconds = histogram("seconds", "time of a batch", _SECONDS_BUCKETS)
        self.wait = histogram(
            "wait_seconds", "time that a request waited for its batch", _SECONDS_BUCKETS
        )


class _LoadCollector(Collector):
    """Reads the figures of a limiter when they are collected."""

    def __init__(self, service: str, limiter: ConcurrencyLimiter) -> None:
        self._service = service
        self._limiter = limiter

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges and counters."""
        limiter = self._limiter
        running = min(limiter.inflight, limiter.best)
        gauges = {
            "slots": ("requests that it works on at a time", limiter.best),
            "running": ("requests that it works on", running),
            "queued": ("requests that wait in it", limiter.inflight - running),
            "service_seconds": ("mean time that a request occupies a slot, 0 = not known",
                                limiter.service_ms / 1000),
        }  # fmt: skip
        if limiter.batch_base_ms or limiter.batch_item_ms:
            gauges |= {
                "batch_base_seconds": ("time of a batch, without that of its requests",
                                       limiter.batch_base_ms / 1000),
                "batch_item_seconds": ("time that each request adds to a batch",
                                       limiter.batch_item_ms / 1000),
            }  # fmt: skip
        for name, (text, value) in gauges.items():
            gauge = GaugeMetricFamily(f"ase_loader_{name}", text, labels=["service"])
            gauge.add_metric([self._service], value)
            yield gauge
        counters = {
            "requests": ("requests that have ended", limiter.served),
            "failures": ("requests that failed by a fault of the loader", limiter.errors),
            "rejections": ("requests that found no place", limiter.rejected),
        }
        for name, (text, value) in counters.items():
            counter = CounterMetricFamily(f"ase_loader_{name}", text, labels=["service"])
            counter.add_metric([self._service], value)
            yield counter
