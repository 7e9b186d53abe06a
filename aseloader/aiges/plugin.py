"""Wrappers in C and C++ for the original: a shared library with `wrapperInit`, `wrapperExec`, ...

The interface is that of the original's `wrapper.h` (iflytek/aiges, cgo/header/widget). The library
runs in the process of the loader: if it crashes, the loader ends, and whoever runs it starts it
again. Calls release the interpreter, so that they run in parallel in the loader's threads.
"""

import queue
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from aseloader.aiges.adapter import declared_members, frames_with_status, sent_params
from aseloader.aiges.plugin_callbacks import PluginCallbacks, PluginResults
from aseloader.wrapper import Context, Data, Outputs, Wrapper
from schemas.model import document
from schemas.model.errors import BAD_MODE, ONCE_TIMEOUT, AseError, loader_error_spec
from schemas.model.session import FrameStatus
from schemas.sources.from_document import declaration_from_document

_INTERFACE = """
typedef struct ParamList {
    char *key; char *value; unsigned int vlen; struct ParamList *next;
} ParamList;
typedef struct DataList {
    char *key; void *data; unsigned int len; int type; int status; ParamList *desc;
    struct DataList *next;
} DataList;
typedef int (*Callback)(const void *tag, DataList *results, int code);
int wrapperInit(ParamList *config);
int wrapperFini(void);
const char *wrapperError(int code);
const void *wrapperCreate(const char *tag, ParamList *params, Callback callback,
    unsigned int *resources, int resource_count, int *code);
int wrapperWrite(const void *handle, DataList *inputs);
int wrapperRead(const void *handle, DataList **results);
int wrapperDestroy(const void *handle);
int wrapperExec(const char *tag, ParamList *params, DataList *inputs, DataList **results,
    unsigned int *resources, int resource_count);
int wrapperExecFree(const char *tag, DataList **results);
int wrapperExecAsync(const char *tag, ParamList *params, DataList *inputs, Callback callback,
    int timeout, unsigned int *resources, int resource_count);
int wrapperSetCtrl(int kind, void *function);
"""
_POLL_S = 0.01
_ASYNC_TIMEOUT_S = 60.0  # for `wrapperExecAsync` without a deadline
_FINAL_STATUSES = (FrameStatus.END, FrameStatus.ONCE)


class PluginError(Exception):
    """A library that cannot be served; `str()` says what it lacks."""


def plugin_wrapper(library: Path, schema: bytes) -> type[Wrapper]:
    """Return a wrapper class that serves a shared library, as the schema document `schema` says.

    Raises PluginError if the library cannot be loaded, or if cffi is not installed, DocumentError
    if the schema is invalid.
    """
    schema_document = document.parse(schema)
    api, _ = declaration_from_document(schema_document)
    members = declared_members(api) | {
        "service": api.id,
        "version": api.version,
        "__doc__": api.description,
        "__ase_schema__": document.canonical(schema_document),
        "library": _Library(library),
        "kinds": {stream.name: int(stream.data_type) for stream in api.inputs},
    }
    base = _StreamingPlugin if api.streaming else _Plugin
    return type(library.stem, (base,), members)


