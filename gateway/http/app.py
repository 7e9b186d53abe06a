"""The public ASGI application: the list of all routes, and the ASGI endpoint of unary requests."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.context import GatewayContext
from gateway.http.asgi_scope import caller_head
from gateway.http.cors import CorsPolicy
from gateway.http.head_validation import combine_headers
from gateway.http.page_files import PageFiles
from gateway.http.pages import DOCS_FOLDER, HOME_FOLDER, Pages
from gateway.http.server_context import BODY_ERROR_KEY, WAKE_RECEIVE_KEY
from gateway.positions.alias import ALIAS_PATH, PositionAlias
from gateway.positions.endpoints import CERTIFICATE_PATH, CLOSED_LOOP_PATH, PositionEndpoints
from gateway.request import checks, resumption, tracing
from gateway.request.origin import check_fetch_site, check_origin
from gateway.request.query import envelope_from_query
from gateway.request.record import RequestRecord
from gateway.request.response import HttpError, HttpResponse
from gateway.request.shutdown import DrainState, drain_timeout_error
from gateway.services.catalog import Contract
from gateway.unary.asgi_driver import AsgiRequestDriver
from gateway.unary.handler import BODY_START_BYTES, serve_unary
from schemas.model.errors import (
    BAD_REQUEST,
    CLIENT_GONE,
    INTERNAL,
    NO_SERVICE,
    AseError,
)
from schemas.model.service import Service

_CLOSE_HEADER = (b"connection", b"close")
# What a GET request of events has in the place of its own headers.
_EVENTS_HEADERS = {b"content-type": b"application/json", b"accept": b"text/event-stream"}


class Readiness:
    """The readiness of a gateway: the lb view is synced and the gateway is not draining.

    `is_synced` returns whether a hub has sent its instances. `drain_state` is shared with the
    connections, so that they end at the moment at which the gateway is unready. `is_drained`: an
    operator wants no new requests here; those that arrive are served.
    """

    def __init__(self, is_synced: Callable[[], bool]) -> None:
        self._is_synced = is_synced
        self.drain_state = DrainState()
        self.is_drained = False

    def set_drained(self, is_drained: bool) -> None:
        """Drain the gateway, or take it back."""
        self.is_drained = is_drained

    def not_ready_reason(self) -> str:
        """Return why the gateway is not ready, or "" if it is."""
        if self.drain_state.draining:
            return "draining"
        if self.is_drained:
            return "drained by an operator"
        return "" if self._is_synced() else "lb view is not synced"


def build_app(
    context: GatewayContext,
    readiness: Readiness,
    count_live_instances: Callable[[str], int],
    origins: list[str],
    cors: CorsPolicy,
) -> Starlette:
    """Return the public application, to be served by `HttpConnection`.

    `count_live_instances` returns the number of live instances of a service id. Pages of `origins`
    may request events by GET (`check_origin`), and `cors` says which may read answers.
    """
    service_endpoint = _ServiceEndpoint(context, origins, is_plain=False)
    fallback = _FallbackEndpoint(context, service_endpoint)
    plain_service = _ServiceEndpoint(context, origins, is_plain=True)
    plain_endpoint = _PlainPathEndpoint(context, plain_service, fallback)
    catalog, authenticator = context.dependencies.catalog, context.dependencies.authenticator
    docs, home, health = PageFiles(DOCS_FOLDER), PageFiles(HOME_FOLDER), _Health(readiness)
    pages = Pages(catalog, home, count_live_instances, authenticator.methods)
    logged = partial(_LoggedPage, context=context)
    application = Starlette(
        routes=[
            # The AI services, by id.
            Route("/v1/private/{service_id}", service_endpoint),
            # The list of services, and their schemas.
            Route("/v1/apis", logged(pages.apis), methods=["GET"]),
            Route("/v1/apis/{service_id}/schema", logged(pages.schema), methods=["GET"]),
            Route(
                "/v1/apis/{service_id}/openapi.json", logged(pages.service_openapi), methods=["GET"]
            ),
            # The same services without envelopes.
            Route("/v1/{service_id}", plain_endpoint),
            *_position_routes(context, plain_service),
            Route("/openapi.json", logged(pages.openapi), methods=["GET"]),
            # A page that shows the OpenAPI document and sends trial requests.
            Route("/docs", logged(docs.serve), methods=["GET"]),
            Route("/docs/{name}", logged(docs.serve), methods=["GET"]),
            # A page for people: the services, a form for each, how to call it; or JSON of them.
            Route("/", logged(pages.home), methods=["GET"]),
            Route("/", fallback, methods=["POST"]),
            Route("/home/{name}", logged(home.serve), methods=["GET"]),
            # Liveness and readiness, for the proxy and the orchestrator.
            Route("/livez", health.livez, methods=["GET"]),
            Route("/readyz", health.readyz, methods=["GET"]),
        ],
        # While draining, a further request on a persistent connection could be lost.
        middleware=[
            Middleware(_ConnectionCloseMiddleware, readiness=readiness),
            *cors.middleware(),
        ],
        # Errors outside of the routes have the envelope too.
        exception_handlers={
            HTTPException: _ErrorHandler(context),
            AseError: _ErrorHandler(context),
            500: _ErrorHandler(context),
        },
    )
    # A redirect would send the client to any host that its Host header names.
    application.router.redirect_slashes = False
    application.router.default = fallback
    return application


def _position_routes(context: GatewayContext, plain_service: ASGIApp) -> list[Route]:
    """Return what MITLab's clients know: services, certificates, reports of closed loops."""
    dependencies, logged = context.dependencies, partial(_LoggedPage, context=context)
    positions = PositionEndpoints(dependencies.authenticator, dependencies.catalog, context.metrics)
    return [
        Route(ALIAS_PATH, PositionAlias(plain_service), methods=["POST"]),
        Route(CERTIFICATE_PATH, logged(positions.certificate), methods=["POST"]),
        Route(CLOSED_LOOP_PATH, logged(positions.closed_loop), methods=["POST"]),
    ]


