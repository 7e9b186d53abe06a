"""One log line per request: JSON, without the query string, every field bounded."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii
from typing import Any, Final

from gateway.record import Record

# Characters of a path and of an error that a line holds at most.
_PATH: Final = 256
_DETAIL: Final = 512

# Templates are filled in by one operation, compiled or not.
_TIME: Final = (
    '{"time": "%s.%03d+00:00", "level": "info", "logger": "ase.access", "message": "request", '
)
_GOOD: Final = (
    '%s"sid": "%s", "method": %s, "path": %s, "client": %s, "service": %s, '
    '"instance": %s, "status": %d, "code": 0, "attempts": %d, "total_ms": %.3f, '
    '"upstream_ms": %s, "overhead_ms": %s}'
)


class AccessLog:
    """Writes the line of each request that was answered.

    `put` takes a whole line; `wall` gives seconds since 1970. Times told are in milliseconds.
    """

    def __init__(self, put: Callable[[str], None], wall: Callable[[], float]) -> None:
        self._put = put
        self._wall = wall
        self._now = self._second = -1
        self._head = self._told = ""

    def write(self, record: Record) -> None:
        """Write a line."""
        total = (record.answered - record.accepted) * 1000.0
        if record.code or record.waited:
            self._put(self._line(record, total))
            return
        # A path may hold a quote, and a loader chose the name of its instance: texts are encoded.
        self._put(
            _GOOD
            % (
                self._time(),
                record.sid,
                encode_basestring_ascii(record.method),
                encode_basestring_ascii(record.path[:_PATH]),
                encode_basestring_ascii(record.client),
                encode_basestring_ascii(record.service),
                encode_basestring_ascii(record.instance),
                record.status,
                record.attempts,
                total,
                record.upstream_ms,
                record.overhead_ms,
            )
        )

    def _line(self, record: Record, total: float) -> str:
        fields: dict[str, Any] = {
            "sid": record.sid,
            "method": record.method,
            "path": record.path[:_PATH],
            "client": record.client,
            "service": record.service,
            "instance": record.instance,
            "status": record.status,
            "code": record.code,
            "attempts": record.attempts,
            "total_ms": round(total, 3),
            "upstream_ms": round(record.upstream * 1000, 3),
            "overhead_ms": round(record.overhead * 1000, 3),
        }
        if record.waited:
            fields["wait_ms"] = round(record.waited * 1000, 3)
        if record.fault:
            fields |= {"fault": record.fault, "detail": record.detail[:_DETAIL]}
        return self._time() + json.dumps(fields)[1:]

    def _time(self) -> str:
        """Return the head of a line; it is the same for all lines of a millisecond."""
        now = int(self._wall() * 1000.0)
        if now != self._now:
            self._now = now
            second, millisecond = divmod(now, 1000)
            if second != self._second:
                self._second = second
                self._told = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            self._head = _TIME % (self._told, millisecond)
        return self._head


def loggable_target(target: bytes) -> str:
    """Return what a log may hold of a request's target: no query, and no user of an authority.

    A target that was refused may have any form of RFC 9112, 3.2: `http://user:password@host/path`.
    """
    path = target.partition(b"?")[0]
    if not path.startswith(b"/"):
        scheme, separator, rest = path.rpartition(b"://")
        authority, slash, tail = rest.partition(b"/")
        path = scheme + separator + authority.rpartition(b"@")[2] + slash + tail
    return path.decode("ascii", "backslashreplace")
