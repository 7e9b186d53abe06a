"""The port of a loader: native and xsf calls, health, reflection and ORCA, side by side."""

import secrets
import time
from collections.abc import AsyncIterator
from functools import partial

from google.protobuf.message import DecodeError

from aseloader import orca, reflection, xsf
from aseloader.engine import Engine
from aseloader.handles import Handles
from aseloader.health import Health
from aseloader.sessions import Sessions
from lb.meter import ConcurrencyLimiter
from lb.orca import OrcaReportBuilder
from rpc.server import CallContext, Server, UnaryHandler
from rpc.status import RpcError, Status
from schemas.errors import LOADER_FULL, AseError
from schemas.wire import LoaderInput, ProbeReply

# The original's handles have 26 characters.
_HANDLE_BYTES = 13

SERVICES = ("ase.v1.Loader", "utils.XsfCall", "grpc.health.v1.Health", orca.SERVICE)


class LoaderServer:
    """Serves an engine on one port; `meter` is the engine's, whose load is told by ORCA."""

    def __init__(self, engine: Engine, sessions: Sessions, meter: ConcurrencyLimiter) -> None:
        self._engine = engine
        self._sessions = sessions
        self._handles = Handles(sessions)
        self._meter = meter
        self._orca = orca.Orca(OrcaReportBuilder(meter), time.monotonic)
        self._health = Health(SERVICES)
        self._addr = ""
        unary: dict[str, UnaryHandler] = {
            "/ase.v1.Loader/Infer": self._infer,
            "/ase.v1.Loader/Probe": self._probe,
            "/utils.XsfCall/call": self._xsf,
            "/grpc.health.v1.Health/Check": self._health.check,
        }
        stream = reflection.methods(SERVICES) | {"/grpc.health.v1.Health/Watch": self._health.watch}
        stream |= self._orca.stream() | {"/ase.v1.Loader/Session": self._session}
        self._server = Server(unary=unary, stream=stream)

    async def start(self, host: str, port: int, advertise: str = "") -> str:
        """Listen, and return the address that gateways dial: `advertise`, else host and port.

        A port of 0 in either takes the one the system chose. Raises OSError.
        """
        chosen = await self._server.start(host, port)
        name, _, told = advertise.rpartition(":") if advertise else (host, "", "0")
        self._addr = f"{name}:{told if told != '0' else chosen}"
        return self._addr

    async def stop_serving(self) -> None:
        """Tell health checks that no more is taken."""
        await self._health.stop_serving()

    async def stop(self, grace: float) -> None:
        """Stop; what runs gets `grace` seconds."""
        await self._server.stop(grace)

    async def _infer(self, data: bytes, call: CallContext) -> bytes:
        try:
            frame = LoaderInput.FromString(data)
        except DecodeError as error:
            raise RpcError(Status.INVALID_ARGUMENT, "not a LoaderInput") from error
        try:
            output = await self._engine.once(
                frame, gateway=call.metadata.get("ase-gateway", ""), seconds=call.time_remaining
            )
        except AseError as error:
            raise RpcError(Status.RESOURCE_EXHAUSTED, str(error)) from error
        self._orca.trail(call)
        return output.SerializeToString()

    async def _session(self, data: AsyncIterator[bytes], call: CallContext) -> AsyncIterator[bytes]:
        gateway = call.metadata.get("ase-gateway", "")
        answers = self._sessions.serve(_frames(data), gateway=gateway, seconds=call.time_remaining)
        try:
            async for output in answers:
                yield output.SerializeToString()
        except AseError as error:
            raise RpcError(Status.RESOURCE_EXHAUSTED, str(error)) from error
        except DecodeError as error:
            raise RpcError(Status.INVALID_ARGUMENT, "not a LoaderInput") from error
        finally:
            await answers.aclose()

    async def _probe(self, _data: bytes, _call: CallContext) -> bytes:
        rounds = max(1.0, (self._meter.inflight + 1) / self._meter.best)
        latency = int(self._meter.service_ms * rounds * 1000)
        return ProbeReply(in_flight=self._meter.inflight, latency_us=latency).SerializeToString()

    async def _xsf(self, data: bytes, call: CallContext) -> bytes:
        try:
            asked = xsf.read(data, partial(secrets.token_hex, _HANDLE_BYTES))
        except AseError as error:
            return xsf.refuse(error.spec, str(error))
        gateway = call.metadata.get("ase-gateway", "")
        if not asked.op:
            return xsf.reply(None, asked.handle, self._addr)
        try:
            if asked.frame is None or asked.frame.state != LoaderInput.ONCE:
                told = await self._handles.serve(asked, gateway)
                return xsf.reply(told, asked.handle, self._addr)
            output = await self._engine.once(
                asked.frame, gateway=gateway, seconds=call.time_remaining
            )
        except AseError as error:
            words = LOADER_FULL.message if error.spec is LOADER_FULL else str(error)
            return xsf.refuse(error.spec, words, asked.handle)
        return xsf.reply(output, asked.handle, self._addr)


async def _frames(data: AsyncIterator[bytes]) -> AsyncIterator[LoaderInput]:
    async for frame in data:
        yield LoaderInput.FromString(frame)
