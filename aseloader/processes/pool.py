"""The processes that run a wrapper, and the choice of one for a request."""

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from aseloader.processes import devices
from aseloader.processes.shared_inputs import SharedInputs
from aseloader.processes.worker_process import WorkerProcess
from schemas.model.errors import LOADER_FULL, AseError

CONFIG_VARIABLE: Final = "ASE_LOADER_CONFIG"
# Of prometheus_client: metrics are in files of this folder, so that another process can sum them.
METRICS_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
MEMORY_FOLDER: Final = Path("/dev/shm")  # noqa: S108 (a folder of our own is made in it)


class ProcessPool:
    """Runs `count` processes with the `arguments` of `asectl loader run`.

    `config` is the argument of `init`. It may hold secrets, so it is in the environment of the
    processes, which only their user can read, and not in their arguments.

    `shared_inputs` is for large requests. Its folder, in memory where the system has one, is
    removed by `stop`. `metrics_folder` in it has the metrics of the processes; a process goes on
    with those of its predecessor. Each process sees one of the machine's devices (`devices`).
    """

    def __init__(self, count: int, arguments: Sequence[str], config: Mapping[str, str]) -> None:
        _remove_old_folders()
        parent = MEMORY_FOLDER if os.access(MEMORY_FOLDER, os.W_OK) else None
        self._folder = Path(tempfile.mkdtemp(prefix=f"ase-loader-{os.getpid()}-", dir=parent))
        self.shared_inputs = SharedInputs(self._folder)
        self.metrics_folder = self._folder / "metrics"
        self.metrics_folder.mkdir()
        device_files = [path.name for path in Path("/dev").glob("nvidia[0-9]*")]
        available = devices.visible_devices(os.environ, device_files)
        arguments = [*arguments, "--shared-inputs", str(self._folder)]
        self._processes = [
            WorkerProcess(
                index,
                arguments,
                self._folder,
                {
                    **devices.process_environment(os.environ, index, available),
                    CONFIG_VARIABLE: json.dumps(dict(config)),
                    METRICS_VARIABLE: str(self.metrics_folder),
                },
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

    def choose(self, tried: WorkerProcess | None = None) -> WorkerProcess:
        """Return the process that works on the fewest requests, other than `tried`.

        Raises AseError 10110 if no other process runs.
        """
        ready = [
            process
            for process in self._processes
            if process.channel is not None and process is not tried
        ]
        if not ready:
            hint = "no process of the wrapper runs; they are started again"
            raise AseError(LOADER_FULL, f"{LOADER_FULL.code} {hint}")
        return min(ready, key=lambda process: process.running)

    def batch_curve(self) -> tuple[float, float]:
        """Return the mean `base_ms` and `item_ms` of the processes; 0 while they are not known."""
        curves = [process.batch_curve for process in self._processes if any(process.batch_curve)]
        if not curves:
            return 0.0, 0.0
        bases, items = zip(*curves, strict=True)
        return sum(bases) / len(curves), sum(items) / len(curves)

    async def stop(self, grace: float) -> None:
        """Let the processes call `fini` and end; kill them after `grace` seconds."""
        await asyncio.gather(*(process.stop(grace) for process in self._processes))
        shutil.rmtree(self._folder, ignore_errors=True)


def _remove_old_folders() -> None:
    """Remove the folders of loaders that were killed; their names have the process id."""
    for folder in MEMORY_FOLDER.glob("ase-loader-*-*"):
        pid = folder.name.split("-")[2]
        if pid.isdecimal() and not Path("/proc", pid).exists():
            shutil.rmtree(folder, ignore_errors=True)
