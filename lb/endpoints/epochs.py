"""The past epochs of instances: a report from one of them is late or a replay. Pure."""

from collections import deque
from typing import Final

from lb.endpoints.report import InstanceKey
from rpc.bounded_cache import BoundedCache

_MAX_EPOCHS: Final = 8


class EpochHistory:
    """Remembers the last 8 past epochs of at most `max_instances` instances.

    Only instances whose epoch was replaced at least once are recorded. The instance whose last
    `add` is longest ago is evicted first.
    """

    def __init__(self, max_instances: int = 10_000) -> None:
        self._past_epochs: BoundedCache[InstanceKey, deque[int]] = BoundedCache(max_instances)

    def add(self, key: InstanceKey, epoch: int) -> None:
        """Record that a later epoch replaced `epoch` of the instance."""
        past_epochs = self._past_epochs.entries.get(key)
        if past_epochs is None:
            past_epochs = deque(maxlen=_MAX_EPOCHS)
        past_epochs.append(epoch)
        self._past_epochs.add(key, past_epochs)

    def contains(self, key: InstanceKey, epoch: int) -> bool:
        """Return whether a later epoch replaced `epoch` of the instance."""
        past_epochs = self._past_epochs.entries.get(key)
        return past_epochs is not None and epoch in past_epochs
