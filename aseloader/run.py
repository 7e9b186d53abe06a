"""A loader process from start to end: load the class, init, listen, report, drain, leave."""

import asyncio
import contextlib
import importlib.util
import inspect
import logging
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import SystemRandom

from aseloader import declare
from aseloader.engine import Engine
from aseloader.server import LoaderServer
from aseloader.sessions import SessionEngine
from aseloader.wrapper import Wrapper
from lb.credentials import HubCredentials
from lb.endpoints.report import Instance, Report, ServingState
from lb.reporter.limiter import ConcurrencyLimiter, default_queue_size
from lb.reporter.reporter import Reporter
from schemas.model import document

_logger = logging.getLogger("ase.loader")


_STOP_GRACE_S = 5.0  # seconds


class LoadError(Exception):
    """A wrapper that cannot be found or made; `str()` says why."""


@dataclass(frozen=True, slots=True)
class LoaderOptions:
    """How a loader runs. `total` 0, `queue` -1: what the wrapper declares. `drain` in seconds."""

    host: str = "127.0.0.1"
    port: int = 0
    advertise: str = ""
    hubs: tuple[str, ...] = ("127.0.0.1:8220",)
    credentials: HubCredentials = HubCredentials()
    total: int = 0
    queue: int = -1
    drain: float = 30.0
    config: Mapping[str, str] = field(default_factory=dict)


def load(spec: str) -> type[Wrapper]:
    """Return the class that `FILE:Class` names (`FILE` alone: the one Wrapper in it).

    Raises LoadError.
    """
    file, _, name = spec.partition(":")
    path = Path(file).resolve()
    if not path.is_file():
        raise LoadError(f"{file}: no such file; give FILE:Class")
    module_spec = importlib.util.spec_from_file_location(f"wrapper_{path.parent.name}", path)
    if module_spec is None or module_spec.loader is None:
        raise LoadError(f"{file}: not a Python file")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_spec.name] = module
    sys.path.insert(0, str(path.parent))
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:
        raise LoadError(_describe_load_error(error, path)) from error
    wrappers = {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Wrapper) and value is not Wrapper
    }
    if name in wrappers:
        return wrappers[name]
    if not name and len(wrappers) == 1:
        return next(iter(wrappers.values()))
    available = ", ".join(wrappers) or "none"
    raise LoadError(f"{spec}: no such Wrapper; in {file} there is: {available}")


async def run(
    wrapper_class: type[Wrapper],
    options: LoaderOptions,
    on_ready: Callable[[str], None],
    stop: "asyncio.Future[bool]",
) -> bool:
    """Serve a wrapper until `stop`, then drain and leave.

    `ready` is told the advertised address once the port is open; the first report follows it, so
    nothing is reported before `init` has succeeded. Returns False when a thread of the wrapper
    still runs, in `init` or after the drain: the process can then only be ended from outside, and
    `fini` was not called. Raises OSError for a port that cannot be had, DeclarationError, and
    LoadError for what `init` raises.
    """
    schema = declare.schema(wrapper_class)
    wrapper = wrapper_class()
    init_task = asyncio.ensure_future(asyncio.to_thread(wrapper.init, options.config))
    await asyncio.wait((init_task, stop), return_when=asyncio.FIRST_COMPLETED)
    if not init_task.done():
        return False
    if init_task.exception() is not None:
        raise LoadError(
            _describe_load_error(init_task.exception(), Path(inspect.getfile(wrapper_class)))
        )
    loader = _Loader(wrapper, schema, options)
    try:
        on_ready(await loader.start())
        await stop
        await loader.drain()
    finally:
        await loader.shut_down()
        if loader.idle:
            await asyncio.to_thread(wrapper.fini)
            _logger.info("stopped")
    return loader.idle


def _describe_load_error(error: BaseException | None, path: Path) -> str:
    """Tell an error of the author's file: the frames from there on, and the error itself."""
    frames = traceback.extract_tb(error.__traceback__ if error else None)
    first_own_frame = next((i for i, f in enumerate(frames) if Path(f.filename) == path), 0)
    lines = traceback.format_list(frames[first_own_frame:]) + traceback.format_exception_only(error)
    return f"{path.name} does not load\n{''.join(lines)}".rstrip()


class _Loader:
    """The parts of a running loader, wired."""

    def __init__(self, wrapper: Wrapper, schema: bytes, options: LoaderOptions) -> None:
        self._wrapper = wrapper
        self._schema = schema
        self._options = options
        self._epoch = SystemRandom().getrandbits(63) | 1
        concurrency = options.total or wrapper.total
        # Who streams holds its licence for minutes: nobody waits behind it.
        is_streaming = type(wrapper).session is not Wrapper.session
        default_queue = 0 if is_streaming else default_queue_size(concurrency)
        declared_queue = default_queue if wrapper.queue is None else wrapper.queue
        queue = declared_queue if options.queue < 0 else options.queue
        self._limiter = ConcurrencyLimiter(
            concurrency + queue, self._on_load_change, best=concurrency
        )
        self._engine = Engine(wrapper, self._limiter)
        self._session_engine = SessionEngine(wrapper, self._limiter, self._engine)
        self._server = LoaderServer(self._engine, self._session_engine, self._limiter)
        self._reporter = Reporter(
            list(options.hubs),
            self._build_report,
            self._limiter,
            clock=time.monotonic,
            rng=SystemRandom(),
            credentials=options.credentials,
        )
        self._idle = asyncio.Event()

    @property
    def idle(self) -> bool:
        """Return whether nothing of the wrapper runs."""
        return not self._limiter.inflight

    async def start(self) -> str:
        """Open the port, begin to report; return the advertised address."""
        options = self._options
        self._addr = await self._server.start(options.host, options.port, options.advertise)
        self._reporter.start()
        return self._addr

    async def drain(self) -> None:
        """Take nothing new, wait for what runs."""
        _logger.info("draining", extra={"running": self._limiter.inflight})
        self._limiter.set_serving_state(ServingState.DRAINING)
        await self._server.stop_serving()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._options.drain):
                await self._idle.wait()

    async def shut_down(self) -> None:
        """Tell the hubs, close the port; answers on their way get out first."""
        self._limiter.set_serving_state(ServingState.DOWN)
        await self._reporter.shutdown()
        await self._server.stop(_STOP_GRACE_S if self.idle else 0)
        self._engine.close()
        self._session_engine.close()

    def _on_load_change(self) -> None:
        self._reporter.notify_change()
        if self._limiter.inflight:
            self._idle.clear()
        else:
            self._idle.set()

    def _build_report(self, include_schema: bool) -> Report:
        instance = Instance(
            svc=declare.declaration(type(self._wrapper)).sub,
            service=self._wrapper.service,
            addr=self._addr,
            epoch=self._epoch,
            digest=document.digest(self._schema),
            total=self._limiter.total,
            best=self._limiter.best,
        )
        return Report(instance, self._limiter.next_load(), self._schema if include_schema else b"")
