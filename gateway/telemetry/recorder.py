"""Records what passes through a gateway, while somebody reads it at the admin port.

The recording is the answer to `GET /debug/recording?seconds=60`: it ends when the reader goes, and
a disk that is full is the reader's. Its format is in `gateway/simulation/recording.py`.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import replace

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from config.options import LbOptions
from gateway.request.record import RequestRecord
from gateway.simulation.recording import (
    NO_SLOT_CODES,
    VERSION,
    RecordedInstance,
    RecordedLine,
    RecordedRequest,
    RecordingEnd,
    RecordingStart,
    digest,
    encode_line,
    encode_request,
)
from gateway.telemetry.access_log import AccessLog
from lb.endpoints.endpoint import Endpoint
from lb.endpoints.lifecycle import EndpointState
from lb.endpoints.report import InstanceKey

MAX_SECONDS = 86_400.0
_MAX_RECORDINGS = 4
# Requests that a recording keeps for a reader that does not read; later ones are lost.
_MAX_UNREAD = 100_000
_TICK_S = 0.1
# An instance whose state is the same is recorded this often.
_SAMPLE_INTERVAL_S = 1.0
# A gateway without requests sends an empty line this often: its reader waits no longer for one.
_IDLE_S, _IDLE_LINE = 1.0, b"\n"
_MEDIA_TYPE = "application/x-ndjson"


class _Samples:
    """The instances of a gateway as they were last recorded, with the number of that report."""

    def __init__(self, gateway: str, endpoints: Iterable[Endpoint]) -> None:
        self._gateway = gateway
        self._endpoints = endpoints
        self._latest: dict[InstanceKey, tuple[RecordedInstance, tuple[int, int]]] = {}

    def take(self, at: float) -> list[RecordedInstance]:
        """Return those that changed: their state at once, their figures once a second."""
        changes = []
        present = set()
        for endpoint in self._endpoints:
            key = endpoint.instance.key
            present.add(key)
            number = (endpoint.instance.epoch, endpoint.load.seq)
            earlier, earlier_number = self._latest.get(key, (None, number))
            if (
                earlier is None
                or earlier.state != endpoint.state.value
                or (number != earlier_number and at - earlier.at >= _SAMPLE_INTERVAL_S)
            ):
                sample = self._sample(endpoint, at)
                self._latest[key] = (sample, number)
                changes.append(sample)
        absent = self._latest.keys() - present
        return changes + [_as_gone(self._latest.pop(key)[0], at) for key in absent]

    def _sample(self, endpoint: Endpoint, at: float) -> RecordedInstance:
        instance, load = endpoint.instance, endpoint.load
        return RecordedInstance(
            self._gateway,
            at,
            instance.service,
            instance.addr,
            instance.epoch,
            instance.report_mode.name,
            instance.total,
            instance.best,
            instance.max_batch,
            endpoint.state.value,
            load.running,
            load.queued,
            load.service_ms,
            load.served,
        )


def _as_gone(sample: RecordedInstance, at: float) -> RecordedInstance:
    return replace(sample, at=at, state=EndpointState.GONE.value, running=0, queued=0)


class _Reader:
    """A reader of the recording: `lines` are those that it has not got yet."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.lost = 0

    def add_request(self, line: str) -> None:
        """Keep the line of a request, unless the reader has too many."""
        if len(self.lines) < _MAX_UNREAD:
            self.lines.append(line)
        else:
            self.lost += 1

    def take(self) -> bytes:
        """Return the lines, and forget them."""
        text = "".join(f"{line}\n" for line in self.lines)
        self.lines.clear()
        return text.encode("ascii")


