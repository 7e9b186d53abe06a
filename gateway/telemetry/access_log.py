"""The access log: one JSON line per request, without the query string, every field bounded."""

from collections.abc import Callable
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii
from typing import Final

from gateway.request.record import RequestRecord
from gateway.request.record_lines import format_ms
from rpc.bounded_cache import BoundedCache

try:
    from gateway.request.record_lines_native import log_line
except ImportError:  # not compiled
    from gateway.request.record_lines import log_line

# Limits of a line, in characters of its path and of its error detail.
_MAX_PATH_CHARS: Final = 256
_MAX_DETAIL_CHARS: Final = 512

# Fields that requests repeat are kept as JSON: how many, and of how many characters, which are at
# least as many as those of their keys.
_MAX_SUBJECTS: Final = 1024
_MAX_KEPT_CHARS: Final = 512

_PREFIX_TEMPLATE: Final = (
    '{"time": "%s.%03d+00:00", "level": "info", "logger": "ase.access", "message": "request", '
)


class AccessLog:
    """Writes one line for each request that was answered.

    `write_line` is called with a line, without a newline. `wall_clock` returns seconds since 1970.
    `on_record` is called with each record too, and `explain` with those of requests that failed by
    no fault of the caller, or took `slow` seconds or more and are no sessions; `on_trace` with
    those of traced requests. `on_end`, which may be set and taken away at any time, is called with
    each record and with whether it is of a session. Durations in a line are in milliseconds.

    `_cached_prefix` is the start of a line for the time `_cached_ms`, in milliseconds since 1970.
    `_cached_timestamp` is the date and time of `_cached_second`, in seconds since 1970. `_subjects`
    are the fields of a line that say who called what, by their values, and `_instances` the
    addresses of instances as JSON.
    """

    def __init__(
        self,
        write_line: Callable[[str], None],
        wall_clock: Callable[[], float],
        on_record: Callable[[RequestRecord], None] | None = None,
        explain: Callable[[RequestRecord], None] | None = None,
        slow: float = 0.0,
        on_trace: Callable[[RequestRecord], None] | None = None,
    ) -> None:
        self._on_record = on_record
        self._explain = explain
        self._slow = slow
        self._on_trace = on_trace
        self.on_end: Callable[[RequestRecord, bool], None] | None = None
        self._write_line = write_line
        self._wall_clock = wall_clock
        self._subjects: BoundedCache[tuple[str, str, str, str], str] = BoundedCache(_MAX_SUBJECTS)
        self._instances: BoundedCache[str, str] = BoundedCache(_MAX_SUBJECTS)
        self._cached_ms = self._cached_second = -1
        self._cached_prefix = self._cached_timestamp = ""

    def write(
        self, record: RequestRecord, *, is_session: bool = False, has_failed: bool = False
    ) -> None:
        """Write the line of a finished request, or of a session, which perhaps `has_failed`.

        It has further fields for a wait and for an error.
        """
        if self._on_record is not None:
            self._on_record(record)
        if self.on_end is not None:
            self.on_end(record, is_session)
        if record.trace is not None and self._on_trace is not None:
            self._on_trace(record)
        if self._explain is not None:
            if not is_session:
                has_failed = record.code != 0 and not 400 <= record.status < 500
                is_slow = record.answered_at - record.accepted_at >= self._slow
                has_failed = has_failed or is_slow
            if has_failed:
                self._explain(record)
        # A path may contain a quote, and a loader chooses its address: all texts are JSON-encoded.
        prefix = self._line_prefix()
        path = record.path if len(record.path) <= _MAX_PATH_CHARS else record.path[:_MAX_PATH_CHARS]
        key = (record.method, path, record.client_ip, record.service)
        subject = self._subjects.entries.get(key) or self._add_subject(key)
        instance = self._instances.entries.get(record.instance) or self._add_instance(
            record.instance
        )
        line = log_line(
            prefix,
            record.sid,
            subject,
            instance,
            record.status,
            record.code,
            record.attempts,
            record.answered_at - record.accepted_at,
            record.upstream_s,
            record.overhead_s,
            _further_fields(record),
        )
        self._write_line(line)

    def _add_subject(self, key: tuple[str, str, str, str]) -> str:
        """Return the fields of a request that the requests of a client repeat, and keep them."""
        method, path, client, service = map(encode_basestring_ascii, key)
        subject = f'"method": {method}, "path": {path}, "client": {client}, "service": {service}'
        if len(subject) <= _MAX_KEPT_CHARS:
            self._subjects.add(key, subject)
        return subject

    def _add_instance(self, instance: str) -> str:
        """Return an address as JSON, and keep it."""
        quoted = encode_basestring_ascii(instance)
        if len(quoted) <= _MAX_KEPT_CHARS:
            self._instances.add(instance, quoted)
        return quoted

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


def _further_fields(record: RequestRecord) -> str:
    """Return the fields of a key, of a wait and of an error; "" if there was none."""
    fields = ""
    if record.identity.key_id:
        fields = f', "key": {encode_basestring_ascii(record.identity.key_id)}'
    if record.waited_s:
        fields += f', "wait_ms": {format_ms(record.waited_s)}'
    if record.error_name:
        name = encode_basestring_ascii(record.error_name)
        detail = encode_basestring_ascii(record.detail[:_MAX_DETAIL_CHARS])
        fields += f', "fault": {name}, "detail": {detail}'
    return fields


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
