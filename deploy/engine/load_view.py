"""Which loaders have reported, and whether they answer: when a replica counts as running."""

from collections.abc import Awaitable, Callable, Collection
from typing import Final

from deploy.shimlets.interface import ReplicaStatus
from deploy.workloads.autoscale import ReplicaLoad
from deploy.workloads.comparison import Counters, RequestOutcome
from lb.endpoints.endpoint import Endpoint
from lb.endpoints.lifecycle import EndpointState
from lb.endpoints.report import Instance
from lb.endpoints.table import EndpointTable
from rpc.bounded_cache import BoundedCache

_PROBE_TIMEOUT_S: Final = 2.0
_MAX_REPLICAS: Final = 20_000  # whose probes are remembered; of others they are asked again

# Returns why the loader at an address does not serve, "" if it does.
Probe = Callable[[str, float], Awaitable[str]]


class LoadView:
    """What the hubs say of the replicas. `probe` asks a loader itself.

    `_passed` counts the probes that a replica has answered in a row, by its name and its start.
    """

    def __init__(self, table: EndpointTable, probe: Probe) -> None:
        self._table = table
        self._probe = probe
        self._passed: BoundedCache[tuple[str, float], int] = BoundedCache(_MAX_REPLICAS)

    def service_at(self, address: str) -> str:
        """Return the id of the service that a loader reports, "" if it does not report."""
        for endpoint in self._table:
            instance = endpoint.instance
            if instance.addr == address and instance.epoch and endpoint.state is EndpointState.UP:
                return instance.service
        return ""

    def address_of(self, service: str) -> str:
        """Return the address of a loader that reports a service, "" if none does."""
        addresses = [e.instance.addr for e in self._table if e.instance.service == service]
        return addresses[0] if addresses else ""

    async def find_obstacle(self, replica: ReplicaStatus, probes: int) -> str:
        """Return why a replica does not serve yet, "" if it does."""
        if not replica.address:
            return f"{replica.name} has no address yet"
        if not self.service_at(replica.address):
            return f"{replica.name} at {replica.address} has not reported its load"
        key = (replica.name, replica.started_at)
        while (passed := self._passed.entries.get(key, 0)) < probes:
            problem = await self._probe(replica.address, _PROBE_TIMEOUT_S)
            if problem:
                self._passed.entries.pop(key, None)
                return f"{replica.name} at {replica.address} does not answer a probe: {problem}"
            self._passed.add(key, passed + 1)
        return ""

    def counters_of(self, replicas: list[ReplicaStatus]) -> Counters:
        """Return what replicas have answered since each was started."""
        return {
            (endpoint.instance.addr, endpoint.instance.epoch): RequestOutcome(
                endpoint.load.served, endpoint.load.errors, endpoint.load.service_ms
            )
            for endpoint in self._endpoints_of(replicas)
        }

    def schemas_of(self, replicas: list[ReplicaStatus]) -> set[str]:
        """Return the digests of the schemas that replicas report."""
        return {endpoint.instance.digest for endpoint in self._endpoints_of(replicas)}

    def instance_of(self, version: str) -> Instance | None:
        """Return a loader that reports a version and serves, None if there is none."""
        for endpoint in self._table:
            if endpoint.instance.version == version and endpoint.state is EndpointState.UP:
                return endpoint.instance
        return None

    def load_of_versions(self, versions: Collection[str]) -> ReplicaLoad:
        """Return the load of all loaders that report one of these versions, and serve."""
        serving = [
            endpoint
            for endpoint in self._table
            if endpoint.instance.version in versions and endpoint.state is EndpointState.UP
        ]
        return ReplicaLoad(
            len(serving),
            sum(endpoint.load.running + endpoint.load.queued for endpoint in serving),
            sum(endpoint.instance.best for endpoint in serving),
            sum(endpoint.load.served for endpoint in serving),
        )

    def load_of(self, replicas: list[ReplicaStatus]) -> tuple[int, int, int]:
        """Return the requests that run, those that wait, and the slots of replicas that report."""
        running = queued = slots = 0
        for endpoint in self._endpoints_of(replicas):
            running += endpoint.load.running
            queued += endpoint.load.queued
            slots += endpoint.instance.best
        return running, queued, slots

    def _endpoints_of(self, replicas: list[ReplicaStatus]) -> list[Endpoint]:
        addresses = {replica.address for replica in replicas}
        return [endpoint for endpoint in self._table if endpoint.instance.addr in addresses]
