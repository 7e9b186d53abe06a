"""Logging: one JSON object a line on stderr, written by a thread so that nobody waits."""

import atexit
import contextlib
import json
import logging
import logging.handlers
import queue
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

_CAPACITY = 10_000
_FINISH_S = 2.0
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """Writes a record, its `extra` fields among the others; control characters are escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields |= {key: value for key, value in vars(record).items() if key not in _PLAIN}
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)


class _Queue(logging.handlers.QueueHandler):
    """Hands records over without ever blocking; what finds no room is dropped and counted."""

    def __init__(self, waiting: "queue.Queue[Any]") -> None:
        super().__init__(waiting)
        self._waiting = waiting
        self._dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        if self._dropped and not self._waiting.full():
            lost, self._dropped = self._dropped, 0
            note = {"name": "ase.log", "levelno": logging.WARNING, "levelname": "WARNING"}
            note |= {"msg": "log lines dropped", "count": lost}
            self._waiting.put_nowait(logging.makeLogRecord(note))
        try:
            self._waiting.put_nowait(record)
        except queue.Full:
            self._dropped += 1


class _Listener(logging.handlers.QueueListener):
    """Writes records; at the end it does not wait for ever for a reader of stderr."""

    def finish(self) -> None:
        with contextlib.suppress(queue.Full):
            self.enqueue_sentinel()
        if self._thread is not None:
            self._thread.join(_FINISH_S)


def setup(level: str) -> Callable[[], None]:
    """Send every logger's records of at least `level` to stderr. A command calls it once.

    Returns what writes out all that waits, for a process that must end without ceremony.
    """
    sink = logging.StreamHandler(sys.stderr)
    sink.setFormatter(JsonFormatter())
    waiting: queue.Queue[Any] = queue.Queue(_CAPACITY)
    listener = _Listener(waiting, sink)
    listener.start()
    atexit.register(listener.finish)
    root = logging.getLogger()
    root.addHandler(_Queue(waiting))
    root.setLevel(level.upper())
    for noisy in ("uvicorn.error", "asyncio", "httpx", "httpcore", "PIL"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    return listener.finish