class _ConnectionCloseMiddleware:
    """Adds `connection: close` to every response while the gateway drains."""

    def __init__(self, app: ASGIApp, readiness: Readiness) -> None:
        self._app = app
        self._readiness = readiness

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._readiness.drain_state.draining:
            send = _with_connection_close(send)
        await self._app(scope, receive, send)


def _with_connection_close(send: Send) -> Send:
    """Return a `send` that adds `connection: close` to responses."""

    async def send_closing(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            if _CLOSE_HEADER not in headers:
                message["headers"] = [*headers, _CLOSE_HEADER]
        await send(message)

    return send_closing


class _ServiceEndpoint:
    """The ASGI endpoint of `serve_unary`.

    It receives the body, sends the response, and ends the request early if the client disconnects
    or the server cancels the task. If the service allows it (`Contract.get_events`), a GET request
    is answered with events, and its query takes the place of the body. `is_plain`: requests and
    answers have no envelope.
    """

    def __init__(self, context: GatewayContext, origins: list[str], *, is_plain: bool) -> None:
        self._context = context
        self._origins = origins
        self._is_plain = is_plain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.serve(scope["path_params"]["service_id"], scope, receive, send)

    async def serve(self, service_id: str, scope: Scope, receive: Receive, send: Send) -> None:
        context, dependencies = self._context, self._context.dependencies
        headers: Mapping[bytes, bytes] = combine_headers(scope["headers"])
        record = _new_record(scope, context)
        query = scope["query_string"].decode("latin-1")
        caller = caller_head(scope, headers)
        exchange = context.new_exchange(record, query, is_plain=self._is_plain)
        body = None
        if scope["method"] == "OPTIONS":
            await self._send_options(service_id, record, send)
            return
        if scope["method"] != "POST":
            contract = self._check_get(service_id, scope, headers)
            if resumption.is_over(headers, is_idempotent=contract.service.idempotent):
                await self._send_empty(record, [], send)
                return
            own_query = dependencies.authenticator.unsigned_query(query)
            body = b"{}" if self._is_plain else _query_body(own_query, contract.service)
            headers = {**headers, **_EVENTS_HEADERS}
            caller = caller_head(scope, headers)
        record.tracing = tracing.from_headers(headers)
        driver = AsgiRequestDriver(context.open_event_stream, scope[WAKE_RECEIVE_KEY])
        context.metrics.inflight += 1
        try:
            steps = serve_unary(service_id, caller, body, record, dependencies, exchange)
            driver.drive(steps, record, dependencies, exchange)
            await _run_driver(driver, scope, receive, send, is_body_complete=body is not None)
        except asyncio.CancelledError:
            # The drain timeout has expired and the server cancels this task: answer with an error.
            driver.fail(drain_timeout_error())
        finally:
            context.metrics.inflight -= 1
            if driver.event_stream is None:
                context.count_and_log(record)
        while driver.messages:  # of an event stream that was cancelled: its error
            await send(driver.messages.popleft())
        if driver.response is not None:
            # `send` is cancelled if the client does not read.
            with contextlib.suppress(asyncio.CancelledError):
                await _send_response(driver.response, send)

    def _check_get(self, service_id: str, scope: Scope, headers: Mapping[bytes, bytes]) -> Contract:
        """Return the contract of a service that allows a request without a body.

        Raises AseError for an unknown service, HTTPException 405 if the service does not allow it,
        HttpError 403 for a page of another origin, 406 if the client takes no events.
        """
        contract = self._context.dependencies.catalog.require(service_id)
        if scope["method"] != "GET" or not contract.get_events:
            raise HTTPException(405, headers={"Allow": _allowed_methods(contract)})
        if not checks.accepts_event_stream(headers):  # EventSource does; images and links do not
            raise HttpError(406, "GET is answered with events alone: accept text/event-stream")
        check_origin(headers, self._origins)
        check_fetch_site(headers, self._origins)
        return contract

    async def _send_options(self, service_id: str, record: RequestRecord, send: Send) -> None:
        """Answer what a service takes (RFC 9110, 9.3.7). Raises AseError for an unknown service."""
        contract = self._context.dependencies.catalog.require(service_id)
        media_types = contract.plain.heads.body_types() if self._is_plain else ["application/json"]
        headers = [("allow", _allowed_methods(contract)), ("accept-post", ", ".join(media_types))]
        await self._send_empty(record, headers, send)

    async def _send_empty(
        self, record: RequestRecord, headers: list[tuple[str, str]], send: Send
    ) -> None:
        record.finish(204, 0, self._context.dependencies.clock())
        lines = [("x-ase-request-id", record.sid), *headers]
        fields = [(name.encode(), value.encode()) for name, value in lines]
        self._context.count_and_log(record)
        await send({"type": "http.response.start", "status": 204, "headers": fields})
        await send({"type": "http.response.body", "body": b""})


def _allowed_methods(contract: Contract) -> str:
    return "GET, OPTIONS, POST" if contract.get_events else "OPTIONS, POST"


def _query_body(query: str, service: Service) -> bytes:
    """Return the envelope that a query stands for. Raises HttpError 400."""
    return json.dumps(envelope_from_query(query.encode("latin-1"), service)).encode()


class _PlainPathEndpoint:
    """The endpoint of `/v1/ID`: a plain request, unless it is for a route of the original."""

    def __init__(
        self, context: GatewayContext, plain: _ServiceEndpoint, fallback: "_FallbackEndpoint"
    ) -> None:
        self._context = context
        self._plain = plain
        self._fallback = fallback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service_id, query = scope["path_params"]["service_id"], scope["query_string"]
        is_plain = self._context.is_plain_request(scope["path"], query.decode("latin-1"))
        if not is_plain and self._fallback.find(scope):
            await self._fallback(scope, receive, send)
        elif service_id == "apis":  # its own route allows GET alone
            raise HTTPException(405, headers={"Allow": "GET"})
        else:
            await self._plain.serve(service_id, scope, receive, send)


class _FallbackEndpoint:
    """The endpoint of all other paths: a service by one of its own routes, else 404."""

    def __init__(self, context: GatewayContext, service_endpoint: _ServiceEndpoint) -> None:
        self._service_endpoint = service_endpoint
        self._catalog = context.dependencies.catalog

    def find(self, scope: Scope) -> str:
        """Return the id of the service that serves a request; "" if none does."""
        service_id = ""
        if scope["type"] == "http" and scope["method"] in ("GET", "POST"):
            headers = combine_headers(scope["headers"])
            service_id = self._catalog.routes().find(scope["path"], scope["query_string"], headers)
        if scope["method"] == "GET" and service_id:
            contract = self._catalog.find(service_id)
            service_id = service_id if contract is not None and contract.get_events else ""
        return service_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service_id = self.find(scope)
        if not service_id:
            raise HTTPException(404)
        await self._service_endpoint.serve(service_id, scope, receive, send)


async def _run_driver(
    driver: AsgiRequestDriver,
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    is_body_complete: bool,
) -> None:
    """Receive the body, then wait for a disconnect, until the request is answered.

    Messages of an event stream are sent in the meantime.
    """
    chunks: list[bytes] = []
    while driver.messages or not driver.finished:
        if driver.messages:
            await send(driver.messages.popleft())
            if not driver.messages and driver.event_stream is not None:
                driver.event_stream.resume_writing()
            continue
        message = await receive()
        if message["type"] == "http.disconnect":
            driver.fail(AseError(CLIENT_GONE))
        elif not is_body_complete:
            chunks.append(message.get("body", b""))
            is_body_complete = not message.get("more_body", False)
            if is_body_complete and BODY_ERROR_KEY in scope:
                driver.fail(scope[BODY_ERROR_KEY])
            elif is_body_complete:
                driver.feed(b"".join(chunks))
            elif driver.wants_body_start and sum(map(len, chunks)) >= BODY_START_BYTES:
                driver.feed_start(b"".join(chunks))


class _LoggedPage:
    """A page whose requests are logged and counted like those of services."""

    def __init__(
        self, page: Callable[[Request], Awaitable[Response]], context: GatewayContext
    ) -> None:
        self._page = page
        self._context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        record = _new_record(scope, self._context)
        response = await self._page(Request(scope, receive))
        response.headers["x-ase-request-id"] = record.sid
        record.finish(response.status_code, 0, self._context.dependencies.clock())
        await response(scope, receive, send)
        self._context.count_and_log(record)


class _Health:
    """The liveness and readiness endpoints."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    async def livez(self, _: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(self, _: Request) -> Response:
        reason = self._readiness.not_ready_reason()
        if reason:
            return JSONResponse({"status": "not ready", "reason": reason}, 503)
        return JSONResponse({"status": "ready"})


class _ErrorHandler:
    """Answers requests that no route answered: 404, 405, and 500 for an internal error."""

    def __init__(self, context: GatewayContext) -> None:
        self._context = context

    async def __call__(self, request: Request, error: Exception) -> Response:
        record = _new_record(request.scope, self._context)
        http_response = self._context.fail(_to_ase_error(error), record)
        response = Response(http_response.body, http_response.status)
        response.raw_headers = http_response.headers
        return response


def _to_ase_error(error: Exception) -> AseError:
    if isinstance(error, AseError):
        return error
    if not isinstance(error, HTTPException):
        return AseError(INTERNAL)
    if error.status_code == 404:
        detail = error.detail if error.detail != "Not Found" else "no such path"
        return AseError(NO_SERVICE, detail)
    headers = [(k.lower().encode(), v.encode()) for k, v in (error.headers or {}).items()]
    return HttpError(error.status_code, error.detail.lower(), BAD_REQUEST, headers)


def _new_record(scope: Scope, context: GatewayContext) -> RequestRecord:
    client = scope.get("client")
    header = context.proxies.client_header
    hops = b", ".join(value for name, value in scope["headers"] if name == header)
    client_ip = context.proxies.client_address(client[0] if client else "", hops)
    return context.new_record(scope["method"], scope["path"], client_ip)


async def _send_response(response: HttpResponse, send: Send) -> None:
    start_message = {
        "type": "http.response.start",
        "status": response.status,
        "headers": response.headers,
    }
    await send(start_message)
    await send({"type": "http.response.body", "body": response.body})
