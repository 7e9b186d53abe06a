"""Lines on a terminal that are written again in place while something goes on."""

import os
import shutil
from collections.abc import Sequence
from typing import TextIO

from asectl.table import printable

_ERASE_BELOW = "\x1b[J"


class LiveLines:
    """Shows lines on a stream: in place on a terminal, else only a last line that is new.

    A terminal too small for all of them shows the first and the last, as the last sums them up.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty() and os.environ.get("TERM") not in (None, "", "dumb")
        self._height = 0  # lines that stand on the terminal
        self._last_line = ""

    def show(self, lines: Sequence[str]) -> None:
        """Show these lines in the place of those before."""
        if self._is_terminal:
            fitting = fit(lines, *shutil.get_terminal_size())
            self._write("".join(f"{line}\n" for line in fitting))
            self._height = len(fitting)
        elif lines[-1] != self._last_line:
            self._last_line = lines[-1]
            self._stream.write(f"{printable(lines[-1])}\n")
            self._stream.flush()

    def erase(self) -> None:
        """Take the lines from the terminal again."""
        if self._height:
            self._write("")
            self._height = 0

    def _write(self, text: str) -> None:
        up = f"\x1b[{self._height}A" if self._height else ""
        self._stream.write(f"{up}\r{_ERASE_BELOW}{text}")
        self._stream.flush()


def fit(lines: Sequence[str], columns: int, rows: int) -> list[str]:
    """Return lines of which none wraps, and not more than a terminal shows. Pure."""
    available = max(rows - 1, 2)  # the cursor has a line of its own
    if len(lines) > available:
        lines = [*lines[: available - 1], lines[-1]]
    return [printable(line)[: columns - 1] for line in lines]
