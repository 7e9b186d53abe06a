"""One process that runs the wrapper: its start, its channel, its restart after a crash."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import SystemRandom
from typing import Final

from aseloader.processes import status_pipe
from rpc.backoff import Backoff
from rpc.client import Channel
from rpc.status import RpcError, Status

_logger = logging.getLogger("ase.loader")

_MIN_RESTART_DELAY_S: Final = 0.5
_MAX_RESTART_DELAY_S: Final = 30.0
_STABLE_AFTER_S: Final = 10.0  # after this time, a crash starts the delays anew
_CONNECT_TIMEOUT_S: Final = 5.0
_CLOSE_GRACE_S: Final = 1.0


class WorkerProcess:
    """A loader process on a Unix socket, which reports to no hub.

    `arguments` are those of `asectl loader run`; `folder` gets the socket. If the process ends
    before `stop`, it is started again, with a delay that grows from 0.5 s to 30 s.

    `batch_curve` are the `base_ms` and `item_ms` of its batches; 0 while they are not known.
    `channel` is the client of the running process; None while there is none that has called `init`.
    `_lost_channel` is one that has lost its process, until that has been waited for.
    `running` counts the requests and sessions that it works on; its users set it. `first_start` is
    done when the first process is ready (True) or has ended before it was (False).
    """

    def __init__(
        self, index: int, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> None:
        self.index = index
        self.channel: Channel | None = None
        self.batch_curve = (0.0, 0.0)
        self.running = 0
        self._lost_channel: Channel | None = None
        self._addr = f"unix:{folder / f'{index}.sock'}"
        self._socket_path = folder / f"{index}.sock"
        self._arguments = arguments
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None
        self._is_stopping = False
        loop = asyncio.get_running_loop()
        self.first_start: asyncio.Future[bool] = loop.create_future()
        self._supervision = loop.create_task(self._supervise())

    @contextmanager
    def use(self) -> Iterator[Channel]:
        """Count one more request, and return the channel for it.

        If the call loses its connection, the process counts as ended at once.
        """
        channel = self.channel
        assert channel is not None  # noqa: S101 (the pool chooses one that runs)
        self.running += 1
        try:
            yield channel
        except RpcError as error:
            if error.status is Status.UNAVAILABLE and self.channel is channel:
                self.channel, self._lost_channel = None, channel
            raise
        finally:
            self.running -= 1

    async def stop(self, grace: float) -> None:
        """Ask the process to drain and to call `fini`; kill it after `grace` seconds."""
        self._is_stopping = True
        process = self._process
        if process is None:  # it waits for its restart
            self._supervision.cancel()
        elif process.stdin is not None:
            process.stdin.close()
        await asyncio.wait((self._supervision,), timeout=grace)
        if not self._supervision.done():
            self._kill()
        await asyncio.gather(self._supervision, return_exceptions=True)

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        backoff = Backoff(SystemRandom(), _MIN_RESTART_DELAY_S, _MAX_RESTART_DELAY_S)
        try:
            while True:
                started_at = loop.time()
                try:
                    reason = _describe_exit(await self._run_process())
                except OSError as error:  # no memory, or too many processes or files
                    reason = f"it could not be started: {error}"
                if self._is_stopping:
                    return
                if loop.time() - started_at > _STABLE_AFTER_S:
                    backoff.reset()
                delay = backoff.next_delay()
                fields = {"index": self.index, "ended": reason}
                _logger.error(
                    "process of the wrapper ended; it is started again",
                    extra={**fields, "after_s": round(delay, 1)},
                )
                await asyncio.sleep(delay)
        finally:
            self._kill()
            self._set_started(is_ready=False)

    async def _run_process(self) -> int:
        """Run one process until it ends; return its exit code."""
        self._socket_path.unlink(missing_ok=True)
        with contextlib.ExitStack() as stack:
            reader, writer = os.pipe()
            write_end = stack.enter_context(os.fdopen(writer, "wb", buffering=0))
            transport, status_reader = await status_pipe.open_reader(reader)
            stack.callback(transport.close)
            self._process = process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-P", "-m", "asectl", "loader", "run", *self._arguments),
                *("--host", self._addr, "--process-index", str(self.index)),
                *("--status-fd", str(writer), "--until-stdin-closes"),
                stdin=asyncio.subprocess.PIPE,
                pass_fds=(writer,),
                env=self._environment,
                start_new_session=True,  # Ctrl-C signals the parent alone, which drains first
            )
            write_end.close()  # the process has it
            reading = asyncio.create_task(self._read_status(status_reader))
            try:
                return await process.wait()
            finally:
                reading.cancel()
                channel, self.channel = self.channel or self._lost_channel, None
                self._process = self._lost_channel = None
                await asyncio.gather(reading, return_exceptions=True)
                if channel is not None:
                    await channel.close(_CLOSE_GRACE_S)
                self._set_started(is_ready=False)
                _kill_group(process.pid)

    async def _read_status(self, reader: asyncio.StreamReader) -> None:
        """Open the channel when the process is ready; keep the curve of its batches."""
        async for curve in status_pipe.read_curves(reader):
            self.batch_curve = curve
            if self.channel is None and self._lost_channel is None:
                self.channel = Channel(self._addr, connect_timeout=_CONNECT_TIMEOUT_S)
                self._set_started(is_ready=True)

    def _set_started(self, *, is_ready: bool) -> None:
        if not self.first_start.done():
            self.first_start.set_result(is_ready)

    def _kill(self) -> None:
        if self._process is not None:
            _kill_group(self._process.pid)


def _kill_group(pid: int) -> None:
    """Kill a process and what it has started; it leads a group of its own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _describe_exit(code: int) -> str:
    """Return the reason of an end, as in "exit code 1" or "signal SIGSEGV"."""
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"signal {signal.Signals(-code).name}"
    return f"signal {-code}"
