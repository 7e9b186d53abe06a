"""How much all deployments of a deployer may use. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from deploy.workloads.quantities import cpu_text, memory_text
from deploy.workloads.spec import DeploymentSpec


@dataclass(frozen=True, slots=True)
class Quota:
    """The most of all replicas together; 0: no limit, but of accelerators there are none then."""

    replicas: int = 0
    cpu: float = 0.0
    memory: int = 0
    accelerators: int = 0

    def find_excess(self, spec: DeploymentSpec, others: Iterable[DeploymentSpec]) -> str:
        """Return what a specification beside the others uses too much of, "" if nothing."""
        counted = [(_counted_replicas(s), s.resources) for s in (spec, *others)]
        replicas = sum(count for count, _ in counted)
        cpu = sum(count * resources.cpu for count, resources in counted)
        memory = sum(count * resources.memory for count, resources in counted)
        accelerators = sum(count * resources.accelerator_count for count, resources in counted)
        if self.replicas and replicas > self.replicas:
            return _excess("replicas", str(replicas), str(self.replicas))
        if self.cpu and cpu > self.cpu:
            return _excess("cpu", cpu_text(cpu), cpu_text(self.cpu))
        if self.memory and memory > self.memory:
            return _excess("memory", memory_text(memory), memory_text(self.memory))
        if accelerators > self.accelerators and spec.resources.accelerator_count:
            return _excess("accelerators", str(accelerators), str(self.accelerators))
        return ""


def _counted_replicas(spec: DeploymentSpec) -> int:
    """Return the replicas of a specification; one that sleeps may be woken at any time."""
    may_sleep = spec.autoscale is not None and spec.autoscale.least == 0
    return max(spec.replicas, int(may_sleep))


def _excess(name: str, wanted: str, limit: str) -> str:
    return f"quota exceeded: {name} {wanted} of {limit} that deployer.{name} allows"
