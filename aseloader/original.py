"""Base class for streaming wrappers written for the PyPI package `aiges` of the original.

Such a wrapper keeps its methods `wrapperCreate`, `wrapperWrite`, `wrapperRead` and
`wrapperDestroy`. Only its base class and its declarations change. The methods are those of `aiges`
0.5.0 (`docs/wire.md`).
"""

import inspect
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aseloader.wrapper import Context, Data, Outputs, Wrapper
from schemas.model.errors import BAD_OUTPUT, AseError, loader_error_spec
from schemas.model.session import FrameStatus

_logger = logging.getLogger("ase.loader")

_REREAD_DELAY_S: Final = 0.01
_FINAL_STATUSES: Final = (FrameStatus.END, FrameStatus.ONCE)
_POSITIONAL: Final = (
    inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD,
)  # fmt: skip


@dataclass
class RequestData:
    """One input of a `wrapperWrite` call, with the fields of `aiges`.

    `key` is the name of the input, `len` the number of bytes in `data`, `desc` its attributes.
    `status` is 0 for the first frame, 1 for one in between, 2 for the last, 3 for the only one.
    `type` is always 0 here.
    """

    key: str
    data: bytes
    len: int
    type: int = 0
    status: int = 0
    desc: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Request:
    """The argument `req` of `wrapperWrite`.

        audio = req.get("audio")
        if audio is not None:
            self.recognizers[handle].feed(audio.data, final=audio.status == 2)

    `list` has the inputs of one frame, `params` the parameters of the session.
    """

    list: list[RequestData]
    params: Mapping[str, Any] = field(default_factory=dict)

    def get(self, key: str) -> RequestData | None:
        """Return the input named `key`, or None if the frame does not have it."""
        return next((item for item in self.list if item.key == key), None)


class OriginalWrapper(Wrapper, ABC):
    """A streaming wrapper with the methods of the original. Subclass it, write the abstract ones.

        class Recognizer(OriginalWrapper):
            service = "asr"
            audio = Input("audio")
            text = Output("text")

            def wrapperCreate(self, params, sid): ...
            def wrapperWrite(self, handle, req, sid): ...
            def wrapperRead(self, handle, sid): ...
            def wrapperDestroy(self, handle): ...

    A method may omit trailing parameters that it does not use, as the versions of `aiges` do. A
    session calls them in one thread. A nonzero `error_code` ends the session with that code.
    """

    def wrapperInit(self, config: Mapping[str, str]) -> int:  # noqa: N802, ARG002
        """Load the model; return 0."""
        return 0

    def wrapperFini(self) -> int:  # noqa: N802
        """Release the model; the result is ignored."""
        return 0

    # The loader rejects a class that lacks one of these before it serves (declare.py).

    @abstractmethod
    def wrapperCreate(self, params: Mapping[str, Any], sid: str, *more: Any) -> Any:  # noqa: N802
        """Start a session; return its handle, or an object with `handle` and `error_code`.

        `more` are `userTag` and `persId` of `aiges`; here they are always "" and 0.
        """

    @abstractmethod
    def wrapperWrite(self, handle: str, req: Request, sid: str) -> Any:  # noqa: N802
        """Process a frame; return 0, another code, or an object with `error_code`.

        The items of the last write have status 2, with or without data.
        """

    @abstractmethod
    def wrapperRead(self, handle: str, sid: str) -> Any:  # noqa: N802
        """Return the results that are ready: an object whose `list` has the items.

        An item has `key`, `data` and `status`. None or an empty list means that there are none. An
        item without data means that there are none yet; after the last write, `wrapperRead` is then
        called again every 10 ms. Status 2 (or 3) marks the last item of its key. The session ends
        when every key that has appeared has had its last item.
        """

    @abstractmethod
    def wrapperDestroy(self, handle: str) -> Any:  # noqa: N802
        """End a session and release its handle. An exception is only logged."""

    def init(self, config: Mapping[str, str]) -> None:
        """Call `wrapperInit`. Raises RuntimeError if it returns a code other than 0."""
        code = error_code(self.wrapperInit(config))
        if code:
            raise RuntimeError(f"wrapperInit returned {code}")

    def fini(self) -> None:
        """Call `wrapperFini`."""
        self.wrapperFini()

    def session(
        self, params: Mapping[str, Any], inputs: Iterable[Mapping[str, Data]], context: Context
    ) -> Iterator[Outputs]:
        """Run a session: one write per frame, and after each one reads until nothing is ready.

        After the last write, reads go on while the wrapper says that results are still to come.
        Raises AseError with the code that a method returned, and 10106 for an invalid result.
        """
        sid = context.sid
        response = call_with_accepted_args(self.wrapperCreate, params, sid, "", 0)
        raise_on_error(response)
        handle = response if isinstance(response, str) else getattr(response, "handle", response)
        try:
            ended_by_output: dict[str, bool] = {}  # by key, once it has appeared
            for items in _write_items(inputs):
                raise_on_error(
                    call_with_accepted_args(self.wrapperWrite, handle, Request(items, params), sid)
                )
                is_finished, _ = yield from self._read_outputs(handle, sid, ended_by_output)
                if is_finished:
                    return
            is_finished, may_continue = yield from self._read_outputs(handle, sid, ended_by_output)
            while may_continue and not is_finished and not context.cancelled:
                time.sleep(_REREAD_DELAY_S)  # the wrapper computes in its own thread meanwhile
                is_finished, may_continue = yield from self._read_outputs(
                    handle, sid, ended_by_output
                )
        finally:
            try:
                call_with_accepted_args(self.wrapperDestroy, handle)
            except Exception:
                _logger.exception("wrapperDestroy raised", extra={"sid": sid})

    def _read_outputs(
        self, handle: str, sid: str, ended_by_output: dict[str, bool]
    ) -> Generator[Outputs, None, tuple[bool, bool]]:
        """Yield the outputs that are ready; return whether all are finished and more may come.

        Updates `ended_by_output`: for each key that has appeared, whether its last item was seen.
        """
        while True:
            response = call_with_accepted_args(self.wrapperRead, handle, sid)
            raise_on_error(response)
            items = _response_items(response)
            yield from group_outputs(items)
            for item in items:
                is_final = getattr(item, "status", 0) in _FINAL_STATUSES
                if is_final or item.data:
                    ended_by_output[item.key] = is_final
            if ended_by_output and all(ended_by_output.values()):
                return True, False
            if not any(item.data for item in items):
                return False, bool(items)


