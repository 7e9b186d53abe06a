"""The steps of one call, as a generator: what to send, what to wait for, what to return. Pure.

A driver does the I/O: it yields each `Send` to its HTTP client, and sends back the answer.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aseclient.errors import CredentialError, UnavailableError
from aseclient.protocol import Account, IssuedCertificate, read_certificate, read_result

_MAX_CERTIFICATES: Final = 1000


@dataclass(frozen=True, slots=True)
class Send:
    """A request to send: a JSON body to a URL. `timeout` is in seconds."""

    url: str
    body: Mapping[str, Any]
    headers: Mapping[str, str]
    timeout: float


@dataclass(frozen=True, slots=True)
class Pause:
    """Seconds to wait."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; the names of `headers` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Steps = Generator[Send | Pause, Answer, Any]


@dataclass(slots=True)
class CallPlan:
    """The calls of one account. `clock` is monotonic, `wall_clock` returns the Unix time.

    `_certificates` are those of the positions that were called.
    """

    account: Account
    clock: Callable[[], float]
    wall_clock: Callable[[], float]
    _certificates: dict[str, IssuedCertificate] = field(default_factory=dict)

    def infer(self, position: str, body: Mapping[str, Any], timeout: float) -> Steps:
        """Return the result of a call.

        A call that the gateway has sent to no replica is tried again as it says, as long as there
        is time: the model is full, or sleeps. A certificate that is not accepted is renewed once:
        its key may have changed. Raises InferenceError.
        """
        deadline = self.clock() + timeout
        url = self.account.position_url(position)
        is_renewed = False
        while True:
            try:
                certificate = yield from self.certify(position, deadline)
                remaining = max(deadline - self.clock(), 0.001)
                answer = yield Send(url, body, certificate.headers(), remaining)
                return read_result(answer.status, answer.headers, answer.body)
            except CredentialError as error:
                if is_renewed or error.status != 401 or self.lacks(position):
                    raise
                is_renewed = True
                self._certificates.pop(position, None)
            except UnavailableError as error:
                if self.clock() + error.retry_after >= deadline:
                    raise
                yield Pause(error.retry_after)

    def report_loop(self, position: str, seconds: float, timeout: float) -> Steps:
        """Report how long a loop took. Raises InferenceError."""
        certificate = yield from self.certify(position, self.clock() + timeout)
        url = self.account.closed_loop_url(position)
        body = {"value": round(seconds, 6)}
        answer = yield Send(url, body, certificate.headers(), timeout)
        return read_result(answer.status, answer.headers, answer.body)

    def lacks(self, position: str) -> bool:
        """Return whether a certificate of a position has to be asked for."""
        present = self._certificates.get(position)
        return present is None or self.wall_clock() >= present.renew_at

    def certify(
        self, position: str, deadline: float
    ) -> Generator[Send | Pause, Answer, IssuedCertificate]:
        """Return the certificate of a position; ask for one if there is none that lasts.

        Raises InferenceError.
        """
        present = self._certificates.get(position)
        now = self.wall_clock()
        if present is not None and now < present.renew_at:
            return present
        account = self.account
        timeout = max(deadline - self.clock(), 0.001)
        body = account.certificate_request(position)
        answer = yield Send(account.certificate_url(), body, {}, timeout)
        certificate = read_certificate(
            account, position, answer.status, answer.headers, answer.body, now
        )
        if len(self._certificates) >= _MAX_CERTIFICATES:
            self._certificates.clear()
        self._certificates[position] = certificate
        return certificate
