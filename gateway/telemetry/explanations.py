"""What happened to the requests that failed or were slow: the latest of them, by request id.

Pure: the clocks are passed in.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Any

from gateway.request.record import AttemptNote, RequestRecord

# Explanations in one second. An overloaded gateway fails many requests of the same kind.
_MAX_PER_S = 20


class Explanations:
    """Keeps the explanations of the latest `size` failed or slow requests.

    `find_candidates` returns instances of a service as JSON objects, the called ones among them: as
    they are when the request has ended. `clock` returns monotonic seconds, `wall_clock` seconds
    since 1970. In one second at most 20 requests are explained; `skipped` counts the others.
    `_entries` is in the order of the ends; `_second` is the current one, which has `_in_second`
    explanations.
    """

    def __init__(
        self,
        size: int,
        find_candidates: Callable[[str, Collection[str]], Sequence[dict[str, Any]]],
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self.size = size
        self._find_candidates = find_candidates
        self._clock = clock
        self._wall_clock = wall_clock
        self._entries: dict[str, dict[str, Any]] = {}
        self._second = -1
        self._in_second = 0
        self.skipped = 0

    def add(self, record: RequestRecord) -> None:
        """Explain a request that has ended."""
        if not self.size:
            return
        second = int(self._clock())
        if second != self._second:
            self._second, self._in_second = second, 0
        if self._in_second >= _MAX_PER_S:
            self.skipped += 1
            return
        self._in_second += 1
        while len(self._entries) >= self.size:
            del self._entries[next(iter(self._entries))]
        self._entries[record.sid] = {
            "sid": record.sid,
            "ended": _format_time(self._wall_clock()),
            "method": record.method,
            "path": record.path,
            "client": record.client_ip,
            "app": record.app_id,
            "service": record.service,
            "status": record.status,
            "code": record.code,
            "fault": record.error_name,
            "detail": record.detail,
            "phases_ms": _phases_ms(record),
            "attempts": [_attempt(note) for note in record.attempt_notes],
            "instance": record.instance,
            "candidates": self._candidates(record),
        }

    def _candidates(self, record: RequestRecord) -> list[dict[str, Any]]:
        if not record.service:
            return []
        called = {note.instance for note in record.attempt_notes}
        return list(self._find_candidates(record.service, called | {record.instance}))

    def find(self, sid: str) -> dict[str, Any] | None:
        """Return the explanation of a request, None if there is none."""
        return self._entries.get(sid)

    def latest(self) -> list[dict[str, Any]]:
        """Return all explanations without their candidates, the latest first."""
        return [
            {name: value for name, value in entry.items() if name != "candidates"}
            for entry in reversed(self._entries.values())
        ]


def _phases_ms(record: RequestRecord) -> dict[str, float]:
    """Return how long each phase took, in milliseconds; `body` is its receipt."""
    body_s = record.body_received_at - record.accepted_at if record.body_received_at else 0.0
    phases = {
        "body": body_s,
        "wait": record.waited_s,
        "upstream": record.upstream_s,
        "gateway": record.overhead_s,
        "total": record.answered_at - record.accepted_at,
    }
    return {name: round(seconds * 1000, 3) for name, seconds in phases.items()}


def _attempt(note: AttemptNote) -> dict[str, Any]:
    return {
        "instance": note.instance,
        "fault": note.error_name,
        "took_ms": round(note.seconds * 1000, 3),
        "expected_ms": round(note.expected_ms, 3),
        "report_age_ms": round(note.report_age_ms, 1) if note.report_age_ms >= 0 else None,
    }


def _format_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
