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
from schemas.errors import BAD_OUTPUT, AseError, loader_error_spec
from schemas.session import FrameStatus

_logger = logging.getLogger("ase.loader")

_AGAIN_S: Final = 0.01
_LAST: Final = (FrameStatus.END, FrameStatus.ONCE)
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
        return next((told for told in self.list if told.key == key), None)


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
        code = _code(self.wrapperInit(config))
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
        created = _called(self.wrapperCreate, params, sid, "", 0)
        _check(created)
        handle = created if isinstance(created, str) else getattr(created, "handle", created)
        try:
            outputs: dict[str, bool] = {}  # those that began, and whether they ended
            for items in _writes(inputs):
                _check(_called(self.wrapperWrite, handle, Request(items, params), sid))
                ended, _ = yield from self._read(handle, sid, outputs)
                if ended:
                    return
            ended, later = yield from self._read(handle, sid, outputs)
            while later and not ended and not context.cancelled:
                time.sleep(_AGAIN_S)  # its own thread is at work
                ended, later = yield from self._read(handle, sid, outputs)
        finally:
            try:
                _called(self.wrapperDestroy, handle)
            except Exception:
                _logger.exception("wrapperDestroy raised", extra={"sid": sid})

    def _read(
        self, handle: str, sid: str, outputs: dict[str, bool]
    ) -> Generator[Outputs, None, tuple[bool, bool]]:
        """Yield what is ready; return whether that was the last, and whether more may come."""
        while True:
            response = _called(self.wrapperRead, handle, sid)
            _check(response)
            items = _items(response)
            yield from _outputs(items)
            for told in items:
                ends = getattr(told, "status", 0) in _LAST
                if ends or told.data:
                    outputs[told.key] = ends
            if outputs and all(outputs.values()):
                return True, False
            if not any(told.data for told in items):
                return False, bool(items)


def _writes(inputs: Iterable[Mapping[str, Data]]) -> Iterator[list[RequestData]]:
    """Yield the items of each write; the last one says that it is, with or without data."""
    names: dict[str, None] = {}
    ended = False
    for told in inputs:
        items = [_request(name, data) for name, data in told.items()]
        names |= dict.fromkeys(told)
        ended = any(item.status in _LAST for item in items)
        yield items
    if not ended:
        yield [RequestData(name, b"", 0, status=FrameStatus.END) for name in names]


def _called(method: Callable[..., Any], *arguments: Any) -> Any:
    """Call a method with as many of the arguments as it takes."""
    kinds = [told.kind for told in inspect.signature(method).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return method(*arguments)
    taken = sum(kind in _POSITIONAL for kind in kinds)
    return method(*arguments[:taken])


def _items(response: Any) -> list[Any]:
    """Return the items of a response. Raises AseError 10106 for what is none."""
    items = [] if response is None or response == 0 else getattr(response, "list", None)
    if not isinstance(items, list | tuple) or not all(hasattr(told, "data") for told in items):
        words = "wrapperRead must return None, or an object with `list` of items (`key`, `data`)"
        raise AseError(BAD_OUTPUT, words)
    return list(items)


def _outputs(items: list[Any]) -> Iterator[Outputs]:
    """Yield the outputs of some items; a key that comes again is the next result's."""
    outputs: dict[str, Any] = {}
    for told in items:
        if not told.data:
            continue
        if told.key in outputs:
            yield outputs
            outputs = {}
        outputs[told.key] = told.data
    if outputs:
        yield outputs


def _request(name: str, data: Data) -> RequestData:
    status = data.attributes.get("status", "1")
    return RequestData(
        name,
        data.data,
        len(data.data),
        status=int(status) if status.isdecimal() else 1,
        desc=data.attributes,
    )


def _code(told: Any) -> int:
    code = told if isinstance(told, int) else getattr(told, "error_code", 0)
    return int(code or 0)


def _check(told: Any) -> None:
    """Raise the error that a method returned, with the wrapper's own code."""
    code = _code(told)
    if code:
        raise AseError(loader_error_spec(code), f"the wrapper returned {code}")
