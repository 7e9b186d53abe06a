"""The shimlet `docker`: replicas are containers of a Docker engine, or of podman."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from deploy.shimlets.docker_api import DockerApi
from deploy.shimlets.interface import (
    TOKEN_VARIABLE,
    ReplicaState,
    ReplicaStatus,
    ShimletError,
    Workload,
)
from deploy.shimlets.ports import free_port
from deploy.workloads.spec import Resources
from rpc.addresses import join_host_port

_logger = logging.getLogger("ase.deploy")

_DEPLOYMENT: Final = "ase.deployment"
_REVISION: Final = "ase.revision"
_NUMBER: Final = "ase.number"
_ADDRESS: Final = "ase.address"
_WORKLOAD: Final = "ase.workload"
_PORT: Final = 8240  # of the images of `asectl loader build`
_METRICS_PORT: Final = "0"  # a free one: several containers share the host's network
_MIN_BACKOFF_S, _MAX_BACKOFF_S = 0.5, 30.0
_STABLE_S: Final = 60.0
_STATS_INTERVAL_S: Final = 5.0
_WATCH_INTERVAL_S: Final = 1.0
_NO_TIME: Final = "0001-01-01T00:00:00Z"


@dataclass(slots=True)
class _ContainerNotes:
    """What is remembered of a container; a deployer that is started anew begins again."""

    crashes: int = 0
    counted: str = ""  # when the end that was counted last has happened
    cpu: float = -1.0
    memory: int = -1
    cpu_before: tuple[float, float] = (0.0, 0.0)  # seconds of CPU, and when
    asked_at: float = float("-inf")


class DockerShimlet:
    """Replicas as containers with labels, which say all that is to be known of them.

    `network` is `host`, or that of the engine in which containers get a port of `host` each. The
    address that gateways dial is `host` in both. `token` is that of the hubs. `_stopping` are tasks
    that stop containers.
    """

    name = "docker"
    description = "containers of a Docker engine, or of podman"

    def __init__(
        self, address: str, network: str, host: str, grace_s: float = 35.0, token: str = ""
    ) -> None:
        self._api = DockerApi(address)
        self._network = network
        self._host = host
        self._grace_s = grace_s
        self._token = token
        self._notes: dict[str, _ContainerNotes] = {}
        self._stopping: dict[str, asyncio.Task[None]] = {}
        self._callbacks: list[Callable[[str], None]] = []
        self._watching: asyncio.Task[None] | None = None

    def check(self, workload: Workload) -> str:
        """Return why it can never run a workload; see `Shimlet`."""
        if not workload.image:
            return "the shimlet docker needs `image` (asectl loader build makes one of a wrapper)"
        return ""

    def on_change(self, callback: Callable[[str], None]) -> None:
        """Have `callback` called when a container ends; see `Shimlet`."""
        self._callbacks.append(callback)

    async def apply(self, workload: Workload) -> None:
        """Start what is missing of a revision; see `Shimlet`."""
        self._watch()
        rows = {
            int(row["Labels"][_NUMBER]): row
            for row in await self._rows(workload.id)
            if row["Labels"][_REVISION] == workload.revision
        }
        for number in range(workload.replicas):
            await self._ensure(workload, number, rows.get(number))
        for number, row in rows.items():
            if number >= workload.replicas:
                self._begin_stop(row)

    async def scale(self, deployment_id: str, revision: str, replicas: int) -> None:
        """Have another number of replicas; see `Shimlet`."""
        rows = [r for r in await self._rows(deployment_id) if r["Labels"][_REVISION] == revision]
        if not rows:
            message = f"{deployment_id}: revision {revision} was not applied"
            raise ShimletError(message, is_final=True)
        workload = Workload.from_text(rows[0]["Labels"][_WORKLOAD])
        await self.apply(replace(workload, replicas=replicas))

    async def delete(self, deployment_id: str, revision: str = "") -> None:
        """Begin to stop a revision, or all; see `Shimlet`."""
        for row in await self._rows(deployment_id):
            if revision in ("", row["Labels"][_REVISION]):
                self._begin_stop(row)

    async def status(self, deployment_id: str) -> list[ReplicaStatus]:
        """Return all replicas; see `Shimlet`."""
        self._watch()
        rows = await self._rows(deployment_id)
        statuses = await asyncio.gather(*map(self._replica_status, rows))
        return sorted((s for s in statuses if s is not None), key=lambda status: status.name)

    async def list_deployments(self) -> list[str]:
        """Return the ids of all that has a container; see `Shimlet`."""
        rows = await self._api.list(_DEPLOYMENT)
        return sorted({row["Labels"][_DEPLOYMENT] for row in rows})

    async def logs(self, deployment_id: str, replica: str, lines: int) -> str:
        """Return the last lines of a container; see `Shimlet`."""
        for row in await self._rows(deployment_id):
            if _container_name(row) == replica:
                return await self._api.logs(row["Id"], lines)
        raise ShimletError(f"no replica {replica!r} of {deployment_id}", is_final=True)

    async def close(self) -> None:
        """Stop watching; the containers run on, but for those that are being stopped."""
        tasks = [*self._stopping.values(), *filter(None, [self._watching])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._api.close()

    async def _rows(self, deployment_id: str) -> list[dict[str, Any]]:
        return await self._api.list(f"{_DEPLOYMENT}={deployment_id}")

    async def _ensure(self, workload: Workload, number: int, row: Mapping[str, Any] | None) -> None:
        """Have one replica run: a new container, or the one that has ended once more."""
        if row is None:
            name = f"{workload.id}-{workload.revision}-{number}"
            await self._api.create(name, self._container(workload, number))
            await self._api.start(name)
            return
        if row["Id"] in self._stopping or row["State"] in ("running", "restarting"):
            return
        inspected = await self._api.inspect(row["Id"])
        if inspected is None:
            return
        notes = self._count_end(row["Id"], inspected["State"])
        delay = min(_MIN_BACKOFF_S * 2 ** min(notes.crashes - 1, 10), _MAX_BACKOFF_S)
        ended_at = _unix_time(inspected["State"].get("FinishedAt", _NO_TIME))
        if not notes.crashes or time.time() >= ended_at + delay:
            await self._api.start(row["Id"])

    def _begin_stop(self, row: Mapping[str, Any]) -> None:
        container = row["Id"]
        if container not in self._stopping:
            task = asyncio.ensure_future(self._stop(container, row["Labels"][_DEPLOYMENT]))
            self._stopping[container] = task

    async def _stop(self, container: str, deployment_id: str) -> None:
        """Stop and remove a container; it has its time for what it works on."""
        try:
            await self._api.stop(container, max(round(self._grace_s), 1))
            await self._api.remove(container)
        except ShimletError as error:
            _logger.warning("container not stopped; trying on", extra={"reason": str(error)})
        finally:
            self._stopping.pop(container, None)
        self._notes.pop(container, None)
        self._announce(deployment_id)

    async def _replica_status(self, row: Mapping[str, Any]) -> ReplicaStatus | None:
        inspected = await self._api.inspect(row["Id"])
        if inspected is None:  # it was removed meanwhile
            return None
        state, labels = inspected["State"], row["Labels"]
        is_running = bool(state["Running"])
        notes = self._notes.setdefault(row["Id"], _ContainerNotes())
        if is_running:
            await self._ask_usage(row["Id"], notes)
        elif state["Status"] != "created":
            self._count_end(row["Id"], state)
        replica_state = ReplicaState.RUNNING if is_running else ReplicaState.BACKOFF
        if row["Id"] in self._stopping or state["Status"] in ("stopping", "removing"):
            replica_state = ReplicaState.STOPPING
        elif state["Status"] in ("created", "configured", "initialized"):
            replica_state = ReplicaState.STARTING
        return ReplicaStatus(
            name=_container_name(row),
            revision=labels[_REVISION],
            state=replica_state,
            address=labels[_ADDRESS] if is_running else "",
            crashes=notes.crashes,
            reason="" if is_running and not notes.crashes else _describe_end(state),
            started_at=_unix_time(state.get("StartedAt", _NO_TIME)),
            cpu=notes.cpu if is_running else 0.0,
            memory=notes.memory if is_running else 0,
        )

    def _count_end(self, container: str, state: Mapping[str, Any]) -> _ContainerNotes:
        """Count the end of a container once; return what is remembered of it."""
        notes = self._notes.setdefault(container, _ContainerNotes())
        ended = state.get("FinishedAt", "")
        if ended and ended != _NO_TIME and ended != notes.counted:
            ran_s = _unix_time(ended) - _unix_time(state.get("StartedAt", _NO_TIME))
            notes.crashes = 1 if ran_s > _STABLE_S else notes.crashes + 1
            notes.counted = ended
        return notes

    async def _ask_usage(self, container: str, notes: _ContainerNotes) -> None:
        """Ask for the usage of a container now and then: an engine takes its time for it."""
        now = time.monotonic()
        if now < notes.asked_at + _STATS_INTERVAL_S:
            return
        notes.asked_at = now
        with contextlib.suppress(ShimletError, KeyError, TypeError, ValueError):
            stats = await self._api.stats(container)
            cpu_s = stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9
            before_s, at = notes.cpu_before
            notes.cpu = max(cpu_s - before_s, 0.0) / (now - at) if at else 0.0
            notes.cpu_before = (cpu_s, now)
            notes.memory = int(stats["memory_stats"].get("usage", -1))

    def _container(self, workload: Workload, number: int) -> dict[str, Any]:
        """Return the body of the request that creates a container."""
        port = free_port(self._host)
        address = join_host_port(self._host, port)
        labels = {
            _DEPLOYMENT: workload.id,
            _REVISION: workload.revision,
            _NUMBER: str(number),
            _ADDRESS: address,
            _WORKLOAD: workload.to_text(),
        }
        host_config: dict[str, Any] = {"NetworkMode": self._network}
        arguments = ["--lb", workload.hubs, "--advertise", address]
        if self._network == "host":
            arguments += [
                "--host", self._host, "--port", str(port), "--metrics-port", _METRICS_PORT,
            ]  # fmt: skip
        else:
            binding = {"HostIp": self._host, "HostPort": str(port)}
            host_config["PortBindings"] = {f"{_PORT}/tcp": [binding]}
        arguments += [f"--set={key}={value}" for key, value in workload.config.items()]
        env = {**({TOKEN_VARIABLE: self._token} if self._token else {}), **workload.env}
        return {
            "Image": workload.image,
            "Cmd": arguments,
            "Env": [f"{key}={value}" for key, value in env.items()],
            "Labels": labels,
            "ExposedPorts": {f"{_PORT}/tcp": {}},
            "HostConfig": host_config | _limits(workload.resources),
        }

    def _watch(self) -> None:
        if self._watching is None or self._watching.done():
            self._watching = asyncio.ensure_future(self._watch_ends())

    async def _watch_ends(self) -> None:
        """Announce containers that have ended, forever.

        They are looked at, since the events of podman are not to be relied on.
        """
        before: dict[str, str] = {}
        while True:
            with contextlib.suppress(ShimletError):
                running = {
                    row["Id"]: row["Labels"][_DEPLOYMENT]
                    for row in await self._api.list(_DEPLOYMENT)
                    if row["State"] == "running"
                }
                for deployment_id in {before[each] for each in before.keys() - running.keys()}:
                    self._announce(deployment_id)
                before = running
            await asyncio.sleep(_WATCH_INTERVAL_S)

    def _announce(self, deployment_id: str) -> None:
        for callback in self._callbacks:
            callback(deployment_id)


def _limits(resources: Resources) -> dict[str, Any]:
    """Return the members of HostConfig that limit a container."""
    limits: dict[str, Any] = {}
    if resources.cpu:
        limits["NanoCpus"] = int(resources.cpu * 1e9)
    if resources.memory:
        limits["Memory"] = resources.memory
    if resources.accelerator_count:
        limits["DeviceRequests"] = [
            {"Count": resources.accelerator_count, "Capabilities": [["gpu"]]}
        ]
    return limits


def _container_name(row: Mapping[str, Any]) -> str:
    return str(row["Names"][0]).removeprefix("/")


def _describe_end(state: Mapping[str, Any]) -> str:
    if state.get("OOMKilled"):
        return "ended: more memory than resourceRequirements.memory allows"
    if state.get("Error"):
        return f"not started: {state['Error']}"
    code = int(state.get("ExitCode", 0))
    return "ended by SIGKILL" if code == 137 else f"ended with exit code {code}"


def _unix_time(text: str) -> float:
    """Return the Unix time of a time of the API (RFC 3339, to the nanosecond); 0 for none."""
    if not text or text.startswith("0001-"):
        return 0.0
    seconds, dot, rest = text.partition(".")
    digits = ""
    if dot:
        digits = "".join(c for c in rest[:9] if c.isdecimal())[:6]
    zone = "+00:00" if text.endswith("Z") else text[-6:] if text[-6:-5] in ("+", "-") else "+00:00"
    whole = seconds[:19]
    return datetime.fromisoformat(f"{whole}.{digits or '0'}{zone}").timestamp()
