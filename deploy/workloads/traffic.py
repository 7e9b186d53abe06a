"""The shares of the requests that revisions get while deployments change. Pure."""

from collections.abc import Iterable

from deploy.workloads.activation import activator_version, may_sleep
from deploy.workloads.records import DeploymentEntry


def traffic_shares(entries: Iterable[DeploymentEntry]) -> dict[str, float]:
    """Return the share of each revision that is limited.

    One that is wanted and does not serve yet gets what its canary has come to, nothing before that.
    One that another has taken the place of gets nothing more. An activator gets requests only while
    no revision serves: shares do not count then.
    """
    shares: dict[str, float] = {}
    for entry in entries:
        wanted, status = entry.wanted, entry.status
        if wanted is None or wanted.is_deleting:
            continue
        revision = wanted.spec.revision
        if status.replaced not in ("", status.serving):
            shares[status.replaced] = 0.0
        if revision != status.serving:
            shares[revision] = status.share if status.revision == revision else 0.0
        if may_sleep(entry):
            shares[activator_version(wanted.spec.id)] = 0.0
    return shares
