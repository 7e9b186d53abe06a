"""A runtime in memory, and the loaders that report from it."""

from collections.abc import Callable
from dataclasses import replace

from deploy.engine.load_view import LoadView
from deploy.shimlets.interface import ReplicaState, ReplicaStatus, ShimletError, Workload
from lb.endpoints.report import Instance, Load, Report
from lb.endpoints.table import EndpointTable


class FakeShimlet:
    """Replicas that start at once, and stop when they are looked at the second time.

    `broken` are wrappers whose replicas crash. `starts` are the names of all that was started.
    `fault`, if it is set, is called before each change and each answer, and may raise.
    """

    name = "fake"
    description = "replicas in memory"

    def __init__(self, now: Callable[[], float] = lambda: 1000.0) -> None:
        self.replicas: dict[str, ReplicaStatus] = {}
        self.workloads: dict[tuple[str, str], Workload] = {}
        self.broken: set[str] = set()
        self.starts: list[str] = []
        self.problem = ""
        self.fault: Callable[[str], None] = lambda _: None
        self._callbacks: list[Callable[[str], None]] = []
        self._ports = iter(range(20_000, 60_000))
        self._now = now

    def check(self, workload: Workload) -> str:
        """Return why it can never run a workload; see `Shimlet`."""
        return "" if workload.wrapper else "the shimlet fake needs a wrapper"

    def on_change(self, callback: Callable[[str], None]) -> None:
        """Have `callback` called when a replica ends; see `Shimlet`."""
        self._callbacks.append(callback)

    async def apply(self, workload: Workload) -> None:
        """Start what is missing; see `Shimlet`."""
        self._begin("apply")
        self.workloads[workload.id, workload.revision] = workload
        for number in range(workload.replicas):
            name = f"{workload.id}-{workload.revision}-{number}"
            replica = self.replicas.get(name)
            if replica is None or replica.state is ReplicaState.BACKOFF:
                self._start(name, workload, replica)
        for name, replica in [*self.replicas.items()]:
            number = int(name.rpartition("-")[2])
            is_ours = name.startswith(f"{workload.id}-{workload.revision}-")
            if is_ours and number >= workload.replicas:
                self.replicas[name] = replace(replica, state=ReplicaState.STOPPING)
        self._begin("applied")

    async def scale(self, deployment_id: str, revision: str, replicas: int) -> None:
        """Have another number of replicas; see `Shimlet`."""
        workload = self.workloads.get((deployment_id, revision))
        if workload is None:
            message = f"{deployment_id}: revision {revision} was not applied"
            raise ShimletError(message, is_final=True)
        await self.apply(replace(workload, replicas=replicas))

    async def delete(self, deployment_id: str, revision: str = "") -> None:
        """Begin to stop; see `Shimlet`."""
        self._begin("delete")
        for name, replica in [*self.replicas.items()]:
            if self._is_of(name, deployment_id) and revision in ("", replica.revision):
                if replica.state is ReplicaState.BACKOFF:
                    del self.replicas[name]
                else:
                    self.replicas[name] = replace(replica, state=ReplicaState.STOPPING)
        self._begin("deleted")

    async def status(self, deployment_id: str) -> list[ReplicaStatus]:
        """Return all replicas; see `Shimlet`."""
        self._begin("status")
        statuses = [r for name, r in self.replicas.items() if self._is_of(name, deployment_id)]
        for status in statuses:
            if status.state is ReplicaState.STOPPING:
                del self.replicas[status.name]
        return sorted(statuses, key=lambda status: status.name)

    async def list_deployments(self) -> list[str]:
        """Return the ids of all that runs; see `Shimlet`."""
        return sorted({name.rsplit("-", 2)[0] for name in self.replicas})

    async def logs(self, deployment_id: str, replica: str, lines: int) -> str:
        """Return a line; see `Shimlet`."""
        if replica not in self.replicas:
            raise ShimletError(f"no replica {replica!r} of {deployment_id}", is_final=True)
        return f"log of {replica}"

    async def close(self) -> None:
        """Do nothing."""

    def crash(self, name: str) -> None:
        """Have a replica end by itself."""
        replica = self.replicas[name]
        self.replicas[name] = replace(
            replica, state=ReplicaState.BACKOFF, address="", crashes=replica.crashes + 1,
            reason="ended by SIGKILL",
        )  # fmt: skip
        for callback in self._callbacks:
            callback(name.rsplit("-", 2)[0])

    def running(self, revision: str = "") -> list[str]:
        """Return the names of replicas that run."""
        return sorted(
            name
            for name, replica in self.replicas.items()
            if replica.state is ReplicaState.RUNNING and revision in ("", replica.revision)
        )

    def _start(self, name: str, workload: Workload, before: ReplicaStatus | None) -> None:
        self.starts.append(name)
        started_at = self._now() + len(self.starts) / 1000
        crashes = before.crashes if before is not None else 0
        self.replicas[name] = ReplicaStatus(
            name, workload.revision, ReplicaState.RUNNING, f"127.0.0.1:{next(self._ports)}",
            crashes, started_at=started_at, cpu=0.5, memory=1000,
        )  # fmt: skip
        if workload.wrapper in self.broken:
            self.crash(name)

    def _is_of(self, name: str, deployment_id: str) -> bool:
        return name.rsplit("-", 2)[0] == deployment_id

    def _begin(self, call: str) -> None:
        if self.problem:
            raise ShimletError(self.problem)
        self.fault(call)


class FakeLoaders:
    """Reports of all replicas of a fake runtime, and their answers to probes.

    Those in `silent` do not report, those in `deaf` do not answer. `loads` are the figures that the
    replicas of a revision report, `schemas` the digests.
    """

    def __init__(self, shimlet: FakeShimlet) -> None:
        self.table = EndpointTable("deployer", silence_timeout=None)
        self.silent: set[str] = set()
        self.deaf: set[str] = set()
        self.probes: list[str] = []
        self.loads: dict[str, Load] = {}
        self.schemas: dict[str, str] = {}
        self.view = LoadView(self.table, self._probe)
        self._shimlet = shimlet
        self._seq = 0

    def report(self) -> None:
        """Have every replica that runs report."""
        self._seq += 1
        running = {r.address: r for r in self._shimlet.replicas.values() if r.address}
        for endpoint in [*self.table]:
            if endpoint.instance.addr not in running:
                instance = endpoint.instance
                down = Load(self._seq, serving_state=_DOWN)
                self.table.apply(Report(instance, down), 0.0)
        for address, replica in running.items():
            if replica.name not in self.silent and replica.state is ReplicaState.RUNNING:
                digest = self.schemas.get(replica.revision, "")
                instance = Instance(
                    "ase", "ocr", address, 7, digest=digest, version=replica.revision
                )
                load = self.loads.get(replica.revision, Load(running=1))
                self.table.apply(Report(instance, replace(load, seq=self._seq)), 0.0)

    async def _probe(self, address: str, timeout: float) -> str:
        name = next(r.name for r in self._shimlet.replicas.values() if r.address == address)
        self.probes.append(name)
        return "UNAVAILABLE" if name in self.deaf else ""


_DOWN = Load().serving_state.__class__.DOWN