def _write_items(inputs: Iterable[Mapping[str, Data]]) -> Iterator[list[RequestData]]:
    """Yield the items of each write.

    If the last frame has no item with status 2 or 3, a further write without data follows, with
    status 2 for every input that has appeared.
    """
    names: dict[str, None] = {}
    has_final_status = False
    for frame in inputs:
        items = [_request_item(name, data) for name, data in frame.items()]
        names |= dict.fromkeys(frame)
        has_final_status = any(item.status in _FINAL_STATUSES for item in items)
        yield items
    if not has_final_status:
        yield [RequestData(name, b"", 0, status=FrameStatus.END) for name in names]


def call_with_accepted_args(method: Callable[..., Any], *arguments: Any) -> Any:
    """Call `method` with the first of `arguments`, as many as it has positional parameters."""
    kinds = [parameter.kind for parameter in inspect.signature(method).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return method(*arguments)
    accepted = sum(kind in _POSITIONAL for kind in kinds)
    return method(*arguments[:accepted])


def _response_items(response: Any) -> list[Any]:
    """Return the items of a `wrapperRead` response. Raises AseError 10106 if it has none."""
    items = [] if response is None or response == 0 else getattr(response, "list", None)
    if not isinstance(items, list | tuple) or not all(hasattr(item, "data") for item in items):
        message = "wrapperRead must return None, or an object with `list` of items (`key`, `data`)"
        raise AseError(BAD_OUTPUT, message)
    return list(items)


def group_outputs(items: list[Any]) -> Iterator[Outputs]:
    """Group items with data to results. An item whose key is already there starts the next one."""
    outputs: dict[str, Any] = {}
    for item in items:
        if not item.data:
            continue
        if item.key in outputs:
            yield outputs
            outputs = {}
        outputs[item.key] = item.data
    if outputs:
        yield outputs


def _request_item(name: str, data: Data) -> RequestData:
    status = data.attributes.get("status", "1")
    return RequestData(
        name,
        data.data,
        len(data.data),
        status=int(status) if status.isdecimal() else 1,
        desc=data.attributes,
    )


def error_code(result: Any) -> int:
    """Return the code that a method of a wrapper returned: an int, or an attribute of an object."""
    code = result if isinstance(result, int) else getattr(result, "error_code", 0)
    return int(code or 0)


def raise_on_error(result: Any) -> None:
    """Raise AseError with the wrapper's own code if a method returned one other than 0."""
    code = error_code(result)
    if code:
        raise AseError(loader_error_spec(code), f"the wrapper returned {code}")
