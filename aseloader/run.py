"""Life of a loader process: init, listen, report, drain, shut down."""

import asyncio
import contextlib
import inspect
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import SystemRandom
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry

from aseloader import declare
from aseloader.batching.batcher import BatchRecord
from aseloader.engine import Engine, slot_count, wrapper_threads
from aseloader.interfaces import RequestEngine, SessionRunner
from aseloader.loading import LoadError, describe_load_error
from aseloader.metrics import LoaderMetrics, process_metrics
from aseloader.metrics_server import MetricsServer
from aseloader.processes.forwarding import ForwardingEngine, ForwardingSessions
from aseloader.processes.pool import ProcessPool
from aseloader.processes.shared_inputs import SharedInputs
from aseloader.processes.status_pipe import StatusWriter
from aseloader.server import LoaderServer
from aseloader.sessions import SessionEngine
from aseloader.wrapper import Wrapper
from lb.credentials import HubCredentials
from lb.endpoints.report import MAX_REQUESTS, Instance, Report, ServingState
from lb.reporter.limiter import ConcurrencyLimiter, default_queue_size
from lb.reporter.reporter import Reporter
from rpc.addresses import join_host_port
from schemas.model import document

_logger = logging.getLogger("ase.loader")


_INIT_LOG_INTERVAL_S = 2.0
_STOP_GRACE_S = 5.0  # for responses that are still being sent


@dataclass(frozen=True, slots=True)
class LoaderOptions:
    """Options of a loader process.

    - `host`, `port`: the address to listen on; port 0 means one chosen by the system.
    - `advertise`: the HOST:PORT that gateways dial, if it differs from the address listened on.
    - `version`: which version of the model this is; empty if nobody has said it.
    - `hubs`: the HOST:PORT of each load-balancer hub to report to.
    - `hub_changes`: yields other hubs to report to while the loader runs; an empty list changes
      nothing.
    - `total`: requests at a time; 0 means what the wrapper declares.
    - `queue`: requests that may wait; -1 means what the wrapper declares.
    - `drain`: seconds that running requests get to finish after the stop.
    - `max_message`: bytes of a request or an output.
    - `metrics_port`: the port of `/metrics`, `/livez` and `/readyz` on `host`; -1 means none, 0 one
      chosen by the system.
    - `config`: the argument of the wrapper's `init`.
    - `processes`: processes that run the wrapper; 0 means what the wrapper declares.
    - `source`: the arguments of `asectl loader run` with which such a process finds the wrapper.
    - `shared_inputs`: in such a process, the folder of large requests.
    - `status`: in such a process, what it writes the curve of its batches to.
    """

    host: str = "127.0.0.1"
    port: int = 0
    advertise: str = ""
    version: str = ""
    hubs: tuple[str, ...] = ("127.0.0.1:8220",)
    hub_changes: AsyncIterator[Sequence[str]] | None = None
    credentials: HubCredentials = HubCredentials()
    total: int = 0
    queue: int = -1
    drain: float = 30.0
    max_message: int = 32 * 1024 * 1024
    metrics_port: int = -1
    config: Mapping[str, str] = field(default_factory=dict)
    processes: int = 0
    source: tuple[str, ...] = ()
    shared_inputs: Path | None = None
    status: StatusWriter | None = None


async def run(
    wrapper_class: type[Wrapper],
    options: LoaderOptions,
    on_ready: Callable[[str], None],
    stop: "asyncio.Future[bool]",
) -> bool:
    """Serve a wrapper until `stop` is done, then drain and shut down.

    `on_ready` is called with the advertised address once the port is open; the first report
    follows it. So nothing is reported before `init` has succeeded. Returns False if a thread of the
    wrapper still runs, in `init` or after the drain. Then `fini` was not called, and since Python
    cannot stop the thread, the caller has to end the process. Raises OSError if the port cannot be
    bound, DeclarationError for an invalid class, LoadError if `init` raises or if the loader would
    have more requests than it may report.
    """
    schema = declare.schema(wrapper_class)
    _capacity(wrapper_class, options)  # refused before `init` takes minutes
    if (options.processes or wrapper_class.processes) > 1:
        return await _run_in_processes(wrapper_class, schema, options, on_ready, stop)
    wrapper = wrapper_class()
    threads = wrapper_threads(options.total or wrapper.total)
    try:
        return await _run_in_threads(wrapper, schema, options, on_ready, stop, threads)
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


