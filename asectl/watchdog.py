"""Log two failures that nothing else logs: a stalled event loop, and no free file descriptors.

Once per period, a thread schedules a callback on the event loop and waits until it has run. While
the loop is stuck in another callback, every connection hangs. When the last file descriptor is
used up, libuv closes each new connection at once and reports nothing.
"""

import asyncio
import contextlib
import logging
import os
import resource
import sys
import threading
import time
import traceback
from collections.abc import Iterator

_logger = logging.getLogger("ase.loop")


@contextlib.contextmanager
def watch(loop: asyncio.AbstractEventLoop, limit: float = 1.0) -> Iterator[None]:
    """Watch the event loop of the calling thread until the context ends.

    Every `limit` seconds, log an error if no file can be opened. If the loop has not run a callback
    for `limit` seconds, log an error with the current stack of its thread. When the loop runs
    again, log a warning with the duration of the stall in seconds.
    """
    stop = threading.Event()
    arguments = (loop, threading.get_ident(), limit, stop)
    thread = threading.Thread(target=_run, args=arguments, name="watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()


def _run(
    loop: asyncio.AbstractEventLoop, loop_thread: int, limit: float, stop: threading.Event
) -> None:
    answered = threading.Event()
    while not stop.wait(limit):
        _check_descriptors()
        answered.clear()
        asked_at = time.monotonic()
        try:
            loop.call_soon_threadsafe(answered.set)
        except RuntimeError:  # the loop is closed
            return
        if answered.wait(limit) or stop.is_set():
            continue
        frame = sys._current_frames().get(loop_thread)  # noqa: SLF001 (there is no public API)
        stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
        _logger.error("event loop stands still", extra={"seconds": limit, "stack": stack})
        answered.wait()
        seconds = round(time.monotonic() - asked_at, 3)
        _logger.warning("event loop runs again", extra={"seconds": seconds})


def _check_descriptors() -> None:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        cure = "raise the limit of open files, as by ulimit -n, or lower gateway.max_connections"
        fields = {"limit": limit, "reason": error.strerror, "cure": cure}
        _logger.error("file descriptors used up", extra=fields)  # noqa: TRY400 (needs no traceback)
