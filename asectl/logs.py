"""Logging: one JSON object a line on stderr, written by a thread so that nobody waits."""

import atexit
import contextlib
import json
import logging
import os
import sys
import threading
import time
from collections import deque
from datetime import UTC, datetime
from typing import Any

_CAPACITY = 10_000
_FINISH_S = 2.0
# Lines of so many seconds are written at once.
_GATHER_S = 0.02
_NEWLINE = ord("\n")
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


Line = logging.LogRecord | str


class Writer:
    """Writes lines to a file descriptor in a thread of its own, many at once; nobody waits for it.

    A line that finds no room in the queue, or that the system does not take (a full disk, a closed
    pipe), is dropped and counted; the count is a line of its own as soon as one can be written.
    """

    def __init__(self, descriptor: int, form: logging.Formatter) -> None:
        self._descriptor = descriptor
        self._form = form
        self._waiting: deque[Line] = deque()
        # `_dropped` only grows, by `put`; all else that counts belongs to the thread.
        self._dropped = self._reported = self._unwritten = 0
        self._mid_line = False
        self._awake = threading.Event()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def put(self, line: Line) -> None:
        """Hand over a record, or a line that is ready."""
        if len(self._waiting) >= _CAPACITY:
            self._dropped += 1
            return
        self._waiting.append(line)
        if not self._awake.is_set():
            self._awake.set()

    def finish(self) -> None:
        """Write what waits, and end; a reader of the pipe that is stuck is not waited for."""
        self._ending = True
        self._awake.set()
        self._thread.join(_FINISH_S)

    def _run(self) -> None:
        while not self._ending:
            self._awake.wait()
            self._awake.clear()
            self._write_waiting()
            if not self._ending:
                time.sleep(_GATHER_S)
        self._write_waiting()

    def _write_waiting(self) -> None:
        """Write the lines that wait, then how many were lost before them."""
        lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
        dropped = self._dropped
        lost = dropped - self._reported + self._unwritten
        texts = [line if isinstance(line, str) else self._form.format(line) for line in lines]
        if lost:
            texts.append(self._form.format(_lost_lines(lost)))
        whole = self._write(texts)
        self._reported = dropped
        reported = lost if whole == len(texts) else 0
        self._unwritten = lost - reported + max(0, len(lines) - whole)

    def _write(self, texts: list[str]) -> int:
        """Write texts, a line each; return how many the system took to their end."""
        head = "\n" if self._mid_line else ""
        data = (head + "".join(f"{text}\n" for text in texts)).encode("utf-8", "backslashreplace")
        written = 0
        with contextlib.suppress(OSError):
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
        if written:
            self._mid_line = data[written - 1] != _NEWLINE
        return data.count(b"\n", len(head), written) if written else 0


def _lost_lines(count: int) -> logging.LogRecord:
    note = {"name": "ase.log", "levelno": logging.WARNING, "levelname": "WARNING"}
    return logging.makeLogRecord(note | {"msg": "log lines dropped", "count": count})


class _Handler(logging.Handler):
    def __init__(self, writer: Writer) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        self._writer.put(record)


def setup(level: str) -> Writer:
    """Send every logger's records of at least `level` to stderr. A command calls it once.

    Returns what writes: it takes lines that are ready, too, and writes out all that waits for a
    process that must end without ceremony.
    """
    writer = Writer(sys.stderr.fileno(), JsonFormatter())
    atexit.register(writer.finish)
    root = logging.getLogger()
    root.addHandler(_Handler(writer))
    root.setLevel(level.upper())
    for noisy in ("uvicorn.error", "asyncio", "httpx", "httpcore", "PIL"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    return writer
