"""Writes rows of usage in batches, by a thread, so that no request waits for the disk."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from config.options import UsageOptions
from gateway.access.limits import NOTHING_USED
from gateway.request.record import RequestRecord
from gateway.usage.row import UsageRow, usage_row
from gateway.usage.store import UsageStore

_logger = logging.getLogger("ase.gateway")

_INTERVAL_S = 1.0
_MAX_PENDING = 200_000
_MAX_BATCH = 50_000
_DELETE_INTERVAL_S = 3600.0
_DAY_S = 86_400


def open_writer(
    options: UsageOptions, base_dir: Path, wall_clock: Callable[[], float]
) -> tuple["UsageWriter | None", Mapping[str, tuple[int, int]]]:
    """Return the writer of usage, and the requests of each key in the present day and month.

    There is no writer without a store, whose path is relative to `base_dir`. Raises
    UsageStoreError.
    """
    if not options.store:
        return None, NOTHING_USED
    store = UsageStore(base_dir / options.store)
    store.create()
    writer = UsageWriter(store, options.keep_days * _DAY_S, wall_clock)
    return writer, store.used_by_key(wall_clock())


class UsageWriter:
    """Collects rows, and writes them each second.

    `keep` is how many seconds rows are kept. A batch that cannot be written is tried again; beyond
    `max_pending` rows new ones are dropped, and their number is logged. `_pending` are rows that
    no batch has yet, `_batch` those of the present one. A deque needs no lock at its ends.
    """

    def __init__(
        self,
        store: UsageStore,
        keep: float,
        wall_clock: Callable[[], float],
        interval: float = _INTERVAL_S,
        max_pending: int = _MAX_PENDING,
    ) -> None:
        self._store = store
        self._keep = keep
        self._wall_clock = wall_clock
        self._interval = interval
        self._max_pending = max_pending
        self._pending: deque[UsageRow] = deque()
        self._batch: list[UsageRow] = []
        self._dropped = 0
        self._delete_at = 0.0
        self._last_problem = ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="usage", daemon=True)

    def start(self) -> None:
        """Start to write."""
        self._thread.start()

    def add(self, record: RequestRecord) -> None:
        """Add the row of a request or session that has ended, if it was for a service."""
        if not record.service:
            return
        if len(self._pending) >= self._max_pending:
            self._dropped += 1
            return
        self._pending.append(usage_row(record, self._wall_clock()))

    def stop(self) -> None:
        """Write what is left, and end."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._interval):
            self._write()
        self._write()
        while self._pending and not self._batch:  # more than one batch, and the disk takes them
            self._write()

    def _write(self) -> None:
        """Write a batch; keep it if that fails, and say so once."""
        while self._pending and len(self._batch) < _MAX_BATCH:
            self._batch.append(self._pending.popleft())
        now = self._wall_clock()
        try:
            if self._batch:
                self._store.add(self._batch)
                self._batch = []
            if now >= self._delete_at:
                self._store.delete_before(now - self._keep)
                self._delete_at = now + _DELETE_INTERVAL_S
        except Exception as error:  # noqa: BLE001 (the thread must go on; it is logged)
            if str(error) != self._last_problem:
                _logger.error(  # noqa: TRY400 (the reason says it all)
                    "usage not written; it is tried again", extra={"reason": str(error)}
                )
            self._last_problem = str(error)
        else:
            self._last_problem = ""
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            _logger.error("rows of usage lost", extra={"rows": dropped})