class Recorder:
    """Sends what a gateway does to those that read its recording, at no cost without any.

    `gateway` is its name; `options` say how it picks. Requests are those of `attach`; `endpoints`
    are those that it knows. `clock` returns the seconds of their records, `wall_clock` those since
    1970. `is_stopping` returns whether the gateway is to end, which ends the recordings. `sleep`
    waits for seconds.
    """

    def __init__(
        self,
        gateway: str,
        options: LbOptions,
        *,
        endpoints: Iterable[Endpoint],
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        is_stopping: Callable[[], bool],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._gateway = gateway
        self._options = options
        self._endpoints = endpoints
        self._clock = clock
        self._wall_clock = wall_clock
        self._is_stopping = is_stopping
        self._sleep = sleep
        self._readers: list[_Reader] = []
        self._access_log: AccessLog | None = None
        self._epoch_offset = 0.0

    def attach(self, access_log: AccessLog) -> None:
        """Record the requests that this log writes."""
        self._access_log = access_log

    def routes(self) -> list[Route]:
        """Return the route of the recording."""
        return [Route("/debug/recording", self._serve)]

    async def _serve(self, request: Request) -> Response:
        seconds = _read_seconds(request)
        if seconds is None:
            return BAD_SECONDS
        if len(self._readers) >= _MAX_RECORDINGS:
            error = f"{_MAX_RECORDINGS} recordings are read already"
            return JSONResponse({"error": error, "cure": "wait until one ends"}, 429)
        return StreamingResponse(self.record(seconds), media_type=_MEDIA_TYPE)

    async def record(self, seconds: float) -> AsyncIterator[bytes]:
        """Yield the lines of a recording, whole ones, for so many seconds."""
        reader, options = _Reader(), self._options
        if len(self._readers) >= _MAX_RECORDINGS:  # several asked in the same moment
            return
        if not self._readers:
            self._epoch_offset = self._wall_clock() - self._clock()
        started_at = sent_at = self._now()
        start = RecordingStart(
            self._gateway,
            started_at,
            VERSION,
            options.policy,
            options.wait,
            options.waiting,
            options.ramp,
        )
        samples = _Samples(self._gateway, self._endpoints)
        reader.lines.append(encode_line(start))
        self._add_reader(reader)
        try:
            ends_at = started_at + seconds
            while (now := self._now()) < ends_at and not self._is_stopping():
                reader.lines += map(encode_line, samples.take(now))
                is_idle = not reader.lines and now - sent_at < _IDLE_S
                if not is_idle:
                    yield reader.take() or _IDLE_LINE
                    sent_at = now
                await self._sleep(min(_TICK_S, ends_at - now))
            final_lines: list[RecordedLine] = [*samples.take(now)]
            final_lines.append(RecordingEnd(self._gateway, now, reader.lost))
            reader.lines += map(encode_line, final_lines)
            yield reader.take()
        finally:
            self._remove_reader(reader)

    def _now(self) -> float:
        return self._clock() + self._epoch_offset

    def _add_reader(self, reader: _Reader) -> None:
        self._readers.append(reader)
        if self._access_log is not None:
            self._access_log.on_end = self._add

    def _remove_reader(self, reader: _Reader) -> None:
        self._readers.remove(reader)
        if not self._readers and self._access_log is not None:
            self._access_log.on_end = None

    def _add(self, record: RequestRecord, is_session: bool) -> None:
        """Record a request that had a slot, or should have had one."""
        if not record.attempts and record.code not in NO_SLOT_CODES:
            return
        asked_at = record.body_received_at or record.accepted_at
        if record.attempts:
            asked_at = record.called_at - (record.upstream_s - record.call_s) - record.waited_s
        line = encode_request(
            RecordedRequest(
                self._gateway,
                asked_at + self._epoch_offset,
                record.service,
                record.instance,
                (record.called_at or record.answered_at) + self._epoch_offset,
                record.call_s,
                record.waited_s,
                record.status,
                record.code,
                record.attempts,
                digest(record.app_id),
                digest(record.affinity_key),
                is_session,
            )
        )
        for reader in self._readers:
            reader.add_request(line)


BAD_SECONDS = JSONResponse(
    {
        "error": "seconds is no time",
        "cure": f"a number above 0, at most {MAX_SECONDS:g}: /debug/recording?seconds=60",
    },
    400,
)


def _read_seconds(request: Request) -> float | None:
    try:
        seconds = float(request.query_params.get("seconds", "60"))
    except ValueError:
        return None
    return seconds if 0 < seconds <= MAX_SECONDS else None


async def serve_merged(
    client: httpx.AsyncClient, base_urls: Sequence[str], request: Request
) -> Response:
    """Return the recordings of several gateways as one, line by line as they come.

    If one does not record, its answer is returned.
    """
    stack = contextlib.AsyncExitStack()
    responses: list[httpx.Response] = []
    async with stack:
        for base_url in base_urls:
            url = f"{base_url}/debug/recording?{request.url.query}"
            response = await stack.enter_async_context(client.stream("GET", url, timeout=None))
            if response.status_code != 200:
                await response.aread()
                return JSONResponse(response.json(), response.status_code)
            responses.append(response)
        lines = _merge_lines(responses, stack.pop_all())
        return StreamingResponse(lines, media_type=_MEDIA_TYPE)


async def _merge_lines(
    responses: Sequence[httpx.Response], stack: contextlib.AsyncExitStack
) -> AsyncIterator[bytes]:
    """Yield the lines of all responses, and close `stack` at the end."""
    lines: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=1000)

    async def forward(response: httpx.Response) -> None:
        with contextlib.suppress(httpx.HTTPError):  # a worker that ends leaves its recording cut
            async for line in response.aiter_lines():
                await lines.put(f"{line}\n".encode())
        await lines.put(None)

    async with stack:
        tasks = [asyncio.create_task(forward(response)) for response in responses]
        try:
            running = len(tasks)
            while running:
                line = await lines.get()
                if line is None:
                    running -= 1
                else:
                    yield line
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
