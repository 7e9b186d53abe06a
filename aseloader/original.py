"""Wrappers with the methods of the PyPI package `aiges`: create, write, read and destroy.

Change the base class and the declarations; the methods stay (reference "ase-wire" 5.2, 0.5.0).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aseloader.wrapper import Context, Data, Outputs, Wrapper
from schemas.errors import AseError, loader_fault


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

    def get(self, key: str) -> RequestData:
        """Return the input of that name. Raises KeyError."""
        for told in self.list:
            if told.key == key:
                return told
        raise KeyError(key)


# What an author has to write.
METHODS: Final = ("wrapperCreate", "wrapperWrite", "wrapperRead", "wrapperDestroy")


class OriginalWrapper(Wrapper):
    """A streaming wrapper by the original's methods; subclass it and write those in `METHODS`."""

    def wrapperInit(self, config: Mapping[str, str]) -> int:  # noqa: N802, ARG002
        """Load the model; return 0."""
        return 0

    def wrapperFini(self) -> int:  # noqa: N802
        """Let it go; return 0."""
        return 0

    # The author's to write. A class without one is refused before it is served (declare.py); this
    # tells whoever calls one by hand.

    def wrapperCreate(self, params: Mapping[str, Any], sid: str) -> Any:  # noqa: N802
        """Begin a session; return its handle, or an object with `handle` and `error_code`."""
        raise NotImplementedError(f"{type(self).__name__} needs a method wrapperCreate")

    def wrapperWrite(self, handle: str, req: Request, sid: str) -> Any:  # noqa: N802
        """Take a frame; return 0, or an object with `error_code`."""
        raise NotImplementedError(f"{type(self).__name__} needs a method wrapperWrite")

    def wrapperRead(self, handle: str, sid: str) -> Any:  # noqa: N802
        """Return what is ready: an object with `list` of (key, data), or None for nothing."""
        raise NotImplementedError(f"{type(self).__name__} needs a method wrapperRead")

    def wrapperDestroy(self, handle: str) -> Any:  # noqa: N802
        """End a session."""
        raise NotImplementedError(f"{type(self).__name__} needs a method wrapperDestroy")

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
        created = self.wrapperCreate(params, context.sid)
        _check(created)
        handle = created if isinstance(created, str) else getattr(created, "handle", created)
        try:
            for told in inputs:
                request = Request([_request(name, data) for name, data in told.items()], params)
                _check(self.wrapperWrite(handle, request, context.sid))
                yield from self._read(handle, context.sid)
            yield from self._read(handle, context.sid)
        finally:
            self.wrapperDestroy(handle)

    def _read(self, handle: str, sid: str) -> Iterator[Outputs]:
        while True:
            response = self.wrapperRead(handle, sid)
            _check(response)
            made = getattr(response, "list", None)
            if not made:
                return
            yield {told.key: told.data for told in made}


def _request(name: str, data: Data) -> RequestData:
    status = data.attributes.get("status", "1")
    return RequestData(
        name, data.data, len(data.data), status=int(status) if status.isdecimal() else 1,
        desc=data.attributes,
    )  # fmt: skip


def _code(told: Any) -> int:
    code = told if isinstance(told, int) else getattr(told, "error_code", 0)
    return int(code or 0)


def _check(told: Any) -> None:
    """Raise the error that a method returned, with the wrapper's own code."""
    code = _code(told)
    if code:
        raise AseError(loader_fault(code), f"the wrapper returned {code}")
