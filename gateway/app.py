"""The public application: every route, in one list, and the road from ASGI to the once path."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway import access
from gateway.answers import Answer, HttpError, failure
from gateway.contracts import Contract
from gateway.metrics import Metrics
from gateway.once import Exchange, serve_once
from gateway.parts import Parts
from gateway.record import Record
from schemas.errors import (
    BAD_REQUEST,
    CLIENT_GONE,
    DEADLINE,
    INTERNAL,
    NO_SERVICE,
    AseError,
)

# How long a request that the drain cuts may take to be told so, in seconds.
_LAST_WORD_S = 0.5


class Readiness:
    """Whether traffic is welcome: the lb view is synced and the gateway does not drain."""

    def __init__(self, synced: Callable[[], bool]) -> None:
        self._synced = synced
        self.draining = False

    def reason(self) -> str:
        """Return why not, or "" when ready."""
        if self.draining:
            return "draining"
        return "" if self._synced() else "lb view is not synced"


def build(parts: Parts, metrics: Metrics, readiness: Readiness, instances: Callable[[str], int]
          ) -> Starlette:  # fmt: skip
    """Return the public application. `instances` tells how many live ones a service has."""
    pages = _Pages(parts, readiness, instances)
    noted = partial(_Noted, parts=parts, metrics=metrics)
    served = Starlette(
        routes=[
            # The AI services, by id.
            Route("/v1/private/{service_id}", _Once(parts, metrics), methods=["POST"]),
            # What services there are, and how each is asked.
            Route("/v1/apis", noted(pages.list), methods=["GET"]),
            Route("/v1/apis/{service_id}/schema", noted(pages.schema), methods=["GET"]),
            # Alive, and willing: for the proxy and the orchestrator before us.
            Route("/livez", pages.livez, methods=["GET"]),
            Route("/readyz", pages.readyz, methods=["GET"]),
        ],
        # What a client on a kept connection sends next would be lost with the listener.
        middleware=[Middleware(_LastWords, readiness=readiness)],
        # Whatever no route answered is an envelope too.
        exception_handlers={
            HTTPException: _Refusals(parts, metrics),
            500: _Refusals(parts, metrics),
        },
    )
    served.router.redirect_slashes = False  # it would send clients to whatever Host they named
    return served


class _LastWords:
    """While the gateway drains, every answer ends its connection."""

    def __init__(self, app: ASGIApp, readiness: Readiness) -> None:
        self._app = app
        self._readiness = readiness

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def closing(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        await self._app(scope, receive, closing if self._readiness.draining else send)


class _Once:
    """The ASGI side of `serve_once`: body in by the rules, answer out, a vanished client seen."""

    def __init__(self, parts: Parts, metrics: Metrics) -> None:
        self._parts = parts
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        record = _record(scope, self._parts)
        headers = _headers(scope)
        incoming = _Incoming(headers, receive, self._parts)
        exchange = Exchange(scope["path_params"]["service_id"], headers, incoming.read)
        try:
            with self._metrics.inflight.track_inprogress():
                work = serve_once(exchange, record, self._parts)
                await _send(await _unless_gone(work, incoming, record, self._parts), send)
        except asyncio.CancelledError:
            # The drain's time is over: the server cuts what still runs, and this is our last word.
            error = AseError(DEADLINE, "the gateway stops, and could wait no longer")
            answer = failure(error, record, self._parts.clock())
            with contextlib.suppress(TimeoutError, asyncio.CancelledError):
                async with asyncio.timeout(_LAST_WORD_S):  # it may be the reader who is stuck
                    await _send(answer, send)
        finally:
            self._metrics.answered(record)
            access.log(record)


class _Incoming:
    """A request body on its way in, held to its limits."""

    def __init__(self, headers: dict[str, str], receive: Receive, parts: Parts) -> None:
        self._headers = headers
        self._receive = receive
        self._limit = parts.options.max_body
        self._timeout = parts.options.body_timeout
        self._whole = asyncio.Event()

    async def read(self) -> bytes:
        """Return the body. Raises HttpError 413 before reading too much, 408 when it is slow."""
        told = self._headers.get("content-length", "0")
        if int(told) > self._limit:
            raise HttpError(413, f"request body is larger than {self._limit} bytes")
        try:
            async with asyncio.timeout(self._timeout):
                return await self._gather()
        except TimeoutError:
            raise HttpError(408, f"request body took more than {self._timeout:g} s") from None

    async def _gather(self) -> bytes:
        pieces, size = [], 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise AseError(CLIENT_GONE)
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > self._limit:
                raise HttpError(413, f"request body is larger than {self._limit} bytes")
            if not message.get("more_body", False):
                self._whole.set()
                return b"".join(pieces)

    async def gone(self) -> None:
        """Wait until the client has gone away; its body must be in before that can be seen."""
        await self._whole.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass


async def _unless_gone(
    work: Awaitable[Answer], incoming: _Incoming, record: Record, parts: Parts
) -> Answer:
    """Return the answer of `work`; when the client goes first, cancel it and what it called."""
    answering = asyncio.ensure_future(work)
    going = asyncio.ensure_future(incoming.gone())
    try:
        await asyncio.wait((answering, going), return_when=asyncio.FIRST_COMPLETED)
        if answering.done():
            return answering.result()
        return failure(AseError(CLIENT_GONE), record, parts.clock())
    finally:
        for task in (answering, going):
            task.cancel()
        await asyncio.gather(answering, going, return_exceptions=True)


class _Noted:
    """A page whose requests are logged and counted as those of services are."""

    def __init__(
        self, page: Callable[[Request], Awaitable[Response]], parts: Parts, metrics: Metrics
    ) -> None:
        self._page = page
        self._parts = parts
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        record = _record(scope, self._parts)
        response = await self._page(Request(scope, receive))
        response.headers["x-ase-request-id"] = record.sid
        record.status, record.answered = response.status_code, self._parts.clock()
        await response(scope, receive, send)
        self._metrics.answered(record)
        access.log(record)


class _Pages:
    def __init__(self, parts: Parts, readiness: Readiness, instances: Callable[[str], int]) -> None:
        self._catalog = parts.catalog
        self._readiness = readiness
        self._instances = instances

    async def list(self, _: Request) -> Response:
        return JSONResponse({"apis": [self._line(contract) for contract in self._catalog]})

    async def schema(self, request: Request) -> Response:
        contract = self._catalog.find(request.path_params["service_id"])
        if contract is None:
            raise HTTPException(404, "no such service")
        etag = f'"{contract.digest}"'
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers={"etag": etag})
        return Response(contract.text, media_type="application/json", headers={"etag": etag})

    async def livez(self, _: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(self, _: Request) -> Response:
        reason = self._readiness.reason()
        if reason:
            return JSONResponse({"status": "not ready", "reason": reason}, 503)
        return JSONResponse({"status": "ready"})

    def _line(self, contract: Contract) -> dict[str, Any]:
        service = contract.service
        return {
            "service": service.id,
            "version": service.version,
            "description": service.description,
            "route": f"/v1/private/{service.id}",
            "schema": f"/v1/apis/{service.id}/schema",
            "digest": contract.digest,
            "source": contract.source,
            "instances": self._instances(service.id),
        }


class _Refusals:
    """Answers what no route did: 404, 405, and the 500 that should never be."""

    def __init__(self, parts: Parts, metrics: Metrics) -> None:
        self._parts = parts
        self._metrics = metrics

    async def __call__(self, request: Request, error: Exception) -> Response:
        record = _record(request.scope, self._parts)
        answer = failure(_refusal(error), record, self._parts.clock())
        self._metrics.answered(record)
        access.log(record)
        response = Response(answer.body, answer.status)
        response.raw_headers = [*answer.headers, (b"content-length", b"%d" % len(answer.body))]
        return response


def _refusal(error: Exception) -> AseError:
    if not isinstance(error, HTTPException):
        return AseError(INTERNAL)
    if error.status_code == 404:
        detail = error.detail if error.detail != "Not Found" else "no such path"
        return AseError(NO_SERVICE, detail)
    extra = [(k.lower().encode(), v.encode()) for k, v in (error.headers or {}).items()]
    return HttpError(error.status_code, error.detail.lower(), BAD_REQUEST, extra)


def _record(scope: Scope, parts: Parts) -> Record:
    client = scope.get("client")
    return Record(
        sid=parts.new_id(),
        accepted=parts.clock(),
        method=scope["method"],
        path=scope["raw_path"].decode("ascii", "replace"),
        client=client[0] if client else "",
    )


def _headers(scope: Scope) -> dict[str, str]:
    """Return the headers as they are now; what stands there twice is one list, as RFC 9110 says."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


async def _send(answer: Answer, send: Send) -> None:
    headers = [*answer.headers, (b"content-length", b"%d" % len(answer.body))]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
