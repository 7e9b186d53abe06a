"""The record of one request, for its response headers, its log line and its metrics. Pure.

The source of randomness for its id is passed in.
"""

from collections.abc import Callable, Mapping
from typing import Final

from atom.wire import NO_UNITS
from gateway.access.identity import ANONYMOUS
from gateway.access.meters import NO_ADMISSION
from gateway.request.traces import RequestTrace, Tracer
from gateway.request.tracing import NO_TRACING

_BATCH_BYTES: Final = 4096  # random bytes drawn at a time, for 256 ids
# Of the units that a loader names: how many, how long, and how large a sum.
_MAX_UNIT_NAMES: Final = 16
_MAX_UNIT_NAME: Final = 64
_MAX_UNITS: Final = 2**53
_NO_CODE_MAP: Final[Mapping[int, int]] = {}


class RequestIdGenerator:
    """Generates request ids: 32 random lower-case hexadecimal digits, with no address in them.

    `entropy(n)` returns the hexadecimal digits of `n` random bytes; one call serves 256 ids. The
    next id is the 32 digits of `_hex_digits` from `_position`.
    """

    def __init__(self, entropy: Callable[[int], str]) -> None:
        self._entropy = entropy
        self._hex_digits = ""
        self._position = 0

    def __call__(self) -> str:
        """Return an id that was not returned before."""
        position = self._position
        if position == len(self._hex_digits):
            self._hex_digits, position = self._entropy(_BATCH_BYTES), 0
        self._position = position + 32
        return self._hex_digits[position : position + 32]


class AttemptNote:
    """A call that failed, or was slow: to which instance, how it ended, and what was expected.

    `error_name` is empty for success. The call took `seconds`. At its pick, the delay was expected
    to be `expected_ms`, by a report of the age `report_age_ms` in milliseconds (-1: no reports).
    """

    __slots__ = ("error_name", "expected_ms", "instance", "report_age_ms", "seconds")

    def __init__(
        self,
        instance: str,
        error_name: str,
        seconds: float,
        expected_ms: float,
        report_age_ms: float,
    ) -> None:
        self.instance = instance
        self.error_name = error_name
        self.seconds = seconds
        self.expected_ms = expected_ms
        self.report_age_ms = report_age_ms


class RequestRecord:
    """What the gateway records of one request.

    `accepted_at`, `body_received_at` (the body is complete) and `answered_at` are seconds of the
    gateway's clock. `upstream_s` is the time spent on calls to loaders, `waited_s` the time spent
    waiting for a slot, `overhead_s` the time the gateway itself needed, without receiving the body.
    They, `status`, `code` and `answered_at` are set when the request is answered; `code` 0 means
    success.

    `identity` is the caller, ANONYMOUS until it is known, and `admission` its use of its limits.
    `app_id` is the application's, empty until it is known. `tracing` are the tracing headers of the
    request, by name, which its loader gets too; `trace` is None if it is not traced. `bytes_in` and
    `bytes_out` are the sizes of the frames to and from the loader, `units` what it says that was
    used, by name. `service` is empty until the service is found; `code_map` then maps error codes
    to HTTP statuses. `attempts` counts the calls, `instance` is the address of the latest one,
    `retry_reasons` are the names of the errors that led to retries. `attempt_notes` tell of calls
    that failed or were slow. The latest call began at `called_at`, 0 without one, and took `call_s`
    seconds. `affinity_key` says which requests go to few instances together, "" for none.
    `frames_in` and `frames_out` count those of a session, and `first_result_at` is the time of its
    first result, 0 without one.
    """

    __slots__ = (
        "_is_calling", "accepted_at", "admission", "affinity_key", "answered_at", "app_id",
        "attempt_notes", "attempts", "body_received_at", "bytes_in", "bytes_out", "call_s",
        "called_at", "client_ip", "code", "code_map", "detail", "error_name", "first_result_at",
        "frames_in", "frames_out", "identity", "instance", "method", "overhead_s",
        "path", "retry_reasons", "service", "sid", "status", "trace", "tracing", "units",
        "upstream_s", "waited_s",
    )  # fmt: skip

    def __init__(
        self, sid: str, accepted_at: float, method: str = "", path: str = "", client_ip: str = ""
    ) -> None:
        self.sid = sid
        self.accepted_at = accepted_at
        self.method = method
        self.path = path
        self.client_ip = client_ip
        self.app_id = self.service = self.instance = self.error_name = self.detail = ""
        self.code_map = _NO_CODE_MAP
        self.tracing = NO_TRACING
        self.trace: RequestTrace | None = None
        self.identity = ANONYMOUS
        self.admission = NO_ADMISSION
        self.retry_reasons: tuple[str, ...] = ()
        self.attempt_notes: tuple[AttemptNote, ...] = ()
        self.units: Mapping[str, int] = NO_UNITS
        self.attempts = self.code = self.status = self.bytes_in = self.bytes_out = 0
        self.frames_in = self.frames_out = 0
        self.body_received_at = self.upstream_s = self.answered_at = self.overhead_s = 0.0
        self.waited_s = self.first_result_at = self.called_at = self.call_s = 0.0
        self.affinity_key = ""
        self._is_calling = False

    def add_units(self, units: Mapping[str, int]) -> None:
        """Add what a loader says that was used; of its names, the first few count."""
        total = dict(self.units)
        for name, amount in units.items():
            if name in total or (len(total) < _MAX_UNIT_NAMES and len(name) <= _MAX_UNIT_NAME):
                total[name] = min(total.get(name, 0) + amount, _MAX_UNITS)
        self.units = total

    def begin_trace(self, tracer: Tracer) -> None:
        """Trace the request, if it is to be; its loader then gets the gateway's span as parent."""
        self.trace = trace = tracer.begin(self.tracing)
        if trace is not None:
            self.tracing = {**self.tracing, "traceparent": trace.traceparent()}

    def attempt_started(self, instance: str, now: float) -> None:
        """Record the start of a call to an instance."""
        self.instance = instance
        self.attempts += 1
        self.called_at = now
        self._is_calling = True

    def attempt_finished(self, now: float) -> None:
        """Record the end of the current call, if there is one."""
        if self._is_calling:
            self._is_calling = False
            self.call_s = now - self.called_at
            if self.trace is not None:
                self.trace.add("call", self.called_at, now, self.instance)
            self.upstream_s += self.call_s

    def note_attempt(self, error_name: str, expected_ms: float, report_age_ms: float) -> None:
        """Keep how the latest call ended, which has been recorded as finished; see AttemptNote."""
        note = AttemptNote(self.instance, error_name, self.call_s, expected_ms, report_age_ms)
        self.attempt_notes = (*self.attempt_notes, note)
        if self.trace is not None and error_name:
            self.trace.fail(error_name)

    def finish(self, status: int, code: int, now: float) -> None:
        """Record the response: its HTTP status, its error code (0: success) and the times.

        The caller's use of its limits ends.
        """
        self.admission.release()
        self.attempt_finished(now)
        self.status, self.code, self.answered_at = status, code, now
        overhead_s = (
            now - (self.body_received_at or self.accepted_at) - self.upstream_s - self.waited_s
        )
        self.overhead_s = max(0.0, overhead_s)
