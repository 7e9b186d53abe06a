"""The shimlet `supervisor`: replicas are programs of a supervisord of this host.

supervisord starts them again when they end, whether a deployer runs or not. What it is to run are
files in a folder that its configuration includes; two for each replica: the program, and the
command with its environment. http://supervisord.org/configuration.html
"""

import asyncio
import contextlib
import json
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from deploy.shimlets import supervisor_rpc
from deploy.shimlets.interface import ReplicaState, ReplicaStatus, ShimletError, Workload
from deploy.shimlets.loader_program import (
    describe_excess,
    find_wrapper_problem,
    loader_command,
    loader_environment,
)
from deploy.shimlets.replica_process import read_tail, write_atomically
from deploy.shimlets.supervisor_rpc import SupervisorFaultError, SupervisorRpc
from deploy.shimlets.usage import Usage, UsageMeter, read_usage_by_group
from lb.credentials import NO_CREDENTIALS, HubCredentials
from rpc.addresses import join_host_port

_Result = TypeVar("_Result")

_PREFIX: Final = "ase-"
_START_S: Final = 1  # a program that lives as long has started
_RETRIES: Final = 3
_STABLE_S: Final = 60.0
_MIN_BACKOFF_S, _MAX_BACKOFF_S = 2.0, 60.0
_WATCH_INTERVAL_S: Final = 0.5
_LOG_BYTES: Final = 64 * 1024
_LIVING: Final = ("STARTING", "RUNNING", "STOPPING")
_ENDED: Final = ("BACKOFF", "EXITED", "FATAL")
# How supervisord logs an end, as `exited: NAME (terminated by SIGKILL; not expected)`.
_END: Final = re.compile(r"(?:exited|stopped): (\S+) \(([^;)\n]*)")


@dataclass(frozen=True, slots=True)
class _Program:
    """A replica as its file says. `is_stopping`: it is not wanted any more.

    `port` is that of its last start, 0 before the first one.
    """

    workload: Workload
    number: int
    port: int = 0
    is_stopping: bool = False

    @property
    def replica(self) -> str:
        return f"{self.workload.id}-{self.workload.revision}-{self.number}"

    @property
    def name(self) -> str:
        """The name of the program, and of its group."""
        return _PREFIX + self.replica


@dataclass(slots=True)
class _ProgramNotes:
    """What is remembered of a program; a deployer that is started anew begins again.

    `started_at` is the start of its run, `counted_run` that of the one whose end was counted last,
    `failed_at` when supervisord gave it up. `killed_for` is why it was killed and has to end.
    """

    started_at: float = 0.0
    counted_run: float = 0.0
    crashes: int = 0
    reason: str = ""
    killed_for: str = ""
    failed_at: float = 0.0


