"""Makes a wrapper class of ours of a wrapper that was written for `aiges`."""

import inspect
import queue
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Any

from aseloader.aiges.stand_in import DataListCls, DataListNode, Results
from aseloader.fields import Input, Output, Parameter
from aseloader.original import call_with_accepted_args, error_code, group_outputs
from aseloader.wrapper import Context, Data, Outputs, Wrapper
from schemas.model.errors import BAD_MODE, BAD_OUTPUT, AseError, loader_error_spec
from schemas.model.session import FrameStatus
from schemas.sources.declare import Declaration

# How long a session waits for results after its last input.
_MAX_IDLE_S = 60.0
_POLL_S = 0.02
_FINAL_STATUSES = (FrameStatus.END, FrameStatus.ONCE)


def is_aiges_class(value: object) -> bool:
    """Return whether `value` is a wrapper class for `aiges`, of the package or the stand-in."""
    return isinstance(value, type) and any(
        base.__name__ == "WrapperBase" and base is not value for base in value.__mro__
    )


def adapt(wrapped_class: Callable[[], Any], api: Declaration, results: Results) -> type[Wrapper]:
    """Return a wrapper class that serves `wrapped_class`, whose declaration is `api`.

    It has `once`, and if the declaration streams, `session`.
    """
    members = declared_members(api) | {
        "service": api.id,
        "version": api.version,
        "__doc__": api.description or wrapped_class.__doc__,
        "__module__": wrapped_class.__module__,
        "wrapped_class": wrapped_class,
        "results": results,
    }
    base = _StreamingWrapper if api.streaming else _OnceWrapper
    return type(wrapped_class.__name__, (base,), members)


def declared_members(api: Declaration) -> dict[str, Any]:
    """Return the class attributes that declare `api`.

    Inputs, outputs and parameters may have equal names, so the attributes are numbered.
    """
    members: dict[str, Any] = {}
    for number, param in enumerate(api.params):
        members[f"param_{number}"] = _TextParameter(
            param.rules, required=param.required, name=param.name
        )
    for number, stream in enumerate(api.inputs):
        members[f"input_{number}"] = Input(
            stream.data_type.key,
            encodings=stream.encodings,
            max_bytes=stream.max_bytes,
            required=stream.required,
            name=stream.name,
        )
    for number, stream in enumerate(api.outputs):
        members[f"output_{number}"] = Output(
            stream.data_type.key,
            encodings=stream.encodings,
            format=stream.format,
            name=stream.name,
        )
    return members


class _TextParameter(Parameter):
    """A parameter with given rules. A wrapper gets the text of the frame, as in `aiges`."""

    may_be_empty = True

    def __init__(self, rules: Mapping[str, Any], *, required: bool, name: str) -> None:
        super().__init__(required=required, name=name)
        self._given_rules = rules

    def rules(self) -> dict[str, Any]:
        """Return the rules."""
        return dict(self._given_rules)


class _AigesWrapper(Wrapper):
    """The part of an adapted wrapper that does not depend on how requests are processed."""

    wrapped_class: Any = None
    results = Results()

    def init(self, config: Mapping[str, str]) -> None:
        """Create the wrapper and call its `wrapperInit`. Raises RuntimeError for a code."""
        self._wrapped = self.wrapped_class()
        code = error_code(call_with_accepted_args(self._wrapped.wrapperInit, dict(config)))
        if code:
            raise RuntimeError(f"wrapperInit returned {code}{self._describe(code)}")

    def fini(self) -> None:
        """Call `wrapperFini`, if there is one."""
        if hasattr(self._wrapped, "wrapperFini"):
            self._wrapped.wrapperFini()

    def _describe(self, code: int) -> str:
        """Return ": " and what `wrapperError` says about a code; "" if it says nothing."""
        describe = getattr(self._wrapped, "wrapperError", None)
        text = call_with_accepted_args(describe, code) if describe is not None else ""
        return f": {text}" if text else ""

    def _check(self, response: Any) -> None:
        """Raise AseError with the wrapper's own code, and its words, if it returned one."""
        code = error_code(response)
        if code:
            message = f"the wrapper returned {code}{self._describe(code)}"
            raise AseError(loader_error_spec(code), message)


class _OnceWrapper(_AigesWrapper):
    """A wrapper with `wrapperOnceExec`."""

    def once(
        self, params: Mapping[str, Any], inputs: Mapping[str, Data], context: Context
    ) -> Outputs:
        """Call `wrapperOnceExec` and return the items of its response by their keys."""
        if not hasattr(self._wrapped, "wrapperOnceExec"):
            raise AseError(BAD_MODE, BAD_MODE.message)
        parameters = {**sent_params(params), "sid": context.sid}
        arguments = (parameters, _request(inputs, FrameStatus.ONCE), context.sid, 0)
        response = call_with_accepted_args(self._wrapped.wrapperOnceExec, *arguments)
        self._check(response)
        return dict(_items(response, "wrapperOnceExec"))


