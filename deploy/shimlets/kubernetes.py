"""The shimlet `k8s`: replicas are pods, of a Deployment for each revision."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from deploy.shimlets.interface import ReplicaState, ReplicaStatus, ShimletError, Workload
from deploy.shimlets.kubernetes_api import KubernetesApi
from deploy.shimlets.kubernetes_objects import (
    DEPLOYMENT_LABEL,
    MANAGED_BY,
    PORT,
    REVISION_LABEL,
    WORKLOAD_ANNOTATION,
    accelerator_resource,
    deployment_name,
    render_deployment,
    render_service,
)
from rpc.addresses import join_host_port

_OURS: Final = ",".join(f"{name}={value}" for name, value in MANAGED_BY.items())
_RECONNECT_S: Final = 1.0


class KubernetesShimlet:
    """Replicas as pods of one namespace.

    Kubernetes starts pods again that end, and this reads how often. `connect` returns the client;
    it is called when it is first needed, since there may be no cluster. `token_secret` names the
    Secret with the token of the hubs.
    """

    name = "k8s"
    description = "pods of a Kubernetes cluster"

    def __init__(
        self, connect: Callable[[], KubernetesApi], grace_s: float = 35.0, token_secret: str = ""
    ) -> None:
        self._connect = connect
        self._connected: KubernetesApi | None = None
        self._grace_s = grace_s
        self._token_secret = token_secret
        self._callbacks: list[Callable[[str], None]] = []
        self._watching: asyncio.Task[None] | None = None

    def check(self, workload: Workload) -> str:
        """Return why it can never run a workload; see `Shimlet`."""
        if not workload.image:
            return "the shimlet k8s needs `image` (asectl loader build makes one of a wrapper)"
        kind = workload.resources.accelerator_type
        if workload.resources.accelerator_count and not accelerator_resource(kind):
            return f"acceleratorType {kind!r}: give the resource, as nvidia.com/gpu"
        return ""

    def on_change(self, callback: Callable[[str], None]) -> None:
        """Have `callback` called when a pod changes; see `Shimlet`."""
        self._callbacks.append(callback)

    async def apply(self, workload: Workload) -> None:
        """Have as many pods of a revision; see `Shimlet`."""
        api = self._api()
        await api.apply(render_service(workload.id))
        await api.apply(render_deployment(workload, self._grace_s, self._token_secret))

    async def scale(self, deployment_id: str, revision: str, replicas: int) -> None:
        """Have another number of pods; see `Shimlet`."""
        name = deployment_name(deployment_id, revision)
        tree = await self._api().get("Deployment", name)
        if tree is None:
            message = f"{deployment_id}: revision {revision} was not applied"
            raise ShimletError(message, is_final=True)
        workload = Workload.from_text(tree["metadata"]["annotations"][WORKLOAD_ANNOTATION])
        await self.apply(replace(workload, replicas=replicas))

    async def delete(self, deployment_id: str, revision: str = "") -> None:
        """Delete a revision, or all; see `Shimlet`."""
        api = self._api()
        for tree in await api.list("Deployment", f"{DEPLOYMENT_LABEL}={deployment_id}"):
            if revision in ("", tree["metadata"]["labels"][REVISION_LABEL]):
                await api.delete("Deployment", tree["metadata"]["name"])
        if not revision:
            await api.delete("Service", deployment_id)

    async def status(self, deployment_id: str) -> list[ReplicaStatus]:
        """Return all pods; see `Shimlet`."""
        pods = await self._api().list("Pod", f"{DEPLOYMENT_LABEL}={deployment_id}")
        statuses = [_replica_status(pod) for pod in pods]
        return sorted(statuses, key=lambda status: status.name)

    async def list_deployments(self) -> list[str]:
        """Return the ids of all that has a Deployment; see `Shimlet`."""
        trees = await self._api().list("Deployment", _OURS)
        return sorted({tree["metadata"]["labels"][DEPLOYMENT_LABEL] for tree in trees})

    async def logs(self, deployment_id: str, replica: str, lines: int) -> str:
        """Return the last lines of a pod; see `Shimlet`."""
        api = self._api()
        pods = await api.list("Pod", f"{DEPLOYMENT_LABEL}={deployment_id}")
        pod = next((pod for pod in pods if pod["metadata"]["name"] == replica), None)
        if pod is None:
            raise ShimletError(f"no replica {replica!r} of {deployment_id}", is_final=True)
        # One that waits for its next start has nothing to show but its last run.
        has_ended = _replica_status(pod).state is ReplicaState.BACKOFF
        return await api.logs(replica, lines, of_last_run=has_ended)

    async def close(self) -> None:
        """Stop watching; the pods run on."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        if self._connected is not None:
            await self._connected.close()

    def _api(self) -> KubernetesApi:
        if self._connected is None:
            self._connected = self._connect()
        if self._watching is None or self._watching.done():
            self._watching = asyncio.ensure_future(self._watch(self._connected))
        return self._connected

    async def _watch(self, api: KubernetesApi) -> None:
        """Announce the deployments whose pods change, forever."""
        while True:
            with contextlib.suppress(ShimletError):
                async for event in api.watch("Pod", _OURS):
                    labels = event.get("object", {}).get("metadata", {}).get("labels", {})
                    for callback in self._callbacks if DEPLOYMENT_LABEL in labels else []:
                        callback(labels[DEPLOYMENT_LABEL])
            await asyncio.sleep(_RECONNECT_S)


def _replica_status(pod: Mapping[str, Any]) -> ReplicaStatus:
    metadata, status = pod["metadata"], pod.get("status", {})
    containers = status.get("containerStatuses", [])
    container = containers[0] if containers else {}
    state = _state(metadata, status, container)
    ip = status.get("podIP", "")
    started = container.get("state", {}).get("running", {}).get("startedAt", "")
    return ReplicaStatus(
        name=metadata["name"],
        revision=metadata["labels"][REVISION_LABEL],
        state=state,
        address=join_host_port(ip, PORT) if ip and state is ReplicaState.RUNNING else "",
        crashes=int(container.get("restartCount", 0)),
        reason=_reason(container),
        started_at=datetime.fromisoformat(started).timestamp() if started else 0.0,
    )


def _state(
    metadata: Mapping[str, Any], status: Mapping[str, Any], container: Mapping[str, Any]
) -> ReplicaState:
    if metadata.get("deletionTimestamp"):
        return ReplicaState.STOPPING
    state = container.get("state", {})
    if "running" in state:
        return ReplicaState.RUNNING
    waits = state.get("waiting", {}).get("reason", "")
    is_starting = waits in ("", "ContainerCreating", "PodInitializing")
    if "terminated" in state or not is_starting or status.get("phase") == "Failed":
        return ReplicaState.BACKOFF
    return ReplicaState.STARTING


def _reason(container: Mapping[str, Any]) -> str:
    """Return how a container has ended last, or why it is not started."""
    state = container.get("state", {})
    waiting = state.get("waiting", {})
    ended = state.get("terminated") or container.get("lastState", {}).get("terminated")
    if ended:
        if ended.get("reason") == "OOMKilled":
            return "ended: more memory than resourceRequirements.memory allows"
        code = ended.get("exitCode", 0)
        return "ended by SIGKILL" if code == 137 else f"ended with exit code {code}"
    if waiting.get("reason", "ContainerCreating") in ("ContainerCreating", "PodInitializing"):
        return ""
    return f"not started: {waiting['reason']}: {waiting.get('message', '')}".rstrip(": ")
