"""What the instances say of the releases that they got: who runs what, and why not. Pure."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

from registry.generation import Subscription, wanted_release
from registry.names import ServiceVersion, VersionPattern
from registry.state import RegistryState


class Outcome(StrEnum):
    """What became of a generation at an instance."""

    WAITING = "waiting"  # it was sent, and is not answered
    APPLIED = "applied"
    REFUSED = "refused"  # a file of it is invalid; the one before runs on
    FAILED = "failed"  # it could not be read or applied, by a fault that may pass


@dataclass(frozen=True, slots=True)
class Consumer:
    """An instance that follows versions, as it is known to all registries.

    `running` are the releases that it runs, `wanted` those that it was sent, by version. `outcome`
    is its last answer, with its `reason`; `since` (Unix time) is when that came, or when the
    generation was sent.
    """

    subscription: Subscription
    running: Mapping[str, int]
    wanted: Mapping[str, int]
    outcome: Outcome
    reason: str
    since: float

    def to_bytes(self) -> bytes:
        """Return the record as JSON."""
        subscription = self.subscription
        tree = {
            "subscription": {
                "instance": subscription.instance,
                "address": subscription.address,
                "labels": dict(subscription.labels),
                "patterns": [[str(p), p.schemas_only] for p in subscription.patterns],
            },
            "running": dict(self.running),
            "wanted": dict(self.wanted),
            "outcome": self.outcome.value,
            "reason": self.reason,
            "since": self.since,
        }
        return json.dumps(tree).encode()

    @classmethod
    def from_bytes(cls, record: bytes) -> Self:
        """Return the consumer of a record."""
        tree: dict[str, Any] = json.loads(record)
        subscription = tree.pop("subscription")
        patterns = tuple(
            VersionPattern.parse(text, schemas_only=schemas_only)
            for text, schemas_only in subscription.pop("patterns")
        )
        outcome = Outcome(tree.pop("outcome"))
        return cls(Subscription(**subscription, patterns=patterns), outcome=outcome, **tree)


@dataclass(frozen=True, slots=True)
class InstanceStatus:
    """What one instance runs of one version, and what it should. Times are Unix seconds."""

    instance: str
    address: str
    labels: Mapping[str, str]
    wanted: int
    is_gray: bool
    running: int
    outcome: Outcome
    reason: str
    since: float

    def to_json(self) -> dict[str, Any]:
        """Return the members by name."""
        return asdict(self)


def rollout_status(
    state: RegistryState, name: ServiceVersion, consumers: Iterable[Consumer]
) -> list[InstanceStatus]:
    """Return the status of every instance that follows a version, ordered by name.

    An instance that runs the release it should is `applied` whatever it said of another version.
    """
    statuses = []
    for consumer in consumers:
        subscription = consumer.subscription
        if not subscription.follows(name):
            continue
        wanted, is_gray = wanted_release(state, name, subscription)
        running = consumer.running.get(str(name), 0)
        if not wanted and not running:  # it has files of the version that are not for this one
            continue
        outcome, reason = consumer.outcome, consumer.reason
        if running == wanted:
            outcome, reason = Outcome.APPLIED, ""
        elif consumer.wanted.get(str(name), 0) != wanted or outcome is Outcome.APPLIED:
            outcome, reason = Outcome.WAITING, ""
        statuses.append(
            InstanceStatus(
                subscription.instance, subscription.address, subscription.labels, wanted, is_gray,
                running, outcome, reason, consumer.since,
            )
        )  # fmt: skip
    return sorted(statuses, key=lambda status: status.instance)


def is_complete(statuses: Iterable[InstanceStatus]) -> bool:
    """Return whether every instance has answered."""
    return all(status.outcome is not Outcome.WAITING for status in statuses)
