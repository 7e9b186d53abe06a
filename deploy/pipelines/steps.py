"""The steps that pipelines are made of. Each is a function of a `StepContext`."""

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from deploy.engine.engine import StepContext
from deploy.engine.pipeline import StepFailedError
from deploy.models.puller import PullError
from deploy.shimlets.interface import ReplicaState, ReplicaStatus
from deploy.workloads.spec import DeploymentSpec

_MAX_CRASHES: Final = 3
_LOG_LINES: Final = 12
_CHUNK_BYTES: Final = 4 * 1024 * 1024


# Returns why a deployment can never run, "" if it can.
FindProblem = Callable[[StepContext], str]


class Validation:
    """The step that refuses what can never run, or would use more than is allowed.

    `find_problem` is asked first: what a pipeline requires beyond that.
    """

    def __init__(self, find_problem: FindProblem = lambda _: "") -> None:
        self._find_own_problem = find_problem

    async def check(self, context: StepContext) -> None:
        """Raise StepFailedError for what is refused."""
        problem = self._find_problem(context)
        if problem:
            raise StepFailedError(problem)

    async def is_valid(self, context: StepContext) -> bool:
        """Return whether there is nothing to refuse."""
        return not self._find_problem(context)

    def _find_problem(self, context: StepContext) -> str:
        return (
            self._find_own_problem(context)
            or context.shimlet.check(context.workload())
            or self._find_excess(context)
        )

    def _find_excess(self, context: StepContext) -> str:
        """Return what a revision that does not serve yet would use too much of.

        What serves was let in before: it does not end because others want more by now.
        """
        if context.serving == context.spec.revision:
            return ""
        return context.settings.quota.find_excess(context.spec, context.others)


class ModelFile:
    """The step that sees to the model's file: it is there, and is the one that was meant.

    One that has a URL is pulled by the first deployment that needs it.

    `_checked` has the size and time of files whose digest was right: it takes seconds to compute.
    """

    def __init__(self) -> None:
        self._checked: dict[Path, tuple[str, int, int]] = {}

    async def check(self, context: StepContext) -> None:
        """Refuse a model that is missing, or is another one."""
        problem = await self._find_problem(context)
        if problem:
            raise StepFailedError(problem, is_final=False)

    async def is_present(self, context: StepContext) -> bool | str:
        """Return whether the file is there, or how much of it; the wrapper is told where."""
        spec, puller = context.spec, context.puller
        if spec.model_url:
            try:
                progress = await puller.pull(spec.id, spec.model_url, spec.model_digest)
            except PullError as error:
                raise StepFailedError(str(error), is_final=False) from error
            if progress:
                return progress
            context.config["model"] = str(puller.path(spec.model_url, spec.model_digest))
            return True
        if await self._find_problem(context):
            return False
        if spec.model_file:
            context.config["model"] = str(_model_path(context))
        return True

    async def _find_problem(self, context: StepContext) -> str:
        spec = context.spec
        if spec.model_url:
            return context.puller.problem(spec.model_url)
        if not spec.model_file:
            return ""
        root = context.settings.models
        return await asyncio.to_thread(self._inspect, spec, root, _model_path(context))

    def _inspect(self, spec: DeploymentSpec, root: Path, path: Path) -> str:
        if not path.is_relative_to(root):
            return f"modelFile {spec.model_file}: is not below {root}, the folder deployer.models"
        if not path.exists():
            return f"modelFile {spec.model_file}: there is no such file in {root}"
        if not spec.model_digest:
            return ""
        if not path.is_file():
            return f"modelDigest: {spec.model_file} is a folder; a digest is that of a file"
        stat = path.stat()
        seen = (spec.model_digest, stat.st_size, stat.st_mtime_ns)
        if self._checked.get(path) == seen:
            return ""
        digest = _sha256(path)
        if digest != spec.model_digest:
            return (
                f"modelDigest: {spec.model_file} has the SHA-256 {digest}, and {spec.model_digest} "
                "is wanted; it was changed, or its copy is not complete"
            )
        self._checked[path] = seen
        return ""


async def generate_config(context: StepContext) -> None:
    """Tell the wrapper what the specification says of its model, as entries of `init`'s config."""
    spec = context.spec
    if spec.model_name:
        context.config["model_name"] = spec.model_name
    if spec.context_length:
        context.config["context_length"] = str(spec.context_length)
    if spec.resources.accelerator_count:
        context.config["accelerators"] = str(spec.resources.accelerator_count)


