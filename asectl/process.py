"""Run a long-running command: on uvloop, until a signal arrives or its parent ends."""

import asyncio
import contextlib
import os
import resource
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from asectl import heap
from asectl.main import EXIT_INTERRUPTED
from asectl.systemd import feed_watchdog, notify
from asectl.watchdog import watch

Main = Callable[["asyncio.Future[bool]"], Coroutine[Any, Any, None]]


def serve(main: Main, *, until_stdin_closes: bool, trim_heap: bool = False) -> int:
    """Run `main` until it returns; return the exit code.

    `main` receives a future. SIGTERM resolves it with True (graceful stop), SIGINT with False. A
    second signal cancels `main`; the exit code is then 130. With `until_stdin_closes`, the end of
    stdin counts as SIGINT: the process then never outlives its parent, even if that was killed.
    The limit of open files is raised to its hard limit. `trim_heap`: memory that a burst needed is
    returned to the system.
    """
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))  # one per connection
    try:
        with heap.trim_regularly() if trim_heap else contextlib.nullcontext():
            uvloop.run(_run_until_stopped(main, until_stdin_closes))
    except asyncio.CancelledError:
        return EXIT_INTERRUPTED
    return 0


async def wait_for_stop(stop: "asyncio.Future[bool]", parts: "list[asyncio.Task[None]]") -> None:
    """Wait until `stop` is done, or one of the parts of a process, which run as long as it does.

    A part that fails would leave a process that serves what was: its exception is raised.
    """
    ends: set[asyncio.Future[Any]] = {stop, *parts}
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    for part in parts:
        if part.done():
            part.result()


async def _run_until_stopped(main: Main, until_stdin_closes: bool) -> None:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    stop: asyncio.Future[bool] = loop.create_future()

    def on_signal(number: int) -> None:
        if not stop.done():
            notify(os.environ, "STOPPING=1")
            stop.set_result(number == signal.SIGTERM)
        elif task is not None:
            task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    if until_stdin_closes:
        loop.add_reader(sys.stdin.fileno(), _read_stdin, loop, lambda: on_signal(signal.SIGINT))
    watchdog = asyncio.create_task(feed_watchdog(os.environ))
    try:
        with watch(loop):
            await main(stop)
    finally:
        watchdog.cancel()


def _read_stdin(loop: asyncio.AbstractEventLoop, on_closed: Callable[[], None]) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        loop.remove_reader(sys.stdin.fileno())
        on_closed()
