"""The shimlet `ray`: replicas are Serve applications of a Ray cluster, with one loader each.

Serve places them where their CPUs and accelerators are, and starts them again when they end. The
deployer speaks to Ray's dashboard; it needs no Ray itself.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from deploy.shimlets.interface import (
    TOKEN_VARIABLE,
    ReplicaState,
    ReplicaStatus,
    ShimletError,
    Workload,
)
from deploy.shimlets.loader_program import find_wrapper_problem
from deploy.shimlets.ray_api import RayApi
from deploy.shimlets.ray_marks import ADDRESS_MARK, END_MARK, find_mark
from deploy.workloads.spec import Resources

_IMPORT_PATH: Final = "deploy.shimlets.ray_app:build"
_PREFIX: Final = "ase-"
_DEPLOYMENT: Final = "Loader"
_MARK_LINES: Final = 1000
_STABLE_S: Final = 60.0
_WATCH_INTERVAL_S: Final = 1.0
_GIVEN_UP: Final = 3  # ends of a replica that Serve has given up
_PLAIN_ACCELERATORS: Final = ("", "gpu", "nvidia gpu", "nvidia")


@dataclass(slots=True)
class _ReplicaNotes:
    """What is remembered of a replica; a deployer that is started anew begins again."""

    replica_id: str = ""
    started_at: float = 0.0
    address: str = ""
    crashes: int = 0
    reason: str = ""
    is_down: bool = False


class RayShimlet:
    """Replicas as Serve applications, named after them.

    `address` is that of Ray's dashboard. Wrappers are files below `models`, which every node has at
    the same place, as it has this package. `grace_s` is how long a replica may take to finish its
    requests, `token` that of the hubs.
    """

    name = "ray"
    description = "Serve applications of a Ray cluster"

    def __init__(self, address: str, models: Path, grace_s: float = 35.0, token: str = "") -> None:
        self._api = RayApi(address)
        self._models = models
        self._grace_s = grace_s
        self._token = token
        self._notes: dict[str, _ReplicaNotes] = {}
        self._callbacks: list[Callable[[str], None]] = []
        self._watching: asyncio.Task[None] | None = None
        # All applications are put at once: one change after the other.
        self._changing = asyncio.Lock()

    def check(self, workload: Workload) -> str:
        """Return why it can never run a workload; see `Shimlet`."""
        return find_wrapper_problem(workload, self.name, self._models)

    def on_change(self, callback: Callable[[str], None]) -> None:
        """Have `callback` called when a replica ends; see `Shimlet`."""
        self._callbacks.append(callback)

    async def apply(self, workload: Workload) -> None:
        """Start what is missing of a revision, end what is too much; see `Shimlet`."""
        self._watch()
        wanted = {
            f"{_PREFIX}{workload.id}-{workload.revision}-{number}": self._application(
                workload, number
            )
            for number in range(workload.replicas)
        }

        def change(present: dict[str, Any]) -> dict[str, Any]:
            kept = {
                name: config
                for name, config in present.items()
                if _owner(name) != (workload.id, workload.revision) or name in wanted
            }
            # What runs keeps its configuration: a difference would start it anew.
            return {**wanted, **kept}

        await self._change(change)

    async def scale(self, deployment_id: str, revision: str, replicas: int) -> None:
        """Have another number of replicas; see `Shimlet`."""
        for name, application in (await self._applications()).items():
            if _owner(name) == (deployment_id, revision) and application["deployed_app_config"]:
                text = application["deployed_app_config"]["args"]["workload"]
                await self.apply(replace(Workload.from_text(text), replicas=replicas))
                return
        message = f"{deployment_id}: revision {revision} was not applied"
        raise ShimletError(message, is_final=True)

    async def delete(self, deployment_id: str, revision: str = "") -> None:
        """Begin to stop a revision, or all; see `Shimlet`."""

        def is_kept(name: str) -> bool:
            owner = _owner(name)
            return owner[0] != deployment_id or revision not in ("", owner[1])

        await self._change(
            lambda present: {name: each for name, each in present.items() if is_kept(name)}
        )

    async def status(self, deployment_id: str) -> list[ReplicaStatus]:
        """Return all replicas; see `Shimlet`."""
        self._watch()
        applications = await self._applications()
        statuses = [
            await self._replica_status(name, application)
            for name, application in sorted(applications.items())
            if _owner(name)[0] == deployment_id
        ]
        for name in self._notes.keys() - applications.keys():
            del self._notes[name]
        return statuses

    async def list_deployments(self) -> list[str]:
        """Return the ids of all that has an application here; see `Shimlet`."""
        return sorted({_owner(name)[0] for name in await self._applications()})

    async def logs(self, deployment_id: str, replica: str, lines: int) -> str:
        """Return the last lines of a replica; see `Shimlet`."""
        application = (await self._applications()).get(_PREFIX + replica)
        if application is None:
            raise ShimletError(f"no replica {replica!r} of {deployment_id}", is_final=True)
        runs = [r for r in (*_runs(application), *_dead_runs(application)) if r.get("node_id")]
        if not runs:
            return str(application.get("message", ""))
        newest = max(runs, key=lambda run: run["start_time_s"])
        return await self._api.log(newest["node_id"], newest["log_file_path"], lines)

    async def close(self) -> None:
        """Stop watching; the replicas run on."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        await self._api.close()

    async def _applications(self) -> dict[str, Any]:
        """Return our applications by name."""
        applications = (await self._api.serve_details())["applications"]
        return {name: each for name, each in applications.items() if _is_ours(name)}

    async def _change(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Put the applications that `change` makes of those that are there, if they differ.

        Applications of others that were put are put again as they are.
        """
        async with self._changing:
            details = await self._api.serve_details()
            present = {
                name: each["deployed_app_config"]
                for name, each in details["applications"].items()
                if each.get("deployed_app_config") and each["status"] != "DELETING"
            }
            wanted = change(present)
            if wanted != present:
                config: dict[str, Any] = {"applications": [*wanted.values()]}
                if not details.get("controller_info"):  # Serve is started by this
                    config["proxy_location"] = "Disabled"
                if details.get("target_capacity") is not None:  # else it would be taken back
                    config["target_capacity"] = details["target_capacity"]
                await self._api.put_applications(config)

    async def _replica_status(self, name: str, application: Mapping[str, Any]) -> ReplicaStatus:
        notes = self._notes.setdefault(name, _ReplicaNotes())
        await self._take_run(notes, application)
        state = ReplicaState.STARTING
        if application["status"] == "DELETING":
            state = ReplicaState.STOPPING
        elif application["status"] == "RUNNING" and notes.address:
            state = ReplicaState.RUNNING
            notes.is_down = False
        elif notes.is_down:
            state = ReplicaState.BACKOFF
        is_reached = state in (ReplicaState.RUNNING, ReplicaState.STOPPING)
        return ReplicaStatus(
            name=name.removeprefix(_PREFIX),
            revision=_owner(name)[1],
            state=state,
            address=notes.address if is_reached else "",
            crashes=notes.crashes,
            reason=notes.reason or _messages(application),
            started_at=notes.started_at,
        )

    async def _take_run(self, notes: _ReplicaNotes, application: Mapping[str, Any]) -> None:
        """Note the run of now, and how the one before has ended."""
        runs = [run for run in _runs(application) if run["state"] in ("RUNNING", "STARTING")]
        newest = max(runs, key=lambda run: run["start_time_s"], default=None)
        is_lost = notes.replica_id and (newest is None or newest["replica_id"] != notes.replica_id)
        if is_lost and application["status"] != "DELETING":
            ran = [*_runs(application), *_dead_runs(application)]
            before = next((run for run in ran if run["replica_id"] == notes.replica_id), None)
            end = await self._find_mark(before, END_MARK) if before is not None else ""
            ran_s = (newest or {"start_time_s": 0.0})["start_time_s"] - notes.started_at
            notes.crashes = 1 if ran_s > _STABLE_S else notes.crashes + 1
            notes.reason = f"ended {end or 'and Ray does not say how'}"
            notes.is_down = True
            notes.replica_id = notes.address = ""
        if newest is not None and newest["replica_id"] != notes.replica_id:
            notes.replica_id, notes.address = newest["replica_id"], ""
            notes.started_at = float(newest["start_time_s"])
        if newest is not None and not notes.address:
            notes.address = (await self._find_mark(newest, ADDRESS_MARK)).partition(" ")[0]
        if application["status"] == "DEPLOY_FAILED":
            notes.crashes = max(notes.crashes, _GIVEN_UP)
            notes.is_down = True

    async def _find_mark(self, run: Mapping[str, Any], mark: str) -> str:
        """Return what a replica's log says after a mark, "" if it does not have it."""
        if not run.get("node_id") or not run.get("log_file_path"):  # it is not placed yet
            return ""
        text = await self._api.log(run["node_id"], run["log_file_path"], _MARK_LINES)
        return find_mark(text, mark)

    def _application(self, workload: Workload, number: int) -> dict[str, Any]:
        """Return the configuration of one replica's application."""
        env = {**({TOKEN_VARIABLE: self._token} if self._token else {}), **workload.env}
        return {
            "name": f"{_PREFIX}{workload.id}-{workload.revision}-{number}",
            "import_path": _IMPORT_PATH,
            "route_prefix": None,
            "args": {
                "workload": workload.to_text(),
                "wrapper": workload.wrapper,
                "folder": str(self._models),
                "hubs": workload.hubs,
                "env": env,
                "settings": [f"--set={key}={value}" for key, value in workload.config.items()],
                "grace": self._grace_s,
                "resources": actor_options(workload.resources),
            },
        }

    def _watch(self) -> None:
        if self._watching is None or self._watching.done():
            self._watching = asyncio.ensure_future(self._watch_applications())

    async def _watch_applications(self) -> None:
        """Have the callbacks called for each application whose status or run has changed."""
        before: dict[str, Any] = {}
        while True:
            with contextlib.suppress(ShimletError):
                applications = await self._applications()
                seen = {
                    name: (each["status"], [run["replica_id"] for run in _runs(each)])
                    for name, each in applications.items()
                }
                for name in {*before, *seen}:
                    if name in before and before.get(name) != seen.get(name):
                        for callback in self._callbacks:
                            callback(_owner(name)[0])
                before = seen
            await asyncio.sleep(_WATCH_INTERVAL_S)


def actor_options(resources: Resources) -> dict[str, Any]:
    """Return what a replica asks a Ray cluster for."""
    options: dict[str, Any] = {"num_cpus": resources.cpu}
    if resources.memory:
        options["memory"] = resources.memory
    if resources.accelerator_count:
        options["num_gpus"] = resources.accelerator_count
        kind = resources.accelerator_type.strip()
        if kind.lower() not in _PLAIN_ACCELERATORS:
            options["accelerator_type"] = kind
    return options


def _is_ours(name: str) -> bool:
    return name.startswith(_PREFIX) and name.count("-") >= 3


def _owner(name: str) -> tuple[str, str]:
    """Return the deployment and the revision of an application's name."""
    if not _is_ours(name):
        return "", ""
    deployment_id, revision, _ = name.removeprefix(_PREFIX).rsplit("-", 2)
    return deployment_id, revision


def _runs(application: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    deployment = application.get("deployments", {}).get(_DEPLOYMENT, {})
    runs: list[Mapping[str, Any]] = deployment.get("replicas", [])
    return runs


def _dead_runs(application: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    deployment = application.get("deployments", {}).get(_DEPLOYMENT, {})
    runs: list[Mapping[str, Any]] = deployment.get("recent_dead_replicas", [])
    return runs


def _messages(application: Mapping[str, Any]) -> str:
    """Return what Serve says of an application that does not run."""
    deployment = application.get("deployments", {}).get(_DEPLOYMENT, {})
    return str(application.get("message") or deployment.get("message") or "")[:1000]
