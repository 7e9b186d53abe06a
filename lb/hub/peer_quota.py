"""Which peer reports which instances, and how many one peer may report. Pure."""

from lb.endpoints.report import InstanceKey


class PeerQuota:
    """Counts the known instances by the host that reported them first.

    One host may report at most `limit` instances at a time, so that none fills the table alone.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._hosts: dict[InstanceKey, str] = {}
        self._counts: dict[str, int] = {}

    def is_reached(self, peer: str) -> bool:
        """Return whether the host of `peer`, as in "ipv4:10.0.0.7:5123", reports `limit`."""
        return self._counts.get(_host(peer), 0) >= self._limit

    def add(self, key: InstanceKey, peer: str) -> None:
        """Count an instance that `peer` reports; ignored if it is counted already."""
        if key not in self._hosts:
            host = self._hosts[key] = _host(peer)
            self._counts[host] = self._counts.get(host, 0) + 1

    def remove(self, key: InstanceKey) -> None:
        """Forget an instance that is gone."""
        host = self._hosts.pop(key, None)
        if host is not None:
            self._counts[host] -= 1
            if not self._counts[host]:
                del self._counts[host]


def _host(peer: str) -> str:
    return peer.rpartition(":")[0]
