"""What is measured and logged of sessions, over all of a gateway."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from gateway.access import AccessLog
from gateway.session import Session
from schemas.errors import CLIENT_GONE, ERRORS_BY_CODE
from schemas.session import SessionEvent

_CODES = frozenset(code for _, code in ERRORS_BY_CODE)
_SWITCHED = 101


class Sessions:
    """The sessions of one gateway process, in a registry that is handed in."""

    def __init__(
        self, registry: CollectorRegistry, log: AccessLog, clock: Callable[[], float]
    ) -> None:
        self._log = log
        self._clock = clock
        self._running: dict[str, int] = {}
        self._ended: dict[tuple[str, str], int] = {}
        registry.register(self)

    def __len__(self) -> int:
        return sum(self._running.values())

    def began(self, session: Session) -> None:
        """Count a session."""
        service = session.record.service
        self._running[service] = self._running.get(service, 0) + 1

    def ended(
        self, session: Session, event: SessionEvent, status: int = _SWITCHED, *, log: bool = True
    ) -> None:
        """Count and log its end."""
        record, error = session.record, session.error
        fault = (
            error.spec
            if error is not None
            else CLIENT_GONE
            if event is SessionEvent.CLIENT_GONE
            else None
        )
        record.close(status, fault.code if fault else 0, self._clock())
        if fault is not None:
            record.fault, record.detail = (
                fault.name,
                error.log_message if error is not None else fault.message,
            )
        left = self._running[record.service] - 1
        self._running[record.service] = left
        code = str(record.code) if not record.code or record.code in _CODES else "other"
        key = (record.service, code)
        self._ended[key] = self._ended.get(key, 0) + 1
        if log:
            self._log.write(record)

    def collect(self) -> Iterator[Metric]:
        """Return the figures of now, for a registry."""
        running = GaugeMetricFamily(
            "ase_sessions", "Streaming sessions under way.", labels=("service",)
        )
        for service, count in list(self._running.items()):
            running.add_metric((service,), count)
        ended = CounterMetricFamily(
            "ase_sessions_ended",
            "Streaming sessions, by how they ended.",
            labels=("service", "code"),
        )
        for key, count in list(self._ended.items()):
            ended.add_metric(key, count)
        yield from (running, ended)
