"""Logging: one JSON object a line on stderr, written by a thread so that nobody waits."""

import atexit
import contextlib
import json
import logging
import sys
import threading
import time
from collections import deque
from datetime import UTC, datetime
from typing import Any, TextIO

_CAPACITY = 10_000
_FINISH_S = 2.0
# Lines of so many seconds are written at once.
_GATHER_S = 0.02
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
    """Writes lines to a stream in a thread of its own, many at once; nobody waits for it.

    What finds no room is dropped and counted.
    """

    def __init__(self, stream: TextIO, form: logging.Formatter) -> None:
        self._stream = stream
        self._form = form
        self._waiting: deque[Line] = deque()
        self._dropped = 0
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
        """Write what waits, and end; a reader of the stream that is stuck is not waited for."""
        self._ending = True
        self._awake.set()
        self._thread.join(_FINISH_S)

    def _run(self) -> None:
        while not self._ending or self._waiting:
            self._awake.wait()
            self._awake.clear()
            self._write(self._taken())
            if not self._ending:
                time.sleep(_GATHER_S)

    def _taken(self) -> list[Line]:
        lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
        lost, self._dropped = self._dropped, 0
        if lost:
            note = {"name": "ase.log", "levelno": logging.WARNING, "levelname": "WARNING"}
            note |= {"msg": "log lines dropped", "count": lost}
            lines.append(logging.makeLogRecord(note))
        return lines

    def _write(self, lines: list[Line]) -> None:
        texts = [line if isinstance(line, str) else self._form.format(line) for line in lines]
        with contextlib.suppress(OSError, ValueError):  # nobody reads any more
            self._stream.write("".join(f"{text}\n" for text in texts))
            self._stream.flush()


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
    writer = Writer(sys.stderr, JsonFormatter())
    atexit.register(writer.finish)
    root = logging.getLogger()
    root.addHandler(_Handler(writer))
    root.setLevel(level.upper())
    for noisy in ("uvicorn.error", "asyncio", "httpx", "httpcore", "PIL"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    return writer