class _Library:
    """A loaded library. Objects made for a call live until it has returned."""

    def __init__(self, path: Path) -> None:
        try:
            from cffi import FFI
        except ImportError:
            cure = "pip install 'athena-serving[plugin]'"
            raise PluginError(f"a plugin needs cffi: {cure}") from None
        self.ffi = FFI()
        self.ffi.cdef(_INTERFACE)
        try:
            self._functions = self.ffi.dlopen(str(path.resolve()))
        except OSError as error:
            raise PluginError(f"{path}: {error}") from error

    def has(self, name: str) -> bool:
        """Return whether the library has a function."""
        return hasattr(self._functions, name)

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a function. Raises PluginError if the library does not have it."""
        if not self.has(name):
            raise PluginError(f"the library has no {name}")
        return getattr(self._functions, name)(*arguments)

    def params(self, values: Mapping[str, Any], kept: list[Any]) -> Any:
        """Return values as a list of parameters; `kept` keeps it alive."""
        head = self.ffi.NULL
        for key, value in reversed([*values.items()]):
            text = str(value).encode()
            node = self.ffi.new("ParamList *")
            buffers = (self.ffi.new("char[]", key.encode()), self.ffi.new("char[]", text))
            node.key, node.value, node.vlen, node.next = *buffers, len(text), head
            kept += (node, *buffers)
            head = node
        return head

    def inputs(
        self, inputs: Mapping[str, Data], kinds: Mapping[str, int], status: int, kept: list[Any]
    ) -> Any:
        """Return inputs as a list of data, all with the same status; `kept` keeps it alive."""
        head = self.ffi.NULL
        for key, data in reversed([*inputs.items()]):
            node = self.ffi.new("DataList *")
            name, buffer = self.ffi.new("char[]", key.encode()), self.ffi.from_buffer(data.data)
            node.key, node.data, node.len = name, self.ffi.cast("void *", buffer), len(data.data)
            node.type, node.status, node.next = kinds[key], status, head
            node.desc = self.params(data.attributes, kept)
            kept += (node, name, buffer)
            head = node
        return head

    def outputs(self, node: Any) -> Iterator[tuple[str, Data, int]]:
        """Yield (key, data, status) of each item of a list that the library has made."""
        while node != self.ffi.NULL:
            attributes, desc = {}, node.desc
            while desc != self.ffi.NULL:
                attributes[self.text(desc.key)] = self.text(desc.value)
                desc = desc.next
            data = bytes(self.ffi.buffer(node.data, node.len)) if node.len else b""
            yield self.text(node.key), Data(data, attributes), node.status
            node = node.next

    def text(self, pointer: Any) -> str:
        """Return a C string as text; "" for NULL."""
        if pointer == self.ffi.NULL:
            return ""
        return bytes(self.ffi.string(pointer)).decode("utf-8", "replace")


class _Plugin(Wrapper):
    """A plugin that serves single requests by `wrapperExec`, or else by `wrapperExecAsync`."""

    library: Any = None
    kinds: Mapping[str, int] = {}

    def init(self, config: Mapping[str, str]) -> None:
        """Call `wrapperSetCtrl`, if there is one, and `wrapperInit`. Raises RuntimeError."""
        library = self.library
        self._callbacks = PluginCallbacks(library.ffi, self.service, library.outputs, library.text)
        if library.has("wrapperSetCtrl"):
            self._callbacks.install(partial(library.call, "wrapperSetCtrl"))
        kept: list[Any] = []
        code = self.library.call("wrapperInit", self.library.params(config, kept))
        if code:
            raise RuntimeError(f"wrapperInit returned {code}{self._describe(code)}")

    def fini(self) -> None:
        """Call `wrapperFini`."""
        self.library.call("wrapperFini")
        if self.library.has("wrapperSetCtrl"):
            self._callbacks.remove()

    def once(
        self, params: Mapping[str, Any], inputs: Mapping[str, Data], context: Context
    ) -> Outputs:
        """Call `wrapperExec` and return its results; the library frees them."""
        library = self.library
        kept: list[Any] = []
        if not library.has("wrapperExec"):
            return self._exec_async(params, inputs, context)
        tag = library.ffi.new("char[]", context.sid.encode())
        results = library.ffi.new("DataList **")
        code = library.call(
            "wrapperExec",
            tag,
            self._params(params, context, kept),
            library.inputs(inputs, self.kinds, FrameStatus.ONCE, kept),
            results,
            library.ffi.NULL,
            0,
        )
        try:
            self._check(code)
            return {key: data for key, data, _ in library.outputs(results[0])}
        finally:
            if library.has("wrapperExecFree"):
                library.call("wrapperExecFree", tag, results)

    def _exec_async(
        self, params: Mapping[str, Any], inputs: Mapping[str, Data], context: Context
    ) -> Outputs:
        """Call `wrapperExecAsync` and return the results of its callback."""
        library = self.library
        if not library.has("wrapperExecAsync"):
            raise AseError(BAD_MODE, BAD_MODE.message)
        kept: list[Any] = []
        waiting = self._callbacks.open(context.sid)
        deadline = context.deadline or time.monotonic() + _ASYNC_TIMEOUT_S
        # The library may read these until it calls back, even after this has returned.
        tag = library.ffi.new("char[]", context.sid.encode())
        params_list = self._params(params, context, kept)
        inputs_list = library.inputs(inputs, self.kinds, FrameStatus.ONCE, kept)
        timeout_ms = max(1, int((deadline - time.monotonic()) * 1000))
        self._callbacks.keep(context.sid, (kept, tag, inputs))
        arguments = (params_list, inputs_list, self._callbacks.on_results, timeout_ms)
        try:
            self._check(library.call("wrapperExecAsync", tag, *arguments, library.ffi.NULL, 0))
            items, code = waiting.get(timeout=timeout_ms / 1000)
        except queue.Empty:
            raise AseError(ONCE_TIMEOUT, "the library did not call back in time") from None
        finally:
            self._callbacks.close(context.sid)
        self._check(code)
        return {key: data for key, data, _ in items}

    def _params(self, params: Mapping[str, Any], context: Context, kept: list[Any]) -> Any:
        """Return the parameters that the request has, and `sid`, as the original passes them."""
        return self.library.params({"sid": context.sid, **sent_params(params)}, kept)

    def _describe(self, code: int) -> str:
        description = self.library.text(self.library.call("wrapperError", code))
        return f": {description}" if description else ""

    def _check(self, code: int) -> None:
        """Raise AseError with the library's own code, and its words."""
        if code:
            message = f"the wrapper returned {code}{self._describe(code)}"
            raise AseError(loader_error_spec(code), message)


