"""Shares of the requests by version: what a new version of a model may get. Pure.

A rule limits the versions that it names: of the requests of its service, a version gets its share,
and all others get the rest. A version without a rule is not limited. Whoever starts versions (a
deployer) owns the rules for them, and says all of its rules at once; of two statements of one owner
the one with the higher revision counts. Shares are wishes, availability comes first: if no other
version is there and healthy, the limited ones get all requests.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Self

from lb.endpoints.endpoint import Endpoint
from schemas.wire import Traffic, VersionShare

MAX_OWNERS: Final = 256
MAX_SHARES: Final = 4096
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._:-]{0,126}[A-Za-z0-9])?")


class InvalidTrafficError(Exception):
    """Rules that cannot be taken; `str()` names the member and what it must be."""


@dataclass(frozen=True, slots=True)
class TrafficRules:
    """All rules of one owner: the share of each version that it limits, 0 to 1."""

    owner: str
    revision: int
    shares: Mapping[str, float]

    @classmethod
    def from_message(cls, message: Traffic) -> Self:
        """Return the rules of a message. Raises InvalidTrafficError."""
        if not _NAME.fullmatch(message.owner):
            raise InvalidTrafficError("owner: must be a name, such as a host's")
        if len(message.shares) > MAX_SHARES:
            raise InvalidTrafficError(f"shares: must be at most {MAX_SHARES}")
        for share in message.shares:
            if not _NAME.fullmatch(share.version):
                raise InvalidTrafficError("version: must be a name, as loaders report it")
            if not 0.0 <= share.share <= 1.0:
                raise InvalidTrafficError(f"share of {share.version}: must be 0 to 1")
        shares = {share.version: share.share for share in message.shares}
        return cls(message.owner, message.revision, shares)

    def to_message(self) -> Traffic:
        """Return the message of the rules."""
        shares = [VersionShare(version=name, share=part) for name, part in self.shares.items()]
        return Traffic(owner=self.owner, revision=self.revision, shares=shares)


class TrafficTable:
    """The rules of all owners. `shares` has those of all limited versions, by version."""

    __slots__ = ("_rules", "shares")

    def __init__(self) -> None:
        self._rules: dict[str, TrafficRules] = {}
        self.shares: dict[str, float] = {}

    def rules(self) -> list[TrafficRules]:
        """Return the rules of each owner."""
        return list(self._rules.values())

    def revision_of(self, owner: str) -> int:
        """Return the revision of an owner's rules, 0 if it has none."""
        rules = self._rules.get(owner)
        return rules.revision if rules is not None else 0

    def apply(self, rules: TrafficRules) -> bool:
        """Take the rules of an owner if they are newer; return whether they were.

        Raises InvalidTrafficError if there are too many owners.
        """
        if rules.revision <= self.revision_of(rules.owner):
            return False
        if rules.owner not in self._rules and len(self._rules) >= MAX_OWNERS:
            raise InvalidTrafficError(f"owner: there are {MAX_OWNERS} already")
        self._rules[rules.owner] = rules
        self.shares = {
            version: share
            for each in self._rules.values()
            for version, share in each.shares.items()
        }
        return True


@dataclass(frozen=True, slots=True)
class TrafficSplit:
    """The endpoints of a service: those that are `unlimited`, and those of each limited version."""

    unlimited: list[Endpoint]
    limited: list[tuple[float, list[Endpoint]]]

    def admitted(self) -> list[Endpoint]:
        """Return the endpoints that get requests by their shares, all of them if none would."""
        groups = [*self.limited, (1.0 - sum(share for share, _ in self.limited), self.unlimited)]
        admitted = [endpoint for share, group in groups if share > 0 for endpoint in group]
        return admitted or [endpoint for _, group in groups for endpoint in group]


def split_by_traffic(endpoints: Iterable[Endpoint], shares: Mapping[str, float]) -> TrafficSplit:
    """Return the endpoints of a service by the shares of their versions."""
    if not shares:
        return TrafficSplit(list(endpoints), [])
    unlimited: list[Endpoint] = []
    by_version: dict[str, list[Endpoint]] = {}
    for endpoint in endpoints:
        version = endpoint.instance.version
        group = by_version.setdefault(version, []) if version in shares else unlimited
        group.append(endpoint)
    return TrafficSplit(unlimited, [(shares[name], group) for name, group in by_version.items()])
