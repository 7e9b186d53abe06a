"""Calls of functions in threads, whose results return to the event loop in batches."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any


class ThreadCalls:
    """Runs functions in the threads of a pool, for one event loop.

    A result costs no wake-up of the loop if an earlier one has not been delivered yet: waking it
    takes a system call, and the thread that does it loses the interpreter to the loop. Functions
    must not raise. `_results` are (future, result) of the calls that have returned.
    """

    def __init__(self, pool: Executor) -> None:
        self._pool = pool
        self._results: deque[tuple[asyncio.Future[Any], Any]] = deque()
        self._is_delivery_scheduled = False

    def start(self, function: Callable[..., Any], *arguments: Any) -> "asyncio.Future[Any]":
        """Start a call from the loop; the future gets its result.

        If the future is cancelled, the call goes on.
        """
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._pool.submit(self._run, future, function, arguments)
        return future

    def _run(
        self, future: "asyncio.Future[Any]", function: Callable[..., Any], arguments: Any
    ) -> None:
        # In this order: a result is either seen by a delivery that is scheduled, or schedules one.
        self._results.append((future, function(*arguments)))
        if not self._is_delivery_scheduled:
            self._is_delivery_scheduled = True
            future.get_loop().call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._is_delivery_scheduled = False
        while self._results:
            future, result = self._results.popleft()
            if not future.done():
                future.set_result(result)
