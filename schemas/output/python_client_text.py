"""The text of a generated Python client; `@@NAME@@` is what depends on a service. Values only."""

from typing import Final

MODULE: Final = '''"""A client of the service @@TITLE@@, made from its schema.

It needs httpx (pip install httpx).
"""

import asyncio
import base64
import json
import mimetypes
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal, NotRequired, Self, TypedDict  # noqa: F401

import httpx


class Problem(Exception):
    """The service refused the request, or failed (RFC 9457).

    `status` is that of HTTP, `code` is in the table of errors, `sid` is the id of the request.
    `errors` has the JSON pointer and the rule of each member that is wrong.
    """

    def __init__(self, status: int, members: Mapping[str, Any]) -> None:
        self.status = status
        self.code = int(members.get("code", 0))
        self.sid = str(members.get("sid", ""))
        self.detail = str(members.get("detail", f"status {status}"))
        self.errors: list[dict[str, str]] = list(members.get("errors", ()))
        super().__init__(f"{self.code}: {self.detail} (sid {self.sid})")


@dataclass(frozen=True)
class File:
    """A file as bytes, with its media type, such as image/png."""

    data: bytes
    media_type: str = "application/octet-stream"
    name: str = "file"


FileInput = File | bytes | str | PathLike[str]  # a text is the path of a file


@@DEFINITIONS@@@dataclass(frozen=True)
class Outputs:
    """The outputs of the service; one that it left out is None."""

@@FIELDS@@


@@CLIENT@@

@@ASYNC_CLIENT@@

_FILES: tuple[str, ...] = @@FILES@@
_JSON_INPUTS: tuple[str, ...] = @@JSON_INPUTS@@
_IS_IDEMPOTENT = @@IS_IDEMPOTENT@@
_RETRIED = @@RETRIED@@
_RETRIED_ERRORS = @@RETRIED_ERRORS@@
_MAX_DELAY = 30.0


def _headers(app_id: str | None, headers: Mapping[str, str] | None) -> dict[str, str]:
    own = {} if app_id is None else {"x-app-id": app_id}
    return {**own, **(headers or {})}


def _repetition_headers() -> dict[str, str]:
    """Return what makes repeated requests one, if the service knows it."""
    return {"idempotency-key": uuid.uuid4().hex} if _IS_IDEMPOTENT else {}


def _body(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body as arguments of httpx: a form if there are files, else JSON."""
    sent = {name: value for name, value in members.items() if value is not None}
    if not any(name in sent for name in _FILES):
        return {"json": sent}
    return {
        "files": {name: _form_file(sent[name]) for name in _FILES if name in sent},
        "data": {
            name: _form_text(name, value)
            for name, value in sent.items()
            if name not in _FILES
        },
    }


def _form_text(name: str, value: Any) -> str:
    is_text = isinstance(value, str) and name not in _JSON_INPUTS
    return str(value) if is_text else json.dumps(value)


def _form_file(file: FileInput) -> tuple[str, bytes, str]:
    if isinstance(file, bytes):
        file = File(file)
    if not isinstance(file, File):
        path = Path(file)
        media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        file = File(path.read_bytes(), media_type, path.name)
    return file.name, file.data, file.media_type


def _delay(response: httpx.Response | None, attempt: int) -> float:
    """Return the seconds to wait: what Retry-After says, else twice as long each time."""
    retry_after = "" if response is None else response.headers.get("retry-after", "")
    if retry_after.isdigit():
        return min(float(retry_after), _MAX_DELAY)
    return min(0.2 * 2.0**attempt, _MAX_DELAY)


def _problem(response: httpx.Response) -> Problem:
    try:
        members = response.json()
    except ValueError:
        members = None
    return Problem(response.status_code, members if isinstance(members, dict) else {})


def _outputs(members: Mapping[str, Any]) -> Outputs:
    return Outputs(
@@PARSED@@
    )


class _Lines:
    """Lines of a stream, each of which ends with a line feed; those of httpx end at others too."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []

    def split(self, chunk: bytes) -> list[bytes]:
        """Return the lines that a chunk completes, without the empty ones."""
        first, *others = chunk.split(b"\\n")
        self._rest.append(first)
        if not others:
            return []
        lines = [b"".join(self._rest), *others[:-1]]
        self._rest = [others[-1]]
        return [line for line in lines if line]


def _line_outputs(line: bytes) -> Outputs:
    """Return the outputs of a line of a stream; raise the Problem that it is."""
    members = json.loads(line)
    problem = members.get("error")
    if len(members) == 1 and isinstance(problem, dict) and "sid" in problem:
        raise Problem(int(problem.get("status", 0)), problem)
    return _outputs(members)


def _read_file(value: Any) -> bytes | None:
    return None if value is None else base64.b64decode(value)


def _read_text(value: Any) -> str | None:
    """Return a text; one that is not in the encoding that the service names comes as base64."""
    if isinstance(value, dict):
        return base64.b64decode(value["data"]).decode(errors="replace")
    return None if value is None else str(value)
'''

