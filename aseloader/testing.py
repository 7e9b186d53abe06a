"""Calling a wrapper in a test, without ports: validated and run as it will be served."""

import asyncio
import base64
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from aseloader import declare
from aseloader.engine import Engine
from aseloader.sessions import SessionEngine
from aseloader.wrapper import Data, Wrapper
from lb.reporter.limiter import ConcurrencyLimiter
from schemas.model import document
from schemas.model.errors import BAD_REQUEST, AseError
from schemas.model.session import FrameStatus
from schemas.model.text import as_text
from schemas.validation.request_validator import RequestValidator
from schemas.wire import LoaderInput, LoaderOutput, MetaDesc, Payload

Inputs = Mapping[str, bytes | Data]


class LoaderError(Exception):
    """The call was answered with a code.

    10163: the gateway would not let it pass; 10107: `Refused`; 10106, 10908: the wrapper's faults.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class LoaderFor:
    """A wrapper made ready for a `with` block; call it with parameters and inputs.

    with LoaderFor(Thumbnail()) as call:
        outputs = call({"width": 64}, {"image": png})

    with LoaderFor(Vad()) as call:
        results = list(call.session({}, [{"audio": pcm}, {"audio": more}]))
    """

    def __init__(self, wrapper: Wrapper, config: Mapping[str, str] | None = None) -> None:
        self._wrapper = wrapper
        self._config = config or {}
        self._declaration = declare.declaration(type(wrapper))
        schema = document.service_from_document(document.parse(declare.schema(type(wrapper)))).input
        self._validator = RequestValidator(schema)
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        self._wrapper.init(self._config)
        self._limiter_changed = asyncio.Event()
        limiter = self._limiter = ConcurrencyLimiter(self._wrapper.total, self._limiter_changed.set)
        self._engine = Engine(self._wrapper, limiter)
        self._session_engine = SessionEngine(self._wrapper, limiter, self._engine)
        self._open_sessions: list[AsyncGenerator[LoaderOutput, None]] = []
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        while self._open_sessions:
            self._runner.run(self._close_session(self._open_sessions.pop()))
        self._session_engine.close()
        self._engine.close()
        self._runner.close()
        self._wrapper.fini()

    def __call__(
        self,
        params: Mapping[str, Any] | None = None,
        inputs: Inputs | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Data]:
        """Return the outputs of one request by name. Raises LoaderError for a code other than 0."""
        frame = self._build_frame(params or {}, inputs or {}, headers or {}, FrameStatus.ONCE)
        output = self._runner.run(self._engine.once(frame, gateway="test", timeout=None))
        return _decode_outputs(output)

    def session(
        self,
        params: Mapping[str, Any] | None,
        frames: Iterable[Inputs],
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[dict[str, Data]]:
        """Yield the outputs of each result of a session. Raises LoaderError as a call does.

        `frames` are the inputs of each frame; one is taken whenever the wrapper asks for the next,
        and the session's last frame, which brings nothing, comes when there is no other.
        """
        errors: list[LoaderError] = []
        request_frames = self._request_frames(params or {}, frames, headers or {}, errors)
        outputs = self._session_engine.serve(request_frames, gateway="test", timeout=None)

        async def next_output() -> LoaderOutput | None:
            return await anext(outputs, None)

        self._open_sessions.append(outputs)
        try:
            while outputs in self._open_sessions:  # and the `with` block lasts
                output = self._runner.run(next_output())
                if output is None:
                    return
                if errors:
                    raise errors[0]
                result = _decode_outputs(output)
                if result:
                    yield result
        except AseError as error:
            raise LoaderError(error.spec.code, str(error)) from None
        finally:
            if outputs in self._open_sessions:
                self._open_sessions.remove(outputs)
                self._runner.run(self._close_session(outputs))

    async def _close_session(self, outputs: AsyncGenerator[LoaderOutput, None]) -> None:
        """End a session; its thread gives the licence back when it has returned."""
        await outputs.aclose()
        while self._limiter.inflight > len(self._open_sessions):  # others may go on
            self._limiter_changed.clear()
            await self._limiter_changed.wait()

    async def _request_frames(
        self,
        params: Mapping[str, Any],
        frames: Iterable[Inputs],
        headers: Mapping[str, str],
        errors: list[LoaderError],
    ) -> AsyncIterator[LoaderInput]:
        status = FrameStatus.BEGIN
        try:
            for inputs in frames:
                yield self._build_frame(params, inputs, headers, status)
                status = FrameStatus.CONTINUE
            yield self._build_frame(params, {}, headers, FrameStatus.END)
        except LoaderError as error:
            errors.append(error)  # what the gateway refuses is not the wrapper's to catch
            raise

    def _validate_and_transform(
        self, params: Mapping[str, Any], inputs: Mapping[str, Data], status: int
    ) -> dict[str, Any]:
        """Return the parameters as a gateway sends them on."""
        keys = {stream.name: stream.data_type.key for stream in self._declaration.inputs}
        payload = {
            name: {**data.attributes, keys.get(name, "other"): base64.b64encode(data.data).decode()}
            for name, data in inputs.items()
        }
        transformed_params = dict(params)
        body = {
            "header": {"app_id": "test", "status": int(status)},
            "parameter": {self._declaration.id: transformed_params},
            "payload": payload,
        }
        violations = self._validator.validate_and_transform(body)
        if violations:
            raise LoaderError(BAD_REQUEST.code, "; ".join(map(str, violations)))
        return transformed_params

    def _build_frame(
        self,
        params: Mapping[str, Any],
        inputs: Inputs,
        headers: Mapping[str, str],
        status: FrameStatus,
    ) -> LoaderInput:
        """Return a frame as a gateway makes it. Raises LoaderError 10163."""
        data_by_name = {n: v if isinstance(v, Data) else Data(v) for n, v in inputs.items()}
        transformed_params = self._validate_and_transform(params, data_by_name, status)
        kinds = {stream.name: stream.data_type for stream in self._declaration.inputs}
        return LoaderInput(
            serviceId=self._declaration.id,
            serviceName=self._declaration.id,
            state=LoaderInput.ONCE if status is FrameStatus.ONCE else LoaderInput.STREAM,
            headers={**headers, "status": str(int(status))},
            params={name: as_text(value) for name, value in transformed_params.items()},
            expect=[
                MetaDesc(name=s.name, dataType=int(s.data_type)) for s in self._declaration.outputs
            ],
            pl=[
                Payload(
                    meta=MetaDesc(name=name, dataType=int(kinds[name]), attribute=data.attributes),
                    data=data.data,
                )
                for name, data in data_by_name.items()
            ],
        )


def _decode_outputs(output: LoaderOutput) -> dict[str, Data]:
    if output.code != 0:
        raise LoaderError(output.code, output.err)
    return {
        payload.meta.name: Data(payload.data, dict(payload.meta.attribute)) for payload in output.pl
    }
