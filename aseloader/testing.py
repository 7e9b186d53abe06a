"""Test helpers: call a wrapper without ports, validated and run as the loader serves it.

    import pytest

    from aseloader.testing import LoaderError, LoaderFor


    def test_words():
        with LoaderFor(Words(), {"stop": "the"}) as call:
            outputs = call({"top": 1}, {"text": b"the cat the cat"})
            assert outputs["counts"].data == b'{"cat":2}'
            with pytest.raises(LoaderError, match="10107"):
                call({}, {"text": bytes([255])})

`Words` is the wrapper of `docs/loader.md`.
"""

import asyncio
import base64
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from aseloader import declare
from aseloader.engine import Engine, slot_count, wrapper_threads
from aseloader.functions import wrapper_class_of
from aseloader.sessions import SessionEngine
from aseloader.wrapper import Data, Wrapper
from lb.reporter.limiter import ConcurrencyLimiter
from rpc.client import Channel
from schemas.model import document
from schemas.model.errors import BAD_REQUEST, AseError
from schemas.model.session import FrameStatus
from schemas.model.text import as_text
from schemas.validation.request_validator import RequestValidator
from schemas.wire import LoaderInput, LoaderOutput, MetaDesc, Payload

Inputs = Mapping[str, bytes | Data]

_INFER_METHOD = "/ase.v1.Loader/Infer"
_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
_FINI_TIMEOUT_S = 30.0  # for a session whose thread does not return


class LoaderError(Exception):
    """Error response to a call, with `code` and `message`.

    10163: the gateway would reject the request. 10107: the wrapper raised `Refused`. 10106: it
    returned an invalid output. 10908: it raised another exception.

        with pytest.raises(LoaderError) as caught:
            call({"width": 64}, {"image": b"no picture"})
        assert caught.value.code == 10107
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class _FrameBuilder:
    """Builds the frames of a wrapper's requests, as the gateway does."""

    def __init__(self, wrapper_class: type[Wrapper]) -> None:
        self._declaration = declare.declaration(wrapper_class)
        schema = document.service_from_document(document.parse(declare.schema(wrapper_class))).input
        self._validator = RequestValidator(schema)

    def _validate_and_transform(
        self, params: Mapping[str, Any], inputs: Mapping[str, Data], status: int
    ) -> dict[str, Any]:
        """Validate a request; return its parameters as the gateway forwards them.

        Raises LoaderError 10163 if the request violates the schema.
        """
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

    def build(
        self,
        params: Mapping[str, Any],
        inputs: Inputs,
        headers: Mapping[str, str],
        status: FrameStatus,
    ) -> LoaderInput:
        """Return the frame that the gateway would send. Raises LoaderError 10163."""
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