class _StreamingWrapper(_OnceWrapper):
    """A wrapper with `wrapperCreate`, `wrapperWrite` and `wrapperDestroy`, and maybe the other.

    Results come by `callback`, or from `wrapperRead` if the wrapper has one that returns some.
    """

    def session(
        self, params: Mapping[str, Any], inputs: Iterable[Mapping[str, Data]], context: Context
    ) -> Iterator[Outputs]:
        """Run a session: one write per frame, and the results as they come."""
        wrapped, sid = self._wrapped, context.sid
        waiting = self.results.open(sid)
        try:
            created = _create(wrapped.wrapperCreate, {**sent_params(params), "sid": sid}, sid)
            self._check(created)
        except BaseException:  # nothing was created, so nothing is destroyed
            self.results.close(sid)
            raise
        try:
            handle = getattr(created, "handle", created)
            is_last = False
            for frame, status in frames_with_status(inputs):
                results = self._write(handle, _request(frame, status), sid, waiting)
                is_last = (yield from results) or is_last
            if not is_last:
                yield from self._rest(handle, sid, waiting, context)
        finally:
            self.results.close(sid)
            if hasattr(created, "handle") or isinstance(created, str):
                call_with_accepted_args(wrapped.wrapperDestroy, getattr(created, "handle", created))

    def _write(
        self, handle: str, request: DataListCls, sid: str, waiting: "queue.SimpleQueue[Any]"
    ) -> Generator[Outputs, None, bool]:
        """Write a frame, and yield the results that are ready, by `callback` or `wrapperRead`.

        Returns whether the last result of the session is among them.
        """
        is_last = False
        self._check(call_with_accepted_args(self._wrapped.wrapperWrite, handle, request, sid))
        while not waiting.empty():
            response = waiting.get()
            yield from self._outputs(response)
            is_last = is_last or _is_last(response)
        if request.list and request.list[0].status != FrameStatus.END:
            yield from self._outputs(self._read(handle, sid))
        return is_last

    def _rest(
        self, handle: str, sid: str, waiting: "queue.SimpleQueue[Any]", context: Context
    ) -> Iterator[Outputs]:
        """Yield the results that come after the last input, until one is marked as the last."""
        waits_until = time.monotonic() + _MAX_IDLE_S
        while not context.cancelled and time.monotonic() < waits_until:
            try:
                response = waiting.get(timeout=_POLL_S)
            except queue.Empty:
                response = self._read(handle, sid)
            for outputs in self._outputs(response):
                waits_until = time.monotonic() + _MAX_IDLE_S
                yield outputs
            if _is_last(response):
                return

    def _read(self, handle: str, sid: str) -> Any:
        """Return what `wrapperRead` returns; None if the wrapper does not have it."""
        read = getattr(self._wrapped, "wrapperRead", None)
        return None if read is None else call_with_accepted_args(read, handle, sid)

    def _outputs(self, response: Any) -> Iterator[Outputs]:
        """Yield the results of a response, which may be none."""
        self._check(response)
        yield from group_outputs(list(getattr(response, "list", None) or ()))


def _create(create: Callable[..., Any], params: dict[str, str], sid: str) -> Any:
    """Call `wrapperCreate`. After the sid it takes a tag and a resource, in either order.

    aiges 0.16 has `(params, sid, userTag)`, its C++ side `(params, sid, psrId, usrTag)`. Results
    come back with the tag, which is the sid.
    """
    names = [*inspect.signature(create).parameters]
    tag_is_third = len(names) > 2 and "tag" in names[2].lower()
    rest = (sid, 0) if tag_is_third else (0, sid)
    return call_with_accepted_args(create, params, sid, *rest)


def frames_with_status(
    inputs: Iterable[Mapping[str, Data]],
) -> Iterator[tuple[Mapping[str, Data], FrameStatus]]:
    """Yield each frame of a session and its status; the last one, or an empty one, has END."""
    status = FrameStatus.BEGIN
    previous: Mapping[str, Data] | None = None
    for frame in inputs:
        if previous is not None:
            yield previous, status
            status = FrameStatus.CONTINUE
        previous = frame
    yield previous or {}, FrameStatus.END


def sent_params(params: Mapping[str, Any]) -> dict[str, str]:
    """Return the parameters that the request has, as text, as `aiges` passes them."""
    return {name: value for name, value in params.items() if value is not None}


def _request(inputs: Mapping[str, Data], status: FrameStatus) -> DataListCls:
    """Return the inputs as the list of `aiges`, all with the same status."""
    request = DataListCls()
    for name, data in inputs.items():
        node = DataListNode()
        node.key, node.data, node.len = name, data.data, len(data.data)
        node.status = int(status)
        request.list.append(node)
    return request


def _items(response: Any, method: str) -> Iterator[tuple[str, Any]]:
    """Yield (key, data) of each output of a response. Raises AseError 10106 if it is none."""
    items = getattr(response, "list", None)
    if not isinstance(items, list | tuple):
        hint = f"{method} must return a Response with `list`, not {type(response).__name__}"
        raise AseError(BAD_OUTPUT, hint)
    for item in items:
        yield item.key, item.data


def _is_last(response: Any) -> bool:
    items = getattr(response, "list", None) or ()
    return any(getattr(item, "status", 0) in _FINAL_STATUSES for item in items)