class _StreamingPlugin(_Plugin):
    """A plugin that serves sessions by `wrapperCreate` and `wrapperWrite`.

    Results come by the callback of `wrapperCreate`, or from `wrapperRead`.
    """

    def session(
        self, params: Mapping[str, Any], inputs: Iterable[Mapping[str, Data]], context: Context
    ) -> Iterator[Outputs]:
        """Run a session: one write per frame, and the results as they come."""
        library = self.library
        kept: list[Any] = []
        tag, code = library.ffi.new("char[]", context.sid.encode()), library.ffi.new("int *")
        waiting = self._callbacks.open(context.sid)
        callback, null = self._callbacks.on_results, library.ffi.NULL
        params_list = self._params(params, context, kept)
        handle = null
        try:
            handle = library.call("wrapperCreate", tag, params_list, callback, null, 0, code)
            self._check(code[0])
            is_last = False
            for frame, status in frames_with_status(inputs):
                self._write(handle, frame, status)
                is_last = (yield from self._ready_results(handle, waiting)) or is_last
            while not is_last and not context.cancelled:
                time.sleep(_POLL_S)  # the library computes in its own thread meanwhile
                is_last = yield from self._ready_results(handle, waiting)
        finally:
            if handle != null:
                library.call("wrapperDestroy", handle)
            self._callbacks.close(context.sid)

    def _write(self, handle: Any, inputs: Mapping[str, Data], status: int) -> None:
        kept: list[Any] = []
        data = self.library.inputs(inputs, self.kinds, status, kept)
        self._check(self.library.call("wrapperWrite", handle, data))

    def _ready_results(
        self, handle: Any, waiting: "queue.SimpleQueue[PluginResults]"
    ) -> Generator[Outputs, None, bool]:
        """Yield the results that are ready; return whether the last one is among them."""
        is_last = False
        while not waiting.empty():
            items, code = waiting.get()
            self._check(code)
            is_last = (yield from self._yield_results(items)) or is_last
        if self.library.has("wrapperRead"):
            results = self.library.ffi.new("DataList **")
            self._check(self.library.call("wrapperRead", handle, results))
            items = [*self.library.outputs(results[0])]
            is_last = (yield from self._yield_results(items)) or is_last
        return is_last

    def _yield_results(self, items: list[tuple[str, Data, int]]) -> Generator[Outputs, None, bool]:
        """Yield the outputs of each result in a list; return whether the last one is among them."""
        outputs: dict[str, Data] = {}
        for key, data, _ in items:
            if key in outputs:  # the next result
                yield outputs
                outputs = {}
            if data.data:
                outputs[key] = data
        if outputs:
            yield outputs
        return any(status in _FINAL_STATUSES for _, _, status in items)
