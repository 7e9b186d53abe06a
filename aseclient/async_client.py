"""The client of positions for programs with an event loop."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Final, Self

import httpx

from aseclient.calls import Answer, CallPlan, Pause, Send, Steps
from aseclient.client import DEFAULT_TIMEOUT_S, account_of, transport_error
from aseclient.errors import UnavailableError
from aseclient.protocol import request_body

_REPORT_TIMEOUT_S: Final = 5.0
_MAX_REPORTS: Final = 1000
_STOP_TIMEOUT_S: Final = 2.0


class AsyncClient:
    """Calls the positions of one edge for an application; arguments are those of `Client`.

    Close it, or use it in `async with`. `_reports` are tasks that report the times of loops.
    """

    def __init__(
        self,
        edge: str = "",
        application: str = "",
        token: str = "",
        *,
        name: str = "aseclient",
        timeout: float = DEFAULT_TIMEOUT_S,
        verify: Any = True,
    ) -> None:
        """Read the account. Raises ValueError for what is missing or cannot be sent."""
        account = account_of(edge, application, token, name)
        self._plan = CallPlan(account, time.monotonic, time.time)
        self._timeout = timeout
        self._http = httpx.AsyncClient(verify=verify)
        self._certifying = asyncio.Lock()
        self._reports: set[asyncio.Task[None]] = set()

    async def infer(
        self, position: str, value: Any = None, /, *, timeout: float | None = None, **members: Any
    ) -> Any:
        """Return what the model of a position makes of a value; see `Client.infer`."""
        started = time.monotonic()
        result = await self._call(position, value, timeout, members)
        self._report(position, time.monotonic() - started)
        return result

    @contextlib.asynccontextmanager
    async def loop(self, position: str) -> AsyncIterator["AsyncLoop"]:
        """Measure a closed loop: from here to the end of the block; see `Client.loop`."""
        started = time.monotonic()
        yield AsyncLoop(self, position)
        self._report(position, time.monotonic() - started)

    async def close(self) -> None:
        """Report what is not reported yet, for two seconds at most, and close the connections."""
        if self._reports:
            await asyncio.wait(self._reports, timeout=_STOP_TIMEOUT_S)
        for task in self._reports:
            task.cancel()
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _call(
        self, position: str, value: Any, timeout: float | None, members: dict[str, Any]
    ) -> Any:
        limit = self._timeout if timeout is None else timeout
        body = request_body(value, members)
        deadline = time.monotonic() + limit
        if self._plan.lacks(position):  # many calls may begin at once: one of them asks
            async with self._certifying:
                with contextlib.suppress(UnavailableError):
                    await self._drive(self._plan.certify(position, deadline))
        return await self._drive(self._plan.infer(position, body, deadline - time.monotonic()))

    async def _drive(self, steps: Steps) -> Any:
        """Do the I/O of a call and return its result."""
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                    step = next(steps)
                    continue
                try:
                    answer = await self._send(step)
                except httpx.HTTPError as error:
                    step = steps.throw(transport_error(error))
                else:
                    step = steps.send(answer)
        except StopIteration as end:
            return end.value

    async def _send(self, step: Send) -> Answer:
        """Send a request; return its answer, whole within its time. Raises httpx.HTTPError."""
        try:
            async with asyncio.timeout(step.timeout):
                response = await self._http.post(
                    step.url, json=step.body, headers=step.headers, timeout=step.timeout
                )
        except TimeoutError:
            raise httpx.ReadTimeout(f"not whole after {step.timeout:.3g} s") from None
        return Answer(response.status_code, response.headers, response.content)

    def _report(self, position: str, seconds: float) -> None:
        """Report in the background: a caller does not wait for it, and it never fails one."""
        if len(self._reports) >= _MAX_REPORTS:
            return
        task = asyncio.create_task(self._send_report(position, seconds))
        self._reports.add(task)
        task.add_done_callback(self._reports.discard)

    async def _send_report(self, position: str, seconds: float) -> None:
        with contextlib.suppress(Exception):  # a report is worth no error
            await self._drive(self._plan.report_loop(position, seconds, _REPORT_TIMEOUT_S))


class AsyncLoop:
    """Calls within a loop that is measured as a whole."""

    def __init__(self, client: AsyncClient, position: str) -> None:
        self._client = client
        self._position = position

    async def infer(
        self, value: Any = None, /, *, timeout: float | None = None, **members: Any
    ) -> Any:
        """Return what the model makes of a value; see `Client.infer`."""
        return await self._client._call(  # noqa: SLF001
            self._position, value, timeout, members
        )
