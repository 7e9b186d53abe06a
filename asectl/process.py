"""How a long-running command lives: on uvloop, until a signal, or until its parent ends."""

import asyncio
import os
import resource
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from asectl.main import EXIT_INTERRUPTED
from asectl.watchdog import watch

Main = Callable[["asyncio.Future[bool]"], Coroutine[Any, Any, None]]


def serve(main: Main, *, until_stdin_closes: bool) -> int:
    """Run a service until it has stopped; return the exit code.

    `main` is handed a future that SIGTERM resolves with True (gently) and SIGINT with False. A
    second signal cancels it: exit code 130. With `until_stdin_closes` the end of stdin counts as
    SIGINT, so that no process outlives the one that started it, whatever befell that one.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # one for each connection
    try:
        uvloop.run(_served(main, until_stdin_closes))
    except asyncio.CancelledError:
        return EXIT_INTERRUPTED
    return 0


async def _served(main: Main, until_stdin_closes: bool) -> None:
    loop, me = asyncio.get_running_loop(), asyncio.current_task()
    stop: asyncio.Future[bool] = loop.create_future()

    def take(number: int) -> None:
        if not stop.done():
            stop.set_result(number == signal.SIGTERM)
        elif me is not None:
            me.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, take, number)
    if until_stdin_closes:
        loop.add_reader(sys.stdin.fileno(), _read_stdin, loop, lambda: take(signal.SIGINT))
    with watch(loop):
        await main(stop)


def _read_stdin(loop: asyncio.AbstractEventLoop, closed: Callable[[], None]) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        loop.remove_reader(sys.stdin.fileno())
        closed()
