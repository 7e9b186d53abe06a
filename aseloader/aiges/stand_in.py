"""What wrappers import from the package `aiges`, for machines where it is not installed.

Names, attributes and defaults are those of `aiges` 0.5 and 0.16 (`docs/wire.md`), so that a wrapper
needs no edit. A machine that has the package uses the package itself.
"""

import importlib.util
import json
import logging
import queue
import sys
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

# The modules that wrappers import names from. Each has all names: wrappers differ in where they
# look for them, and import them with `*`.
_MODULES = (
    "aiges", "aiges.callback", "aiges.core", "aiges.core.types", "aiges.dto", "aiges.errors",
    "aiges.sdk",
    "aiges.stream", "aiges.types", "aiges.utils", "aiges.utils.log", "aiges_embed",
)  # fmt: skip

_RESULTS_NAME = "__stand_in_results__"

STRING, AUDIO, IMAGE, VIDEO = range(4)
DataText, DataAudio, DataImage, DataVideo = range(4)
DataBegin, DataContinue, DataEnd, DataOnce = range(4)
Once = DataOnce
Types = {DataText: "text", DataAudio: "audio", DataImage: "image", DataVideo: "video"}
Status = {DataBegin: "begin", DataContinue: "continue", DataEnd: "end", DataOnce: "once"}
THREAD_MODE, PROCESS_MODE = "thread", "process"

log = logging.getLogger("aiges")


def getFileLogger(*_: Any, **__: Any) -> logging.Logger:  # noqa: N802 (a name of aiges)
    """Return the logger of wrappers; its records are in the log of the loader."""
    return log


def init_rq() -> "queue.Queue[Any]":
    """Return a queue: 0.16 has it for the requests of a session."""
    return queue.Queue()


def callback_metric(*_: Any) -> int:
    """Accept a metric; the wrappers' own metrics are not collected."""
    return 0


def callback_trace(*_: Any) -> int:
    """Accept a trace."""
    return 0


class DataListNode:
    """One input of a request: `key`, `data` (bytes), `len`, `type`, `status`."""

    def __init__(self) -> None:
        self.key = ""
        self.data = b""
        self.len = 0
        self.type = DataText
        self.status = Once

    def get_data(self) -> bytes:
        """Return `data`."""
        return self.data


class DataListCls:
    """The inputs of a request; `list` has them in the order of the request."""

    def __init__(self) -> None:
        self.list: list[DataListNode] = []

    def get(self, key: str) -> DataListNode | None:
        """Return the input named `key`, None if the request does not have it."""
        return next((node for node in self.list if node.key == key), None)


class ResponseData:
    """One output. `data` and `len` may be assigned, as in 0.5, or set by `setData`, as in 0.16."""

    def __init__(
        self, key: str = "", data: Any = b"", length: int = 0, type: int = DataText,  # noqa: A002
        status: int = Once,
    ) -> None:  # fmt: skip
        self.key = key
        self.data = data
        self.len = length
        self.type = type
        self.status = status

    def setDataType(self, data_type: int) -> None:  # noqa: N802
        """Set `type`."""
        self.type = data_type

    def setData(self, data: Any) -> None:  # noqa: N802
        """Set `data` and `len`."""
        self.data = data
        self.len = len(data)

    def toJSON(self) -> str:  # noqa: N802
        """Return the attributes as JSON."""
        return json.dumps(vars(self), default=repr)


class Response:
    """The outputs of a request, or an error."""

    def __init__(self) -> None:
        self.list: list[ResponseData] = [ResponseData()]
        self.error_code = 0

    def response_err(self, error_code: int) -> "Response":
        """Set `error_code`; return this response."""
        self.error_code = error_code
        return self


class SessionCreateResponse:
    """The result of `wrapperCreate`."""

    def __init__(self) -> None:
        self.handle = ""
        self.error_code = 0


class Field:
    """A declared parameter or payload. Declarations are read from the source, so it only exists."""

    def __init__(self, key: str = "", *args: Any, **kwargs: Any) -> None:
        self.key = key
        self.test_value = kwargs.get("value", args[0] if args else None)


class StringParamField(Field):
    """A parameter that is a text."""


class NumberParamField(Field):
    """A parameter that is a number."""


class IntegerParamField(Field):
    """A parameter that is an integer."""


class BooleanParamField(Field):
    """A parameter that is true or false."""


class StringBodyField(Field):
    """A payload of text."""


class JsonBodyField(Field):
    """A payload of JSON."""


class ImageBodyField(Field):
    """A payload that is an image."""


class AudioBodyField(Field):
    """A payload of audio."""


class WrapperBase:
    """Base class of a wrapper."""

    config: dict[str, Any] = {}  # noqa: RUF012 (as aiges has it)

    def __init__(self, *_: Any, **__: Any) -> None:
        self.session = SessionManager()

    def run(self, *_: Any, **__: Any) -> None:
        """Say how to run the wrapper: a file of aiges ends with `Wrapper().run()`, for tests."""
        log.warning("run it with `asectl loader run FILE`, test it with `asectl call`")

    # What aiges does for a wrapper that does not have the method.

    def wrapperLoadRes(self, *_: Any) -> int:  # noqa: N802
        """Return 0."""
        return 0

    def wrapperUnloadRes(self, *_: Any) -> int:  # noqa: N802
        """Return 0."""
        return 0

    def wrapperWrite(self, *_: Any) -> int:  # noqa: N802
        """Return 0."""
        return 0

    def wrapperRead(self, *_: Any) -> list[Any]:  # noqa: N802
        """Return no result."""
        return []

    def wrapperDestroy(self, *_: Any) -> int:  # noqa: N802
        """Return 0."""
        return 0

    def schema(self) -> str:
        """Return nothing: `asectl loader schema FILE` prints the schema."""
        return ""


