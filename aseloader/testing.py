"""Calling a wrapper in a test, without ports: validated and run as it will be served."""

import asyncio
import base64
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from aseloader import declare
from aseloader.engine import Engine
from aseloader.sessions import Sessions
from aseloader.wrapper import Data, Wrapper
from lb.meter import ConcurrencyLimiter
from schemas import document
from schemas.errors import BAD_REQUEST, AseError
from schemas.judge import RequestValidator
from schemas.session import FrameStatus
from schemas.text import as_text
from schemas.wire import LoaderInput, LoaderOutput, MetaDesc, Payload

Inputs = Mapping[str, bytes | Data]


class LoaderError(Exception):
    """The call was answered with a code.

    10163: the gateway would not let it pass; 10107: `Refused`; 10106, 10908: the wrapper's faults.
    """

    def __init__(self, code: int, words: str) -> None:
        super().__init__(f"{code}: {words}")
        self.code = code
        self.words = words


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
        self._declared = declare.declaration(type(wrapper))
        schema = document.service_from_document(document.parse(declare.schema(type(wrapper)))).input
        self._judge = RequestValidator(schema)
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        self._wrapper.init(self._config)
        self._changed = asyncio.Event()
        meter = self._meter = ConcurrencyLimiter(self._wrapper.total, self._changed.set)
        self._engine = Engine(self._wrapper, meter)
        self._sessions = Sessions(self._wrapper, meter, self._engine)
        self._open: list[AsyncGenerator[LoaderOutput, None]] = []
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        while self._open:
            self._runner.run(self._settled(self._open.pop()))
        self._sessions.close()
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
        frame = self._frame(params or {}, inputs or {}, headers or {}, FrameStatus.ONCE)
        output = self._runner.run(self._engine.once(frame, gateway="test", seconds=None))
        return _outputs(output)

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
        refused: list[LoaderError] = []
        sent = self._sent(params or {}, frames, headers or {}, refused)
        answers = self._sessions.serve(sent, gateway="test", seconds=None)

        async def answer() -> LoaderOutput | None:
            return await anext(answers, None)

        self._open.append(answers)
        try:
            while answers in self._open:  # and the `with` block lasts
                output = self._runner.run(answer())
                if output is None:
                    return
                if refused:
                    raise refused[0]
                told = _outputs(output)
                if told:
                    yield told
        except AseError as error:
            raise LoaderError(error.spec.code, str(error)) from None
        finally:
            if answers in self._open:
                self._open.remove(answers)
                self._runner.run(self._settled(answers))

    async def _settled(self, answers: AsyncGenerator[LoaderOutput, None]) -> None:
        """End a session; its thread gives the licence back when it has returned."""
        await answers.aclose()
        while self._meter.inflight > len(self._open):  # others may go on
            self._changed.clear()
            await self._changed.wait()

    async def _sent(
        self,
        params: Mapping[str, Any],
        frames: Iterable[Inputs],
        headers: Mapping[str, str],
        refused: list[LoaderError],
    ) -> AsyncIterator[LoaderInput]:
        status = FrameStatus.BEGIN
        try:
            for inputs in frames:
                yield self._frame(params, inputs, headers, status)
                status = FrameStatus.CONTINUE
            yield self._frame(params, {}, headers, FrameStatus.END)
        except LoaderError as error:
            refused.append(error)  # what the gateway refuses is not the wrapper's to catch
            raise

    def _judged(
        self, params: Mapping[str, Any], inputs: Mapping[str, Data], status: int
    ) -> dict[str, Any]:
        """Return the parameters as a gateway sends them on."""
        keys = {stream.name: stream.data_type.key for stream in self._declared.inputs}
        payload = {
            name: {**told.attributes, keys.get(name, "other"): base64.b64encode(told.data).decode()}
            for name, told in inputs.items()
        }
        judged = dict(params)
        body = {
            "header": {"app_id": "test", "status": int(status)},
            "parameter": {self._declared.id: judged},
            "payload": payload,
        }
        violations = self._judge.validate_and_transform(body)
        if violations:
            raise LoaderError(BAD_REQUEST.code, "; ".join(map(str, violations)))
        return judged

    def _frame(
        self,
        params: Mapping[str, Any],
        inputs: Inputs,
        headers: Mapping[str, str],
        status: FrameStatus,
    ) -> LoaderInput:
        """Return a frame as a gateway makes it. Raises LoaderError 10163."""
        given = {n: v if isinstance(v, Data) else Data(v) for n, v in inputs.items()}
        judged = self._judged(params, given, status)
        kinds = {stream.name: stream.data_type for stream in self._declared.inputs}
        return LoaderInput(
            serviceId=self._declared.id,
            serviceName=self._declared.id,
            state=LoaderInput.ONCE if status is FrameStatus.ONCE else LoaderInput.STREAM,
            headers={**headers, "status": str(int(status))},
            params={name: as_text(value) for name, value in judged.items()},
            expect=[
                MetaDesc(name=s.name, dataType=int(s.data_type)) for s in self._declared.outputs
            ],
            pl=[
                Payload(
                    meta=MetaDesc(name=name, dataType=int(kinds[name]), attribute=data.attributes),
                    data=data.data,
                )
                for name, data in given.items()
            ],
        )


def _outputs(output: LoaderOutput) -> dict[str, Data]:
    if output.code != 0:
        raise LoaderError(output.code, output.err)
    return {told.meta.name: Data(told.data, dict(told.meta.attribute)) for told in output.pl}
