"""Which files an instance has to run: the releases that it sees of what it follows. Pure."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from registry.names import ANY, ServiceVersion, VersionPattern, precedence
from registry.records import (
    FileKind,
    FileRef,
    GrayRule,
    Release,
    content_digest,
    files_digest,
)
from registry.state import RegistryState

# Gray percentages are decided in steps of a hundredth of a percent.
_BUCKETS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Subscription:
    """An instance, and what it follows.

    `instance` is its name, unique in the cluster; `address` is where it listens, or "". The first
    of `patterns` names its own version, whose files keep their names.
    """

    instance: str
    address: str
    labels: Mapping[str, str]
    patterns: tuple[VersionPattern, ...]

    def follows(self, name: ServiceVersion) -> bool:
        """Return whether a version may be part of its generation."""
        return any(pattern.matches(name) for pattern in self.patterns)


@dataclass(frozen=True, slots=True)
class SelectedRelease:
    """One release of a generation, with the files of it that are selected."""

    name: ServiceVersion
    release: int
    is_gray: bool
    files: Mapping[str, FileRef]


@dataclass(frozen=True, slots=True)
class Generation:
    """What an instance has to run. `revision` is that of the registry at which it was decided.

    Two generations with the same `digest` have the same releases and files.
    """

    revision: int
    digest: str
    releases: tuple[SelectedRelease, ...]

    def number_of(self, name: ServiceVersion) -> int:
        """Return the release of a version, 0 if it has none."""
        return next((r.release for r in self.releases if r.name == name), 0)


def decide_generation(state: RegistryState, subscription: Subscription) -> Generation:
    """Return what an instance has to run at the state's revision.

    Of the versions of a service that a pattern with `*` matches, the newest one in service counts.
    """
    selected: dict[ServiceVersion, SelectedRelease] = {}
    for pattern in subscription.patterns:
        for name in _newest(state, pattern):
            if name not in selected:
                release, is_gray = visible_release(state, name, subscription)
                if release is not None:
                    files = _select(release, pattern)
                    if files:
                        selected[name] = SelectedRelease(name, release.number, is_gray, files)
    releases = tuple(selected.values())
    # Contents too: another store may have other files under the same number.
    lines = [f"{s.name}\0{s.release}\0{files_digest(s.files)}\n" for s in releases]
    return Generation(state.revision, content_digest("".join(lines).encode()), releases)


def wanted_release(
    state: RegistryState, name: ServiceVersion, subscription: Subscription
) -> tuple[int, bool]:
    """Return which release of one version an instance has to run, 0 if none; and whether gray.

    As `decide_generation`, for one version.
    """
    for pattern in subscription.patterns:
        if pattern.matches(name) and name in _newest(state, pattern, name.service):
            release, is_gray = visible_release(state, name, subscription)
            if release is not None and _select(release, pattern):
                return release.number, is_gray
    return 0, False


def visible_release(
    state: RegistryState, name: ServiceVersion, subscription: Subscription
) -> tuple[Release | None, bool]:
    """Return the release of a version that an instance sees, and whether it is gray."""
    publication, _ = state.publication(name)
    gray = publication.gray
    if gray is not None and meets_rule(gray.rule, name, subscription):
        return state.release(name, gray.release), True
    return state.release(name, publication.stable), False


def meets_rule(rule: GrayRule, name: ServiceVersion, subscription: Subscription) -> bool:
    """Return whether an instance sees a gray release with this rule."""
    labels = subscription.labels
    if rule.labels and all(labels.get(key) == value for key, value in rule.labels.items()):
        return True
    if subscription.address in rule.addresses or subscription.instance in rule.addresses:
        return True
    return _bucket(name, subscription.instance) < rule.percentage * _BUCKETS / 100


def _bucket(name: ServiceVersion, instance: str) -> int:
    """Return a number below `_BUCKETS` that an instance keeps for all releases of a version.

    A higher percentage therefore adds instances and takes none away.
    """
    digest = hashlib.sha256(f"{name}\0{instance}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % _BUCKETS


def _newest(
    state: RegistryState, pattern: VersionPattern, service_name: str = ANY
) -> Iterable[ServiceVersion]:
    """Return the versions of a pattern that are in service; of each service the newest.

    `service_name` leaves out other services.
    """
    newest: dict[tuple[str, str, str], ServiceVersion] = {}
    for name, publication in state.publications():
        if publication.retired or not publication.stable or not pattern.matches(name):
            continue
        if service_name not in (ANY, name.service):
            continue
        service = (name.project, name.group, name.service)
        other = newest.get(service)
        if other is None or precedence(other.version) < precedence(name.version):
            newest[service] = name
    return sorted(newest.values())


def _select(release: Release, pattern: VersionPattern) -> Mapping[str, FileRef]:
    if not pattern.schemas_only:
        return release.files
    return {name: ref for name, ref in release.files.items() if ref.kind is FileKind.SCHEMA}
