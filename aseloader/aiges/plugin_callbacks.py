"""The functions that a plugin calls: with results, with what it meters, with traces.

Types and numbers are those of the original's `type.h` (iflytek/aiges, cgo/header/widget).
"""

import logging
import queue
from collections.abc import Callable
from typing import Any

from prometheus_client import REGISTRY, Counter

from aseloader.aiges.stand_in import Results

_logger = logging.getLogger("ase.loader")

_METER, _TRACE = 0, 2  # CTMeterCustom and CTTraceLog of CtrlType

# The results of one call of a plugin, (key, data, status) each, and its code.
PluginResults = tuple[list[tuple[str, Any, int]], int]


class PluginCallbacks:
    """Callbacks for one library; it may call them in threads of its own.

    `copy_results` copies a list of the library's: it is freed when the callback has returned.
    `text` converts a C string. What the library meters is the counter
    `ase_loader_metered_total{service, key}`; what it traces is logged with its sid.
    """

    def __init__(
        self, ffi: Any, service: str, copy_results: Callable[[Any], Any], text: Callable[[Any], str]
    ) -> None:
        self._copy_results = copy_results
        self._text = text
        self._ffi = ffi
        self._service = service
        self._results = Results()
        self._kept: dict[str, Any] = {}
        self._counter = Counter(
            "ase_loader_metered", "what the plugin has metered", ["service", "key"], registry=None
        )
        self.on_results = ffi.callback("Callback", self._take_results)
        self._on_meter = ffi.callback("int(const char *, const char *, int)", self._count)
        self._on_trace = ffi.callback("int(const char *, const char *, const char *)", self._log)

    def install(self, set_control: Callable[[int, Any], Any]) -> None:
        """Hand the functions to `wrapperSetCtrl`, before `wrapperInit`."""
        REGISTRY.register(self._counter)
        for kind, function in ((_METER, self._on_meter), (_TRACE, self._on_trace)):
            set_control(kind, self._ffi.cast("void *", function))

    def remove(self) -> None:
        """End the metering, after `wrapperFini`."""
        REGISTRY.unregister(self._counter)

    def open(self, sid: str) -> "queue.SimpleQueue[PluginResults]":
        """Return the queue of the results of a call or a session; `close` ends it."""
        return self._results.open(sid)

    def keep(self, sid: str, objects: Any) -> None:
        """Keep what the library reads alive until it has called back."""
        self._kept[sid] = objects

    def close(self, sid: str) -> None:
        """Drop the results of a call from here on."""
        self._results.close(sid)

    def _take_results(self, tag: Any, results: Any, code: int) -> int:
        items = [] if code else [*self._copy_results(results)]
        sid = self._text(self._ffi.cast("char *", tag))
        self._results.put((items, code), sid)
        self._kept.pop(sid, None)
        return 0

    def _count(self, _tag: Any, key: Any, amount: int) -> int:
        self._counter.labels(self._service, self._text(key)).inc(max(0, amount))
        return 0

    def _log(self, tag: Any, key: Any, value: Any) -> int:
        fields = {"sid": self._text(tag), "key": self._text(key), "value": self._text(value)}
        _logger.info("plugin trace", extra=fields)
        return 0
