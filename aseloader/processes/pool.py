"""The processes that run a wrapper, and the choice of one for a request."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from aseloader.processes import devices
from aseloader.processes.shared_inputs import SharedInputs
from aseloader.processes.worker_process import WorkerProcess
from rpc.client import Channel
from schemas.model.errors import LOADER_FULL, AseError

MEMORY_FOLDER: Final = Path("/dev/shm")  # noqa: S108 (a folder of our own is made in it)


class ProcessPool:
    """Runs `count` processes with the `arguments` of `asectl loader run`.

    `shared_inputs` is for large requests. Its folder, in memory where the system has one, is
    removed by `stop`. Each process sees one of the machine's devices (`devices`).
    """

    def __init__(self, count: int, arguments: Sequence[str]) -> None:
        parent = MEMORY_FOLDER if os.access(MEMORY_FOLDER, os.W_OK) else None
        self._folder = Path(tempfile.mkdtemp(prefix=f"ase-loader-{os.getpid()}-", dir=parent))
        self.shared_inputs = SharedInputs(self._folder)
        device_files = [path.name for path in Path("/dev").glob("nvidia[0-9]*")]
        available = devices.visible_devices(os.environ, device_files)
        arguments = [*arguments, "--shared-inputs", str(self._folder)]
        self._processes = [
            WorkerProcess(
                index,
                arguments,
                self._folder,
                devices.process_environment(os.environ, index, available),
            )
            for index in range(count)
        ]

    async def wait_ready(self) -> bool:
        """Wait until every process has called `init`; return False once one has failed."""
        waiting = {process.first_start for process in self._processes}
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if not all(future.result() for future in done):
                return False
        return True

    @contextmanager
    def use(self) -> Iterator[Channel]:
        """Choose the process that works on the fewest requests, and count one more on it.

        Raises AseError 10110 if no process runs.
        """
        ready = [process for process in self._processes if process.channel is not None]
        if not ready:
            raise AseError(LOADER_FULL, "no process of the wrapper runs; they are started again")
        process = min(ready, key=lambda process: process.running)
        assert process.channel is not None  # noqa: S101 (`ready` has those with one)
        process.running += 1
        try:
            yield process.channel
        finally:
            process.running -= 1

    async def stop(self, grace: float) -> None:
        """Let the processes call `fini` and end; kill them after `grace` seconds."""
        await asyncio.gather(*(process.stop(grace) for process in self._processes))
        shutil.rmtree(self._folder, ignore_errors=True)
