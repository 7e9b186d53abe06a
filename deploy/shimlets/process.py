"""The shimlet `process`: replicas are processes of this host. They outlive the deployer."""

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from deploy.shimlets.interface import ReplicaState, ReplicaStatus, ShimletError, Workload
from deploy.shimlets.loader_program import (
    describe_excess,
    find_wrapper_problem,
    loader_command,
    loader_environment,
)
from deploy.shimlets.replica_process import ReplicaProcess, write_atomically
from deploy.shimlets.usage import Usage, UsageMeter, read_usage_by_session
from lb.credentials import NO_CREDENTIALS, HubCredentials
from rpc.addresses import join_host_port

_Result = TypeVar("_Result")

_WORKLOAD: Final = "workload.json"


class ProcessShimlet:
    """Replicas as processes, each with a folder below `state`: ID/REVISION/NUMBER.

    Wrappers are files below `models`. They listen on `host`, which gateways reach. `grace_s` is how
    long a replica may take to finish its requests. `credentials` are for the hubs.
    """

    name = "process"
    description = "processes of the deployer's host"

    def __init__(
        self,
        state: Path,
        models: Path,
        host: str,
        grace_s: float = 35.0,
        max_log_bytes: int = 10 * 1024 * 1024,
        credentials: HubCredentials = NO_CREDENTIALS,
    ) -> None:
        self._state = state
        self._models = models
        self._host = host
        self._grace_s = grace_s
        self._max_log_bytes = max_log_bytes
        self._credentials = credentials
        self._replicas: dict[Path, ReplicaProcess] = {}
        self._meter = UsageMeter()
        # One thread reads and starts, in the order of the calls.
        self._thread = ThreadPoolExecutor(1, "process-shimlet")
        self._callbacks: list[Callable[[str], None]] = []
        self._watched: dict[int, int] = {}  # descriptors by pid

    def check(self, workload: Workload) -> str:
        """Return why it can never run a workload; see `Shimlet`."""
        return find_wrapper_problem(workload, self.name, self._models)

    def on_change(self, callback: Callable[[str], None]) -> None:
        """Have `callback` called when a replica ends; see `Shimlet`."""
        self._callbacks.append(callback)

    async def apply(self, workload: Workload) -> None:
        """Start what is missing of a revision; see `Shimlet`."""
        await self._run(self._apply, workload)
        self._watch_ends(workload.id)

    async def scale(self, deployment_id: str, revision: str, replicas: int) -> None:
        """Have another number of replicas; see `Shimlet`."""
        workload = await self._run(self._read_workload, deployment_id, revision)
        await self.apply(replace(workload, replicas=replicas))

    async def delete(self, deployment_id: str, revision: str = "") -> None:
        """Begin to stop a revision, or all; see `Shimlet`."""
        await self._run(self._delete, deployment_id, revision)

    async def status(self, deployment_id: str) -> list[ReplicaStatus]:
        """Return all replicas; see `Shimlet`."""
        statuses = await self._run(self._status, deployment_id)
        self._watch_ends(deployment_id)
        return statuses

    async def list_deployments(self) -> list[str]:
        """Return the ids of all that has a folder here; see `Shimlet`."""
        return await self._run(lambda: [path.name for path in _folders(self._state)])

    async def logs(self, deployment_id: str, replica: str, lines: int) -> str:
        """Return the last lines of a log; see `Shimlet`."""

        def read() -> str:
            for process in self._processes(deployment_id):
                if _replica_name(process) == replica:
                    return process.read_log(lines)
            raise ShimletError(f"no replica {replica!r} of {deployment_id}", is_final=True)

        return await self._run(read)

    async def close(self) -> None:
        """Stop watching; the processes run on."""
        loop = asyncio.get_running_loop()
        for descriptor in self._watched.values():
            loop.remove_reader(descriptor)
            os.close(descriptor)
        self._watched.clear()
        self._thread.shutdown()

    async def _run(self, call: Callable[..., _Result], *args: Any) -> _Result:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, partial(call, *args))
        except OSError as error:
            raise ShimletError(f"process: {error}; see the folder {self._state}") from error

    # In the thread

    def _apply(self, workload: Workload) -> None:
        folder = self._state / workload.id / workload.revision
        folder.mkdir(parents=True, exist_ok=True)
        text = workload.to_text()
        path = folder / _WORKLOAD
        if not path.is_file() or path.read_text("utf-8") != text:
            write_atomically(path, text)
        for number in range(workload.replicas):
            process = self._process(folder / str(number))
            if process.is_running():
                continue
            if process.notes.stopping_at:  # it was told to stop, and is wanted again
                process.remove()
                process = self._forget(process)
            if time.time() >= process.retry_at():
                process.start(
                    loader_command(workload, self._host, "{port}", self._credentials),
                    self._host,
                    loader_environment(workload, os.environ, self._credentials),
                    self._models,
                )
        for process in self._processes(workload.id, workload.revision):
            if int(process.folder.name) >= workload.replicas:
                self._stop(process)

    def _delete(self, deployment_id: str, revision: str) -> None:
        for process in self._processes(deployment_id, revision):
            self._stop(process)
        for folder in _folders(self._state / deployment_id):
            if revision in ("", folder.name) and not _folders(folder):
                shutil.rmtree(folder, ignore_errors=True)
        if not _folders(self._state / deployment_id):
            shutil.rmtree(self._state / deployment_id, ignore_errors=True)

    def _stop(self, process: ReplicaProcess) -> None:
        if process.is_running():
            process.stop()
        else:
            process.remove()
            self._replicas.pop(process.folder, None)

    def _status(self, deployment_id: str) -> list[ReplicaStatus]:
        processes = self._processes(deployment_id)
        usages = read_usage_by_session() if processes else {}
        limits = {
            folder.name: self._memory_limit(folder)
            for folder in _folders(self._state / deployment_id)
        }
        return [
            self._replica_status(process, usages, limits[process.folder.parent.name])
            for process in processes
        ]

    def _replica_status(
        self, process: ReplicaProcess, usages: Mapping[int, Usage], memory_limit: int
    ) -> ReplicaStatus:
        is_running = process.is_running()
        process.trim_log()
        notes = process.notes
        usage = usages.get(process.pid, Usage()) if is_running else Usage()
        excess = describe_excess(usage, memory_limit)
        if excess:
            process.kill(excess)
            is_running, notes, usage = False, process.notes, Usage()
        state = ReplicaState.RUNNING if is_running else ReplicaState.BACKOFF
        if notes.stopping_at:
            state = ReplicaState.STOPPING
        elif is_running and not process.pid:
            state = ReplicaState.STARTING
        return ReplicaStatus(
            name=_replica_name(process),
            revision=process.folder.parent.name,
            state=state,
            address=join_host_port(self._host, notes.port) if is_running else "",
            crashes=notes.crashes,
            reason=notes.reason,
            started_at=notes.started_at,
            cpu=self._meter.cpus(process.pid, usage, time.monotonic()) if usage.memory else 0.0,
            memory=usage.memory,
        )

    def _memory_limit(self, folder: Path) -> int:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            return Workload.from_text((folder / _WORKLOAD).read_text("utf-8")).resources.memory
        return 0

    def _read_workload(self, deployment_id: str, revision: str) -> Workload:
        path = self._state / deployment_id / revision / _WORKLOAD
        try:
            return Workload.from_text(path.read_text("utf-8"))
        except FileNotFoundError:
            message = f"{deployment_id}: revision {revision} was not applied"
            raise ShimletError(message, is_final=True) from None

    def _processes(self, deployment_id: str, revision: str = "") -> list[ReplicaProcess]:
        return [
            self._process(replica)
            for folder in _folders(self._state / deployment_id)
            if revision in ("", folder.name)
            for replica in sorted(_folders(folder), key=lambda path: int(path.name))
        ]

    def _process(self, folder: Path) -> ReplicaProcess:
        if folder not in self._replicas:
            self._replicas[folder] = ReplicaProcess(folder, self._grace_s, self._max_log_bytes)
        return self._replicas[folder]

    def _forget(self, process: ReplicaProcess) -> ReplicaProcess:
        self._replicas.pop(process.folder, None)
        return self._process(process.folder)

    # In the event loop

    def _watch_ends(self, deployment_id: str) -> None:
        """Have the callbacks called when a process of a deployment ends."""
        loop = asyncio.get_running_loop()
        for process in [*self._replicas.values()]:
            pid = process.pid
            if process.folder.parent.parent.name != deployment_id or not pid:
                continue
            if pid in self._watched:
                continue
            try:
                descriptor = os.pidfd_open(pid)
            except OSError:  # it has ended
                continue
            self._watched[pid] = descriptor
            loop.add_reader(descriptor, self._on_end, pid, deployment_id)

    def _on_end(self, pid: int, deployment_id: str) -> None:
        descriptor = self._watched.pop(pid)
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)
        for callback in self._callbacks:
            callback(deployment_id)


def _folders(path: Path) -> list[Path]:
    try:
        return sorted(entry for entry in path.iterdir() if entry.is_dir())
    except FileNotFoundError:
        return []


def _replica_name(process: ReplicaProcess) -> str:
    folder = process.folder
    return f"{folder.parent.parent.name}-{folder.parent.name}-{folder.name}"