class LoaderFor:
    """Context manager that runs a wrapper for a test. Call it with parameters and inputs.

        with LoaderFor(Thumbnail()) as call:
            outputs = call({"width": 64}, {"image": png})

        with LoaderFor(Vad()) as call:
            results = list(call.session({}, [{"audio": pcm}, {"audio": more}]))

    `wrapper` may also be a function that `aseloader.service` decorates.

    Entering calls `init` with `config`; leaving closes open sessions and calls `fini`. An input is
    bytes, or `Data` if it has attributes. Requests are validated and changed by the schema as the
    gateway does it. Raises DeclarationError for an invalid wrapper class. It runs an event loop of
    its own, so it cannot be used inside another one.
    """

    def __init__(
        self, wrapper: Wrapper | Callable[..., Any], config: Mapping[str, str] | None = None
    ) -> None:
        if not isinstance(wrapper, Wrapper):
            wrapper_class = wrapper_class_of(wrapper)
            if wrapper_class is None:
                raise TypeError(f"{wrapper!r} is no Wrapper, and no function with @service")
            wrapper = wrapper_class()
        self._wrapper = wrapper
        self._config = config or {}
        self._frames = _FrameBuilder(type(wrapper))
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        wrapper = self._wrapper
        threads = wrapper_threads(wrapper.total)
        try:
            threads.submit(wrapper.init, self._config).result()
        except BaseException:
            threads.shutdown(wait=False)
            self._runner.close()
            raise
        self._limiter_changed = asyncio.Event()
        slots = slot_count(type(wrapper))
        limiter = self._limiter = ConcurrencyLimiter(slots, self._limiter_changed.set)
        self._engine = Engine(wrapper, limiter, threads)
        self._session_engine = SessionEngine(wrapper, limiter, self._engine)
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
        self._runner.close()
        self._engine.thread_pool.submit(self._wrapper.fini).result(_FINI_TIMEOUT_S)
        self._engine.close()

    def __call__(
        self,
        params: Mapping[str, Any] | None = None,
        inputs: Inputs | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Data]:
        """Run one request and return its outputs by name.

        `headers` are those of `Context.headers`. Raises LoaderError if the code is not 0.
        """
        frame = self._frames.build(params or {}, inputs or {}, headers or {}, FrameStatus.ONCE)
        output = self._runner.run(self._engine.once(frame, gateway="test", timeout=None))
        return _decode_outputs(output)

    def batch(
        self, requests: Iterable[tuple[Mapping[str, Any] | None, Inputs | None]]
    ) -> list[dict[str, Data] | LoaderError]:
        """Run requests that arrive at the same time; return the outputs of each, or its error.

            results = call.batch([({}, {"text": b"good"}), ({}, {"text": b"bad"})])

        Each is a pair of parameters and inputs. If there are more than `max_batch`, or if they
        differ in `batch_by`, they run in several batches.
        """
        frames: list[LoaderInput | LoaderError] = []
        for params, inputs in requests:
            try:
                frames.append(self._frames.build(params or {}, inputs or {}, {}, FrameStatus.ONCE))
            except LoaderError as error:
                frames.append(error)
        return self._runner.run(self._run_at_once(frames))

    async def _run_at_once(
        self, frames: list[LoaderInput | LoaderError]
    ) -> list[dict[str, Data] | LoaderError]:
        async def run(frame: LoaderInput | LoaderError) -> dict[str, Data] | LoaderError:
            try:
                if isinstance(frame, LoaderError):
                    raise frame
                output = await self._engine.once(frame, gateway="test", timeout=None)
                return _decode_outputs(output)
            except AseError as error:
                return LoaderError(error.spec.code, str(error))
            except LoaderError as error:
                return error

        results: list[dict[str, Data] | LoaderError] = []
        slots = slot_count(type(self._wrapper))
        for start in range(0, len(frames), slots):
            results += await asyncio.gather(*map(run, frames[start : start + slots]))
        return results

    def session(
        self,
        params: Mapping[str, Any] | None,
        frames: Iterable[Inputs],
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[dict[str, Data]]:
        """Run a session and yield the outputs of each result by name.

        `frames` has the inputs of each frame. It is advanced whenever the wrapper reads the next
        frame. When it is exhausted, a last frame without inputs ends the session. Raises
        LoaderError if the session ends with a code other than 0.
        """
        errors: list[LoaderError] = []
        request_frames = self._request_frames(params or {}, frames, headers or {}, errors)
        outputs = self._session_engine.serve(request_frames, gateway="test", timeout=None)

        async def next_output() -> LoaderOutput | None:
            return await anext(outputs, None)

        self._open_sessions.append(outputs)
        try:
            while outputs in self._open_sessions:  # until `__exit__` closes the session
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
        """Close a session, and wait until its thread has returned and its permit is released."""
        await outputs.aclose()
        while self._limiter.inflight > len(self._open_sessions):  # other sessions keep theirs
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
                yield self._frames.build(params, inputs, headers, status)
                status = FrameStatus.CONTINUE
            yield self._frames.build(params, {}, headers, FrameStatus.END)
        except LoaderError as error:
            errors.append(error)  # kept, since the wrapper could catch it
            raise


class LoaderAt:
    """Context manager that calls a loader that runs already, as `LoaderFor` calls a wrapper.

        with LoaderAt("127.0.0.1:8240", Thumbnail) as call:
            outputs = call({"width": 64}, {"image": png})

    `wrapper_class` is what it runs: requests are validated by its schema. `timeout` is in seconds.
    Raises RpcError if the loader cannot be reached.
    """

    def __init__(self, addr: str, wrapper_class: type[Wrapper], timeout: float = 60.0) -> None:
        self._addr = addr
        self._timeout = timeout
        self._frames = _FrameBuilder(wrapper_class)
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.close()

    def __call__(
        self, params: Mapping[str, Any] | None = None, inputs: Inputs | None = None
    ) -> dict[str, Data]:
        """Send one request and return its outputs by name.

        Raises LoaderError if the code is not 0, RpcError if there is no answer.
        """
        frame = self._frames.build(params or {}, inputs or {}, {}, FrameStatus.ONCE)
        data = self._runner.run(self._infer(frame.SerializeToString()))
        return _decode_outputs(LoaderOutput.FromString(data))

    async def _infer(self, frame: bytes) -> bytes:
        channel = Channel(self._addr, max_message_size=_MAX_MESSAGE_BYTES)
        try:
            return await channel.unary(_INFER_METHOD, frame, timeout=self._timeout)
        finally:
            await channel.close()


def _decode_outputs(output: LoaderOutput) -> dict[str, Data]:
    if output.code != 0:
        raise LoaderError(output.code, output.err)
    return {
        payload.meta.name: Data(payload.data, dict(payload.meta.attribute)) for payload in output.pl
    }
