"""gRPC server of a loader: native and xsf calls, health, reflection and ORCA on one port."""

import secrets
import time
from collections.abc import AsyncIterator, Mapping
from functools import partial

from google.protobuf.message import DecodeError

from aseloader import orca, xsf
from aseloader.interfaces import RequestEngine, SessionRunner
from aseloader.processes import abandonment, shared_inputs
from aseloader.processes.abandonment import REQUEST_KEY, RunningRequests
from aseloader.processes.shared_inputs import SharedInputs
from aseloader.xsf_sessions import XsfSessions
from lb.reporter.limiter import ConcurrencyLimiter
from lb.reporter.orca_report import OrcaReportBuilder
from rpc import health, reflection
from rpc.addresses import advertised_address
from rpc.health import HealthService
from rpc.server import CallContext, Server, UnaryHandler
from rpc.status import RpcError, Status
from schemas import wire
from schemas.model.errors import LOADER_FULL, AseError
from schemas.wire import LoaderInput, LoaderOutput, ProbeReply

# In hex these are 26 characters, the length of the original's handles.
_HANDLE_BYTES = 13

SERVICES = ("ase.v1.Loader", "utils.XsfCall", health.SERVICE, orca.SERVICE)


class LoaderServer:
    """Serves one wrapper's engines on one port.

    `limiter` is that of the engines. ORCA reports and `Probe` read the load from it.
    `max_message_size` limits a message, in bytes. In a process of a loader a single request may be
    in a file of `inputs` instead of a message, and may be abandoned. The services:

    - `ase.v1.Loader`: `Infer` for single requests, `Session` for streams, `Probe` for the load.
    - `utils.XsfCall`: the protocol of the original, for both.
    - `grpc.health.v1.Health`, server reflection and `xds.service.orca.v3.OpenRcaService`.

    `_addr` is the advertised address; xsf replies carry it. It is empty until `start` has returned.
    """

    def __init__(
        self,
        engine: RequestEngine,
        session_engine: SessionRunner,
        limiter: ConcurrencyLimiter,
        max_message_size: int,
        inputs: SharedInputs | None = None,
    ) -> None:
        self._shared_inputs = inputs
        self._engine = engine
        self._session_engine = session_engine
        self._xsf_sessions = XsfSessions(session_engine)
        self._limiter = limiter
        self._orca = orca.OrcaService(OrcaReportBuilder(limiter), time.monotonic)
        self._health = HealthService(SERVICES, wire.POOL)
        self._running = RunningRequests()
        self._addr = ""
        unary: dict[str, UnaryHandler] = {
            "/ase.v1.Loader/Infer": self._infer,
            "/ase.v1.Loader/Probe": self._probe,
            "/utils.XsfCall/call": self._xsf,
        } | self._health.unary_methods()
        if inputs is not None:
            unary[abandonment.METHOD] = self._running.abandon
        stream = reflection.methods(SERVICES, wire.POOL) | self._health.stream_methods()
        stream |= self._orca.stream_methods() | {"/ase.v1.Loader/Session": self._session}
        self._server = Server(unary=unary, stream=stream, max_message_size=max_message_size)

    async def start(self, host: str, port: int, advertise: str = "") -> str:
        """Listen, and return the address that gateways dial: `advertise`, or else host and port.

        Port 0 in `port` means one chosen by the system; in `advertise` it means the port listened
        on. Raises OSError if the address cannot be bound.
        """
        bound_port = await self._server.start(host, port)
        self._addr = advertised_address(advertise, host, bound_port)
        return self._addr

    async def stop_serving(self) -> None:
        """Report NOT_SERVING to health checks. The server still accepts calls."""
        await self._health.stop_serving()

    async def stop(self, grace: float) -> None:
        """Stop accepting calls. Running ones get `grace` seconds, then they are cancelled."""
        await self._server.stop(grace)

    async def _infer(self, data: bytes, call: CallContext) -> bytes:
        try:
            reference = call.metadata.get(shared_inputs.METADATA_KEY)
            if reference is not None and self._shared_inputs is not None:
                data = self._shared_inputs.read(reference)
            frame = LoaderInput.FromString(data)
        except (DecodeError, ValueError, OSError) as error:
            raise RpcError(Status.INVALID_ARGUMENT, "not a LoaderInput") from error
        gateway = call.metadata.get("ase-gateway", "")
        try:
            if self._shared_inputs is not None and REQUEST_KEY in call.metadata:
                output = await self._infer_for_loader(frame, gateway, call.metadata)
            else:
                output = await self._engine.once(
                    frame, gateway=gateway, timeout=call.time_remaining
                )
        except AseError as error:
            raise RpcError(Status.RESOURCE_EXHAUSTED, str(error)) from error
        self._orca.attach_report(call)
        return output.SerializeToString()

    async def _infer_for_loader(
        self, frame: LoaderInput, gateway: str, metadata: Mapping[str, str]
    ) -> LoaderOutput:
        """Process a request of the loader whose process this is; it may abandon the request."""
        timeout = float(metadata[shared_inputs.TIMEOUT_KEY])
        with self._running.run(metadata[REQUEST_KEY]) as is_abandoned:
            return await self._engine.once(
                frame, gateway=gateway, timeout=timeout, is_abandoned=is_abandoned
            )

    async def _session(
        self, messages: AsyncIterator[bytes], call: CallContext
    ) -> AsyncIterator[bytes]:
        gateway = call.metadata.get("ase-gateway", "")
        outputs = self._session_engine.serve(
            _parse_frames(messages), gateway=gateway, timeout=call.time_remaining
        )
        try:
            async for output in outputs:
                yield output.SerializeToString()
        except AseError as error:
            raise RpcError(Status.RESOURCE_EXHAUSTED, str(error)) from error
        except DecodeError as error:
            raise RpcError(Status.INVALID_ARGUMENT, "not a LoaderInput") from error
        finally:
            await outputs.aclose()

    async def _probe(self, _data: bytes, _call: CallContext) -> bytes:
        rounds = max(1.0, (self._limiter.inflight + 1) / self._limiter.best)
        latency_us = int(self._limiter.service_ms * rounds * 1000)
        return ProbeReply(
            in_flight=self._limiter.inflight, latency_us=latency_us
        ).SerializeToString()

    async def _xsf(self, data: bytes, call: CallContext) -> bytes:
        try:
            request = xsf.parse_request(data, partial(secrets.token_hex, _HANDLE_BYTES))
        except AseError as error:
            return xsf.build_refusal(error.spec, str(error))
        gateway = call.metadata.get("ase-gateway", "")
        if not request.op:
            return xsf.build_reply(None, request.handle, self._addr)
        try:
            if request.frame is None or request.frame.state != LoaderInput.ONCE:
                session_output = await self._xsf_sessions.serve(request, gateway)
                return xsf.build_reply(session_output, request.handle, self._addr)
            output = await self._engine.once(
                request.frame, gateway=gateway, timeout=call.time_remaining
            )
        except AseError as error:
            message = LOADER_FULL.message if error.spec is LOADER_FULL else str(error)
            return xsf.build_refusal(error.spec, message, request.handle)
        return xsf.build_reply(output, request.handle, self._addr)


async def _parse_frames(messages: AsyncIterator[bytes]) -> AsyncIterator[LoaderInput]:
    async for message in messages:
        yield LoaderInput.FromString(message)
