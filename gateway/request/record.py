"""What is noted of one request on its way, for its headers, its log line and its metrics."""

from collections.abc import Mapping
from typing import Final

_NO_CODE_MAP: Final[Mapping[int, int]] = {}


class RequestRecord:
    """One request.

    `accepted`, `received` (when the body was whole) and `answered` are seconds of the gateway's
    clock; `upstream` are those spent on calls to loaders, `waited` those for a place at one,
    `overhead` those that the gateway itself
    took, receiving the body not counted; the two in milliseconds, as texts, are what is told of
    them. `service` is empty until one was found; `code` and `status` stand once it was answered.
    """

    __slots__ = (
        "_attempt_started_at", "accepted_at", "answered_at", "attempts", "client_ip", "code",
        "code_map", "detail", "error_name", "instance", "method", "overhead_ms", "overhead_s",
        "path", "received_at", "retry_reasons", "service", "sid", "status", "upstream_ms",
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
        self.service = self.instance = self.error_name = self.detail = ""
        self.upstream_ms = self.overhead_ms = "0.000"
        self.code_map = _NO_CODE_MAP
        self.retry_reasons: tuple[str, ...] = ()
        self.attempts = self.code = self.status = 0
        self.received_at = self.upstream_s = self.answered_at = self.overhead_s = self.waited_s = (
            0.0
        )
        self._attempt_started_at: float | None = None

    def attempt_started(self, instance: str, now: float) -> None:
        """Note that an instance is called."""
        self.instance = instance
        self.attempts += 1
        self._attempt_started_at = now

    def attempt_finished(self, now: float) -> None:
        """Note that the call is over, where there is one."""
        if self._attempt_started_at is not None:
            self.upstream_s += now - self._attempt_started_at
            self._attempt_started_at = None

    def finish(self, status: int, code: int, now: float) -> None:
        """Note the answer."""
        self.attempt_finished(now)
        self.status, self.code, self.answered_at = status, code, now
        overhead_s = now - (self.received_at or self.accepted_at) - self.upstream_s - self.waited_s
        self.overhead_s = overhead_s = max(0.0, overhead_s)
        self.upstream_ms = "%.3f" % (self.upstream_s * 1000.0)
        self.overhead_ms = "%.3f" % (overhead_s * 1000.0)
