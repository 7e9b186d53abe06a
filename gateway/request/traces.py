"""Which requests are traced, and what their spans are made from. Pure.

The spans are made when a request has ended, by `gateway/telemetry/span_export.py`. Source: W3C
Trace Context.
"""

from collections.abc import Callable, Mapping
from math import log1p
from typing import Final

from gateway.request.tracing import NO_TRACING

_SAMPLED: Final = 1
_NEVER: Final = 1 << 60
_TRACE_ID: Final = slice(3, 35)
_PARENT_ID: Final = slice(36, 52)
_FLAGS: Final = slice(53, 55)


class Phase:
    """A part of a request: seconds of the gateway's clock, and of a call its instance and error."""

    __slots__ = ("end", "error_name", "instance", "name", "start")

    def __init__(
        self, name: str, start: float, end: float, instance: str = "", error_name: str = ""
    ) -> None:
        self.name = name
        self.start = start
        self.end = end
        self.instance = instance
        self.error_name = error_name


class RequestTrace:
    """The trace of one request: ids in hexadecimal digits, and the phases that have ended.

    `parent_id` is that of the caller's span, empty if the trace begins here. `span_id` is that of
    the gateway's span, the parent of the loader's.
    """

    __slots__ = ("parent_id", "phases", "span_id", "trace_id", "tracestate")

    def __init__(self, trace_id: str, span_id: str, parent_id: str, tracestate: str) -> None:
        self.trace_id = trace_id
        self.span_id = span_id
        self.parent_id = parent_id
        self.tracestate = tracestate
        self.phases: list[Phase] = []

    def add(self, name: str, start: float, end: float, instance: str = "") -> None:
        """Add a phase."""
        self.phases.append(Phase(name, start, end, instance))

    def fail(self, error_name: str) -> None:
        """Note that the latest phase ended with an error."""
        if self.phases:
            self.phases[-1].error_name = error_name

    def traceparent(self) -> str:
        """Return the header that a loader gets."""
        return f"00-{self.trace_id}-{self.span_id}-01"


class Tracer:
    """Decides whether a request is traced.

    Its caller decides, by the sampled flag of `traceparent`. Of requests without that header the
    share `sample` is traced: `_remaining` is the number of them up to the next one, drawn from the
    geometric distribution, so that the others cost a subtraction. At most `rate` requests a second
    are traced, whoever asks for it: `_allowed` is how many more may be, at the time `_counted_at`.
    `new_id` returns 32 random hexadecimal digits, `random` a number from 0 up to 1, `clock`
    seconds.
    """

    def __init__(
        self,
        sample: float,
        rate: float,
        *,
        new_id: Callable[[], str],
        random: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._sample = sample
        self._rate = rate
        self._new_id = new_id
        self._random = random
        self._clock = clock
        self._remaining = self._draw_distance()
        self._allowed = max(rate, 1.0)
        self._counted_at = clock()

    def begin(self, tracing: Mapping[str, str]) -> RequestTrace | None:
        """Return the trace of a request with these tracing headers, None if it is not traced."""
        traceparent = "" if tracing is NO_TRACING else tracing.get("traceparent", "")
        if traceparent:
            if not int(traceparent[_FLAGS], 16) & _SAMPLED:
                return None
        else:
            self._remaining -= 1
            if self._remaining > 0:
                return None
            self._remaining = self._draw_distance()
        if not self._may_trace():
            return None
        span_id = self._new_id()[:16]
        if traceparent:
            state = tracing.get("tracestate", "")
            return RequestTrace(traceparent[_TRACE_ID], span_id, traceparent[_PARENT_ID], state)
        return RequestTrace(self._new_id(), span_id, "", "")

    def _draw_distance(self) -> int:
        """Return how many requests there are up to the next that is traced, itself among them."""
        if self._sample >= 1.0:
            return 1
        if self._sample <= 0.0:
            return _NEVER
        return 1 + int(log1p(-self._random()) / log1p(-self._sample))

    def _may_trace(self) -> bool:
        now = self._clock()
        allowed = self._allowed + (now - self._counted_at) * self._rate
        self._counted_at = now
        self._allowed = min(allowed, max(self._rate, 1.0))
        if self._allowed < 1.0:
            return False
        self._allowed -= 1.0
        return True
