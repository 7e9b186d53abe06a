"""The access log: one JSON line per request, without the query string, every field bounded."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii
from typing import Any, Final

from gateway.request.record import RequestRecord

# Limits of a line, in characters of its path and of its error detail.
_MAX_PATH_CHARS: Final = 256
_MAX_DETAIL_CHARS: Final = 512

# %-formatting fills a template in one operation, compiled by mypyc or not.
_PREFIX_TEMPLATE: Final = (
    '{"time": "%s.%03d+00:00", "level": "info", "logger": "ase.access", "message": "request", '
)
_SUCCESS_TEMPLATE: Final = (
    '%s"sid": "%s", "method": %s, "path": %s, "client": %s, "service": %s, '
    '"instance": %s, "status": %d, "code": 0, "attempts": %d, "total_ms": %.3f, '
    '"upstream_ms": %s, "overhead_ms": %s}'
)


class AccessLog:
    """Writes one line for each request that was answered.

    `write_line` is called with a line, without a newline. `wall_clock` returns seconds since 1970.
    Durations in a line are in milliseconds.

    `_cached_prefix` is the start of a line for the time `_cached_ms`, in milliseconds since 1970.
    `_cached_timestamp` is the date and time of `_cached_second`, in seconds since 1970.
    """

    def __init__(self, write_line: Callable[[str], None], wall_clock: Callable[[], float]) -> None:
        self._write_line = write_line
        self._wall_clock = wall_clock
        self._cached_ms = self._cached_second = -1
        self._cached_prefix = self._cached_timestamp = ""

    def write(self, record: RequestRecord) -> None:
        """Write the line of a finished request.

        The line of a request that succeeded without waiting for a slot has a fixed set of fields
        and is formatted by a template.
        """
        total_ms = (record.answered_at - record.accepted_at) * 1000.0
        if record.code or record.waited_s:
            self._write_line(self._format_line(record, total_ms))
            return
        # A path may contain a quote, and a loader chooses its address: all texts are JSON-encoded.
        self._write_line(
            _SUCCESS_TEMPLATE
            % (
                self._line_prefix(),
                record.sid,
                encode_basestring_ascii(record.method),
                encode_basestring_ascii(record.path[:_MAX_PATH_CHARS]),
                encode_basestring_ascii(record.client_ip),
                encode_basestring_ascii(record.service),
                encode_basestring_ascii(record.instance),
                record.status,
                record.attempts,
                total_ms,
                record.upstream_ms,
                record.overhead_ms,
            )
        )

    def _format_line(self, record: RequestRecord, total_ms: float) -> str:
        fields: dict[str, Any] = {
            "sid": record.sid,
            "method": record.method,
            "path": record.path[:_MAX_PATH_CHARS],
            "client": record.client_ip,
            "service": record.service,
            "instance": record.instance,
            "status": record.status,
            "code": record.code,
            "attempts": record.attempts,
            "total_ms": round(total_ms, 3),
            "upstream_ms": round(record.upstream_s * 1000, 3),
            "overhead_ms": round(record.overhead_s * 1000, 3),
        }
        if record.waited_s:
            fields["wait_ms"] = round(record.waited_s * 1000, 3)
        if record.error_name:
            fields |= {"fault": record.error_name, "detail": record.detail[:_MAX_DETAIL_CHARS]}
        return self._line_prefix() + json.dumps(fields)[1:]

    def _line_prefix(self) -> str:
        """Return the start of a line, which all lines of one millisecond share."""
        now_ms = int(self._wall_clock() * 1000.0)
        if now_ms != self._cached_ms:
            self._cached_ms = now_ms
            second, millisecond = divmod(now_ms, 1000)
            if second != self._cached_second:
                self._cached_second = second
                self._cached_timestamp = datetime.fromtimestamp(second, UTC).strftime(
                    "%Y-%m-%dT%H:%M:%S"
                )
            self._cached_prefix = _PREFIX_TEMPLATE % (self._cached_timestamp, millisecond)
        return self._cached_prefix


def loggable_target(target: bytes) -> str:
    """Return the part of a request target that may be logged: no query, no user information.

    A rejected target may have any form of RFC 9112, 3.2, such as `http://user:password@host/path`.
    """
    path = target.partition(b"?")[0]
    if not path.startswith(b"/"):
        scheme, separator, remainder = path.rpartition(b"://")
        authority, slash, tail = remainder.partition(b"/")
        path = scheme + separator + authority.rpartition(b"@")[2] + slash + tail
    return path.decode("ascii", "backslashreplace")
