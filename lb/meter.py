"""The licences of one loader: taken and freed, counted, measured. Pure."""

from collections import OrderedDict
from collections.abc import Callable

from lb.report import Live, Load

_SMOOTHING = 0.2
_MAX_GATEWAYS = 1024


class Meter:
    """Counts the licences of a loader process.

    `total`: how many there are. `changed` is called after every change that a hub should hear of.
    """

    def __init__(self, total: int, changed: Callable[[], None]) -> None:
        self.total = total
        self._changed = changed
        self._seq = 0
        self._live = Live.UP
        self._running = 0
        self._service_ms = 0.0
        self._accepted: OrderedDict[str, int] = OrderedDict()
        self._served = self._errors = self._rejected = 0

    @property
    def running(self) -> int:
        """Return the licences taken."""
        return self._running

    def take(self, gateway: str) -> bool:
        """Take a licence for a request of that gateway; False when none is to be had."""
        taken = self._running < self.total and self._live is Live.UP
        if taken:
            self._running += 1
            self._accepted[gateway] = self._accepted.pop(gateway, 0) + 1
            if len(self._accepted) > _MAX_GATEWAYS:
                self._accepted.popitem(last=False)
        else:
            self._rejected += 1
        self._changed()
        return taken

    def free(self, held_ms: float, *, good: bool) -> None:
        """Give a licence back after `held_ms`; only good ones tell how long work takes."""
        self._running -= 1
        self._served += 1
        if good:
            old = self._service_ms or held_ms
            self._service_ms = old + (held_ms - old) * _SMOOTHING
        else:
            self._errors += 1
        self._changed()

    def turn(self, live: Live) -> None:
        """Say that the loader is up, drains, or goes down."""
        self._live = live
        self._changed()

    def load(self) -> Load:
        """Return the figures for the next report; each call is one report."""
        self._seq += 1
        return Load(
            seq=self._seq,
            live=self._live,
            running=self._running,
            service_ms=self._service_ms,
            acc=dict(self._accepted),
            served=self._served,
            errors=self._errors,
            rejected=self._rejected,
        )
