"""The session of one `Session` call: its messages are frames, its results are messages."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from functools import partial
from typing import Any

from config.options import SessionOptions
from gateway.access.caller_head import CallerHead
from gateway.access.peer import Peer
from gateway.context import GatewayContext
from gateway.grpc import exchange, messages
from gateway.plain import exchange as plain_exchange
from gateway.plain.messages import set_status
from gateway.request import checks
from gateway.request.record import RequestRecord
from gateway.request.response import note_error, status_of
from gateway.services.catalog import Contract
from gateway.streaming.session import Session, create_session
from gateway.telemetry.session_metrics import SessionMetrics
from rpc.timer import CallLater
from schemas.model.errors import (
    BAD_REQUEST,
    CLIENT_GONE,
    INTERNAL,
    SESSION_READ_TIMEOUT,
    AseError,
)
from schemas.model.session import SessionEvent
from schemas.wire import GatewayValue

_HTTP_OK = 200


class CallSession:
    """The client's side of a session (`SessionClient`); `serve` yields its results.

    `record` is that of the call, `headers` is what its metadata says. `error` is what the session
    ended with, None after a success.

    `_session` is None until the first message. `_results` are serialised results that are not
    yielded yet; while there is one, the session reads no more of its loader. `_may_read` is cleared
    while its queue of frames is full. `_changed` is set when there is a result, or at the end,
    which `_is_closed` shows.
    """

    def __init__(
        self,
        context: GatewayContext,
        session_metrics: SessionMetrics,
        options: SessionOptions,
        record: RequestRecord,
        headers: Mapping[bytes, bytes],
        peer: Peer,
        call_later: CallLater,
    ) -> None:
        self.error: AseError | None = None
        self._context = context
        self._session_metrics = session_metrics
        self._options = options
        self._record = record
        self._headers = headers
        self._peer = peer
        self._call_later = call_later
        self._session: Session | None = None
        self._results: deque[bytes] = deque()
        self._is_closed = False
        self._changed, self._may_read = asyncio.Event(), asyncio.Event()
        self._may_read.set()

    async def serve(self, requests: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        """Yield the results until the session has ended; then `error` is set, if there was one."""
        reader = asyncio.ensure_future(self._read(requests))
        try:
            while self._results or not self._is_closed:
                if not self._results:
                    self._changed.clear()
                    await self._changed.wait()
                    continue
                yield self._results.popleft()
                if self._session is not None and not self._results:
                    self._session.transfer()
        finally:
            reader.cancel()
            self.notify(SessionEvent.CLIENT_GONE)
            if self._session is None:
                self._log_unstarted()
            await asyncio.gather(reader, return_exceptions=True)

    def notify(self, event: SessionEvent) -> None:
        """Apply an event to the session; ignored if it has ended."""
        if self._session is not None:
            self._session.handle_event(event)

    # Messages of the client.

    async def _read(self, requests: AsyncIterator[bytes]) -> None:
        """Pass each message to the session; the end of the client's half is that of the inputs."""
        try:
            async with asyncio.timeout(self._options.read_timeout):
                first = await anext(requests, None)
            if first is None:
                raise AseError(BAD_REQUEST, "the call has no message")
            session = self._start(first)
            async for data in requests:
                self._receive(session, data)
                await self._may_read.wait()
            self._end(session)
        except AseError as error:
            self._fail(error)
        except TimeoutError:
            self._fail(AseError(SESSION_READ_TIMEOUT))
        except Exception as exception:  # noqa: BLE001 (it is logged, with its traceback)
            self._context.dependencies.on_internal_error(self._record.sid, exception)
            self._fail(AseError(INTERNAL))

    def _start(self, data: bytes) -> Session:
        """Return the session of a first message. Raises AseError, see `serve_unary`."""
        dependencies, record = self._context.dependencies, self._record
        message = self._read_message(data)
        caller = CallerHead(record.method, record.path, "", self._headers, self._peer)
        identity = record.identity = dependencies.authenticator.identify(caller)
        contract = checks.find_contract(dependencies.catalog, message.service, record)
        identity.check_service(contract.service.id)
        record.admission = dependencies.limiter.admit(identity, contract.service.id)
        record.app_id = plain_exchange.require_app_id(self._headers, identity, dependencies.options)
        envelope = self._envelope(contract, message.members, is_first=True)
        requested_contract = contract
        contract, gateway_headers = checks.resolve_contract(
            contract, envelope, record, dependencies.catalog
        )
        checks.admit_sub_service(requested_contract, contract, record, dependencies.limiter)
        self._session = session = create_session(
            contract,
            gateway_headers,
            record,
            dependencies,
            self,
            self._options,
            self._call_later,
            decode_result=partial(exchange.decode_result, contract),
        )
        self._session_metrics.session_started(session)
        affinity_path = contract.affinity_path
        affinity_key = checks.affinity_key(envelope, affinity_path) if affinity_path else ""
        session.receive_envelope(envelope, False, affinity_key)
        return session

    def _receive(self, session: Session, data: bytes) -> None:
        """Pass a later message to the session."""
        if not self._is_closed:
            message = self._read_message(data)
            session.receive_envelope(self._envelope(session.contract, message.members), False)

    def _read_message(self, data: bytes) -> messages.MembersMessage:
        """Return a message, which has the limit of a WebSocket's."""
        max_fields = self._context.dependencies.options.max_names
        return messages.read_message(data, self._options.max_frame, max_fields)

    def _end(self, session: Session) -> None:
        """End the inputs of the session, unless it has one frame alone."""
        if not self._is_closed and session.contract.service.streaming:
            session.receive_envelope(self._envelope(session.contract, {}, is_last=True), False)

    def _envelope(
        self,
        contract: Contract,
        members: Mapping[str, GatewayValue],
        *,
        is_first: bool = False,
        is_last: bool = False,
    ) -> dict[str, Any]:
        options = self._context.dependencies.options
        try:
            envelope = exchange.build_envelope(contract, members, self._record.app_id, options)
        except AseError as error:
            raise plain_exchange.explain(contract, error) from None
        set_status(contract, envelope, is_first=is_first, is_last=is_last)
        return envelope

    def _fail(self, error: AseError) -> None:
        if self._session is not None:
            self._session.fail(error)
        else:
            self.error = error
            self._close()

    def _close(self) -> None:
        self._is_closed = True
        self._may_read.set()
        self._changed.set()

    def _log_unstarted(self) -> None:
        """Count and log a call whose first message started no session."""
        error = self.error or AseError(CLIENT_GONE)
        note_error(error, self._record, self._context.dependencies.clock())
        self._context.count_and_log(self._record)

    # Called by the session.

    def writable(self) -> bool:
        """Return whether the client has taken all results so far."""
        return not self._results

    def send_result(self, _session: Session, payload: bytes, _status: int) -> None:
        """Queue a result, unless it has no outputs."""
        if payload:
            self._results.append(payload)
            self._changed.set()

    def send_error(self, session: Session, error: AseError) -> None:
        """Keep the error that ends the session, in terms of the members."""
        self.error = plain_exchange.explain(session.contract, error)

    def on_closed(self, session: Session, event: SessionEvent) -> None:
        """Count and log the session; end the results."""
        status = _HTTP_OK
        if self.error is not None:
            status = status_of(self.error, session.record.code_map)
        self._session_metrics.session_ended(session, event, status)
        self._close()

    def pause_reading(self, _session: Session) -> None:
        """Take no further message: the session's queue is full. The client's window closes."""
        self._may_read.clear()

    def resume_reading(self, _session: Session) -> None:
        """Take messages again."""
        self._may_read.set()
