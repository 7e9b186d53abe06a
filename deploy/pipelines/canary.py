"""The step `canary`: a new revision is tried by a share of the requests before it gets all."""

from typing import Final

from deploy.engine.engine import StepContext
from deploy.engine.pipeline import StepFailedError
from deploy.shimlets.interface import ReplicaStatus
from deploy.workloads.canary import Canary
from deploy.workloads.comparison import Comparison, Counters, Judgement, compare, outcome_since
from rpc.bounded_cache import BoundedCache

_MAX_TRIALS: Final = 10_000


class CanaryTrial:
    """Gives the new revision its share until it is promoted, by hand or by a comparison.

    `_baselines` has what loaders had answered when the trial began, by deployment and revision. A
    deployer that is started again begins the comparison anew.
    """

    def __init__(self) -> None:
        self._baselines: BoundedCache[tuple[str, str], Counters] = BoundedCache(_MAX_TRIALS)

    async def begin(self, context: StepContext) -> None:
        """Give the new revision its share. Fails if it is worse than the one that serves."""
        canary = context.spec.canary
        if canary is None:
            return
        old, new = await _replicas_of_both(context)
        _check_schemas(context, old, new)
        key = (context.spec.id, context.spec.revision)
        begins = not context.share  # of a trial before, nothing counts
        context.share = canary.share
        if begins or key not in self._baselines.entries:
            self._baselines.add(key, context.load_view.counters_of([*old, *new]))
        comparison = self._compare(context, canary, old, new)
        if canary.promotion == "comparison" and comparison.judgement is Judgement.WORSE:
            del self._baselines.entries[key]
            raise StepFailedError(comparison.text)

    async def is_promoted(self, context: StepContext) -> bool | str:
        """Return whether the wanted revision may take all requests, or what is known by now."""
        canary, revision = context.spec.canary, context.spec.revision
        is_first = context.serving in ("", revision)
        if canary is None or is_first or context.promoted == revision:
            return True
        if (context.spec.id, revision) not in self._baselines.entries:
            return "not begun"
        comparison = self._compare(context, canary, *await _replicas_of_both(context))
        if canary.promotion == "comparison" and comparison.judgement is Judgement.GOOD:
            return True
        condition = ", until somebody promotes it" if canary.promotion == "hand" else ""
        return f"gets {canary.share * 100:.3g} % of the requests{condition}: {comparison.text}"

    async def end(self, context: StepContext) -> None:
        """Take the share back."""
        context.share = 0.0

    def _compare(
        self, context: StepContext, canary: Canary, old: list[ReplicaStatus],
        new: list[ReplicaStatus],
    ) -> Comparison:  # fmt: skip
        baseline = self._baselines.entries[context.spec.id, context.spec.revision]
        return compare(
            outcome_since(baseline, context.load_view.counters_of(old)),
            outcome_since(baseline, context.load_view.counters_of(new)),
            requests=canary.requests,
            tolerance=canary.error_tolerance,
            slowdown=canary.slowdown,
        )


async def _replicas_of_both(
    context: StepContext,
) -> tuple[list[ReplicaStatus], list[ReplicaStatus]]:
    """Return the replicas of the revision that serves, and those of the wanted one."""
    statuses = await context.shimlet.status(context.spec.id)
    return (
        [status for status in statuses if status.revision == context.serving],
        [status for status in statuses if status.revision == context.spec.revision],
    )


def _check_schemas(
    context: StepContext, old: list[ReplicaStatus], new: list[ReplicaStatus]
) -> None:
    """Raise StepFailedError if both revisions cannot answer the same requests."""
    old_schemas = context.load_view.schemas_of(old)
    new_schemas = context.load_view.schemas_of(new)
    if old_schemas and new_schemas and old_schemas != new_schemas:
        raise StepFailedError(
            "its schema is another one than that of the revision that serves: both cannot answer "
            "the same requests; deploy it without canary, or as a service of its own"
        )
