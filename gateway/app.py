"""The public application: every route, in one list, and the road from ASGI to the once path."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.answers import Answer, HttpError, failure
from gateway.closing import cut
from gateway.course import Awaited
from gateway.door import REFUSAL, WAKE
from gateway.head import fold
from gateway.lane import Lane
from gateway.once import serve_once
from gateway.pages import Pages
from gateway.record import Record
from schemas.errors import (
    BAD_REQUEST,
    CLIENT_GONE,
    INTERNAL,
    NO_SERVICE,
    AseError,
)

_CLOSE = (b"connection", b"close")


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


def build(lane: Lane, readiness: Readiness, instances: Callable[[str], int]) -> Starlette:
    """Return the public application, to be served by `gateway.protocol.DoorProtocol`.

    `instances` tells how many live ones a service has.
    """
    pages = Pages(lane.parts.catalog, instances)
    health = _Health(readiness)
    noted = partial(_Noted, lane=lane)
    served = Starlette(
        routes=[
            # The AI services, by id.
            Route("/v1/private/{service_id}", _Once(lane), methods=["POST"]),
            # What services there are, and how each is asked.
            Route("/v1/apis", noted(pages.apis), methods=["GET"]),
            Route("/v1/apis/{service_id}/schema", noted(pages.schema), methods=["GET"]),
            Route("/v1/apis/{service_id}/openapi.json", noted(pages.openapi_of), methods=["GET"]),
            Route("/openapi.json", noted(pages.openapi), methods=["GET"]),
            # A page to read it, and to try it.
            Route("/docs", noted(pages.docs), methods=["GET"]),
            Route("/docs/{name}", noted(pages.docs), methods=["GET"]),
            # Alive, and willing: for the proxy and the orchestrator before us.
            Route("/livez", health.livez, methods=["GET"]),
            Route("/readyz", health.readyz, methods=["GET"]),
        ],
        # What a client on a kept connection sends next would be lost with the listener.
        middleware=[Middleware(_LastWords, readiness=readiness)],
        # Whatever no route answered is an envelope too.
        exception_handlers={
            HTTPException: _Refusals(lane),
            500: _Refusals(lane),
        },
    )
    served.router.redirect_slashes = False  # it would send clients to whatever Host they named
    served.router.default = _Routed(lane)
    return served


class _LastWords:
    """While the gateway drains, every answer ends its connection."""

    def __init__(self, app: ASGIApp, readiness: Readiness) -> None:
        self._app = app
        self._readiness = readiness

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, _closing(send) if self._readiness.draining else send)


def _closing(send: Send) -> Send:
    """Return a `send` whose answers end their connection."""

    async def closing(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            if _CLOSE not in headers:
                message["headers"] = [*headers, _CLOSE]
        await send(message)

    return closing


class _Once:
    """The ASGI side of `serve_once`: body in, answer out, a vanished client seen."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.serve(scope["path_params"]["service_id"], scope, receive, send)

    async def serve(self, service: str, scope: Scope, receive: Receive, send: Send) -> None:
        lane, parts = self._lane, self._lane.parts
        record, headers = _record(scope, lane), fold(scope["headers"])
        course = Awaited(lane.events, scope[WAKE])
        lane.metrics.inflight += 1
        try:
            steps = serve_once(service, headers, record, parts)
            course.begin(steps, parts)
            await _listen(course, scope, receive, send)
        except asyncio.CancelledError:
            # The drain's time is over: the server cuts what still runs, and this is our last word.
            course.fail(cut())
        finally:
            lane.metrics.inflight -= 1
            if course.events is None:
                lane.note(record)
        while course.parts:  # cut, with its last words
            await send(course.parts.popleft())
        if course.answer is not None:
            with contextlib.suppress(asyncio.CancelledError):  # cut, and the client does not read
                await _send(course.answer, send)


class _Routed:
    """What no route of ours answers: a service asked by another path, or nothing."""

    def __init__(self, lane: Lane) -> None:
        self._once = _Once(lane)
        self._catalog = lane.parts.catalog

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = ""
        if scope["type"] == "http" and scope["method"] == "POST":
            headers = fold(scope["headers"])
            service = self._catalog.routes().find(scope["path"], scope["query_string"], headers)
        if not service:
            raise HTTPException(404)
        await self._once.serve(service, scope, receive, send)


async def _listen(course: Awaited, scope: Scope, receive: Receive, send: Send) -> None:
    """Take in the body, and after it that the client goes away, until the answer is there.

    One that comes in parts is sent meanwhile.
    """
    pieces: list[bytes] = []
    whole = False
    while course.parts or not course.finished:
        if course.parts:
            await send(course.parts.popleft())
            if not course.parts and course.events is not None:
                course.events.resumed()
            continue
        message = await receive()
        if message["type"] == "http.disconnect":
            course.fail(AseError(CLIENT_GONE))
        elif not whole:
            pieces.append(message.get("body", b""))
            whole = not message.get("more_body", False)
            if whole and REFUSAL in scope:
                course.fail(scope[REFUSAL])
            elif whole:
                course.feed(b"".join(pieces))


class _Noted:
    """A page whose requests are logged and counted as those of services are."""

    def __init__(self, page: Callable[[Request], Awaitable[Response]], lane: Lane) -> None:
        self._page = page
        self._lane = lane

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        record = _record(scope, self._lane)
        response = await self._page(Request(scope, receive))
        response.headers["x-ase-request-id"] = record.sid
        record.close(response.status_code, 0, self._lane.parts.clock())
        await response(scope, receive, send)
        self._lane.note(record)


class _Health:
    """Whether the gateway lives, and whether traffic is welcome."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    async def livez(self, _: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(self, _: Request) -> Response:
        reason = self._readiness.reason()
        if reason:
            return JSONResponse({"status": "not ready", "reason": reason}, 503)
        return JSONResponse({"status": "ready"})


class _Refusals:
    """Answers what no route did: 404, 405, and the 500 that should never be."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane

    async def __call__(self, request: Request, error: Exception) -> Response:
        record = _record(request.scope, self._lane)
        answer = failure(_refusal(error), record, self._lane.parts.clock())
        self._lane.note(record)
        response = Response(answer.body, answer.status)
        response.raw_headers = answer.headers
        return response


def _refusal(error: Exception) -> AseError:
    if not isinstance(error, HTTPException):
        return AseError(INTERNAL)
    if error.status_code == 404:
        detail = error.detail if error.detail != "Not Found" else "no such path"
        return AseError(NO_SERVICE, detail)
    extra = [(k.lower().encode(), v.encode()) for k, v in (error.headers or {}).items()]
    return HttpError(error.status_code, error.detail.lower(), BAD_REQUEST, extra)


def _record(scope: Scope, lane: Lane) -> Record:
    client = scope.get("client")
    return lane.record(scope["method"], scope["path"], client[0] if client else "")


async def _send(answer: Answer, send: Send) -> None:
    start = {"type": "http.response.start", "status": answer.status, "headers": answer.headers}
    await send(start)
    await send({"type": "http.response.body", "body": answer.body})
