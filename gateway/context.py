"""What all requests of a gateway share, whichever way they came in."""

from gateway.request.event_stream import EventStreamFactory
from gateway.request.interfaces import Dependencies
from gateway.request.record import RequestRecord
from gateway.telemetry.access_log import AccessLog
from gateway.telemetry.metrics import Metrics


class GatewayContext:
    """Dependencies of the request functions, metrics, the access log, the factory of event streams.

    One per process, shared by all connections, ASGI routes and WebSockets.
    """

    __slots__ = ("access_log", "dependencies", "metrics", "open_event_stream")

    def __init__(
        self,
        dependencies: Dependencies,
        metrics: Metrics,
        access_log: AccessLog,
        open_event_stream: EventStreamFactory,
    ) -> None:
        self.dependencies = dependencies
        self.metrics = metrics
        self.access_log = access_log
        self.open_event_stream = open_event_stream

    def new_record(self, method: str, path: str, client_ip: str) -> RequestRecord:
        """Return the record of a request that is accepted now."""
        return RequestRecord(
            self.dependencies.new_id(), self.dependencies.clock(), method, path, client_ip
        )

    def count_and_log(self, record: RequestRecord) -> None:
        """Count and log a request that was answered."""
        self.metrics.count_request(record)
        self.access_log.write(record)
