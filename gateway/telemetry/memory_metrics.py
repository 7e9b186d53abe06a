"""Metrics of the memory that clients keep busy, and the log of those that were disconnected."""

from collections.abc import Callable, Iterator
from math import inf
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from gateway.http.memory_limits import BodyBudget, UnreadOutput
from rpc.server_memory import ServerMemory

_LOG_INTERVAL_S: Final = 1.0


class MemoryMetrics:
    """Collector of the sums that `gateway.max_unread` and `gateway.max_bodies` limit.

    The port for gRPC clients, `grpc_memory`, has sums of its own, with the same limits.

    It registers itself in `registry`. It has no counters of its own.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        unread_output: UnreadOutput,
        body_budget: BodyBudget,
        grpc_memory: ServerMemory,
    ) -> None:
        self._unread_output = unread_output
        self._body_budget = body_budget
        self._grpc_memory = grpc_memory
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics with their current values, for a scrape."""
        unread, bodies = self._unread_output, self._body_budget
        yield GaugeMetricFamily(
            "ase_unread_bytes", "Bytes that clients have not read.", unread.total
        )
        yield CounterMetricFamily(
            "ase_unread_cuts", "Clients disconnected because too much was unread.", unread.cuts
        )
        yield GaugeMetricFamily(
            "ase_body_bytes", "Bytes of large request bodies in memory.", bodies.total
        )
        yield CounterMetricFamily(
            "ase_body_rejections",
            "Bodies rejected because too many bytes were in memory.",
            bodies.rejections,
        )
        grpc_memory = self._grpc_memory
        yield GaugeMetricFamily(
            "ase_grpc_request_bytes", "Bytes of requests of gRPC clients.", grpc_memory.received
        )
        yield GaugeMetricFamily(
            "ase_grpc_unread_bytes", "Bytes that gRPC clients have not read.", grpc_memory.unsent
        )
        yield CounterMetricFamily(
            "ase_grpc_cuts",
            "Connections of gRPC clients closed because too many bytes were in memory.",
            grpc_memory.cuts,
        )


class CutLog:
    """Logs the clients that were disconnected because too much was unread: a line a second at most.

    `warn(clients, bytes)` writes a line about all clients since the line before. `clock` returns
    seconds.
    """

    def __init__(self, warn: Callable[[int, int], None], clock: Callable[[], float]) -> None:
        self._warn = warn
        self._clock = clock
        self._clients = self._bytes = 0
        self._logged_at = -inf

    def add(self, unread_bytes: int) -> None:
        """Log a client that was disconnected, now or with the next one a second later."""
        self._clients += 1
        self._bytes += unread_bytes
        now = self._clock()
        if now - self._logged_at >= _LOG_INTERVAL_S:
            self._warn(self._clients, self._bytes)
            self._clients = self._bytes = 0
            self._logged_at = now
