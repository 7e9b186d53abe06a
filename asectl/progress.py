"""A line on the terminal that says what a command is doing, if that takes more than a second."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TextIO

_SILENT_S = 1.0
_INTERVAL_S = 0.25
_ERASE_LINE = "\r\x1b[K"


@contextlib.contextmanager
def progress(describe: Callable[[], str]) -> Iterator[None]:
    """Show what `describe` returns, and the seconds, on stderr while the context lasts.

    The line is there after a second, is rewritten, and is erased at the end. Nothing is shown
    unless stderr is a terminal that can erase a line.
    """
    if not sys.stderr.isatty() or os.environ.get("TERM") in (None, "", "dumb"):
        yield
        return
    stop = threading.Event()
    thread = threading.Thread(target=_show, args=(describe, sys.stderr, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _show(describe: Callable[[], str], stream: TextIO, stop: threading.Event) -> None:
    started = time.monotonic()
    if stop.wait(_SILENT_S):
        return
    while True:
        seconds = int(time.monotonic() - started)
        stream.write(f"{_ERASE_LINE}{describe()}, {seconds} s")
        stream.flush()
        if stop.wait(_INTERVAL_S):
            stream.write(_ERASE_LINE)
            stream.flush()
            return
