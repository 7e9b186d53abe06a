"""What all requests of a gateway share, whichever way they came in."""

from gateway.access.proxies import TrustedProxies
from gateway.plain.exchange import PlainExchange
from gateway.request.envelope_exchange import EnvelopeExchange
from gateway.request.event_stream import EventStreamFactory
from gateway.request.exchange import Exchange
from gateway.request.interfaces import Dependencies
from gateway.request.record import RequestRecord
from gateway.request.response import HttpResponse, finish_with_error, finish_with_problem
from gateway.services.routes import (
    PLAIN_PATH_PREFIX,
    is_canonical_plain_path,
    is_plain_request,
)
from gateway.telemetry.access_log import AccessLog
from gateway.telemetry.metrics import Metrics
from schemas.model.errors import AseError


class GatewayContext:
    """Dependencies of the request functions, metrics, the access log, the factory of event streams.

    One per process, shared by all connections, ASGI routes and WebSockets. `origins` are those of
    pages that may send forms (`check_origin`), `proxies` those that may name a client's address.
    """

    __slots__ = (
        "_envelope_exchange", "_origins", "access_log", "dependencies", "metrics",
        "open_event_stream", "proxies",
    )  # fmt: skip

    def __init__(
        self,
        dependencies: Dependencies,
        metrics: Metrics,
        access_log: AccessLog,
        open_event_stream: EventStreamFactory,
        origins: list[str],
        proxies: TrustedProxies,
    ) -> None:
        self.dependencies = dependencies
        self.metrics = metrics
        self.access_log = access_log
        self.open_event_stream = open_event_stream
        self._origins = origins
        self.proxies = proxies
        self._envelope_exchange = EnvelopeExchange()

    def new_record(self, method: str, path: str, client_ip: str) -> RequestRecord:
        """Return the record of a request that is accepted now."""
        return RequestRecord(
            self.dependencies.new_id(), self.dependencies.clock(), method, path, client_ip
        )

    def is_plain_request(self, path: str, query: str) -> bool:
        """Return whether a request at a plain path is one, and not for a route of the original."""
        service_id = path[len(PLAIN_PATH_PREFIX) :]
        is_service = self.dependencies.catalog.find(service_id) is not None
        return is_plain_request(path, query, is_service)

    def new_exchange(self, record: RequestRecord, query: str, *, is_plain: bool) -> Exchange:
        """Return the form of a request and its answer."""
        if not is_plain:
            return self._envelope_exchange
        query = self.dependencies.authenticator.unsigned_query(query)
        return PlainExchange(query, record.sid, self._origins)

    def fail(self, error: AseError, record: RequestRecord) -> HttpResponse:
        """Answer, count and log a request that fails before its form is known.

        The answer is a problem at the path of a service for plain requests, else an envelope.
        """
        finish = finish_with_problem if is_canonical_plain_path(record.path) else finish_with_error
        response = finish(error, record, self.dependencies.clock())
        self.count_and_log(record)
        return response

    def count_and_log(self, record: RequestRecord) -> None:
        """Count and log a request that was answered."""
        self.metrics.count_request(record)
        self.access_log.write(record)
