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
from aseloader.sessions import Sessions
from aseloader.wrapper import Wrapper
from lb.access import HubCredentials
from lb.meter import ConcurrencyLimiter, default_queue_size
from lb.report import Instance, Report, ServingState
from lb.reporter import Reporter
from schemas import document

_logger = logging.getLogger("ase.loader")


_LAST_ANSWERS = 5.0  # seconds


class LoadError(Exception):
    """A wrapper that cannot be found or made; `str()` says why."""


@dataclass(frozen=True, slots=True)
class LoaderOptions:
    """How a loader runs. `total` 0, `queue` -1: what the wrapper declares. `drain` in seconds."""

    host: str = "127.0.0.1"
    port: int = 0
    advertise: str = ""
    hubs: tuple[str, ...] = ("127.0.0.1:8220",)
    access: HubCredentials = HubCredentials()
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
    found = importlib.util.spec_from_file_location(f"wrapper_{path.parent.name}", path)
    if found is None or found.loader is None:
        raise LoadError(f"{file}: not a Python file")
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module
    sys.path.insert(0, str(path.parent))
    try:
        found.loader.exec_module(module)
    except Exception as error:
        raise LoadError(_told(error, path)) from error
    wrappers = {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Wrapper) and value is not Wrapper
    }
    if name in wrappers:
        return wrappers[name]
    if not name and len(wrappers) == 1:
        return next(iter(wrappers.values()))
    known = ", ".join(wrappers) or "none"
    raise LoadError(f"{spec}: no such Wrapper; in {file} there is: {known}")


async def run(
    kind: type[Wrapper],
    options: LoaderOptions,
    ready: Callable[[str], None],
    stop: "asyncio.Future[bool]",
) -> bool:
    """Serve a wrapper until `stop`, then drain and leave.

    `ready` is told the advertised address once the port is open; the first report follows it, so
    nothing is reported before `init` has succeeded. Returns False when a thread of the wrapper
    still runs, in `init` or after the drain: the process can then only be ended from outside, and
    `fini` was not called. Raises OSError for a port that cannot be had, DeclarationError, and
    LoadError for what `init` raises.
    """
    text = declare.schema(kind)
    wrapper = kind()
    starting = asyncio.ensure_future(asyncio.to_thread(wrapper.init, options.config))
    await asyncio.wait((starting, stop), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        return False
    if starting.exception() is not None:
        raise LoadError(_told(starting.exception(), Path(inspect.getfile(kind))))
    loader = _Loader(wrapper, text, options)
    try:
        ready(await loader.start())
        await stop
        await loader.drain()
    finally:
        await loader.leave()
        if loader.idle:
            await asyncio.to_thread(wrapper.fini)
            _logger.info("stopped")
    return loader.idle


def _told(error: BaseException | None, path: Path) -> str:
    """Tell an error of the author's file: the frames from there on, and the error itself."""
    frames = traceback.extract_tb(error.__traceback__ if error else None)
    own = next((i for i, f in enumerate(frames) if Path(f.filename) == path), 0)
    lines = traceback.format_list(frames[own:]) + traceback.format_exception_only(error)
    return f"{path.name} does not load\n{''.join(lines)}".rstrip()


class _Loader:
    """The parts of a running loader, wired."""

    def __init__(self, wrapper: Wrapper, text: bytes, options: LoaderOptions) -> None:
        self._wrapper = wrapper
        self._text = text
        self._options = options
        self._epoch = SystemRandom().getrandbits(63) | 1
        best = options.total or wrapper.total
        # Who streams holds its licence for minutes: nobody waits behind it.
        streams = type(wrapper).session is not Wrapper.session
        usual = 0 if streams else default_queue_size(best)
        declared = usual if wrapper.queue is None else wrapper.queue
        queue = declared if options.queue < 0 else options.queue
        self._meter = ConcurrencyLimiter(best + queue, self._changed, best=best)
        self._engine = Engine(wrapper, self._meter)
        self._sessions = Sessions(wrapper, self._meter, self._engine)
        self._server = LoaderServer(self._engine, self._sessions, self._meter)
        self._reporter = Reporter(
            list(options.hubs),
            self._report,
            self._meter,
            clock=time.monotonic,
            rng=SystemRandom(),
            credentials=options.access,
        )
        self._idle = asyncio.Event()

    @property
    def idle(self) -> bool:
        """Return whether nothing of the wrapper runs."""
        return not self._meter.inflight

    async def start(self) -> str:
        """Open the port, begin to report; return the advertised address."""
        options = self._options
        self._addr = await self._server.start(options.host, options.port, options.advertise)
        self._reporter.start()
        return self._addr

    async def drain(self) -> None:
        """Take nothing new, wait for what runs."""
        _logger.info("draining", extra={"running": self._meter.inflight})
        self._meter.set_serving_state(ServingState.DRAINING)
        await self._server.stop_serving()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._options.drain):
                await self._idle.wait()

    async def leave(self) -> None:
        """Tell the hubs, close the port; answers on their way get out first."""
        self._meter.set_serving_state(ServingState.DOWN)
        await self._reporter.shutdown()
        await self._server.stop(_LAST_ANSWERS if self.idle else 0)
        self._engine.close()
        self._sessions.close()

    def _changed(self) -> None:
        self._reporter.notify_change()
        if self._meter.inflight:
            self._idle.clear()
        else:
            self._idle.set()

    def _report(self, first: bool) -> Report:
        instance = Instance(
            svc=declare.declaration(type(self._wrapper)).sub,
            service=self._wrapper.service,
            addr=self._addr,
            epoch=self._epoch,
            digest=document.digest(self._text),
            total=self._meter.total,
            best=self._meter.best,
        )
        return Report(instance, self._meter.next_load(), self._text if first else b"")
