"""Calling a wrapper in a test, without ports: frames in, frames out, as the server would."""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from aseloader import declare
from aseloader.engine import Engine
from aseloader.wrapper import Data, Wrapper
from lb.meter import Meter
from schemas.text import as_text
from schemas.wire import LoaderInput, MetaDesc, Payload


class LoaderError(Exception):
    """The loader answered with a code: 10107 for `Refused`, 10106 and 10908 for its own faults."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(f"{code}: {words}")
        self.code = code
        self.words = words


class LoaderFor:
    """A wrapper made ready for a `with` block; call it with parameters and inputs.

    with LoaderFor(Thumbnail()) as call:
        outputs = call({"width": 64}, {"image": png})
    """

    def __init__(self, wrapper: Wrapper, config: Mapping[str, str] | None = None) -> None:
        self._wrapper = wrapper
        self._config = config or {}
        self._declared = declare.declaration(type(wrapper))
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        self._wrapper.init(self._config)
        self._engine = Engine(self._wrapper, Meter(self._wrapper.total, lambda: None))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._engine.close()
        self._runner.close()
        self._wrapper.fini()

    def __call__(
        self,
        params: Mapping[str, Any] | None = None,
        inputs: Mapping[str, bytes | Data] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Data]:
        """Return the outputs of one request by name. Raises LoaderError for a code other than 0."""
        frame = self._frame(params or {}, inputs or {}, headers or {})
        output = self._runner.run(self._engine.once(frame, gateway="test", seconds=None))
        if output.code != 0:
            raise LoaderError(output.code, output.err)
        return {told.meta.name: Data(told.data, dict(told.meta.attribute)) for told in output.pl}

    def _frame(
        self,
        params: Mapping[str, Any],
        inputs: Mapping[str, bytes | Data],
        headers: Mapping[str, str],
    ) -> LoaderInput:
        kinds = {stream.name: stream.kind for stream in self._declared.inputs}
        given = {n: v if isinstance(v, Data) else Data(v) for n, v in inputs.items()}
        return LoaderInput(
            serviceId=self._declared.id,
            serviceName=self._declared.id,
            state=LoaderInput.ONCE,
            headers=dict(headers),
            params={name: as_text(value) for name, value in params.items()},
            expect=[MetaDesc(name=s.name, dataType=int(s.kind)) for s in self._declared.outputs],
            pl=[
                Payload(
                    meta=MetaDesc(name=name, dataType=int(kinds[name]), attribute=data.attributes),
                    data=data.data,
                )
                for name, data in given.items()
            ],
        )
