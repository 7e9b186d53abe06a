"""The objects of a workload in Kubernetes: a Deployment for each revision, one Service. Pure.

https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/deployment-v1/
"""

from typing import Any, Final

from deploy.shimlets.interface import TOKEN_VARIABLE, Workload
from deploy.workloads.quantities import cpu_text, memory_text
from deploy.workloads.spec import Resources

DEPLOYMENT_LABEL: Final = "ase.serving/deployment"
REVISION_LABEL: Final = "ase.serving/revision"
MANAGED_BY: Final = {"app.kubernetes.io/managed-by": "ase-deployer"}
WORKLOAD_ANNOTATION: Final = "ase.serving/workload"
PORT: Final = 8240
_METRICS_PORT: Final = 9240
# What people write for an accelerator, and the resource of its device plugin.
_ACCELERATORS: Final = {
    "": "nvidia.com/gpu",
    "gpu": "nvidia.com/gpu",
    "nvidia gpu": "nvidia.com/gpu",
    "nvidia": "nvidia.com/gpu",
    "amd gpu": "amd.com/gpu",
    "amd": "amd.com/gpu",
}
_MAX_NAME: Final = 63


def deployment_name(deployment_id: str, revision: str) -> str:
    """Return the name of the Deployment of a revision: at most 63 characters, a DNS label."""
    return f"{deployment_id[: _MAX_NAME - len(revision) - 1].rstrip('-')}-{revision}"


def render_deployment(workload: Workload, grace_s: float, token_secret: str = "") -> dict[str, Any]:
    """Return the Deployment of a workload; a pod has `grace_s` seconds to finish its requests.

    `token_secret` names the Secret whose `lb-token` is the token of the hubs, "" for none.
    """
    labels = _labels(workload)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": deployment_name(workload.id, workload.revision),
            "labels": labels,
            "annotations": {WORKLOAD_ANNOTATION: workload.to_text()},
        },
        "spec": {
            "replicas": workload.replicas,
            "selector": {"matchLabels": {k: labels[k] for k in (DEPLOYMENT_LABEL, REVISION_LABEL)}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "terminationGracePeriodSeconds": max(round(grace_s), 1),
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "securityContext": {
                        "runAsNonRoot": True,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [_container(workload, token_secret)],
                },
            },
        },
    }


def render_service(deployment_id: str) -> dict[str, Any]:
    """Return the headless Service of a deployment: the addresses of all its pods, by DNS."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": deployment_id,
            "labels": {DEPLOYMENT_LABEL: deployment_id, **MANAGED_BY},
        },
        "spec": {
            "clusterIP": "None",
            "selector": {DEPLOYMENT_LABEL: deployment_id},
            "ports": [{"name": "grpc", "port": PORT, "targetPort": "grpc"}],
        },
    }


def accelerator_resource(accelerator_type: str) -> str:
    """Return the resource of a type of accelerators: `NVIDIA GPU` is nvidia.com/gpu."""
    if "/" in accelerator_type:
        return accelerator_type
    return _ACCELERATORS.get(accelerator_type.strip().lower(), "")


def _labels(workload: Workload) -> dict[str, str]:
    return {DEPLOYMENT_LABEL: workload.id, REVISION_LABEL: workload.revision, **MANAGED_BY}


def _container(workload: Workload, token_secret: str) -> dict[str, Any]:
    settings = [f"--set={key}={_escape(value)}" for key, value in workload.config.items()]
    env: list[dict[str, Any]] = [
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    ]
    if token_secret:
        reference = {"secretKeyRef": {"name": token_secret, "key": "lb-token"}}
        env.append({"name": TOKEN_VARIABLE, "valueFrom": reference})
    env += [{"name": key, "value": _escape(value)} for key, value in workload.env.items()]
    limits = _limits(workload.resources)
    container: dict[str, Any] = {
        "name": "loader",
        "image": workload.image,
        "args": ["--lb", workload.hubs, "--advertise", f"$(POD_IP):{PORT}", *settings],
        "env": env,
        "ports": [
            {"name": "grpc", "containerPort": PORT},
            {"name": "metrics", "containerPort": _METRICS_PORT},
        ],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "metrics"}},
        "livenessProbe": {
            "httpGet": {"path": "/livez", "port": "metrics"},
            "initialDelaySeconds": 30,
            "periodSeconds": 20,
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    if limits:
        container["resources"] = {"requests": limits, "limits": limits}
    return container


def _limits(resources: Resources) -> dict[str, str]:
    limits: dict[str, str] = {}
    if resources.cpu:
        limits["cpu"] = cpu_text(resources.cpu)
    if resources.memory:
        limits["memory"] = memory_text(resources.memory)
    if resources.accelerator_count:
        name = accelerator_resource(resources.accelerator_type)
        limits[name] = str(resources.accelerator_count)
    return limits


def _escape(value: str) -> str:
    """Return a text in which Kubernetes expands no $(NAME)."""
    return value.replace("$(", "$$(")
