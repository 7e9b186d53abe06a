"""The epochs that addresses had before: who reports from one of them is late, or a replay. Pure."""

from collections import deque
from typing import Final

from lb.report import Key

_LIVES: Final = 8


class Lives:
    """Remembers the last lives of so many addresses that had more than one."""

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._ended: dict[Key, deque[int]] = {}

    def end(self, key: Key, epoch: int) -> None:
        """Take in that a life was followed by another."""
        ended = self._ended.pop(key, None)
        if ended is None:
            ended = deque(maxlen=_LIVES)
        ended.append(epoch)
        self._ended[key] = ended
        if len(self._ended) > self._most:
            del self._ended[next(iter(self._ended))]

    def is_over(self, key: Key, epoch: int) -> bool:
        """Return whether a life was followed by another."""
        ended = self._ended.get(key)
        return ended is not None and epoch in ended