class SupervisorShimlet:
    """Replicas as programs, described by files below `folder`, which supervisord includes.

    `address` is that of its XML-RPC interface. Wrappers are files below `models`. They listen on
    `host`, which gateways reach. `grace_s` is how long a replica may take to finish its requests.
    `credentials` are for the hubs.
    """

    name = "supervisor"
    description = "programs of a supervisord of the deployer's host"

    def __init__(
        self,
        address: str,
        folder: Path,
        models: Path,
        host: str,
        grace_s: float = 35.0,
        max_log_bytes: int = 10 * 1024 * 1024,
        credentials: HubCredentials = NO_CREDENTIALS,
    ) -> None:
        self._rpc = SupervisorRpc(address)
        self._folder = folder
        self._models = models
        self._host = host
        self._grace_s = grace_s
        self._max_log_bytes = max_log_bytes
        self._credentials = credentials
        self._notes: dict[str, _ProgramNotes] = {}
        self._meter = UsageMeter()
        self._callbacks: list[Callable[[str], None]] = []
        self._watching: asyncio.Task[None] | None = None
        # One thread talks to supervisord, in the order of the calls.
        self._thread = ThreadPoolExecutor(1, "supervisor-shimlet")

    def check(self, workload: Workload) -> str:
        """Return why it can never run a workload; see `Shimlet`."""
        return find_wrapper_problem(workload, self.name, self._models)

    def on_change(self, callback: Callable[[str], None]) -> None:
        """Have `callback` called when a program ends; see `Shimlet`."""
        self._callbacks.append(callback)

    async def apply(self, workload: Workload) -> None:
        """Start what is missing of a revision; see `Shimlet`."""
        self._watch()
        await self._run(self._apply, workload)

    async def scale(self, deployment_id: str, revision: str, replicas: int) -> None:
        """Have another number of replicas; see `Shimlet`."""
        programs = await self._run(self._programs, deployment_id, revision)
        if not programs:
            message = f"{deployment_id}: revision {revision} was not applied"
            raise ShimletError(message, is_final=True)
        await self.apply(replace(programs[0].workload, replicas=replicas))

    async def delete(self, deployment_id: str, revision: str = "") -> None:
        """Begin to stop a revision, or all; see `Shimlet`."""
        await self._run(self._delete, deployment_id, revision)

    async def status(self, deployment_id: str) -> list[ReplicaStatus]:
        """Return all replicas; see `Shimlet`."""
        self._watch()
        return await self._run(self._status, deployment_id)

    async def list_deployments(self) -> list[str]:
        """Return the ids of all that has a program here; see `Shimlet`."""
        programs = await self._run(self._programs)
        return sorted({program.workload.id for program in programs})

    async def logs(self, deployment_id: str, replica: str, lines: int) -> str:
        """Return the last lines of a program; see `Shimlet`."""
        return await self._run(self._read_log, deployment_id, replica, lines)

    async def close(self) -> None:
        """Stop watching; the programs run on."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        self._thread.shutdown()
        self._rpc.close()

    async def _run(self, call: Callable[..., _Result], *args: Any) -> _Result:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, partial(call, *args))
        except SupervisorFaultError as fault:
            raise ShimletError(f"supervisor: {fault}") from fault
        except OSError as error:
            raise ShimletError(f"supervisor: {error}; see the folder {self._folder}") from error

    # In the thread

    def _apply(self, workload: Workload) -> None:
        present = {p.number: p for p in self._programs(workload.id, workload.revision)}
        states = self._states()
        for number in range(workload.replicas):
            program = present.get(number)
            if program is not None and program.is_stopping:
                info = states.get(program.name)
                if info is not None and info["statename"] in (*_LIVING, "BACKOFF"):
                    continue  # it is added again once it has ended
                self._stop(program, info)
                states.pop(program.name, None)
                program = None
            if program is None:
                program = _Program(workload, number)
                self._write(program)
            elif program.workload != workload:
                program = replace(program, workload=workload)
                self._write(program)
            self._ensure(program, states.get(program.name))
        for number, program in present.items():
            if number >= workload.replicas:
                self._stop(program, states.get(program.name))

    def _ensure(self, program: _Program, info: Mapping[str, Any] | None) -> None:
        """Have a program run: one that supervisord does not know, or has given up."""
        if info is None:
            self._rpc.call("reloadConfig")
            with _ignoring(supervisor_rpc.ALREADY_ADDED):
                self._rpc.call("addProcessGroup", program.name)  # which starts it
            return
        if info["statename"] not in ("FATAL", "STOPPED", "EXITED"):
            return
        notes = self._count_end(program, info)
        delay = min(_MIN_BACKOFF_S * 2 ** min(notes.crashes, 10), _MAX_BACKOFF_S)
        if info["statename"] == "FATAL" and time.time() < notes.failed_at + delay:
            return
        with _ignoring(supervisor_rpc.ALREADY_STARTED):
            self._rpc.call("startProcess", program.name, False)

    def _delete(self, deployment_id: str, revision: str) -> None:
        states = self._states()
        for program in self._programs(deployment_id, revision):
            self._stop(program, states.get(program.name))

    def _stop(self, program: _Program, info: Mapping[str, Any] | None) -> None:
        """Tell a program to end; remove it when it has."""
        if not program.is_stopping:
            self._write(replace(program, is_stopping=True))
        if info is not None and info["statename"] in (*_LIVING, "BACKOFF"):
            with _ignoring(supervisor_rpc.NOT_RUNNING):
                self._rpc.call("stopProcess", program.name, False)
            return
        if info is not None:
            with _ignoring(supervisor_rpc.BAD_NAME):
                self._rpc.call("removeProcessGroup", program.name)
        paths = self._paths(program)
        for path in (*paths, paths[0].with_suffix(".port"), paths[2].with_suffix(".log.1")):
            path.unlink(missing_ok=True)
        self._rpc.call("reloadConfig")
        self._notes.pop(program.name, None)

    def _status(self, deployment_id: str) -> list[ReplicaStatus]:
        programs = self._programs(deployment_id)
        states = self._states() if programs else {}
        usages = read_usage_by_group() if programs else {}
        statuses = [self._replica_status(p, states.get(p.name), usages) for p in programs]
        return sorted(statuses, key=lambda status: status.name)

    def _replica_status(
        self, program: _Program, info: Mapping[str, Any] | None, usages: Mapping[int, Usage]
    ) -> ReplicaStatus:
        if info is None:  # it is about to be added
            state = ReplicaState.STOPPING if program.is_stopping else ReplicaState.STARTING
            return ReplicaStatus(program.replica, program.workload.revision, state)
        notes = self._count_end(program, info)
        usage = usages.get(info["pid"], Usage()) if info["statename"] in _LIVING else Usage()
        excess = describe_excess(usage, program.workload.resources.memory)
        if excess:
            self._rpc.call("signalProcess", program.name, "KILL")
            notes.killed_for = excess
        state = ReplicaState.RUNNING
        if program.is_stopping or info["statename"] == "STOPPING":
            state = ReplicaState.STOPPING
        elif info["statename"] == "STARTING" and not notes.crashes:
            state = ReplicaState.STARTING
        elif info["statename"] != "RUNNING":
            state = ReplicaState.BACKOFF
        is_living = state in (ReplicaState.RUNNING, ReplicaState.STOPPING)
        return ReplicaStatus(
            name=program.replica,
            revision=program.workload.revision,
            state=state,
            address=join_host_port(self._host, program.port) if is_living and program.port else "",
            crashes=notes.crashes,
            reason=notes.reason,
            started_at=float(info["start"]),
            cpu=self._meter.cpus(info["pid"], usage, time.monotonic()) if usage.memory else 0.0,
            memory=usage.memory,
        )

    def _count_end(self, program: _Program, info: Mapping[str, Any]) -> _ProgramNotes:
        """Count a run that has ended since the last look, and note how; a run is its start."""
        notes = self._notes.setdefault(program.name, _ProgramNotes())
        started_at, state = float(info["start"]), str(info["statename"])
        ended_run = 0.0
        if state in _ENDED:
            ended_run = started_at
        elif notes.started_at and started_at > notes.started_at:  # it was started again
            ended_run = notes.started_at
        if ended_run and ended_run != notes.counted_run:
            ended_at = float(info["stop"]) if state in _ENDED else started_at
            notes.crashes = 1 if ended_at - ended_run > _STABLE_S else notes.crashes + 1
            notes.reason = notes.killed_for or self._find_reason(program.name, info)
            notes.counted_run, notes.killed_for = ended_run, ""
        if state == "FATAL" and not notes.failed_at:
            notes.crashes, notes.failed_at = max(notes.crashes, _RETRIES), float(info["now"])
        elif state != "FATAL":
            notes.failed_at = 0.0
        notes.started_at = started_at
        return notes

    def _find_reason(self, name: str, info: Mapping[str, Any]) -> str:
        """Return how a program has ended: by supervisord's own log, which alone knows signals."""
        with contextlib.suppress(SupervisorFaultError):
            ends = _END.findall(self._rpc.call("readLog", -_LOG_BYTES, 0))
            described = [description for ended, description in ends if ended == name]
            if described:
                return f"ended: {described[-1]}"
        return f"ended: {info['spawnerr'] or 'supervisord does not say how'}"

    def _states(self) -> dict[str, Mapping[str, Any]]:
        return {info["name"]: info for info in self._rpc.call("getAllProcessInfo")}

    def _read_log(self, deployment_id: str, replica: str, lines: int) -> str:
        for program in self._programs(deployment_id):
            if program.replica == replica:
                return read_tail(self._paths(program)[2], lines)
        raise ShimletError(f"no replica {replica!r} of {deployment_id}", is_final=True)

    def _programs(self, deployment_id: str = "", revision: str = "") -> list[_Program]:
        """Return the programs of a revision, of a deployment, or all."""
        programs = []
        for path in sorted(self._folder.glob(f"{_PREFIX}*.json")):
            with contextlib.suppress(FileNotFoundError):  # it was removed meanwhile
                launch = json.loads(path.read_text("utf-8"))
                workload = Workload.from_text(launch["workload"])
                port = _read_port(path.with_suffix(".port"))
                programs.append(_Program(workload, launch["number"], port, launch["is_stopping"]))
        return [
            program
            for program in programs
            if deployment_id in ("", program.workload.id)
            and revision in ("", program.workload.revision)
        ]

    def _write(self, program: _Program) -> None:
        """Write the files of a program; supervisord reads them with the next change."""
        self._folder.mkdir(parents=True, exist_ok=True)
        launch_path, config_path, log_path = self._paths(program)
        launch = {
            "command": loader_command(program.workload, self._host, "{port}", self._credentials),
            "host": self._host,
            "env": loader_environment(program.workload, os.environ, self._credentials),
            "cwd": str(self._models),
            "workload": program.workload.to_text(),
            "number": program.number,
            "is_stopping": program.is_stopping,
        }
        write_atomically(launch_path, json.dumps(launch))
        command = [sys.executable, "-P", "-m", "deploy.shimlets.launch", str(launch_path)]
        settings = {
            "command": shlex.join(command),
            "directory": str(self._folder),
            "autorestart": "true",
            # One that is not wanted does not come back with supervisord.
            "autostart": "false" if program.is_stopping else "true",
            "startsecs": str(_START_S),
            "startretries": str(_RETRIES),
            "stopsignal": "TERM",
            "stopwaitsecs": str(max(round(self._grace_s), 1)),
            "killasgroup": "true",
            "redirect_stderr": "true",
            "stdout_logfile": str(log_path),
            "stdout_logfile_maxbytes": str(self._max_log_bytes),
            "stdout_logfile_backups": "1",
        }
        lines = [f"{key} = {value.replace('%', '%%')}" for key, value in settings.items()]
        write_atomically(config_path, "\n".join([f"[program:{program.name}]", *lines, ""]))

    def _paths(self, program: _Program) -> tuple[Path, Path, Path]:
        """Return the files of a program: its command, its configuration, its log."""
        folder, name = self._folder.absolute(), program.name
        return folder / f"{name}.json", folder / f"{name}.conf", folder / f"{name}.log"

    # In the event loop

    def _watch(self) -> None:
        if self._watching is None or self._watching.done():
            self._watching = asyncio.ensure_future(self._watch_states())

    async def _watch_states(self) -> None:
        """Have the callbacks called for each program whose state or start has changed."""
        before: dict[str, tuple[str, int]] = {}
        while True:
            with contextlib.suppress(ShimletError):
                states, programs = await self._run(lambda: (self._states(), self._programs()))
                for program in programs:
                    info = states.get(program.name)
                    seen = (info["statename"], info["start"]) if info is not None else ("", 0)
                    if before.get(program.name, seen) != seen:
                        for callback in self._callbacks:
                            callback(program.workload.id)
                    before[program.name] = seen
            await asyncio.sleep(_WATCH_INTERVAL_S)


@contextlib.contextmanager
def _ignoring(code: int) -> Any:
    """Ignore a fault that says that what was asked for is so already."""
    try:
        yield
    except SupervisorFaultError as fault:
        if fault.code != code:
            raise


def _read_port(path: Path) -> int:
    """Return the port that a program was started with, 0 if it was not started yet."""
    try:
        return int(path.read_text("ascii"))
    except (FileNotFoundError, ValueError):
        return 0