async def _run_in_threads(
    wrapper: Wrapper,
    schema: bytes,
    options: LoaderOptions,
    on_ready: Callable[[str], None],
    stop: "asyncio.Future[bool]",
    threads: ThreadPoolExecutor,
) -> bool:
    """Do what `run` does; `init`, requests and `fini` run in `threads`."""
    loop = asyncio.get_running_loop()
    init_task = loop.run_in_executor(threads, wrapper.init, options.config)
    started_at = loop.time()
    while not await _is_any_done((init_task, stop), _INIT_LOG_INTERVAL_S):
        _logger.info("init runs", extra={"seconds": round(loop.time() - started_at, 1)})
    if not init_task.done():
        return False
    if init_task.exception() is not None:
        raise LoadError(
            describe_load_error(init_task.exception(), Path(inspect.getfile(type(wrapper))))
        )
    _logger.info("init done", extra={"seconds": round(loop.time() - started_at, 1)})
    loader = _Loader(type(wrapper), schema, options)
    loader.run_in_threads(wrapper, threads)
    try:
        await loader.serve(on_ready, stop)
    finally:
        if loader.idle:
            await loop.run_in_executor(threads, wrapper.fini)
            _logger.info("stopped")
    return loader.idle


async def _run_in_processes(
    wrapper_class: type[Wrapper],
    schema: bytes,
    options: LoaderOptions,
    on_ready: Callable[[str], None],
    stop: "asyncio.Future[bool]",
) -> bool:
    """Do what `run` does; `init`, requests and `fini` run in processes."""
    count = options.processes or wrapper_class.processes
    pool = ProcessPool(count, _process_arguments(options), options.config)
    try:
        ready = asyncio.ensure_future(pool.wait_ready())
        while not await _is_any_done((ready, stop), _INIT_LOG_INTERVAL_S):
            _logger.info("init runs")
        if not ready.done():
            ready.cancel()
            return True
        if not ready.result():
            raise LoadError(f"a process of {wrapper_class.__name__} ended before it was ready")
        loader = _Loader(wrapper_class, schema, options)
        loader.run_in_processes(pool)
        await loader.serve(on_ready, stop)
    finally:
        await pool.stop(options.drain + _STOP_GRACE_S)
    _logger.info("stopped")
    return True


def _process_arguments(options: LoaderOptions) -> list[str]:
    """Return the arguments of `asectl loader run` for a process. Raises LoadError."""
    if not options.source:
        raise LoadError("`processes` needs the file of the wrapper; run it by asectl or `serve`")
    arguments = [*options.source, "--processes", "1", "--lb", ""]
    numbers = {"--max-message": options.max_message, "--drain": options.drain}
    numbers |= {"--total": options.total} if options.total else {}
    numbers |= {"--queue": options.queue} if options.queue >= 0 else {}
    arguments += [text for flag, number in numbers.items() for text in (flag, str(number))]
    return arguments


def _is_async(wrapper_class: type[Wrapper]) -> bool:
    """Return whether requests run in the event loop, where they can be cancelled."""
    method = getattr(wrapper_class, "once", None) or getattr(wrapper_class, "batch", None)
    return inspect.iscoroutinefunction(method)


