"""Wrappers with the methods of the PyPI package `aiges`: create, write, read and destroy.

Change the base class and the declarations; the methods stay (reference "ase-wire" 5.2, 0.5.0).
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
    """One input of a write, as the package has it; `status` as in a frame."""

    key: str
    data: bytes
    len: int
    type: int = 0
    status: int = 0
    desc: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Request:
    """What `wrapperWrite` gets."""

    list: list[RequestData]
    params: Mapping[str, Any] = field(default_factory=dict)

    def get(self, key: str) -> RequestData | None:
        """Return the input of that name, None where it did not come."""
        return next((item for item in self.list if item.key == key), None)


class OriginalWrapper(Wrapper, ABC):
    """A streaming wrapper by the original's methods; subclass it and write the abstract ones.

    They may leave out what they do not use of the arguments' end, as versions of the package do.
    """

    def wrapperInit(self, config: Mapping[str, str]) -> int:  # noqa: N802, ARG002
        """Load the model; return 0."""
        return 0

    def wrapperFini(self) -> int:  # noqa: N802
        """Let it go; return 0."""
        return 0

    # The author's to write: a class without one is refused before it is served (declare.py).

    @abstractmethod
    def wrapperCreate(self, params: Mapping[str, Any], sid: str, *more: Any) -> Any:  # noqa: N802
        """Begin a session; return its handle, or an object with `handle` and `error_code`.

        `more`: the package's `userTag` and `persId`, which nobody gives here.
        """

    @abstractmethod
    def wrapperWrite(self, handle: str, req: Request, sid: str) -> Any:  # noqa: N802
        """Take a frame; return 0, or an object with `error_code`."""

    @abstractmethod
    def wrapperRead(self, handle: str, sid: str) -> Any:  # noqa: N802
        """Return what is ready: an object with `list`, whose items have `key`, `data`, `status`.

        None, or an empty list: there is nothing. An item without data: nothing yet; behind the last
        write it is asked for again. An item of status 2 is the session's last.
        """

    @abstractmethod
    def wrapperDestroy(self, handle: str) -> Any:  # noqa: N802
        """End a session."""

    def init(self, config: Mapping[str, str]) -> None:
        """Call `wrapperInit`. Raises RuntimeError when it does not return 0."""
        code = _error_code(self.wrapperInit(config))
        if code:
            raise RuntimeError(f"wrapperInit returned {code}")

    def fini(self) -> None:
        """Call `wrapperFini`."""
        self.wrapperFini()

    def session(  # type: ignore[override]
        self, params: Mapping[str, Any], inputs: Iterable[Mapping[str, Data]], context: Context
    ) -> Iterator[Outputs]:
        """Drive a session: a write for each frame, and reads until nothing is ready."""
        sid = context.sid
        response = _call_with_accepted_args(self.wrapperCreate, params, sid, "", 0)
        _raise_on_error(response)
        handle = response if isinstance(response, str) else getattr(response, "handle", response)
        try:
            ended_by_output: dict[str, bool] = {}  # those that began, and whether they ended
            for items in _write_items(inputs):
                _raise_on_error(
                    _call_with_accepted_args(self.wrapperWrite, handle, Request(items, params), sid)
                )
                ended, _ = yield from self._read_outputs(handle, sid, ended_by_output)
                if ended:
                    return
            ended, may_continue = yield from self._read_outputs(handle, sid, ended_by_output)
            while may_continue and not ended and not context.cancelled:
                time.sleep(_REREAD_DELAY_S)  # its own thread is at work
                ended, may_continue = yield from self._read_outputs(handle, sid, ended_by_output)
        finally:
            try:
                _call_with_accepted_args(self.wrapperDestroy, handle)
            except Exception:
                _logger.exception("wrapperDestroy raised", extra={"sid": sid})

    def _read_outputs(
        self, handle: str, sid: str, ended_by_output: dict[str, bool]
    ) -> Generator[Outputs, None, tuple[bool, bool]]:
        """Yield what is ready; return whether that was the last, and whether more may come."""
        while True:
            response = _call_with_accepted_args(self.wrapperRead, handle, sid)
            _raise_on_error(response)
            items = _response_items(response)
            yield from _group_outputs(items)
            for item in items:
                is_final = getattr(item, "status", 0) in _FINAL_STATUSES
                if is_final or item.data:
                    ended_by_output[item.key] = is_final
            if ended_by_output and all(ended_by_output.values()):
                return True, False
            if not any(item.data for item in items):
                return False, bool(items)


def _write_items(inputs: Iterable[Mapping[str, Data]]) -> Iterator[list[RequestData]]:
    """Yield the items of each write; the last one says that it is, with or without data."""
    names: dict[str, None] = {}
    ended = False
    for frame in inputs:
        items = [_request_item(name, data) for name, data in frame.items()]
        names |= dict.fromkeys(frame)
        ended = any(item.status in _FINAL_STATUSES for item in items)
        yield items
    if not ended:
        yield [RequestData(name, b"", 0, status=FrameStatus.END) for name in names]


def _call_with_accepted_args(method: Callable[..., Any], *arguments: Any) -> Any:
    """Call a method with as many of the arguments as it takes."""
    kinds = [parameter.kind for parameter in inspect.signature(method).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return method(*arguments)
    accepted = sum(kind in _POSITIONAL for kind in kinds)
    return method(*arguments[:accepted])


def _response_items(response: Any) -> list[Any]:
    """Return the items of a response. Raises AseError 10106 for what is none."""
    items = [] if response is None or response == 0 else getattr(response, "list", None)
    if not isinstance(items, list | tuple) or not all(hasattr(item, "data") for item in items):
        message = "wrapperRead must return None, or an object with `list` of items (`key`, `data`)"
        raise AseError(BAD_OUTPUT, message)
    return list(items)


def _group_outputs(items: list[Any]) -> Iterator[Outputs]:
    """Yield the outputs of some items; a key that comes again is the next result's."""
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


def _error_code(result: Any) -> int:
    code = result if isinstance(result, int) else getattr(result, "error_code", 0)
    return int(code or 0)


def _raise_on_error(result: Any) -> None:
    """Raise the error that a method returned, with the wrapper's own code."""
    code = _error_code(result)
    if code:
        raise AseError(loader_error_spec(code), f"the wrapper returned {code}")
