"""Generation of request ids. Pure: the source of randomness is passed in."""

from collections.abc import Callable
from typing import Final

_BATCH_BYTES: Final = 4096  # random bytes drawn at a time, for 256 ids


class RequestIdGenerator:
    """Generates request ids: 32 random lower-case hexadecimal digits, with no address in them.

    `entropy(n)` returns the hexadecimal digits of `n` random bytes; one call serves 256 ids. The
    next id is the 32 digits of `_hex_digits` from `_position`.
    """

    def __init__(self, entropy: Callable[[int], str]) -> None:
        self._entropy = entropy
        self._hex_digits = ""
        self._position = 0

    def __call__(self) -> str:
        """Return an id that was not returned before."""
        position = self._position
        if position == len(self._hex_digits):
            self._hex_digits, position = self._entropy(_BATCH_BYTES), 0
        self._position = position + 32
        return self._hex_digits[position : position + 32]
