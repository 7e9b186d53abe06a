"""The requests of a client of positions, and what their answers mean. Pure; the clock is passed in.

Both clients follow it: ask for a certificate of a position while there is none that lasts, call the
position with it, report the time that the loop took.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from aseclient.errors import (
    CredentialError,
    InferenceError,
    InputRefusedError,
    UnavailableError,
)

# A certificate is renewed before it ends: clocks differ, and a call takes time.
_RENEWAL_S: Final = 30.0
_RENEWAL_SHARE: Final = 0.1
_NAME: Final = re.compile(r"[ !#-\[\]-~]{1,128}")
_REFUSED: Final = (400, 413, 415, 422)
_MAX_RETRY_AFTER_S: Final = 60.0
# Codes of a gateway that has sent nothing to a model: no place, no replica, limits of the caller.
# Other answers of 429 and 503 may be of a proxy, or of a model that has run.
_NOT_RUN: Final = frozenset({10110, 20002, 10222, 11201, 11202, 11203})


@dataclass(frozen=True, slots=True)
class Account:
    """Who calls a gateway, `edge`: a `client` of an `application`, with its API key `token`."""

    edge: str
    application: str
    token: str
    client: str

    @classmethod
    def read(cls, edge: str, application: str, token: str, client: str) -> "Account":
        """Return the account of texts. Raises ValueError for what cannot be sent."""
        if not edge:
            raise ValueError("edge: is missing; name the gateway, or set ASE_EDGE")
        if not application or not token:
            raise ValueError(
                "application, token: are missing; or set ASE_APPLICATION and ASE_TOKEN"
            )
        for member, text in (("application", application), ("name", client)):
            if not _NAME.fullmatch(text):
                raise ValueError(
                    f"{member}: must be 1 to 128 printable ASCII characters, no quotes"
                )
        address = edge if "://" in edge else f"http://{edge}"
        return cls(address.rstrip("/"), application, token, client)

    def certificate_request(self, position: str) -> dict[str, str]:
        """Return the body that asks for a certificate of a position."""
        return {
            "application_uid": self.application,
            "application_token": self.token,
            "position_uid": position,
            "inference_client_name": self.client,
        }

    def certificate_url(self) -> str:
        """Return where certificates are issued."""
        return f"{self.edge}/certificate"

    def position_url(self, position: str) -> str:
        """Return where a position is called."""
        return f"{self.edge}/v1/{quote(position, safe='')}"

    def closed_loop_url(self, position: str) -> str:
        """Return where the times of loops are reported."""
        return f"{self.edge}/closed-loop-{quote(position, safe='')}"


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate of one position; after the Unix time `renew_at`, another one is asked for."""

    authorization: str
    renew_at: float

    def headers(self) -> dict[str, str]:
        """Return the headers of a call."""
        return {"authorization": self.authorization}


def read_certificate(
    account: Account,
    position: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    now: float,
) -> IssuedCertificate:
    """Return the certificate of an answer. Raises InferenceError."""
    if status != 200:
        raise read_error(status, headers, body)
    try:
        answer = json.loads(body)
        value, key, expires_at = answer["certificate"], answer["key"], float(answer["expires_at"])
        if not (_NAME.fullmatch(value) and _NAME.fullmatch(key)):
            raise ValueError("they cannot be sent")
    except (ValueError, KeyError, TypeError) as error:
        raise InferenceError(f"{account.edge} issues no certificates: {error}", status) from None
    authorization = (
        f'Certificate app="{account.application}", client="{account.client}", '
        f'position="{position}", key="{key}", value="{value}"'
    )
    margin = min(_RENEWAL_S, (expires_at - now) * _RENEWAL_SHARE)
    return IssuedCertificate(authorization, expires_at - margin)


def request_body(value: Any, members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of a call: the members of the model's input, or `value` for one of that name.

    Raises TypeError for both.
    """
    if not members:
        return {"value": value}
    if value is not None:
        raise TypeError("infer() takes a value, or the members of the input by name, not both")
    return dict(members)


def read_result(status: int, headers: Mapping[str, str], body: bytes) -> Any:
    """Return the result of an answer: its `value` or `result` if it has no other, or all of it.

    Raises InferenceError.
    """
    if status != 200:
        raise read_error(status, headers, body)
    if not headers.get("content-type", "").startswith("application/json"):
        return body
    try:
        result = json.loads(body)
    except ValueError as error:
        raise InferenceError(f"the answer is no JSON: {error}", status) from None
    if isinstance(result, dict) and result.keys() == {"result"}:
        return result["result"]
    if isinstance(result, dict) and result.keys() - {"status"} == {"value"}:
        return result["value"] if result.get("status", "success") == "success" else result
    return result


def read_error(status: int, headers: Mapping[str, str], body: bytes) -> InferenceError:
    """Return the error of an answer."""
    try:
        problem = json.loads(body)
    except ValueError:
        problem = None
    problem = problem if isinstance(problem, dict) else {}
    text = problem.get("detail") or problem.get("message") or body[:200].decode("utf-8", "replace")
    code = problem.get("code")
    code = code if isinstance(code, int) else 0
    message = f"{text} (HTTP {status})"
    if status in (401, 403):
        return CredentialError(message, status, code)
    if status in _REFUSED:
        return InputRefusedError(message, status, code)
    if status in (429, 503) and code in _NOT_RUN:
        return UnavailableError(message, status, code, _retry_after(headers))
    return InferenceError(message, status, code)


def _retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds of Retry-After (RFC 9110, 10.2.3); a date counts as a second."""
    text = headers.get("retry-after", "")
    return min(float(text), _MAX_RETRY_AFTER_S) if text.isdecimal() else 1.0
