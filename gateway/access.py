"""One log line per request: JSON, without the query string, every field bounded."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from gateway.record import Record


class AccessLog:
    """Writes the line of each request that was answered.

    `put` takes a whole line; `wall` gives seconds since 1970. Times told are in milliseconds.
    """

    def __init__(self, put: Callable[[str], None], wall: Callable[[], float]) -> None:
        self._put = put
        self._wall = wall
        self._second = -1
        self._prefix = ""

    def write(self, record: Record) -> None:
        """Write a line."""
        total = (record.answered - record.accepted) * 1000
        upstream, overhead = record.upstream * 1000, record.overhead * 1000
        if record.code:
            self._put(self._line(record, total, upstream, overhead))
            return
        # Of a good request every text is plain: ids, addresses, a path that led to a service.
        self._put(
            f'{self._time()}"sid": "{record.sid}", "method": "{record.method}", '
            f'"path": "{record.path}", "client": "{record.client}", "service": "{record.service}", '
            f'"instance": "{record.instance}", "status": {record.status}, "code": 0, '
            f'"attempts": {record.attempts}, "total_ms": {total:.3f}, '
            f'"upstream_ms": {upstream:.3f}, "overhead_ms": {overhead:.3f}}}'
        )

    def _line(self, record: Record, total: float, upstream: float, overhead: float) -> str:
        fields: dict[str, Any] = {
            "sid": record.sid,
            "method": record.method,
            "path": record.path[:256],
            "client": record.client,
            "service": record.service,
            "instance": record.instance,
            "status": record.status,
            "code": record.code,
            "attempts": record.attempts,
            "total_ms": round(total, 3),
            "upstream_ms": round(upstream, 3),
            "overhead_ms": round(overhead, 3),
        }
        if record.fault:
            fields |= {"fault": record.fault, "detail": record.detail[:512]}
        return self._time() + json.dumps(fields)[1:]

    def _time(self) -> str:
        """Return the head of a line; the second is written once for all its requests."""
        now = self._wall()
        second = int(now)
        if second != self._second:
            self._second = second
            self._prefix = f'{{"time": "{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}.'
        return (
            f'{self._prefix}{int((now - second) * 1000):03d}+00:00", "level": "info", '
            '"logger": "ase.access", "message": "request", '
        )
