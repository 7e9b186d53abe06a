"""Reports what hangs a process and is logged by nothing else: a stalled loop, no descriptors.

A thread asks the event loop for an answer once in each period. While the loop runs a callback that
does not return, every connection just hangs. When the last file descriptor is used up, libuv
closes each new connection at once, without a word.
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
    """Watch a loop that runs in the calling thread until the context ends.

    Logs an error in each period of `limit` seconds in which no file could be opened. When the loop
    has not answered for `limit` seconds, logs an error with the stack that it stands in, and when
    it answers again a warning with the whole duration.
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
        frame = sys._current_frames().get(loop_thread)  # noqa: SLF001 (its only address)
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
        _logger.error("file descriptors used up", extra=fields)  # noqa: TRY400 (it is no fault)
