"""Calling a wrapper in a test, without ports: validated and run as it will be served."""

import asyncio
import base64
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from aseloader import declare
from aseloader.engine import Engine
from aseloader.wrapper import Data, Wrapper
from lb.meter import Meter
from schemas import document
from schemas.errors import BAD_REQUEST
from schemas.judge import Judge
from schemas.text import as_text
from schemas.wire import LoaderInput, MetaDesc, Payload


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
    """

    def __init__(self, wrapper: Wrapper, config: Mapping[str, str] | None = None) -> None:
        self._wrapper = wrapper
        self._config = config or {}
        self._declared = declare.declaration(type(wrapper))
        schema = document.read(document.parse(declare.schema(type(wrapper)))).input
        self._judge = Judge(schema)
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
        given = {n: v if isinstance(v, Data) else Data(v) for n, v in (inputs or {}).items()}
        frame = self._frame(self._judged(params or {}, given), given, headers or {})
        output = self._runner.run(self._engine.once(frame, gateway="test", seconds=None))
        if output.code != 0:
            raise LoaderError(output.code, output.err)
        return {told.meta.name: Data(told.data, dict(told.meta.attribute)) for told in output.pl}

    def _judged(self, params: Mapping[str, Any], inputs: Mapping[str, Data]) -> dict[str, Any]:
        """Return the parameters as a gateway sends them on."""
        keys = {stream.name: stream.kind.key for stream in self._declared.inputs}
        payload = {
            name: {**told.attributes, keys.get(name, "other"): base64.b64encode(told.data).decode()}
            for name, told in inputs.items()
        }
        judged = dict(params)
        body = {
            "header": {"app_id": "test", "status": 3},
            "parameter": {self._declared.id: judged},
            "payload": payload,
        }
        violations = self._judge.judge(body)
        if violations:
            raise LoaderError(BAD_REQUEST.code, "; ".join(map(str, violations)))
        return judged

    def _frame(
        self, params: Mapping[str, Any], inputs: Mapping[str, Data], headers: Mapping[str, str]
    ) -> LoaderInput:
        kinds = {stream.name: stream.kind for stream in self._declared.inputs}
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
                for name, data in inputs.items()
            ],
        )
