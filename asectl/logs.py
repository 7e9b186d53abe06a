"""Logging: one JSON object per line on stderr, written by a thread so that no caller blocks."""

import atexit
import contextlib
import json
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from itertools import accumulate
from typing import Any

from asectl.log_text import format_fields

_MAX_QUEUED_LINES = 10_000
_FINISH_TIMEOUT_S = 2.0
# Seconds between two writes; the lines that arrive in between are written together.
_BATCH_INTERVAL_S = 0.02
_NEWLINE = "\n"
_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """Formats a record as a JSON object with its `extra` fields; control characters are escaped."""

    def format_line(self, line: "LogLine") -> str:
        """Return a record or a formatted line as one line, without the newline."""
        return line if isinstance(line, str) else self.format(line)

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line, without the newline."""
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields |= {key: value for key, value in vars(record).items() if key not in _STANDARD_FIELDS}
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)


LogLine = logging.LogRecord | str


def _format_text(formatter: JsonFormatter, line: LogLine, *, colour: bool) -> str:
    text = formatter.format_line(line)
    try:
        return format_fields(json.loads(text), colour=colour)
    except (ValueError, TypeError, AttributeError):  # no line of ours
        return text


class LogWriter:
    """Writes log lines to a file descriptor in batches, in its own thread; `put` never blocks.

    `format_line` returns the text of a line; it is called in the thread.
    A line is dropped and counted if the queue is full (10,000 lines) or if the system does not
    accept it (full disk, closed pipe). The count is logged as soon as a line can be written again.

    Callers only append to `_queue` and increment `_dropped`. The thread pops from `_queue`, and it
    alone uses `_dropped_seen`, `_unreported` and `_mid_line`:

    - `_dropped_seen` is the part of `_dropped` that `_write_queued` has accounted for;
    - `_unreported` counts the lines lost so far whose count is not logged yet;
    - `_mid_line` is true if the last write ended within a line: the next begins with a newline.
    """

    def __init__(self, descriptor: int, format_line: Callable[["LogLine"], str]) -> None:
        self._descriptor = descriptor
        self._format_line = format_line
        self._queue: deque[LogLine] = deque()
        # `_dropped` only grows, in `put`. The thread owns the other counters, so no lock is needed.
        self._dropped = self._dropped_seen = self._unreported = 0
        self._mid_line = False
        self._wakeup = threading.Event()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def put(self, line: LogLine) -> None:
        """Queue a record, or a formatted line without its newline; drop it if the queue is full."""
        if len(self._queue) >= _MAX_QUEUED_LINES:
            self._dropped += 1
            return
        self._queue.append(line)
        if not self._wakeup.is_set():
            self._wakeup.set()

    def finish(self) -> None:
        """Write the queued lines and stop the thread.

        Waits at most 2 s, since the reader of a pipe may be stuck.
        """
        self._is_stopping = True
        self._wakeup.set()
        self._thread.join(_FINISH_TIMEOUT_S)

    def _run(self) -> None:
        while not self._is_stopping:
            self._wakeup.wait()
            self._wakeup.clear()
            self._write_queued()
            if not self._is_stopping:
                time.sleep(_BATCH_INTERVAL_S)
        self._write_queued()

    def _write_queued(self) -> None:
        """Write the queued lines, then a record with the number of lines lost before."""
        lines = [self._queue.popleft() for _ in range(len(self._queue))]
        dropped = self._dropped
        lost = dropped - self._dropped_seen + self._unreported
        texts = [self._format_line(line) for line in lines]
        if lost:
            texts.append(self._format_line(_dropped_lines_record(lost)))
        texts_written = self._write(texts)
        self._dropped_seen = dropped
        reported = lost if texts_written == len(texts) else 0
        self._unreported = lost - reported + max(0, len(lines) - texts_written)

    def _write(self, texts: list[str]) -> int:
        """Write each text and a newline; return the number of texts written completely."""
        if not texts:
            return 0
        start = "\n" if self._mid_line else ""
        data = _encode(f"{start}{_NEWLINE.join(texts)}\n")
        written = 0
        with contextlib.suppress(OSError):
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
        if written:
            self._mid_line = not data[:written].endswith(b"\n")
        if written == len(data):
            return len(texts)
        sizes = [len(_encode(text)) + 1 for text in texts]
        return sum(len(start) + end <= written for end in accumulate(sizes))


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _dropped_lines_record(count: int) -> logging.LogRecord:
    record_fields = {"name": "ase.log", "levelno": logging.WARNING, "levelname": "WARNING"}
    return logging.makeLogRecord(record_fields | {"msg": "log lines dropped", "count": count})


class _Handler(logging.Handler):
    def __init__(self, writer: LogWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        self._writer.put(record)


# Loggers of packages that say too much at lower levels; hpack and websockets log headers, which
# have secrets.
_QUIET_LOGGERS = ("uvicorn.error", "asyncio", "httpx", "httpcore", "hpack", "websockets", "PIL")


def setup(level: str, log_format: str, *filters: logging.Filter) -> LogWriter:
    """Send the records of every logger at or above `level` to stderr. Call once per process.

    `log_format` is `json` or `text`; text has colours on a terminal, unless NO_COLOR is set. Each
    of `filters` sees every record first, in the thread that logs it.
    Return the writer. It also accepts formatted lines. Its `finish` runs at exit; a process that
    skips the atexit handlers must call it to write the queued lines.
    """
    format_line: Callable[[LogLine], str] = JsonFormatter().format_line
    if log_format == "text":
        colour = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
        format_line = partial(_format_text, JsonFormatter(), colour=colour)
    writer = LogWriter(sys.stderr.fileno(), format_line)
    atexit.register(writer.finish)
    root = logging.getLogger()
    handler = _Handler(writer)
    for log_filter in filters:
        handler.addFilter(log_filter)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in _QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    return writer