class StreamHandleThread(threading.Thread):
    """Base class of the thread that processes the frames of sessions."""

    def __init__(self, session_thread: Any, in_q: Any, out_q: Any) -> None:
        super().__init__(daemon=True)
        self.session_thread = session_thread
        self.in_q = in_q
        self.out_q = out_q


class WorkerThread:
    """The state of one handle: its session, and the queues of its `StreamHandleThread`."""

    def __init__(self, handle: str, thread_class: type[StreamHandleThread]) -> None:
        self.handle = handle
        self.sid = ""
        self.params: dict[str, Any] = {}
        self.in_q: queue.Queue[Any] = queue.Queue()
        self.out_q: queue.Queue[Any] = queue.Queue()
        self.is_idle = True
        self.callback_fn: Callable[..., Any] | None = None
        thread = thread_class(self, self.in_q, self.out_q)
        thread.daemon = True
        thread.start()

    @property
    def idle(self) -> bool:
        """Return whether no session has this handle."""
        return self.is_idle

    def setup_sid(self, sid: str) -> None:
        """Set the session's id."""
        self.sid = sid

    def setup_params(self, params: dict[str, Any]) -> None:
        """Set the session's parameters."""
        self.params = params
        self.is_idle = False

    def setup_callback_fn(self, callback_fn: Callable[..., Any]) -> None:
        """Set the function that takes results."""
        self.callback_fn = callback_fn

    def reset(self) -> None:
        """Forget the session."""
        self.sid, self.params = "", {}
        for waiting in (self.in_q, self.out_q):
            with waiting.mutex:
                waiting.queue.clear()
        self.is_idle = True


class SessionManager:
    """The handles of a wrapper's sessions."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.wrapperConfig: Any = {}
        self._lock = threading.Lock()
        self._workers: dict[str, WorkerThread] = {}

    def init_wrapper_config(self, config: Any) -> None:
        """Keep the configuration for the wrapper."""
        self.wrapperConfig = config

    def init_handle_pool(
        self, _mode: str, count: int, thread_class: type[StreamHandleThread]
    ) -> None:
        """Start a thread of `thread_class` for each of `count` handles."""
        for number in range(count):
            handle = f"Process-0-Thread-{number}"
            self._workers[handle] = WorkerThread(handle, thread_class)

    def get_session(self, handle: str) -> WorkerThread | None:
        """Return the state of a handle."""
        return self._workers.get(handle)

    def get_idle_handle(self) -> str | None:
        """Return a handle without a session, which has one from now on; None if there is none."""
        with self._lock:
            for handle, worker in self._workers.items():
                if worker.is_idle:
                    worker.is_idle = False
                    return handle
        return None

    def reset_session(self, handle: str) -> None:
        """Forget the session of a handle."""
        worker = self._workers.get(handle)
        if worker is not None:
            worker.reset()

    set_idle_session = push_back = reset_session


class Results:
    """The results that wrappers hand to `callback`, by the id of their session."""

    def __init__(self) -> None:
        self._queues: dict[str, queue.SimpleQueue[Any]] = {}

    def open(self, sid: str) -> "queue.SimpleQueue[Any]":
        """Return the queue of a session's results; `close` ends it."""
        waiting = self._queues[sid] = queue.SimpleQueue()
        return waiting

    def close(self, sid: str) -> None:
        """Drop the results of a session from here on."""
        self._queues.pop(sid, None)

    def put(self, response: Any, *identifiers: Any) -> None:
        """Take a result: `callback(response, sid)` of 0.5, `callback(response, handle, sid)`."""
        waiting = self._queues.get(str(identifiers[-1])) if identifiers else None
        if waiting is not None:
            waiting.put(response)


def installed_results() -> Results:
    """Return the results of the stand-in; new ones, which stay empty, without a stand-in."""
    results: Results = getattr(sys.modules.get("aiges"), _RESULTS_NAME, None) or Results()
    return results


def install() -> None:
    """Make `import aiges` work in this process, unless it does."""
    if "aiges" in sys.modules or importlib.util.find_spec("aiges") is not None:
        return
    results = Results()
    names = {name: value for name, value in globals().items() if not name.startswith("_")}
    names = {n: v for n, v in names.items() if n not in ("Results", "install", "sys", "importlib")}
    names["callback"] = results.put
    for name in _MODULES:
        module = ModuleType(name, "a stand-in for the package aiges")
        vars(module).update(names)
        module.__path__ = []
        sys.modules[name] = module
    for name in _MODULES:
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, sys.modules[name])
    setattr(sys.modules["aiges"], _RESULTS_NAME, results)
    vars(sys.modules["aiges.utils"])["log"] = sys.modules["aiges.utils.log"]