async def _is_any_done(
    futures: "tuple[asyncio.Future[Any], asyncio.Future[bool]]", timeout: float
) -> bool:
    """Wait for at most `timeout` seconds; return whether one of the futures is done."""
    done, _ = await asyncio.wait(futures, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    return bool(done)


def _capacity(wrapper_class: type[Wrapper], options: LoaderOptions) -> tuple[int, int]:
    """Return how many requests the loader works on at a time, and how many more may wait in it.

    Raises LoadError if a loader may not report so many.
    """
    processes = options.processes or wrapper_class.processes
    concurrency = slot_count(wrapper_class, options.total) * processes
    # A session may hold its work slot for minutes, so by default no request waits for one.
    is_streaming = declare.has_method(wrapper_class, "session")
    default_queue = 0 if is_streaming else default_queue_size(concurrency)
    declared_queue = default_queue if wrapper_class.queue is None else wrapper_class.queue
    queue = declared_queue if options.queue < 0 else options.queue
    if concurrency + queue > MAX_REQUESTS:
        raise LoadError(
            f"{wrapper_class.__name__}: {concurrency} requests at a time and {queue} that wait are "
            f"more than a loader may have ({MAX_REQUESTS}); set `total` or `queue` lower"
        )
    return concurrency, queue


class _Loader:
    """The parts of a running loader, and the order in which they start and stop.

    `_limiter` is shared by the engines, the server and the reporter. It calls `_on_load_change`
    after each change, which notifies the reporter and keeps `_idle` set while no permit is held.
    `_epoch` is a random 63-bit number, never 0, that identifies this run of the process, so that
    hubs recognise the reports of an earlier process on the same address.
    """

    def __init__(self, wrapper_class: type[Wrapper], schema: bytes, options: LoaderOptions) -> None:
        self._wrapper_class = wrapper_class
        self._schema = schema
        self._options = options
        self._epoch = SystemRandom().getrandbits(63) | 1
        self._is_streaming = declare.has_method(wrapper_class, "session")
        concurrency, queue = _capacity(wrapper_class, options)
        self._limiter = ConcurrencyLimiter(
            concurrency + queue, self._on_load_change, best=concurrency
        )
        self._metrics = LoaderMetrics(wrapper_class.service, self._limiter)
        self._reporter = Reporter(
            list(options.hubs),
            self._build_report,
            self._limiter,
            clock=time.monotonic,
            rng=SystemRandom(),
            credentials=options.credentials,
        )
        self._idle = asyncio.Event()
        self._following: asyncio.Task[None] | None = None

    def run_in_threads(self, wrapper: Wrapper, threads: ThreadPoolExecutor) -> None:
        """Run requests in this process. Call this or `run_in_processes` before `serve`."""
        engine = Engine(wrapper, self._limiter, threads, self._record_batch)
        sessions = SessionEngine(wrapper, self._limiter, engine)
        self._create_servers(engine, sessions, REGISTRY)  # it has what the author counts

    def run_in_processes(self, pool: ProcessPool) -> None:
        """Run requests in the processes of `pool`."""
        engine = ForwardingEngine(
            pool,
            self._limiter,
            is_idempotent=self._wrapper_class.idempotent,
            is_async=_is_async(self._wrapper_class),
        )
        sessions = ForwardingSessions(pool, self._limiter, engine, is_streaming=self._is_streaming)
        self._create_servers(engine, sessions, process_metrics(pool.metrics_folder))

    def _create_servers(
        self, engine: RequestEngine, sessions: SessionRunner, author_metrics: CollectorRegistry
    ) -> None:
        folder, max_message = self._options.shared_inputs, self._options.max_message
        inputs = SharedInputs(folder) if folder is not None else None
        self._server = LoaderServer(engine, sessions, self._limiter, max_message, inputs)
        self._metrics_server = MetricsServer(
            [self._metrics.registry, author_metrics],
            lambda: self._limiter.serving_state is ServingState.UP,
        )

    def _record_batch(self, record: BatchRecord) -> None:
        self._metrics.record_batch(record)
        if self._options.status is not None:
            self._options.status.write(self._limiter.batch_base_ms, self._limiter.batch_item_ms)

    @property
    def idle(self) -> bool:
        """Return whether no request or session holds a permit, so that the wrapper is idle."""
        return not self._limiter.inflight

    async def serve(self, on_ready: Callable[[str], None], stop: "asyncio.Future[bool]") -> None:
        """Serve until `stop` is set, then drain and shut down. `on_ready` gets the address.

        Raises OSError if the port cannot be opened.
        """
        try:
            on_ready(await self._start())
            await stop
            await self._drain()
        finally:
            await self._shut_down()

    async def _start(self) -> str:
        """Open the port and start to report; return the advertised address. Raises OSError."""
        options = self._options
        addr = await self._server.start(options.host, options.port, options.advertise)
        if options.metrics_port >= 0:
            port = self._metrics_server.start(options.host, options.metrics_port)
            _logger.info("metrics", extra={"url": f"http://{join_host_port(options.host, port)}"})
        # Made once: checking the declarations takes a millisecond, and a report may follow each
        # request.
        self._instance = Instance(
            svc=declare.declaration(self._wrapper_class).sub,
            service=self._wrapper_class.service,
            addr=addr,
            epoch=self._epoch,
            digest=document.digest(self._schema),
            total=self._limiter.total,
            best=self._limiter.best,
            max_batch=self._max_batch(),
            version=options.version,
        )
        self._reporter.start()
        if options.hub_changes is not None:
            self._following = asyncio.create_task(self._follow_hubs(options.hub_changes))
        return addr

    async def _follow_hubs(self, hub_changes: AsyncIterator[Sequence[str]]) -> None:
        async for hubs in hub_changes:
            if hubs:
                self._reporter.set_hubs(hubs)

    def _max_batch(self) -> int:
        is_batching = declare.has_method(self._wrapper_class, "batch")
        return self._wrapper_class.max_batch if is_batching else 1

    async def _drain(self) -> None:
        """Reject new requests, and wait up to `drain` seconds for running ones.

        Reports and health checks announce it first, so gateways choose other loaders.
        """
        _logger.info("draining", extra={"running": self._limiter.inflight})
        self._limiter.set_serving_state(ServingState.DRAINING)
        await self._server.stop_serving()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._options.drain):
                await self._idle.wait()

    async def _shut_down(self) -> None:
        """Report the end to the hubs, then close the port.

        If the wrapper is idle, responses that are still being sent get `_STOP_GRACE_S` seconds. If
        not, the drain has expired, and calls are cut at once.
        """
        self._limiter.set_serving_state(ServingState.DOWN)
        if self._following is not None:
            self._following.cancel()
        await self._reporter.shutdown()
        await self._server.stop(_STOP_GRACE_S if self.idle else 0)
        self._metrics_server.close()

    def _on_load_change(self) -> None:
        self._reporter.notify_change()
        if self._limiter.inflight:
            self._idle.clear()
        else:
            self._idle.set()

    def _build_report(self, include_schema: bool) -> Report:
        document_to_send = self._schema if include_schema else b""
        return Report(self._instance, self._limiter.next_load(), document_to_send)
