"""The service `ase.v1.Gateway`: `Infer` and `Session` of gRPC clients."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

from config.options import SessionOptions
from gateway.access.authenticator import CREDENTIAL_HEADERS
from gateway.access.caller_head import CallerHead
from gateway.access.peer import Peer
from gateway.context import GatewayContext
from gateway.grpc import messages, status
from gateway.grpc.call_session import CallSession
from gateway.grpc.driver import CallDriver
from gateway.grpc.exchange import CallExchange
from gateway.plain.exchange import APP_ID_HEADER
from gateway.request import answer_store, tracing
from gateway.request.record import RequestRecord
from gateway.request.response import HttpResponse, note_error
from gateway.telemetry.session_metrics import SessionMetrics
from gateway.unary.handler import serve_unary
from rpc.server import CallContext, StreamHandler, UnaryHandler
from schemas.model.errors import CLIENT_GONE, AseError
from schemas.model.session import SessionEvent

SERVICE = "ase.v1.Gateway"
_INFER, _SESSION = f"/{SERVICE}/Infer", f"/{SERVICE}/Session"


class GatewayService:
    """Serves the calls of one gateway process, by the same functions as its HTTP requests.

    `_sessions` are the open sessions.
    """

    def __init__(
        self, context: GatewayContext, session_metrics: SessionMetrics, options: SessionOptions
    ) -> None:
        self._context = context
        self._session_metrics = session_metrics
        self._session_options = options
        consumer_header = context.dependencies.options.consumer_header
        # What a call may say of itself, as a request does in its headers.
        self._header_names = (
            APP_ID_HEADER.decode(),
            *tracing.TRACING_HEADERS,
            answer_store.HEADER.decode(),
            *([consumer_header.lower()] if consumer_header else []),
            *(name.decode() for name in CREDENTIAL_HEADERS),
        )
        self._sessions: set[CallSession] = set()

    def unary_methods(self) -> dict[str, UnaryHandler]:
        """Return the unary method by its path."""
        return {_INFER: self.infer}

    def stream_methods(self) -> dict[str, StreamHandler]:
        """Return the streaming method by its path."""
        return {_SESSION: self.session}

    def drain(self) -> None:
        """End each session that is still open for inputs after its next result."""
        for session in list(self._sessions):
            session.notify(SessionEvent.DRAIN)

    async def infer(self, data: bytes, call: CallContext) -> bytes:
        """Serve `Infer`. Raises RpcError, with the details in the trailers of the call."""
        context, record = self._context, self._new_record(_INFER, call)
        context.metrics.inflight += 1
        try:
            body, error = await self._serve(data, record, self._headers(call), _peer(call))
        finally:
            context.metrics.inflight -= 1
            context.count_and_log(record)
        call.trailers.extend(status.trailers(record))
        if error is not None:
            rpc_error, details = status.to_rpc_error(error, record)
            call.trailers.append(details)
            raise rpc_error
        return body

    async def _serve(
        self, data: bytes, record: RequestRecord, headers: dict[bytes, bytes], peer: Peer
    ) -> tuple[bytes, AseError | None]:
        """Return the answer to a call, or its error; the record is finished."""
        context, dependencies = self._context, self._context.dependencies
        try:
            options = dependencies.options
            message = messages.read_message(data, options.max_body, options.max_names)
        except AseError as error:
            note_error(error, record, dependencies.clock())
            return b"", error
        exchange = CallExchange(message)
        answer: asyncio.Future[HttpResponse] = asyncio.get_running_loop().create_future()
        driver = CallDriver(context.open_event_stream, answer.set_result)
        caller = CallerHead(record.method, record.path, "", headers, peer)
        steps = serve_unary(message.service, caller, data, record, dependencies, exchange)
        driver.drive(steps, record, dependencies, exchange)
        try:
            response = await asyncio.shield(answer)
        except asyncio.CancelledError:
            driver.fail(AseError(CLIENT_GONE))
            raise
        return response.body, exchange.error

    async def session(
        self, requests: AsyncIterator[bytes], call: CallContext
    ) -> AsyncIterator[bytes]:
        """Serve `Session`. Raises RpcError, with the details in the trailers of the call."""
        record = self._new_record(_SESSION, call)
        tracer = self._context.dependencies.tracer
        if tracer is not None:
            record.begin_trace(tracer)
        session = CallSession(
            self._context,
            self._session_metrics,
            self._session_options,
            record,
            self._headers(call),
            _peer(call),
            asyncio.get_running_loop().call_later,
        )
        self._sessions.add(session)
        try:
            async with aclosing(session.serve(requests)) as results:
                async for result in results:
                    yield result
        finally:
            self._sessions.discard(session)
        call.trailers.extend(status.trailers(record))
        if session.error is not None:
            rpc_error, details = status.to_rpc_error(session.error, record)
            call.trailers.append(details)
            raise rpc_error

    def _new_record(self, path: str, call: CallContext) -> RequestRecord:
        record = self._context.new_record("POST", path, _host(call.peer))
        record.tracing = tracing.from_headers(self._headers(call))
        return record

    def _headers(self, call: CallContext) -> dict[bytes, bytes]:
        metadata = call.metadata
        return {
            name.encode(): metadata[name].encode()
            for name in self._header_names
            if name in metadata
        }


def _peer(call: CallContext) -> Peer:
    return Peer(_host(call.peer), call.certificate)


def _host(peer: str) -> str:
    """Return the address of a peer such as "ipv4:10.0.0.7:5123" or "ipv6:[::1]:5123"."""
    _, _, address = peer.partition(":")
    return address.rpartition(":")[0].strip("[]")
