"""Request ids. Pure; what is random is handed in."""

from collections.abc import Callable
from typing import Final

_ENTROPY: Final = 4096  # bytes drawn at once


class Ids:
    """Request ids: 32 lower-case hex digits, random, with no address in them.

    `entropy` gives the hex digits of so many random bytes; it is asked for many ids at once.
    """

    def __init__(self, entropy: Callable[[int], str]) -> None:
        self._entropy = entropy
        self._digits = ""
        self._at = 0

    def __call__(self) -> str:
        """Return an id that was never given before."""
        at = self._at
        if at == len(self._digits):
            self._digits, at = self._entropy(_ENTROPY), 0
        self._at = at + 32
        return self._digits[at : at + 32]
