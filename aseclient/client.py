"""The client of positions for programs without an event loop; threads may share one."""

import contextlib
import os
import queue
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final, Self

import httpx

from aseclient.calls import Answer, CallPlan, Pause, Steps
from aseclient.errors import InferenceError, UnavailableError
from aseclient.protocol import Account, request_body

DEFAULT_TIMEOUT_S: Final = 30.0
_REPORT_TIMEOUT_S: Final = 5.0
# Times of loops that wait to be reported; beyond that the newest are dropped.
_MAX_REPORTS: Final = 1000
_STOP_TIMEOUT_S: Final = 2.0


class Client:
    """Calls the positions of one edge for an application.

    `edge` is the address of the gateway (host:port or a URL), `token` an API key of the application
    (`asectl key create --app`), `name` what this client is called in certificates. They are those
    of ASE_EDGE, ASE_APPLICATION and ASE_TOKEN if they are not given. `verify` is as in httpx: a CA
    file, or False. Close it, or use it in `with`.
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
        self._reports: queue.Queue[tuple[str, float] | None] = queue.Queue(_MAX_REPORTS)
        self._reporter: threading.Thread | None = None
        self._lock = threading.Lock()

    def infer(
        self, position: str, value: Any = None, *, timeout: float | None = None, **members: Any
    ) -> Any:
        """Return what the model of a position makes of a value, and report how long that took.

        `value` is the input of a model that takes one `value`; other inputs are given by name.
        Raises InferenceError: InputRefusedError, CredentialError, UnavailableError.
        """
        started = time.monotonic()
        result = self._call(position, value, timeout, members)
        self._report(position, time.monotonic() - started)
        return result

    @contextlib.contextmanager
    def loop(self, position: str) -> Iterator["Loop"]:
        """Measure a closed loop: from here to the end of the block, with what the answer is for.

        with client.loop("north") as loop:
            steer(loop.infer(read_sensors()))
        """
        started = time.monotonic()
        yield Loop(self, position)
        self._report(position, time.monotonic() - started)

    def close(self) -> None:
        """Report what is not reported yet, for two seconds at most, and close the connections."""
        if self._reporter is not None:
            with contextlib.suppress(queue.Full):
                self._reports.put_nowait(None)
            self._reporter.join(_STOP_TIMEOUT_S)
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
        return self._drive(self._plan.infer(position, request_body(value, members), limit))

    def _drive(self, steps: Steps) -> Any:
        """Do the I/O of a call and return its result."""
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    time.sleep(step.seconds)
                    step = next(steps)
                    continue
                response = self._http.post(
                    step.url, json=step.body, headers=step.headers, timeout=step.timeout
                )
                step = steps.send(answer_of(response))
        except StopIteration as end:
            return end.value
        except httpx.HTTPError as error:
            raise transport_error(error) from error

    def _report(self, position: str, seconds: float) -> None:
        """Report in the background: a caller does not wait for it, and it never fails one."""
        with self._lock:
            if self._reporter is None:
                self._reporter = threading.Thread(
                    target=self._send_reports, name="aseclient-reports", daemon=True
                )
                self._reporter.start()
        with contextlib.suppress(queue.Full):
            self._reports.put_nowait((position, seconds))

    def _send_reports(self) -> None:
        while (report := self._reports.get()) is not None:
            with contextlib.suppress(InferenceError):
                self._drive(self._plan.report_loop(*report, _REPORT_TIMEOUT_S))


class Loop:
    """Calls within a loop that is measured as a whole."""

    def __init__(self, client: Client, position: str) -> None:
        self._client = client
        self._position = position

    def infer(self, value: Any = None, *, timeout: float | None = None, **members: Any) -> Any:
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


def answer_of(response: httpx.Response) -> Answer:
    """Return the answer of a response."""
    return Answer(response.status_code, response.headers, response.content)


def transport_error(error: httpx.HTTPError) -> InferenceError:
    """Return the error of a request without an answer."""
    text = str(error) or type(error).__name__
    return UnavailableError(f"the edge does not answer: {text}")
