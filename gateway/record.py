"""What is noted of one request on its way, for its headers, its log line and its metrics."""

from collections.abc import Mapping
from typing import Final

_NONE: Final[Mapping[int, int]] = {}


class Record:
    """One request.

    `accepted`, `received` (when the body was whole) and `answered` are seconds of the gateway's
    clock; `upstream` are those spent on calls to loaders, `waited` those for a place at one,
    `overhead` those that the gateway itself
    took, receiving the body not counted; the two in milliseconds, as texts, are what is told of
    them. `service` is empty until one was found; `code` and `status` stand once it was answered.
    """

    __slots__ = (
        "_called", "accepted", "answered", "attempts", "client", "code", "code_map", "detail",
        "fault", "instance", "method", "overhead", "overhead_ms", "path", "received", "retried",
        "service", "sid", "status", "upstream", "upstream_ms", "waited",
    )  # fmt: skip

    def __init__(
        self, sid: str, accepted: float, method: str = "", path: str = "", client: str = ""
    ) -> None:
        self.sid = sid
        self.accepted = accepted
        self.method = method
        self.path = path
        self.client = client
        self.service = self.instance = self.fault = self.detail = ""
        self.upstream_ms = self.overhead_ms = "0.000"
        self.code_map = _NONE
        self.retried: tuple[str, ...] = ()
        self.attempts = self.code = self.status = 0
        self.received = self.upstream = self.answered = self.overhead = self.waited = 0.0
        self._called: float | None = None

    def began(self, instance: str, now: float) -> None:
        """Note that an instance is called."""
        self.instance = instance
        self.attempts += 1
        self._called = now

    def over(self, now: float) -> None:
        """Note that the call is over, where there is one."""
        if self._called is not None:
            self.upstream += now - self._called
            self._called = None

    def close(self, status: int, code: int, now: float) -> None:
        """Note the answer."""
        self.over(now)
        self.status, self.code, self.answered = status, code, now
        overhead = now - (self.received or self.accepted) - self.upstream - self.waited
        self.overhead = overhead = max(0.0, overhead)
        self.upstream_ms = "%.3f" % (self.upstream * 1000.0)
        self.overhead_ms = "%.3f" % (overhead * 1000.0)
