"""Metrics and access-log lines of the streaming sessions of one gateway process."""

from collections.abc import Callable, Iterator
from typing import Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from gateway.request.record import RequestRecord
from gateway.telemetry.access_log import AccessLog
from lb.endpoints.histogram import Histogram
from schemas.model.errors import CLIENT_GONE, KNOWN_CODES, AseError, ErrorSource
from schemas.model.session import SessionEvent

_SWITCHING_PROTOCOLS = 101
_LENGTH_BUCKETS_S = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 150.0, 300.0, 900.0, 3600.0)
_FIRST_RESULT_BUCKETS_S = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip


class ObservedSession(Protocol):
    """The part of a session that is counted and logged."""

    @property
    def record(self) -> RequestRecord:
        """Return the record of the request that began the session."""

    @property
    def error(self) -> AseError | None:
        """Return the error that ended the session; None if it ended without one."""


class _EndedSessions:
    """Figures of the ended sessions of a service, in seconds and in frames."""

    __slots__ = ("first_results", "frames_in", "frames_out", "lengths")

    def __init__(self) -> None:
        self.lengths = Histogram(_LENGTH_BUCKETS_S)
        self.first_results = Histogram(_FIRST_RESULT_BUCKETS_S)
        self.frames_in = self.frames_out = 0

    def add(self, record: RequestRecord) -> None:
        """Add a session whose record is finished."""
        self.lengths.observe(record.answered_at - record.accepted_at)
        if record.first_result_at:
            self.first_results.observe(record.first_result_at - record.accepted_at)
        self.frames_in += record.frames_in
        self.frames_out += record.frames_out


class SessionMetrics:
    """Counts the sessions of one gateway process, and logs each of them when it ends.

    It registers itself as a collector in `registry`. `clock` returns the seconds that the records
    of requests use.

    `_active_counts` is the number of open sessions by service; `len()` is their sum. `_ended` has
    the figures of ended sessions by service. `_ended_counts` is their number by service and error
    code, as text. Codes that are not in the error table count as "other", so that the number of
    time series is bounded.
    """

    def __init__(
        self, registry: CollectorRegistry, access_log: AccessLog, clock: Callable[[], float]
    ) -> None:
        self._access_log = access_log
        self._clock = clock
        self._active_counts: dict[str, int] = {}
        self._ended_counts: dict[tuple[str, str], int] = {}
        self._ended: dict[str, _EndedSessions] = {}
        registry.register(self)

    def __len__(self) -> int:
        return sum(self._active_counts.values())

    def session_started(self, session: ObservedSession) -> None:
        """Count a session as open; `session_ended` must follow exactly once."""
        service = session.record.service
        self._active_counts[service] = self._active_counts.get(service, 0) + 1

    def session_ended(
        self,
        session: ObservedSession,
        event: SessionEvent,
        status: int = _SWITCHING_PROTOCOLS,
        *,
        write_log: bool = True,
    ) -> None:
        """Finish the record of a session, count the session as ended, and log it if `write_log`.

        `event` is the event that ended it, `status` the HTTP status of its response. The code of
        the record is that of the session's error. Without an error it is 499 if the client closed
        the connection, else 0 (success).
        """
        record, error = session.record, session.error
        error_spec = (
            error.spec
            if error is not None
            else CLIENT_GONE
            if event is SessionEvent.CLIENT_GONE
            else None
        )
        record.finish(status, error_spec.code if error_spec else 0, self._clock())
        if error_spec is not None:
            record.error_name, record.detail = (
                error_spec.name,
                error.log_message if error is not None else error_spec.message,
            )
        active = self._active_counts[record.service] - 1
        self._active_counts[record.service] = active
        code = str(record.code) if record.code in KNOWN_CODES else "other"
        key = (record.service, code)
        self._ended_counts[key] = self._ended_counts.get(key, 0) + 1
        ended = self._ended.get(record.service)
        if ended is None:
            ended = self._ended[record.service] = _EndedSessions()
        ended.add(record)
        if write_log:
            has_failed = error_spec is not None and error_spec.source is not ErrorSource.CALLER
            self._access_log.write(record, is_session=True, has_failed=has_failed)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics with their current values, for a scrape."""
        active_gauge = GaugeMetricFamily(
            "ase_sessions", "Streaming sessions in progress.", labels=("service",)
        )
        for service, count in list(self._active_counts.items()):
            active_gauge.add_metric((service,), count)
        ended_counter = CounterMetricFamily(
            "ase_sessions_ended",
            "Streaming sessions, by how they ended.",
            labels=("service", "code"),
        )
        for key, count in list(self._ended_counts.items()):
            ended_counter.add_metric(key, count)
        yield from (active_gauge, ended_counter)
        yield from self._ended_metrics()

    def _ended_metrics(self) -> Iterator[Metric]:
        lengths = HistogramMetricFamily(
            "ase_session_seconds", "Length of ended sessions.", labels=("service",)
        )
        first_results = HistogramMetricFamily(
            "ase_session_first_result_seconds",
            "Time from the start of a session to its first result.",
            labels=("service",),
        )
        frames = CounterMetricFamily(
            "ase_session_frames", "Frames of ended sessions.", labels=("service", "direction")
        )
        for service, ended in list(self._ended.items()):
            lengths.add_metric((service,), ended.lengths.buckets(), ended.lengths.sum)
            first_results.add_metric(
                (service,), ended.first_results.buckets(), ended.first_results.sum
            )
            frames.add_metric((service, "in"), ended.frames_in)
            frames.add_metric((service, "out"), ended.frames_out)
        yield from (lengths, first_results, frames)
