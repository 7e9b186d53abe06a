"""The client of positions for programs without an event loop; threads may share one."""

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Final, Self

import httpx

from aseclient.calls import Answer, CallPlan, Pause, Send, Steps
from aseclient.errors import InferenceError, UnavailableError
from aseclient.protocol import Account, request_body

DEFAULT_TIMEOUT_S: Final = 30.0
_REPORT_TIMEOUT_S: Final = 5.0
# Times of loops that wait to be reported; beyond that the oldest are dropped.
_MAX_REPORTS: Final = 1000
_STOP_TIMEOUT_S: Final = 2.0
_IDLE_S: Final = 5.0


class Client:
    """Calls the positions of one edge for an application.

    `edge` is the address of the gateway (host:port or a URL), `token` an API key of the application
    (`asectl key create --app`), `name` what this client is called in certificates. They are those
    of ASE_EDGE, ASE_APPLICATION and ASE_TOKEN if they are not given. `timeout` is the seconds that
    a call may take in all. `verify` is as in httpx: a CA file, or False. Threads may share a
    client. Close it, or use it in `with`.
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
        self._http = httpx.Client(verify=verify)
        self._certifying = threading.Lock()
        self._reports = LoopReports(self._report)

    def infer(
        self, position: str, value: Any = None, /, *, timeout: float | None = None, **members: Any
    ) -> Any:
        """Return what the model of a position makes of a value, and report how long that took.

        `value` is the input of a model that takes one `value`; other inputs are given by name.
        Raises InferenceError: InputRefusedError, CredentialError, UnavailableError.
        """
        started = time.monotonic()
        result = self._call(position, value, timeout, members)
        self._reports.add(position, time.monotonic() - started)
        return result

    @contextlib.contextmanager
    def loop(self, position: str) -> Iterator["Loop"]:
        """Measure a closed loop: from here to the end of the block, with what the answer is for.

        with client.loop("north") as loop:
            steer(loop.infer(read_sensors()))
        """
        started = time.monotonic()
        yield Loop(self, position)
        self._reports.add(position, time.monotonic() - started)

    def close(self) -> None:
        """Report what is not reported yet, for two seconds at most, and close the connections."""
        self._reports.close(_STOP_TIMEOUT_S)
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _call(
        self, position: str, value: Any, timeout: float | None, members: dict[str, Any]
    ) -> Any:
        limit = self._timeout if timeout is None else timeout
        body = request_body(value, members)
        deadline = time.monotonic() + limit
        if self._plan.lacks(position):  # many threads may begin at once: one of them asks
            with self._certifying, contextlib.suppress(UnavailableError):
                self._drive(self._plan.certify(position, deadline))
        return self._drive(self._plan.infer(position, body, deadline - time.monotonic()))

    def _report(self, position: str, seconds: float) -> None:
        self._drive(self._plan.report_loop(position, seconds, _REPORT_TIMEOUT_S))

    def _drive(self, steps: Steps) -> Any:
        """Do the I/O of a call and return its result."""
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    time.sleep(step.seconds)
                    step = next(steps)
                    continue
                try:
                    answer = self._send(step)
                except httpx.HTTPError as error:
                    step = steps.throw(transport_error(error))
                else:
                    step = steps.send(answer)
        except StopIteration as end:
            return end.value

    def _send(self, step: Send) -> Answer:
        """Send a request; return its answer, whole within its time. Raises httpx.HTTPError."""
        deadline = time.monotonic() + step.timeout
        with self._http.stream(
            "POST", step.url, json=step.body, headers=step.headers, timeout=step.timeout
        ) as response:
            chunks = []
            for chunk in response.iter_bytes():  # its timeout is that of each chunk
                chunks.append(chunk)
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout(f"not whole after {step.timeout:.3g} s")
            return Answer(response.status_code, response.headers, b"".join(chunks))


class LoopReports:
    """Reports the times of loops in a thread, which ends when there are none for a while.

    A caller does not wait for a report, and one that fails is dropped. `report` sends one. Without
    a thread of its own, a client that nobody has closed can go.
    """

    def __init__(self, report: Callable[[str, float], None], idle_s: float = _IDLE_S) -> None:
        self._report = report
        self._idle_s = idle_s
        self._pending: deque[tuple[str, float]] = deque(maxlen=_MAX_REPORTS)
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def add(self, position: str, seconds: float) -> None:
        """Have the time of a loop reported."""
        with self._changed:
            if self._is_closed:
                return
            self._pending.append((position, seconds))
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="aseclient-reports", daemon=True
                )
                self._thread.start()
            self._changed.notify()

    def is_running(self) -> bool:
        """Return whether there is a thread."""
        with self._changed:
            return self._thread is not None

    def close(self, timeout: float) -> None:
        """Report what there is, for `timeout` seconds at most; then nothing more."""
        with self._changed:
            self._is_closed = True
            thread = self._thread
            self._changed.notify()
        if thread is not None:
            thread.join(timeout)
        with self._changed:
            self._pending.clear()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._pending:
                    if self._is_closed or not self._changed.wait(self._idle_s):
                        self._thread = None
                        return
                position, seconds = self._pending.popleft()
            with contextlib.suppress(Exception):  # a report is worth no error
                self._report(position, seconds)


class Loop:
    """Calls within a loop that is measured as a whole."""

    def __init__(self, client: Client, position: str) -> None:
        self._client = client
        self._position = position

    def infer(self, value: Any = None, /, *, timeout: float | None = None, **members: Any) -> Any:
        """Return what the model makes of a value; see `Client.infer`."""
        return self._client._call(self._position, value, timeout, members)  # noqa: SLF001


def account_of(edge: str, application: str, token: str, name: str) -> Account:
    """Return the account of arguments, or of the environment. Raises ValueError."""
    environment = os.environ
    return Account.read(
        edge or environment.get("ASE_EDGE", ""),
        application or environment.get("ASE_APPLICATION", ""),
        token or environment.get("ASE_TOKEN", ""),
        name,
    )


def transport_error(error: httpx.HTTPError) -> InferenceError:
    """Return the error of a request without an answer: the model may have run, or has not."""
    text = str(error) or type(error).__name__
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
        return UnavailableError(f"the edge is not reached: {text}")
    return InferenceError(f"no answer: {text}; the model may have run")
