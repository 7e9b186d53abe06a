"""The paths of positions in MITLab's form: `/inference-service-NAME`, and its shapes of errors.

A request there is a plain request of the service NAME. What succeeds is answered as it is; an
error has `{"status": "error", "message": ...}`, with the statuses of MITLab's inference host: 422
for what the model refuses, 500 for what goes wrong in it.
"""

import contextlib
import json
from http import HTTPStatus
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schemas.model.errors import BAD_REQUEST, INPUT_REFUSED, WRAPPER_RAISED

ALIAS_PATH: Final = "/inference-service-{service_id}"

_NO_JSON: Final = "Invalid JSON in request body"
_NO_VALUE: Final = "Missing 'value' key in request data"
_UNEXPECTED: Final = "An unexpected error occurred"


class PositionAlias:
    """Serves `plain`, the endpoint of plain requests, with other answers to what fails."""

    def __init__(self, plain: ASGIApp) -> None:
        self._plain = plain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        path = f"/v1/{scope['path_params']['service_id']}"
        # `raw_path` stays: it is what a caller has signed.
        scope = {**scope, "path": path}
        await self._plain(scope, receive, _ErrorTranslator(send))


class _ErrorTranslator:
    """A `send` that holds the head of an error back until its body is there."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._head: Message | None = None
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] >= HTTPStatus.BAD_REQUEST:
            self._head = message
            return
        if self._head is None:
            await self._send(message)
            return
        self._body += message.get("body", b"")
        if not message.get("more_body"):
            status, body = translate_error(self._head["status"], self._body)
            headers = [
                (name, value)
                for name, value in self._head["headers"]
                if name not in (b"content-type", b"content-length")
            ]
            headers += [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
            ]
            await self._send({**self._head, "status": status, "headers": headers})
            await self._send({"type": "http.response.body", "body": body})


def translate_error(status: int, body: bytes) -> tuple[int, bytes]:
    """Return the status and the body of an error in MITLab's form; `body` has problem details."""
    problem: dict[str, Any] = {}
    with contextlib.suppress(ValueError):
        problem = json.loads(body)
    message = str(problem.get("detail") or problem.get("title") or HTTPStatus(status).phrase)
    code = problem.get("code")
    if code == BAD_REQUEST.code and status == HTTPStatus.BAD_REQUEST:
        if message.startswith("request body must be json"):
            message = _NO_JSON
        elif message == "value: is required":
            message = _NO_VALUE
    elif code == INPUT_REFUSED.code:
        status = HTTPStatus.UNPROCESSABLE_ENTITY
    elif code == WRAPPER_RAISED.code or status == HTTPStatus.INTERNAL_SERVER_ERROR:
        status, message = HTTPStatus.INTERNAL_SERVER_ERROR, _UNEXPECTED
    return status, json.dumps({"status": "error", "message": message}).encode()
