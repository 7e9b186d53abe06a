"""Several gateway processes behind one port: kept alive, and seen from outside as one.

The port is opened once and inherited. Each worker has an admin port that only this process knows;
the public one is served here, from all of them.
"""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import httpx
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from config.options import GatewayOptions
from gateway.merge import merged, merged_state
from gateway.serve import admin_server, listen

_logger = logging.getLogger("ase.gateway")

_PAUSE_S, _MOST_S = 0.2, 5.0
_LOOK_S = 1.0
_PATIENCE_S = 2.0

# Starts a worker on (the shared public socket, its own admin socket).
Start = Callable[[socket.socket, socket.socket], Awaitable[asyncio.subprocess.Process]]


@dataclass(slots=True)
class _Worker:
    """One process; `told` is the text of its metrics when it was last asked."""

    process: asyncio.subprocess.Process
    url: str
    told: str = ""


class _Merged:
    """A collector over texts."""

    def __init__(self, texts: list[str]) -> None:
        self._texts = texts

    def collect(self) -> Iterator[Metric]:
        yield from merged(self._texts)


class Workers:
    """Keeps `options.workers` processes serving one port."""

    def __init__(self, options: GatewayOptions, start: Start) -> None:
        self._options = options
        self._start = start
        self._workers: dict[int, _Worker] = {}
        self._past: list[str] = []  # what workers that ended had counted
        self._stopping = False
        self._http = httpx.AsyncClient(trust_env=False, timeout=_PATIENCE_S)

    async def run(
        self, ready: Callable[[socket.socket, socket.socket], None], stop: Awaitable[bool]
    ) -> None:
        """Serve until `stop`, as `gateway.serve.run` does. Raises OSError for a port not had."""
        options = self._options
        public = listen(options.host, options.port)
        private = listen(options.admin_host, options.admin_port)
        watching = admin_server(self._admin(), options)
        tasks = [asyncio.create_task(self._keep(n, public)) for n in range(options.workers)]
        tasks.append(asyncio.create_task(self._look_on()))
        serving = asyncio.create_task(watching.serve(sockets=[private]))
        try:
            await self._all_alive()
            ready(public, private)
            gently = await stop
            await self._end(signal.SIGTERM if gently else signal.SIGINT)
        finally:
            self._stopping = True
            for task in tasks:
                task.cancel()
            for worker in self._workers.values():
                with contextlib.suppress(ProcessLookupError):
                    worker.process.kill()
            watching.should_exit = True
            await asyncio.gather(*tasks, serving, return_exceptions=True)
            await self._http.aclose()
            public.close()

    async def _keep(self, number: int, public: socket.socket) -> None:
        """Keep one worker alive, for ever."""
        pause = _PAUSE_S
        while True:
            with listen("127.0.0.1", 0) as private:
                url = f"http://127.0.0.1:{private.getsockname()[1]}"
                process = await self._start(public, private)
            worker = self._workers[number] = _Worker(process, url)
            _logger.info("worker started", extra={"worker": number, "worker_pid": process.pid})
            began = asyncio.get_running_loop().time()
            code = await process.wait()
            if self._stopping:
                return
            self._past = [generate_latest(_registry([*self._past, worker.told])).decode()]
            del self._workers[number]
            facts = {"worker": number, "worker_pid": process.pid, "code": code}
            _logger.error("worker ended; another takes its place", extra=facts)
            lasted = asyncio.get_running_loop().time() - began
            pause = _PAUSE_S if lasted > _MOST_S else min(pause * 2, _MOST_S)
            await asyncio.sleep(pause)

    async def _all_alive(self) -> None:
        """Wait until every worker answers: its port is open before it is."""
        while True:
            alive = await self._asked("/livez")
            if len(alive) == self._options.workers:
                return
            await asyncio.sleep(0.05)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to every worker."""
        for worker in self._workers.values():
            with contextlib.suppress(ProcessLookupError):
                worker.process.send_signal(number)

    async def _end(self, number: signal.Signals) -> None:
        self._stopping = True
        processes = [worker.process for worker in self._workers.values()]
        self.send(number)
        most = self._options.lame_duck + self._options.drain + _MOST_S
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(most):
                await asyncio.gather(*(process.wait() for process in processes))

    async def _asked(self, path: str) -> dict[int, httpx.Response]:
        """Return what each worker answers; one that cannot is left out."""

        async def ask(number: int, worker: _Worker) -> tuple[int, httpx.Response | None]:
            try:
                return number, await self._http.get(worker.url + path)
            except httpx.HTTPError:
                return number, None

        told = await asyncio.gather(*(ask(n, w) for n, w in list(self._workers.items())))
        return {number: answer for number, answer in told if answer is not None}

    async def _counted(self) -> list[str]:
        """Return the metrics of every worker there ever was; ask those that are there."""
        for number, answer in (await self._asked("/metrics")).items():
            if number in self._workers:
                self._workers[number].told = answer.text
        return [*self._past, *(worker.told for worker in self._workers.values())]

    async def _look_on(self) -> None:
        """Note what each has counted, for when it ends."""
        while True:
            await asyncio.sleep(_LOOK_S)
            await self._counted()

    def _admin(self) -> Starlette:
        async def metrics(_: Request) -> Response:
            text = generate_latest(_registry(await self._counted()))
            return Response(text, headers={"content-type": CONTENT_TYPE_PLAIN_0_0_4})

        async def state(_: Request) -> Response:
            answers = await self._asked("/lb/state")
            return JSONResponse(merged_state([a.json() for _, a in sorted(answers.items())]))

        async def livez(_: Request) -> Response:
            return JSONResponse({"status": "alive", "workers": len(self._workers)})

        routes = [Route("/metrics", metrics), Route("/lb/state", state), Route("/livez", livez)]
        return Starlette(routes=routes)


def _registry(texts: list[str]) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(_Merged(texts))
    return registry