async def has_config(context: StepContext) -> bool:
    """Give the wrapper its config on each run; nothing of it is kept elsewhere."""
    await generate_config(context)
    return True


async def deploy(context: StepContext) -> None:
    """Have the runtime start what is missing. Fails for a replica that crashes in a loop."""
    await context.shimlet.apply(context.workload())
    for replica in await context.replicas():
        if replica.crashes >= _MAX_CRASHES and replica.state is ReplicaState.BACKOFF:
            logs = await context.shimlet.logs(context.spec.id, replica.name, _LOG_LINES)
            raise StepFailedError(
                f"{replica.name} has ended {replica.crashes} times, last {replica.reason}"
                f"; its last lines:\n{logs}"
            )


async def is_deployed(context: StepContext) -> bool | str:
    """Return whether the runtime has as many replicas as are wanted, or what is missing."""
    replicas = await context.replicas()
    wanted = context.spec.replicas
    alive = [r for r in replicas if r.state in (ReplicaState.RUNNING, ReplicaState.STARTING)]
    if len(alive) == wanted == len(replicas):
        return True
    return f"{len(alive)} of {wanted} replicas run{_describe_ended(replicas)}"


async def undo_deploy(context: StepContext) -> None:
    """Stop the revision that was to be deployed; at a deletion, all of it."""
    revision = "" if context.is_deletion else context.spec.revision
    await context.shimlet.delete(context.spec.id, revision)


async def wait_for_load(context: StepContext) -> None:
    """Look after replicas that end while they are waited for."""
    await deploy(context)


async def is_reporting(context: StepContext) -> bool | str:
    """Return whether every replica has reported its load and answered its probes, or which not.

    A revision that does not serve yet fails if one of its replicas does not come to that in time.
    """
    replicas, spec = await context.replicas(), context.spec
    obstacles = await asyncio.gather(
        *(context.load_view.find_obstacle(r, spec.probes) for r in replicas)
    )
    problems = [obstacle for obstacle in obstacles if obstacle]
    if problems:
        stuck = zip(replicas, obstacles, strict=True)
        started_at = [r.started_at for r, obstacle in stuck if obstacle and r.started_at]
        is_late = bool(started_at) and context.now > min(started_at) + spec.start_timeout
        if is_late and context.serving != spec.revision:
            raise StepFailedError(
                f"after {spec.start_timeout:g} s (startTimeout): {'; '.join(problems[:3])}"
            )
        return "; ".join(problems[:3])
    for replica in replicas:
        context.service = context.load_view.service_at(replica.address)
    return True


async def hold(context: StepContext) -> None:
    """Have hubs know that the wanted revision gets no requests yet."""
    problem = await context.traffic.settle()
    if problem:
        raise StepFailedError(f"no hub can be told of the new revision: {problem}", is_final=False)


async def is_held(context: StepContext) -> bool:
    """Return whether hubs know the share of the wanted revision; one that serves has none."""
    return context.serving == context.spec.revision or not await context.traffic.settle()


async def expose(context: StepContext) -> None:
    """Have the wanted revision serve: it gets all requests, the one before none, and may go."""
    if context.service:
        context.endpoint = f"{context.settings.gateway}/v1/private/{context.service}"
    if context.serving not in ("", context.spec.revision):
        context.replaced = context.serving
    context.serving = context.spec.revision


async def is_exposed(context: StepContext) -> bool:
    """Return whether the wanted revision serves, and how it is called is known."""
    is_known = context.endpoint != "" or not context.service
    return context.serving == context.spec.revision and is_known


async def retire(context: StepContext) -> None:
    """Stop the other revisions: they finish their requests."""
    for revision in await _other_revisions(context):
        await context.shimlet.delete(context.spec.id, revision)


async def is_retired(context: StepContext) -> bool | str:
    """Return whether nothing of another revision is left, or what is."""
    revisions = await _other_revisions(context)
    if not revisions:
        context.replaced = ""
    return not revisions or f"revision {', '.join(sorted(revisions))} finishes its requests"


async def _other_revisions(context: StepContext) -> set[str]:
    statuses = await context.shimlet.status(context.spec.id)
    return {status.revision for status in statuses} - {context.spec.revision}


def _model_path(context: StepContext) -> Path:
    return (context.settings.models / context.spec.model_file).resolve()


def _describe_ended(replicas: list[ReplicaStatus]) -> str:
    ended = [r for r in replicas if r.state is ReplicaState.BACKOFF and r.reason]
    return f"; {ended[0].name} {ended[0].reason}" if ended else ""


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
