"""Several gateway processes that share one port, restarted when they exit.

The public socket is opened once and inherited by the workers. Each worker has an admin port that
only this process knows. This process serves the configured admin port with the merged data of all
workers, so that from outside they look like one gateway.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from random import SystemRandom

import httpx
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from config.options import GatewayOptions
from gateway.handover import OBSTACLE_DRAINED, HandedOver, KnownInstance, TakeoverError
from gateway.lifecycle import Lifecycle
from gateway.request.shutdown import Shutdown
from gateway.server import admin_access, admin_server
from gateway.sockets import ListeningSockets
from gateway.telemetry.console import console_routes
from gateway.telemetry.exposition import metrics_response
from gateway.telemetry.multiprocess import merge_explanations, merge_metrics, merge_states
from gateway.telemetry.recorder import serve_merged
from rpc.addresses import listen
from rpc.backoff import Backoff

_logger = logging.getLogger("ase.gateway")

_MIN_BACKOFF_S, _MAX_BACKOFF_S = 0.2, 5.0
_SCRAPE_INTERVAL_S = 1.0
_REQUEST_TIMEOUT_S = 2.0
_CHANGE_TIMEOUT_S = 60.0  # a thousand schemas take seconds to reload

# How a worker is told to stop.
SIGNALS = {
    Shutdown.GRACEFUL: signal.SIGTERM,
    Shutdown.IMMEDIATE: signal.SIGINT,
    Shutdown.REPLACED: signal.SIGUSR2,
}

# Starts a worker on its sockets: an admin socket of its own, the others are shared. It serves once
# it knows the instances.
StartWorker = Callable[
    [ListeningSockets, list[KnownInstance]], Awaitable[asyncio.subprocess.Process]
]


@dataclass(slots=True)
class _Worker:
    """One worker process.

    `url` is the base URL of its admin port, `metrics_text` the text of its metrics at the latest
    scrape.
    """

    process: asyncio.subprocess.Process
    url: str
    metrics_text: str = ""


class _MergedCollector:
    """A Prometheus collector of the merged metrics of several text expositions."""

    def __init__(self, texts: list[str]) -> None:
        self._texts = texts

    def collect(self) -> Iterator[Metric]:
        yield from merge_metrics(self._texts)


class Workers:
    """Keeps `options.workers` processes serving the ports of `sockets`.

    `_workers` holds the running processes by number. A worker that exits is removed, and its latest
    metrics are merged into `_ended_metrics`, so that counters never decrease.
    """

    def __init__(
        self,
        options: GatewayOptions,
        sockets: ListeningSockets,
        lifecycle: Lifecycle,
        start_worker: StartWorker,
    ) -> None:
        self._options = options
        self.sockets = sockets
        self._lifecycle = lifecycle
        self._start_worker = start_worker
        self._workers: dict[int, _Worker] = {}
        self._ended_metrics: list[str] = []  # one merged text, once a worker has exited
        self._stopping = self._is_drained = self._has_lost_worker = False
        self._expected_instances: list[KnownInstance] = []
        token = options.admin_token
        self._http_client = httpx.AsyncClient(
            headers={"authorization": f"Bearer {token}"} if token else {},
            trust_env=False,
            timeout=_REQUEST_TIMEOUT_S,
        )

    def find_obstacle(self) -> str:
        """Return why it must not be replaced now, or ""."""
        return OBSTACLE_DRAINED if self._is_drained else ""

    async def hand_over_reports(self) -> HandedOver:
        """Return the serving instances; their loaders report to hubs in other processes."""
        responses = await self._get_from_all("/lb/state")
        serving = {
            (row["service"], row["instance"])
            for response in responses.values()
            for row in response.json()["instances"]
            if row["state"] == "up" and row["health"] == "in" and row["reason"] != "static"
        }
        return HandedOver(sorted(serving))

    async def take_back_reports(self) -> None:
        """Do nothing; see `hand_over_reports`."""

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Serve until the shutdown completes, then stop the workers as it says.

        `on_ready` is called once all workers answer. Workers that still run after the lame-duck and
        the drain time, and 5 s more, are killed. Raises ConnectionError if this process replaces
        another one, and that ends before.
        """
        options, sockets, predecessor = self._options, self.sockets, self._lifecycle.predecessor
        admin_http_server = admin_server(self._admin_app(), options, admin_access(options))
        if predecessor is not None:
            self._expected_instances = (await predecessor.announce_listening()).instances
        tasks = [asyncio.create_task(self._supervise(n, sockets)) for n in range(options.workers)]
        tasks.append(asyncio.create_task(self._scrape_periodically()))
        admin_tasks: list[asyncio.Task[None]] = []
        try:
            await self._wait_until_alive()
            self._expected_instances = []  # a worker that takes another's place waits for none
            # Not before: while a process is replaced, the old one answers at the admin port.
            serve_admin_port = admin_http_server.serve(sockets=[sockets.admin])
            admin_tasks.append(asyncio.create_task(serve_admin_port))
            on_ready()
            self._lifecycle.begin(self)
            if predecessor is not None:
                await predecessor.announce_ready()
            kind = await self._lifecycle.shutdown
            if kind is Shutdown.REPLACED:
                admin_http_server.request_exit()
            await self._terminate(SIGNALS[kind])
        finally:
            self._stopping = True
            for task in tasks:
                task.cancel()
            for worker in self._workers.values():
                with contextlib.suppress(ProcessLookupError):
                    worker.process.kill()
            admin_http_server.request_exit()
            await asyncio.gather(*tasks, *admin_tasks, return_exceptions=True)
            await self._http_client.aclose()
            sockets.close()

    async def _supervise(self, number: int, shared: ListeningSockets) -> None:
        """Run one worker and restart it when it exits, until this process stops.

        The delay before a restart grows from 0.2 s up to 5 s. It starts again at 0.2 s after a
        worker ran for more than 5 s.
        """
        backoff = Backoff(SystemRandom(), _MIN_BACKOFF_S, _MAX_BACKOFF_S)
        while True:
            with listen("127.0.0.1", 0) as admin_socket:
                url = f"http://127.0.0.1:{admin_socket.getsockname()[1]}"
                sockets = ListeningSockets(shared.public, admin_socket, shared.grpc, None)
                process = await self._start_worker(sockets, self._expected_instances)
            worker = self._workers[number] = _Worker(process, url)
            _logger.info("worker started", extra={"worker": number, "worker_pid": process.pid})
            started_at = asyncio.get_running_loop().time()
            exit_code = await process.wait()
            if self._stopping:
                return
            self._ended_metrics = [
                generate_latest(_registry([*self._ended_metrics, worker.metrics_text])).decode()
            ]
            del self._workers[number]
            self._has_lost_worker = True
            log_fields = {"worker": number, "worker_pid": process.pid, "code": exit_code}
            _logger.error("worker ended; another takes its place", extra=log_fields)
            uptime = asyncio.get_running_loop().time() - started_at
            if uptime > _MAX_BACKOFF_S:
                backoff.reset()
            await asyncio.sleep(backoff.next_delay())

    async def _wait_until_alive(self) -> None:
        """Wait until every worker answers; its admin port is open before it serves.

        Raises TakeoverError if one ends before, and this process replaces another one.
        """
        while True:
            if self._has_lost_worker and self._lifecycle.predecessor is not None:
                raise TakeoverError("a worker ended before it served; its lines say why")
            alive = await self._get_from_all("/livez")
            if len(alive) == self._options.workers:
                return
            await asyncio.sleep(0.05)

    def send_signal(self, signum: signal.Signals) -> None:
        """Send a signal to every worker."""
        for worker in self._workers.values():
            with contextlib.suppress(ProcessLookupError):
                worker.process.send_signal(signum)

    async def _terminate(self, signum: signal.Signals) -> None:
        self._stopping = True
        processes = [worker.process for worker in self._workers.values()]
        self.send_signal(signum)
        timeout = self._options.lame_duck + self._options.drain + _MAX_BACKOFF_S
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await asyncio.gather(*(process.wait() for process in processes))

    async def _get_from_all(self, path: str) -> dict[int, httpx.Response]:
        """Return the response of each worker to a GET by number, without workers that failed."""
        return await self._ask_all("GET", path, b"")

    async def _ask_all(self, method: str, path: str, body: bytes) -> dict[int, httpx.Response]:
        """Return the response of each worker by number, without workers that failed."""

        async def ask(number: int, worker: _Worker) -> tuple[int, httpx.Response | None]:
            url = worker.url + path
            try:
                timeout = _CHANGE_TIMEOUT_S if method == "POST" else _REQUEST_TIMEOUT_S
                return number, await self._http_client.request(
                    method, url, content=body, timeout=timeout
                )
            except httpx.HTTPError:
                return number, None

        results = await asyncio.gather(*(ask(n, w) for n, w in list(self._workers.items())))
        return {number: response for number, response in results if response is not None}

    async def _scrape_all(self) -> list[str]:
        """Return the metrics of all workers, past and running; the running ones are scraped."""
        for number, response in (await self._get_from_all("/metrics")).items():
            if number in self._workers:
                self._workers[number].metrics_text = response.text
        return [*self._ended_metrics, *(worker.metrics_text for worker in self._workers.values())]

    async def _scrape_periodically(self) -> None:
        """Scrape all workers each second: the metrics of a worker cannot be read after it exits."""
        while True:
            await asyncio.sleep(_SCRAPE_INTERVAL_S)
            await self._scrape_all()

    async def _answer_of_first(self, request: Request) -> Response:
        """Return what the first worker says that knows it."""
        responses = (await self._get_from_all(request.url.path)).values()
        answer = next((r for r in responses if r.status_code == 200), None)
        answer = answer or next(iter(responses), None)
        if answer is None:
            return JSONResponse({"error": "no worker answers"}, 503)
        return JSONResponse(answer.json(), answer.status_code)

    async def _describe_process(self, request: Request) -> Response:
        """Return what the first worker says of itself, with what concerns this process."""
        answer = await self._answer_of_first(request)
        if answer.status_code != 200:
            return answer
        ours = {"pid": os.getpid(), "upgrade": self._lifecycle.upgrade.to_json()}
        return JSONResponse(json.loads(bytes(answer.body)) | ours)

    async def _record(self, request: Request) -> Response:
        """Return what all workers record, as one recording."""
        urls = [worker.url for worker in self._workers.values()]
        try:
            return await serve_merged(self._http_client, urls, request)
        except httpx.HTTPError:
            return JSONResponse({"error": "a worker does not answer", "cure": "ask again"}, 503)

    def _admin_app(self) -> Starlette:
        async def metrics(request: Request) -> Response:
            return metrics_response(_registry(await self._scrape_all()), request)

        async def state(_: Request) -> Response:
            responses = await self._get_from_all("/lb/state")
            return JSONResponse(merge_states([a.json() for _, a in sorted(responses.items())]))

        async def livez(_: Request) -> Response:
            return JSONResponse({"status": "alive", "workers": len(self._workers)})

        async def latest(_: Request) -> Response:
            responses = await self._get_from_all("/debug/requests")
            return JSONResponse(merge_explanations([r.json() for r in responses.values()]))

        async def every(request: Request) -> Response:
            """Have all workers do what is asked for; return the answer of one that refused."""
            path, body = request.url.path, await request.body()
            responses = await self._ask_all(request.method, path, body)
            if len(responses) < len(self._workers) or not responses:
                return JSONResponse({"error": "a worker does not answer", "cure": "ask again"}, 503)
            answers = sorted(
                responses.values(),
                key=lambda r: (r.status_code == 200, r.json().get("outcome") != "refused"),
            )
            content, status = answers[0].json(), answers[0].status_code
            self._is_drained = content.get("drained", self._is_drained)
            return JSONResponse(content, status)

        return Starlette(
            routes=[
                Route("/metrics", metrics),
                Route("/lb/state", state),
                Route("/livez", livez),
                Route("/debug/process", self._describe_process),
                Route("/debug/requests", latest),
                Route("/debug/requests/{sid}", self._answer_of_first),
                Route("/debug/picks/{service}", self._answer_of_first),
                Route("/debug/recording", self._record),
                Route("/lb/eject", every, methods=["POST"]),
                Route("/lb/uneject", every, methods=["POST"]),
                Route("/drain", every, methods=["POST"]),
                Route("/reload", every, methods=["POST"]),
                *console_routes(),
            ]
        )


def _registry(texts: list[str]) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(_MergedCollector(texts))
    return registry
