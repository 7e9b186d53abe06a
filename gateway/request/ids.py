"""Request ids. Pure; what is random is handed in."""

from collections.abc import Callable
from typing import Final

_BATCH_BYTES: Final = 4096  # bytes drawn at once


class RequestIdGenerator:
    """Request ids: 32 lower-case hex digits, random, with no address in them.

    `entropy` gives the hex digits of so many random bytes; it is asked for many ids at once.
    """

    def __init__(self, entropy: Callable[[int], str]) -> None:
        self._entropy = entropy
        self._hex_digits = ""
        self._position = 0

    def __call__(self) -> str:
        """Return an id that was never given before."""
        position = self._position
        if position == len(self._hex_digits):
            self._hex_digits, position = self._entropy(_BATCH_BYTES), 0
        self._position = position + 32
        return self._hex_digits[position : position + 32]
