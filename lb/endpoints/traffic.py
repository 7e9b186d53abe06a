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
MAX_SHARES: Final = 4096  # of all owners together
# Seconds that rules count which no hub has any more: a deployer repeats them each second.
LINGER_S: Final = 10.0
_MAX_REVISION: Final = 2**63
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
        if message.revision >= _MAX_REVISION:
            raise InvalidTrafficError("revision: must be less than 2^63")
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
    """The rules of all owners. `shares` has those of all limited versions, by version.

    Rules come from hubs, or from owners themselves (the source None). Of what the sources say of an
    owner, the rules with the highest revision count. An owner that no source names any more keeps
    its rules for a while: a hub that has just started knows none, and is told them again. If two
    owners limit one version, the smaller share counts. `_by_source` has the rules of each source by
    owner, `_counting` those that count, `_ends_at` the times at which rules end that no source has.
    """

    __slots__ = ("_by_source", "_counting", "_ends_at", "shares")

    def __init__(self) -> None:
        self._by_source: dict[object, dict[str, TrafficRules]] = {}
        self._counting: dict[str, TrafficRules] = {}
        self._ends_at: dict[str, float] = {}
        self.shares: dict[str, float] = {}

    def rules(self) -> list[TrafficRules]:
        """Return the rules of each owner."""
        return list(self._counting.values())

    def revision_of(self, owner: str) -> int:
        """Return the revision of an owner's rules, 0 if it has none."""
        rules = self._counting.get(owner)
        return rules.revision if rules is not None else 0

    def apply(self, rules: TrafficRules) -> bool:
        """Take the rules that an owner itself sets, if they are newer; return whether they were.

        Raises InvalidTrafficError if there are too many owners or shares.
        """
        if rules.revision <= self.revision_of(rules.owner):
            return False
        own = self._by_source.setdefault(None, {})
        others = {name: each for name, each in own.items() if name != rules.owner}
        if len(others) >= MAX_OWNERS:  # those that limit nothing any more make place
            others = {name: each for name, each in others.items() if each.shares}
        if len(others) >= MAX_OWNERS:
            raise InvalidTrafficError(f"owner: there are {MAX_OWNERS} already")
        if sum(len(each.shares) for each in (*others.values(), rules)) > MAX_SHARES:
            raise InvalidTrafficError(f"shares: of all owners must be at most {MAX_SHARES}")
        for name in own.keys() - others.keys():
            self._counting.pop(name, None)
        self._by_source[None] = {**others, rules.owner: rules}
        self._counting[rules.owner] = rules
        self._merge_shares()
        return True

    def update_source(
        self, source: object, rules: Iterable[TrafficRules], now: float, *, is_all: bool
    ) -> bool:
        """Take what a hub says: `is_all` of its rules, or those that have changed.

        Return whether other rules count then.
        """
        before = {} if is_all else self._by_source.get(source, {})
        self._by_source[source] = before | {each.owner: each for each in rules}
        return self._choose(now)

    def forget_source(self, source: object, now: float) -> bool:
        """Forget what a hub has said; return whether other rules count then."""
        self._by_source.pop(source, None)
        return self._choose(now)

    def expire(self, now: float) -> bool:
        """Drop the rules that no source has had for a while; return whether there were any."""
        return bool(self._ends_at) and self._choose(now)

    def _choose(self, now: float) -> bool:
        newest: dict[str, TrafficRules] = {}
        for stated in self._by_source.values():
            for owner, rules in stated.items():
                if owner not in newest or rules.revision > newest[owner].revision:
                    newest[owner] = rules
        self._ends_at = {
            owner: self._ends_at.get(owner, now + LINGER_S)
            for owner in self._counting.keys() - newest.keys()
        }
        for owner, ends_at in self._ends_at.items():
            if now < ends_at:
                newest[owner] = self._counting[owner]
        if newest == self._counting:
            return False
        self._counting = newest
        self._ends_at = {name: end for name, end in self._ends_at.items() if name in newest}
        self._merge_shares()
        return True

    def _merge_shares(self) -> None:
        self.shares = {}
        for rules in self._counting.values():
            for version, share in rules.shares.items():
                self.shares[version] = min(share, self.shares.get(version, 1.0))


@dataclass(frozen=True, slots=True)
class TrafficSplit:
    """The endpoints of a service: those that are `unlimited`, and those of each limited version.

    `limited` has the version, its share and its endpoints, by the names of versions: every gateway
    has the same order.
    """

    unlimited: list[Endpoint]
    limited: list[tuple[str, float, list[Endpoint]]]

    def admitted(self) -> list[Endpoint]:
        """Return the endpoints that get requests by their shares, all of them if none would."""
        groups = [(share, group) for _, share, group in self.limited]
        groups.append((1.0 - sum(share for share, _ in groups), self.unlimited))
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
    limited = [(name, shares[name], by_version[name]) for name in sorted(by_version)]
    return TrafficSplit(unlimited, limited)