CLIENT: Final = '''class Client:
    """@@DOC@@

    `url` is that of the gateway, `app_id` names the application that calls. `headers` go with each
    request. `timeout` is in seconds, unless `http` sends the requests. A request that the service
    could not take is repeated up to `retries` times, after the time that the service names.
    """

    def __init__(
        self,
        url: str,
        *,
        app_id: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,
        retries: int = 2,
        http: httpx.Client | None = None,
    ) -> None:
        self._http = http or httpx.Client(timeout=timeout)
        self._owns_http = http is None
        self._url = f"{url.rstrip('/')}/v1/" + @@ID@@
        self._headers = _headers(app_id, headers)
        self._retries = retries

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, unless they are those of the `http` that was given."""
        if self._owns_http:
            self._http.close()

    def call(
        self,
@@ARGUMENTS@@    ) -> Outputs:
        """Call the service. Raises Problem."""
        members: dict[str, Any] = {
@@MEMBERS@@        }
        request = self._request("application/json", members)
        response = self._send(request, stream=False)
        return _outputs(response.json())

    def stream(
        self,
@@ARGUMENTS@@    ) -> Iterator[Outputs]:
        """Yield each result when it arrives. Raises Problem."""
        members: dict[str, Any] = {
@@MEMBERS@@        }
        request = self._request("application/x-ndjson", members)
        response = self._send(request, stream=True)
        try:
            lines = _Lines()
            for chunk in response.iter_bytes():
                for line in lines.split(chunk):
                    yield _line_outputs(line)
        finally:
            response.close()

    def _request(self, accept: str, members: Mapping[str, Any]) -> httpx.Request:
        headers = {**self._headers, **_repetition_headers(), "accept": accept}
        return self._http.build_request("POST", self._url, headers=headers, **_body(members))

    def _send(self, request: httpx.Request, *, stream: bool) -> httpx.Response:
        for attempt in range(self._retries + 1):
            is_last = attempt == self._retries
            response: httpx.Response | None = None
            try:
                response = self._http.send(request, stream=stream)
            except _RETRIED_ERRORS:
                if is_last:
                    raise
            if response is not None and response.is_success:
                return response
            if response is not None:
                response.read()
                if is_last or response.status_code not in _RETRIED:
                    raise _problem(response)
            time.sleep(_delay(response, attempt))
        raise AssertionError("the last attempt returns or raises")
'''

# What makes the asynchronous client of the other one.
ASYNC_REWRITES: Final = (
    ("class Client:", "class AsyncClient:"),
    ("httpx.Client", "httpx.AsyncClient"),
    ("def __enter__", "async def __aenter__"),
    ("def __exit__", "async def __aexit__"),
    ("        self.close()", "        await self.close()"),
    ("def close", "async def close"),
    ("self._http.close()", "await self._http.aclose()"),
    ("def call", "async def call"),
    ("def stream", "async def stream"),
    ("def _send", "async def _send"),
    ("-> Iterator", "-> AsyncIterator"),
    ("= self._send", "= await self._send"),
    ("= self._http.send", "= await self._http.send"),
    ("for chunk in response.iter_bytes()", "async for chunk in response.aiter_bytes()"),
    ("            response.close()", "            await response.aclose()"),
    ("response.read()", "await response.aread()"),
    ("time.sleep", "await asyncio.sleep"),
)
